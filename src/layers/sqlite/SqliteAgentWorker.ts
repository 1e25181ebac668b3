/**
 * The child process in which agents' statements run on SQLite: one at a time, each on a handle of its own that can only
 * read, so that nothing is left of it. Whoever started the process kills it when a statement takes too long.
 *
 * @since 0.1.0
 */
import Sqlite from "better-sqlite3"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import { dieWithParent } from "./ChildProgram.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Task {
  readonly path: string
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  readonly limits: AgentLimits
}

/**
 * @since 0.1.0
 * @category models
 */
export type Answer =
  | { readonly type: "ready" }
  | { readonly type: "rows"; readonly columns: ReadonlyArray<string>; readonly result: AgentRows }
  | { readonly type: "writes" }
  | { readonly type: "failed"; readonly name: string; readonly message: string; readonly code: string | undefined }

/** Milliseconds to wait for the lock of a file that is being recovered or has no write-ahead log. */
const lockWait = 1_000

const minSafe = BigInt(Number.MIN_SAFE_INTEGER)
const maxSafe = BigInt(Number.MAX_SAFE_INTEGER)

const exact = (value: unknown): unknown =>
  typeof value === "bigint" && value >= minSafe && value <= maxSafe ? Number(value) : value

const run = ({ limits, params, path, sql }: Task): Answer => {
  const db = new Sqlite(path, { readonly: true, fileMustExist: true, timeout: lockWait })
  try {
    db.pragma("query_only = ON")
    db.pragma("trusted_schema = OFF")
    db.pragma("temp_store = MEMORY")
    db.pragma("cell_size_check = ON")
    const statement = db.prepare<Array<unknown>, Array<unknown>>(sql)
    if (!statement.readonly || !statement.reader) return { type: "writes" }
    statement.raw(true).safeIntegers(true)
    const collected = collector(limits)
    for (const row of statement.iterate(...params)) if (!collected.add(row.map(exact))) break
    return { type: "rows", columns: statement.columns().map(({ name }) => name), result: collected.result() }
  } finally {
    db.close()
  }
}

const answer = (task: Task): Answer => {
  try {
    return run(task)
  } catch (cause) {
    const { code, message, name } = cause as { code?: unknown; message?: unknown; name?: unknown }
    return {
      type: "failed",
      name: String(name),
      message: String(message),
      code: code === undefined ? undefined : String(code)
    }
  }
}

dieWithParent()
process.on("message", (task: Task) => process.send!(answer(task)))
process.send!({ type: "ready" } satisfies Answer)
