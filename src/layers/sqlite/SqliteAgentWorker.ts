/**
 * The child process in which agents' statements run on SQLite: one at a time, on a handle that can only read, and that
 * holds nothing from one to the next: nothing is let through that sets, attaches or makes something. Whoever started the
 * process kills it when a statement takes too long.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import Sqlite from "better-sqlite3"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import { dieWithParent } from "./ChildProgram.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Task {
  /** The path of the file, or all of its bytes. */
  readonly database: string | Uint8Array
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

/** A handle, and the file that it was opened on. */
interface Opened {
  readonly db: Sqlite.Database
  readonly file: string
}

let kept: Opened | undefined

/** What tells one file from another that took its place under the same path. */
const fileOf = (path: string): string => {
  const { dev, ino } = NodeFs.statSync(path, { bigint: true })
  return `${dev} ${ino} ${path}`
}

const open = (database: Task["database"]): Sqlite.Database => {
  const db =
    typeof database === "string"
      ? new Sqlite(database, { readonly: true, fileMustExist: true, timeout: lockWait })
      : new Sqlite(Buffer.from(database), { readonly: true })
  db.pragma("query_only = ON")
  db.pragma("trusted_schema = OFF")
  db.pragma("temp_store = MEMORY")
  db.pragma("cell_size_check = ON")
  return db
}

const close = () => {
  kept?.db.close()
  kept = undefined
}

/** The handle is kept as long as all goes well: opening a database costs far more than most statements. */
const handle = (path: string): Sqlite.Database => {
  const file = fileOf(path)
  if (kept?.file !== file) {
    close()
    kept = { db: open(path), file }
  }
  return kept.db
}

const read = (db: Sqlite.Database, { limits, params, sql }: Task): Answer => {
  const statement = db.prepare<Array<unknown>, Array<unknown>>(sql)
  if (!statement.readonly || !statement.reader) return { type: "writes" }
  statement.raw(true).safeIntegers(true)
  const collected = collector(limits)
  for (const row of statement.iterate(...params)) if (!collected.add(row.map(exact))) break
  return { type: "rows", columns: statement.columns().map(({ name }) => name), result: collected.result() }
}

const run = (task: Task): Answer => {
  if (typeof task.database === "string") return read(handle(task.database), task)
  const db = open(task.database)
  try {
    return read(db, task)
  } finally {
    db.close()
  }
}

const answer = (task: Task): Answer => {
  try {
    const given = run(task)
    if (given.type !== "rows") close()
    return given
  } catch (cause) {
    close()
    const { code, message, name } = cause as { code?: unknown; message?: unknown; name?: unknown }
    return {
      type: "failed",
      name: String(name),
      message: String(message),
      code: code === undefined ? undefined : String(code)
    }
  }
}

/** Bytes that the process may hold: one value may have a gigabyte, a sort as much as there is. */
const maxMemory = 768 * 1024 * 1024

dieWithParent(maxMemory)
process.on("message", (task: Task) => process.send!(answer(task)))
process.send!({ type: "ready" } satisfies Answer)
