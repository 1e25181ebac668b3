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
import type { AgentSqlShape } from "../services/AgentSql.js"
import type { BackendShape, ExecuteResult, SqlValue } from "../services/Backend.js"
import * as SqlLexer from "../services/SqlLexer.js"
import * as Actions from "./Actions.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Write {
  readonly backend: BackendShape
  /** What stops a statement at its deadline, where the backend itself cannot. */
  readonly door: Effect.Effect<AgentSqlShape | undefined>
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
  readonly code: string | undefined
  readonly session: string
}

/** Milliseconds that a code is good for. */
const codeLife = 10 * 60 * 1000

/** Codes that are kept; the oldest gives way. */
const maxCodes = 1000

class Undo extends Data.TaggedError("Undo")<{ readonly result: ExecuteResult }> {}

const dml = new Set(["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH"])
const ddl = new Set(["CREATE", "ALTER", "DROP", "TRUNCATE"])
const definable = new Set(
  "TABLE INDEX UNIQUE VIEW VIRTUAL TRIGGER SEQUENCE TYPE SCHEMA MATERIALIZED TEMP TEMPORARY OR".split(" ")
)

interface Shape {
  readonly verb: string
  readonly second: string
  readonly table: string | null
  /** It changes every row of its table. */
  readonly everyRow: boolean
}

const writingVerbs = ["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"]

/** What a statement is, by its words outside of brackets. */
const shapeOf = (sql: string, lexical: SqlLexer.Lexical): Shape => {
  const words: Array<SqlLexer.Token> = []
  let depth = 0
  for (const token of SqlLexer.tokens(sql, lexical)) {
    if (token.text === "(" && token.kind === "symbol") depth++
    else if (token.text === ")" && token.kind === "symbol") depth--
    else if (depth === 0 && !["space", "comment"].includes(token.kind) && token.text !== ";") words.push(token)
  }
  const upper = words.map(({ kind, text }) => (kind === "word" ? text.toUpperCase() : ""))
  const verb = upper[0] ?? ""
  const at = upper.findIndex((word) => writingVerbs.includes(word))
  const main = upper[at] ?? ""
  const skipped = new Set(["INTO", "FROM", "ONLY", "OR", "IGNORE", "REPLACE", "ROLLBACK", "ABORT", "FAIL"])
  const name = words.slice(at + 1).findIndex((_, index) => !skipped.has(upper[at + 1 + index] ?? ""))
  const start = at + 1 + name
  const qualified = words[start + 1]?.text === "." ? words[start + 2] : words[start]
  const table = qualified?.kind === "identifier" ? qualified.text.slice(1, -1) : (qualified?.text ?? null)
  return {
    verb,
    second: upper[1] ?? "",
    table: at < 0 || name < 0 ? null : table,
    everyRow: verb === "TRUNCATE" || (["UPDATE", "DELETE"].includes(main) && !upper.includes("WHERE"))
  }
}

const allowed = ({ second, verb }: Shape, dmlOnly: boolean): boolean =>
  dml.has(verb) || (!dmlOnly && ddl.has(verb) && (verb === "TRUNCATE" || definable.has(second)))

/** What a plan undoes, and a deadline may: other statements, such as VACUUM, run outside of any transaction. */
const undoable = ({ verb }: Shape): boolean => dml.has(verb) || ddl.has(verb)

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
export const make = (options: { readonly mode: "plan" | "direct"; readonly dmlOnly: boolean }) => {
  /** By code: what it stands for. It is known to this process alone. */
  const codes = new Map<string, { readonly key: string; readonly until: number }>()

  const refusal = (write: Write, raw: boolean): DbError | undefined => {
    const shape = shapeOf(write.sql, write.backend.dialect.lexical)
    if (raw || allowed(shape, options.dmlOnly)) return undefined
    return new DbReadOnly({
      backend: write.backend.name,
      operation: "db_hub_execute",
      code: "HUB_NOT_ALLOWED",
      message: options.dmlOnly
        ? "Only INSERT, UPDATE, DELETE and MERGE are allowed here"
        : "Only statements that change rows, or create, alter or drop tables, indexes, views and the like are allowed here"
    })
  }

  const stoppable = ({ backend, door, sql }: Write): Effect.Effect<AgentSqlShape["execute"]> =>
    undoable(shapeOf(sql, backend.dialect.lexical))
      ? Effect.map(door, (opened) => opened?.execute)
      : Effect.succeed(undefined)

  const plan = (write: Write) =>
    Effect.gen(function* () {
      const { backend, params, sql } = write
      // What it would do, told by the engine itself, and undone.
      const execute = yield* stoppable(write)
      const result =
        execute !== undefined
          ? yield* execute(sql, { params, undo: true })
          : yield* backend
              .transaction(Effect.flatMap(backend.execute(sql, params), (result) => Effect.fail(new Undo({ result }))))
              .pipe(Effect.catchTag("Undo", ({ result }) => Effect.succeed(result)))
      const { everyRow, table, verb } = shapeOf(sql, backend.dialect.lexical)
      const now = yield* Clock.currentTimeMillis
      for (const [known, { until }] of codes) if (until < now || codes.size >= maxCodes) codes.delete(known)
      const code = NodeCrypto.randomBytes(9).toString("base64url")
      codes.set(code, { key: key(write), until: now + codeLife })
      return {
        plan: {
          rows_affected: result.rowsAffected,
          tables: table === null ? {} : { [table]: result.rowsAffected },
          warnings: [
            ...(everyRow ? ["It has no WHERE: it changes every row."] : []),
            ...(ddl.has(verb) ? ["It changes the schema."] : [])
          ]
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
              "db_hub_execute",
              "code",
              "is not one for exactly this statement, these values and this backend, or was used or is too old",
              "the code of a plan of the last 10 minutes"
            )
          )
    })

  const run = (write: Write) =>
    Effect.flatMap(stoppable(write), (execute) => {
      const { backend, params, sql } = write
      const done =
        execute === undefined ? Actions.execute(backend, sql, params) : Actions.executed(execute, sql, params)
      return Effect.map(done, (document) => ({ ...document, success: true }))
    })

  return (write: Write, raw: boolean): Effect.Effect<Readonly<Record<string, unknown>>, DbError> =>
    Effect.suspend((): Effect.Effect<Readonly<Record<string, unknown>>, DbError> => {
      const refused = refusal(write, raw)
      if (refused !== undefined) return Effect.fail(refused)
      if (options.mode === "direct") return run(write)
      const { code } = write
      return code === undefined ? plan(write) : Effect.zipRight(redeem({ ...write, code }), run(write))
    })
}
