/**
 * The write door: a statement is planned in a transaction that is undone, and run by the code that the plan returned. What
 * an engine does outside of its transactions, such as a sequence that counts on, no plan undoes.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import { type DbError, DbReadOnly, invalidInput } from "../errors/index.js"
import { type AgentSqlShape, deadlineMet, ownTableRefused, unreadable } from "../services/AgentSql.js"
import type { BackendShape, SqlValue } from "../services/Backend.js"
import * as SqlLexer from "../services/SqlLexer.js"
import * as Actions from "./Actions.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Write {
  readonly backend: BackendShape
  /** What stops a statement at its deadline, where connections of its own cannot. */
  readonly door: Effect.Effect<AgentSqlShape, DbError>
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
  readonly code: string | undefined
  readonly session: string
}

/** Milliseconds that a code is good for. */
const codeLife = 10 * 60 * 1000

/** Codes that are kept; the oldest gives way. */
const maxCodes = 1000

/** The hub's own tables, or a name that is not what it says. */
const ownName = /\bdb_hub_\w*|\bU&"/i

type Connection = Pick<BackendShape, "query" | "execute" | "transaction">

/** What a statement would do: `tables` as far as the engine tells its rows by table. */
interface Tried {
  readonly rowsAffected: number
  readonly rowsInAll: number
  readonly tables: Readonly<Record<string, number>>
}

class Undo extends Data.TaggedError("Undo")<{ readonly tried: Tried }> {}

const dml = new Set(["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH"])
const ddl = new Set(["CREATE", "ALTER", "DROP", "TRUNCATE"])
const definable = new Set("TABLE INDEX UNIQUE VIEW VIRTUAL TRIGGER SEQUENCE TYPE SCHEMA MATERIALIZED".split(" "))

interface Shape {
  /** Its words outside of brackets, in upper case. */
  readonly words: ReadonlyArray<string>
  readonly verb: string
  /** The word after it, and after OR REPLACE. */
  readonly second: string
  /** It changes rows, and does nothing else. */
  readonly rowsAlone: boolean
  readonly table: string | null
  /** It, or a statement within it, changes every row of a table. */
  readonly everyRow: boolean
  /** It cannot be in a transaction. */
  readonly concurrent: boolean
}

const writingVerbs = ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"]

/** Words before the name of the table that is written. */
const leading = new Set(["INTO", "FROM", "ONLY", "OR", "IGNORE", "REPLACE", "ROLLBACK", "ABORT", "FAIL"])

/** A text or a quoted name is no word. */
const upperOf = (words: ReadonlyArray<SqlLexer.Token>): ReadonlyArray<string> =>
  words.map(({ kind, text }) => (kind === "word" || kind === "symbol" ? text.toUpperCase() : ""))

/** The words after `WITH [RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (query), …`; none where that is not so. */
const afterWith = (upper: ReadonlyArray<string>): ReadonlyArray<string> => {
  let at = upper[1] === "RECURSIVE" ? 1 : 0
  do {
    at += upper[at + 2] === "(" ? 3 : 2
    if (upper[at++] !== "AS") return []
    if (upper[at] === "NOT") at++
    if (upper[at] === "MATERIALIZED") at++
    if (upper[at++] !== "(") return []
  } while (upper[at] === ",")
  return upper.slice(at)
}

const changesRowsAlone = (
  upper: ReadonlyArray<string>,
  inner: ReadonlyArray<ReadonlyArray<SqlLexer.Token>>
): boolean => {
  const main = upper[0] === "WITH" ? afterWith(upper) : upper
  if (writingVerbs.includes(main[0] ?? "")) return true
  // What reads the rows that a statement within it has changed; INTO would make a table of them.
  const within = inner.some((words) => writingVerbs.includes(upperOf(words)[0] ?? ""))
  return (
    upper[0] === "WITH" && within && ["SELECT", "VALUES", "TABLE"].includes(main[0] ?? "") && !main.includes("INTO")
  )
}

const changesEveryRow = (words: ReadonlyArray<SqlLexer.Token>): boolean => {
  const upper = upperOf(words)
  const main = upper.find((word) => writingVerbs.includes(word)) ?? ""
  return dml.has(upper[0] ?? "") && ["UPDATE", "DELETE"].includes(main) && !upper.includes("WHERE")
}

/** What a statement is, by its words outside of brackets; what is in brackets may be a statement of its own. */
const shapeOf = (sql: string, lexical: SqlLexer.Lexical): Shape => {
  const words: Array<SqlLexer.Token> = []
  const inner: Array<ReadonlyArray<SqlLexer.Token>> = []
  const open: Array<Array<SqlLexer.Token>> = [words]
  for (const token of SqlLexer.tokens(sql, lexical)) {
    if (token.text === "(" && token.kind === "symbol") {
      open.at(-1)!.push(token)
      open.push([])
    } else if (token.text === ")" && token.kind === "symbol") {
      if (open.length > 1) inner.push(open.pop()!)
    } else if (!["space", "comment"].includes(token.kind) && token.text !== ";") open.at(-1)!.push(token)
  }
  const upper = upperOf(words)
  const verb = upper[0] ?? ""
  const at = upper.findIndex((word) => writingVerbs.includes(word))
  const name = words.slice(at + 1).findIndex((_, index) => !leading.has(upper[at + 1 + index] ?? ""))
  const start = at + 1 + name
  const qualified = words[start + 1]?.text === "." ? words[start + 2] : words[start]
  const table = qualified?.kind === "identifier" ? qualified.text.slice(1, -1) : (qualified?.text ?? null)
  return {
    words: upper,
    verb,
    second: upper[upper[1] === "OR" && upper[2] === "REPLACE" ? 3 : 1] ?? "",
    rowsAlone: changesRowsAlone(upper, inner),
    table: at < 0 || name < 0 || !dml.has(verb) ? null : table,
    everyRow: verb === "TRUNCATE" || [words, ...inner].some(changesEveryRow),
    concurrent: upper.includes("CONCURRENTLY")
  }
}

const allowed = ({ rowsAlone, second, verb }: Shape, dmlOnly: boolean): boolean =>
  dmlOnly ? rowsAlone : dml.has(verb) || (ddl.has(verb) && (verb === "TRUNCATE" || definable.has(second)))

/** What a plan undoes. */
const undoable = (shape: Shape): boolean => allowed(shape, false) && !shape.concurrent

/** What runs in a transaction, and is undone at its deadline: all but such as VACUUM. */
const transactional = (shape: Shape, { dialect }: BackendShape): boolean =>
  undoable(shape) || !dialect.runsAlone(shape.words)

/** The rows that the transaction has changed since `before`. */
const changedSince = (
  { dialect }: BackendShape,
  { query }: Connection,
  before: ReadonlyMap<string | null, number>
): Effect.Effect<Map<string | null, number>, DbError> =>
  Effect.map(query(dialect.changedRows), (rows) => {
    const changed = new Map<string | null, number>()
    for (const { n, name } of rows) {
      const table = name === null ? null : String(name)
      changed.set(table, (changed.get(table) ?? 0) + Number(n))
    }
    for (const [table, n] of before) changed.set(table, (changed.get(table) ?? 0) - n)
    return changed
  })

const warningsOf = ({ everyRow, second, verb }: Shape, tried: Tried | undefined): ReadonlyArray<string> => [
  ...(everyRow ? ["It has no WHERE: it changes every row."] : []),
  ...(ddl.has(verb) ? ["It changes the schema."] : []),
  ...(verb === "DROP" && second === "TABLE" ? ["The table goes with all of its rows."] : []),
  ...(tried !== undefined && tried.rowsInAll > tried.rowsAffected
    ? [`It changes ${tried.rowsInAll} rows in all, with those of triggers, foreign keys and statements within it.`]
    : []),
  ...(tried === undefined ? ["It was not tried: what it does, no transaction undoes."] : [])
]

const key = ({ backend, params, session, sql }: Write): string =>
  NodeCrypto.createHash("sha256")
    .update(
      JSON.stringify([backend.name, session, sql, params], (_, value) =>
        typeof value === "bigint" ? `bigint ${value}` : value
      )
    )
    .digest("hex")

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly mode: "plan" | "direct"
  readonly dmlOnly: boolean
  /** Milliseconds that a statement may take. */
  readonly deadline: number
}) => {
  /** By code: what it stands for. It is known to this process alone. */
  const codes = new Map<string, { readonly key: string; readonly until: number }>()

  const refusal = (write: Write, raw: boolean): DbError | undefined => {
    const context = { backend: write.backend.name, operation: "db_hub_execute" }
    const unread = unreadable(write.sql, context)
    if (unread !== undefined) return unread
    const shape = shapeOf(write.sql, write.backend.dialect.lexical)
    if (allowed(shape, options.dmlOnly) || (raw && !options.dmlOnly)) {
      // What nothing undoes is not let begin.
      const named = transactional(shape, write.backend) ? null : ownName.exec(write.sql)
      return named === null ? undefined : ownTableRefused(named[0], context)
    }
    return new DbReadOnly({
      ...context,
      code: "HUB_NOT_ALLOWED",
      message: options.dmlOnly
        ? "Only INSERT, UPDATE, DELETE and MERGE are allowed here"
        : "Only statements that change rows, or create, alter or drop tables, indexes, views and the like are allowed here"
    })
  }

  /** Ends what the backend is asked for; where it is in a transaction, that is undone. */
  const timed =
    ({ name }: BackendShape, undone: boolean) =>
    <A>(effect: Effect.Effect<A, DbError>): Effect.Effect<A, DbError> =>
      Effect.timeoutFail(effect, {
        duration: options.deadline,
        onTimeout: () => deadlineMet(options.deadline, { backend: name, operation: "execute" }, !undone)
      })

  /** Runs a statement in a transaction and all that it has put off to the end of it, up to its deadline. */
  const whole = <A>(
    { backend, params, sql }: Write,
    connection: Connection,
    statement: Effect.Effect<A, DbError>
  ): Effect.Effect<A, DbError> => {
    const { checkDeferred } = backend.dialect
    const check = checkDeferred === undefined ? Effect.void : connection.execute(checkDeferred)
    const guarded = Effect.flatMap(backend.watchOwnTables(connection, sql, params), (look) =>
      Effect.zipLeft(Effect.zipLeft(statement, check), look)
    )
    return timed(backend, true)(guarded)
  }

  /** Where a statement leaves nothing that it has set to who comes next, as far as there is such a place. */
  const apart = ({ backend }: Write): Connection => backend.dedicated ?? backend

  /** Runs a statement in a process that can be stopped; undefined where there is none. */
  const stoppable = ({ backend, door }: Write): Effect.Effect<AgentSqlShape["execute"], DbError> =>
    backend.dedicated === undefined ? Effect.map(door, ({ execute }) => execute) : Effect.succeed(undefined)

  /** What it would do, told by the engine itself, and undone. */
  const tryOut = (write: Write): Effect.Effect<Tried, DbError> =>
    Effect.flatMap(stoppable(write), (execute): Effect.Effect<Tried, DbError> => {
      const { backend, params, sql } = write
      if (execute !== undefined) {
        return Effect.map(execute(sql, { params, how: "undo" }), ({ rowsAffected, rowsInAll }) => ({
          rowsAffected,
          rowsInAll,
          tables: {}
        }))
      }
      const connection = apart(write)
      const tried = Effect.gen(function* () {
        const before = yield* changedSince(backend, connection, new Map())
        const { rowsAffected } = yield* whole(write, connection, connection.execute(sql, params))
        const changed = Array.from(yield* changedSince(backend, connection, before)).filter(([_, n]) => n > 0)
        const rowsInAll = changed.reduce((sum, [_, n]) => sum + n, 0)
        const tables = Object.fromEntries(changed.flatMap(([name, n]) => (name === null ? [] : [[name, n]])))
        return yield* new Undo({ tried: { rowsAffected, rowsInAll, tables } })
      })
      return Effect.catchTag(connection.transaction(tried), "Undo", ({ tried }) => Effect.succeed(tried))
    })

  const plan = (write: Write) =>
    Effect.gen(function* () {
      const shape = shapeOf(write.sql, write.backend.dialect.lexical)
      const tried = undoable(shape) ? yield* tryOut(write) : undefined
      const now = yield* Clock.currentTimeMillis
      for (const [known, { until }] of codes) if (until < now || codes.size >= maxCodes) codes.delete(known)
      const code = NodeCrypto.randomBytes(9).toString("base64url")
      codes.set(code, { key: key(write), until: now + codeLife })
      const rowsAffected = tried?.rowsAffected ?? 0
      const table = shape.table === null ? {} : { [shape.table]: rowsAffected }
      return {
        plan: {
          rows_affected: rowsAffected,
          tables: Object.keys(tried?.tables ?? {}).length > 0 ? tried?.tables : table,
          warnings: warningsOf(shape, tried)
        },
        code,
        message: "Nothing was changed. Call again with the same arguments and this code to run it."
      }
    })

  const redeem = (write: Write & { readonly code: string }) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const known = codes.get(write.code)
      // Good for one try, also for a wrong one.
      codes.delete(write.code)
      return known !== undefined && known.until >= now && known.key === key(write)
        ? Effect.void
        : Effect.fail(
            invalidInput(
              { operation: "db_hub_execute" },
              "code",
              "is not one for exactly this statement, these values and this backend, or was used or is too old",
              "the code of a plan of the last 10 minutes"
            )
          )
    })

  const run = (write: Write) =>
    Effect.flatMap(stoppable(write), (execute) => {
      const { backend, params, sql } = write
      const undone = transactional(shapeOf(sql, backend.dialect.lexical), backend)
      if (execute !== undefined) {
        return Actions.executed(execute, sql, params, undone ? "commit" : "alone")
      }
      const connection = apart(write)
      const done = Actions.execute(connection, sql, params)
      return undone ? connection.transaction(whole(write, connection, done)) : timed(backend, false)(done)
    }).pipe(Effect.map((document) => ({ ...document, success: true })))

  return (write: Write, raw: boolean): Effect.Effect<Readonly<Record<string, unknown>>, DbError> =>
    Effect.suspend((): Effect.Effect<Readonly<Record<string, unknown>>, DbError> => {
      const refused = refusal(write, raw)
      if (refused !== undefined) return Effect.fail(refused)
      if (options.mode === "direct") return run(write)
      const { code } = write
      return code === undefined ? plan(write) : Effect.zipRight(redeem({ ...write, code }), run(write))
    })
}
