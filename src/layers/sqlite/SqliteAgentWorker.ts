/**
 * The child process in which agents' statements run on SQLite: one at a time, on a handle that can only read, and that
 * holds nothing of one for the next but how it was prepared: nothing is let through that sets, attaches or makes
 * something. Whoever started the process kills it when a statement takes too long.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodeV8 from "node:v8"
import Sqlite from "better-sqlite3"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import { dieWithParent, pipeDescriptor } from "./ChildProgram.js"

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

type Statement = Sqlite.Statement<Array<unknown>, Array<unknown>>

/** A handle, the file that it was opened on, and the statements of it that may be asked again. */
interface Opened {
  readonly db: Sqlite.Database
  readonly file: string
  readonly statements: Map<string, Statement>
}

/** Statements that are kept, and the characters that one of them may have. */
const [maxStatements, maxKept] = [100, 10_000]

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
const handle = (path: string): Opened => {
  const file = fileOf(path)
  if (kept?.file !== file) {
    close()
    kept = { db: open(path), file, statements: new Map() }
  }
  return kept
}

/** The statement of a text if it reads. */
const prepare = (db: Sqlite.Database, sql: string): Statement | undefined => {
  const statement: Statement = db.prepare<Array<unknown>, Array<unknown>>(sql)
  return statement.readonly && statement.reader ? statement.raw(true).safeIntegers(true) : undefined
}

/** SQLite prepares a statement anew by itself when the schema has changed. */
const prepareOnce = ({ db, statements }: Opened, sql: string): Statement | undefined => {
  const known = statements.get(sql)
  if (known !== undefined) return known
  const statement = prepare(db, sql)
  if (statement !== undefined && sql.length <= maxKept) {
    if (statements.size >= maxStatements) statements.delete(statements.keys().next().value!)
    statements.set(sql, statement)
  }
  return statement
}

const read = (statement: Statement | undefined, { limits, params }: Task): Answer => {
  if (statement === undefined) return { type: "writes" }
  const collected = collector(limits)
  for (const row of statement.iterate(...params)) if (!collected.add(row.map(exact))) break
  return { type: "rows", columns: statement.columns().map(({ name }) => name), result: collected.result() }
}

const run = (task: Task): Answer => {
  if (typeof task.database === "string") return read(prepareOnce(handle(task.database), task.sql), task)
  const db = open(task.database)
  try {
    return read(prepare(db, task.sql), task)
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

/** The next bytes of the pipe; when it is closed, nobody is left to work for. */
const take = (length: number): Buffer => {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; ) {
    const got = NodeFs.readSync(pipeDescriptor, bytes, at, length - at, null)
    if (got === 0) process.exit(0)
    at += got
  }
  return bytes
}

const tell = (given: Answer) => {
  const text = JSON.stringify(given)
  const bytes = Buffer.allocUnsafe(4 + Buffer.byteLength(text))
  bytes.writeUInt32LE(bytes.length - 4)
  bytes.write(text, 4)
  for (let at = 0; at < bytes.length; ) at += NodeFs.writeSync(pipeDescriptor, bytes, at)
}

dieWithParent(maxMemory)
tell({ type: "ready" })
for (;;) tell(answer(NodeV8.deserialize(take(take(4).readUInt32LE())) as Task))
