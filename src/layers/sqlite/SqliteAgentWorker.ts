/**
 * The child process in which agents' statements run on SQLite: one at a time, on a handle that can only read, and that
 * holds nothing of one for the next but how it was prepared: nothing is let through that sets, attaches or makes
 * something. Whoever started the process kills it when a statement takes too long.
 *
 * @since 0.1.0
 */
import Sqlite from "better-sqlite3"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import { begin, exact, type Failed, failed, fileOf, take, tell } from "./SqliteAgentChild.js"

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
  | { readonly type: "rows"; readonly columns: ReadonlyArray<string>; readonly result: AgentRows }
  | { readonly type: "writes" }
  | Failed

/** Milliseconds to wait for the lock of a file that is being recovered or has no write-ahead log. */
const lockWait = 1_000

type Statement = Sqlite.Statement<Array<unknown>, Array<unknown>>

/** A handle, the file that it was opened on, and the statements of it that may be asked again. */
interface Opened {
  readonly db: Sqlite.Database
  readonly file: string
  readonly statements: Map<string, Statement>
}

/** Statements that are kept, and the characters that one of them may have. */
const [maxStatements, maxKept] = [200, 10_000]

let kept: Opened | undefined

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
    return failed(cause)
  }
}

begin()
for (;;) tell(answer(take() as Task))
