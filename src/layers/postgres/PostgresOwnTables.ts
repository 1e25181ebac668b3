/**
 * Guards the hub's own tables from statements of agents: by the locks that the transaction holds, which tell everything
 * that it has written or defined, however it came to that, and by what it has made of names and rights.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { ownTableRefused } from "../../services/AgentSql.js"
import type { BackendShape, Row } from "../../services/Backend.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { lexical } from "./PostgresDialect.js"

// An agent may have set the path on which names and operators are looked for.
const equals = "OPERATOR(pg_catalog.=)"
const own = (name: string) => `pg_catalog.starts_with(${name}::pg_catalog.text, 'db_hub_')`
const text = (...parts: ReadonlyArray<string>) =>
  `pg_catalog.concat_ws('|', ${parts.map((part) => `${part}::pg_catalog.text`).join(", ")})`

/** Tables, indexes and sequences: where each is, whose it is, and who may do what with it. */
const relations = `SELECT c.oid, c.relname::pg_catalog.text AS name,
    ${text("n.nspname", "c.relname", "c.relowner", "c.relacl", "c.relrowsecurity", "c.relforcerowsecurity")} AS state
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid ${equals} c.relnamespace`

const functions = `SELECT p.oid, p.proname::pg_catalog.text AS name,
    ${text("n.nspname", "p.proname", "p.proowner", "p.proacl", "p.proconfig", "p.prosecdef", "p.prosrc")} AS state
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid ${equals} p.pronamespace`

const before = `${relations} WHERE ${own("c.relname")} UNION ALL ${functions} WHERE ${own("p.proname")}`

const among = `${equals} ANY (?::pg_catalog.oid[])`

const after = `${relations} WHERE c.oid ${among} UNION ALL ${functions} WHERE p.oid ${among}`

/** Whoever reads, or only keeps a row from being deleted, holds no other locks than these two. */
const written = `SELECT l.relation AS oid, c.relname::pg_catalog.text AS name
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_class c ON c.oid ${equals} l.relation
  WHERE l.pid ${equals} pg_catalog.pg_backend_pid() AND l.locktype ${equals} 'relation' AND l.granted
    AND NOT (l.mode ${equals} ANY (ARRAY['AccessShareLock', 'RowShareLock']::pg_catalog.text[]))
    AND (l.relation ${among} OR ${own("c.relname")})
  LIMIT 1`

const hidden = "What this name may stand for"

/**
 * No transaction undoes `setval`, so it is told by the text, which must name the sequence as it is. What it may move of the
 * hub's own, if it may.
 */
const movesOwnSequence = (sql: string): string | undefined => {
  const tokens = Array.from(SqlLexer.tokens(sql, lexical))
  // Such a name is another one than its text says.
  const isEscaped = (at: number) => tokens[at - 1]?.text === "&" && /^u$/i.test(tokens[at - 2]?.text ?? "")
  if (tokens.some(({ kind }, at) => kind === "identifier" && isEscaped(at))) return hidden
  const words = tokens.filter(({ kind }) => kind !== "space" && kind !== "comment")
  for (const [at, { kind, text }] of words.entries()) {
    const called = kind === "word" ? text : kind === "identifier" ? text.slice(1, -1) : ""
    if (called.toLowerCase() !== "setval" || words[at + 1]?.text !== "(") continue
    const [name, next] = [words[at + 2], words[at + 3]]
    const plain = name?.kind === "string" && /^'[\w ."]*[a-z_"][\w ."]*'$/i.test(name.text) && next?.text === ","
    if (!plain) return hidden
    const [found] = /db_hub_\w*/i.exec(name.text) ?? []
    if (found !== undefined) return found
  }
  return undefined
}

const byId = (rows: ReadonlyArray<Row>) => new Map(rows.map(({ name, oid, state }) => [String(oid), { name, state }]))

/**
 * @since 0.1.0
 * @category checks
 */
export const watch =
  (backend: string): BackendShape["watchOwnTables"] =>
  ({ query }, sql) => {
    const context = { backend, operation: "execute" }
    const refuse = (name: unknown) => Effect.fail(ownTableRefused(String(name), context))
    const moved = movesOwnSequence(sql)
    if (moved !== undefined) return refuse(moved)
    return Effect.map(query(before), (rows) => {
      const known = byId(rows)
      const oids = Array.from(known.keys(), Number)
      return Effect.gen(function* () {
        const [lock] = yield* query(written, [oids])
        if (lock !== undefined) return yield* refuse(known.get(String(lock["oid"]))?.name ?? lock["name"])
        const now = byId(yield* query(after, [oids, oids]))
        for (const [oid, { name, state }] of known) {
          // What is gone without a lock of this transaction, another one has dropped.
          const found = now.get(oid)
          if (found !== undefined && found.state !== state) return yield* refuse(name)
        }
      })
    })
  }
