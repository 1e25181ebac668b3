/**
 * The child process in which agents' writing statements run on SQLite, each in a transaction of its own: whoever started
 * the process kills it when one takes too long, and then nothing is applied. It asks before it commits.
 *
 * @since 0.1.0
 */
import Sqlite from "better-sqlite3"
import { type AgentRows, collector, defaultLimits } from "../../services/AgentRows.js"
import type { AgentWriting } from "../../services/AgentSql.js"
import {
  begin,
  exact,
  type Failed,
  failed,
  fileOf,
  largeWrite,
  maxGrowth,
  mayCommit,
  take,
  tell
} from "./SqliteAgentChild.js"
import * as OwnTables from "./SqliteOwnTables.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface WriteTask {
  readonly path: string
  readonly foreignKeys: boolean
  readonly synchronous: string
  /** Milliseconds to wait for another process that writes. */
  readonly busyTimeout: number
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
  readonly how: AgentWriting
  /** It is an EXPLAIN, which runs nothing. */
  readonly explains: boolean
  /** It changes rows alone, and so leaves nothing on its connection. */
  readonly rows: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Written {
  readonly type: "written"
  readonly rowsAffected: number
  readonly rowsInAll: number
  readonly lastInsertId: number | string
  readonly columns: ReadonlyArray<string>
  readonly result: AgentRows
}

/**
 * @since 0.1.0
 * @category models
 */
export type WriteAnswer = Written | (Failed & { readonly committing: boolean })

let kept: { readonly db: Sqlite.Database; readonly file: string } | undefined

const close = () => {
  kept?.db.close()
  kept = undefined
}

const handle = ({ busyTimeout, foreignKeys, how, path, synchronous }: WriteTask): Sqlite.Database => {
  const file = fileOf(path)
  if (kept?.file !== file) {
    close()
    const db = new Sqlite(path, { fileMustExist: true, timeout: busyTimeout })
    db.pragma(`foreign_keys = ${foreignKeys ? "ON" : "OFF"}`)
    db.pragma(`synchronous = ${synchronous}`)
    // The hub's own handle or the primary carries the pages over: nobody waits for that here.
    db.pragma("wal_autocheckpoint = 0")
    if (how !== "alone") {
      db.pragma("cache_spill = OFF")
      db.pragma("temp_store = MEMORY")
    }
    kept = { db, file }
  }
  return kept.db
}

const changed = (db: Sqlite.Database): number => db.prepare<[], number>("SELECT total_changes()").pluck().get()!

const limitGrowth = (db: Sqlite.Database) => {
  const number = (name: string) => db.pragma(name, { simple: true }) as number
  db.pragma(`max_page_count = ${number("page_count") + Math.ceil(maxGrowth / number("page_size"))}`)
}

const write = (db: Sqlite.Database, { params, sql }: WriteTask): Written => {
  const before = changed(db)
  const statement = db.prepare<Array<unknown>, Array<unknown>>(sql).safeIntegers(true)
  const rows = collector(defaultLimits)
  if (!statement.reader) {
    const { changes, lastInsertRowid } = statement.run(...params)
    const id = exact(lastInsertRowid) as number | bigint
    return {
      type: "written",
      rowsAffected: changes,
      rowsInAll: changed(db) - before,
      lastInsertId: typeof id === "bigint" ? String(id) : id,
      columns: [],
      result: rows.result()
    }
  }
  let count = 0
  // All of them, also where no more are shown: the statement must come to its end.
  for (const row of statement.raw(true).iterate(...params)) {
    count++
    rows.add(row.map(exact))
  }
  return {
    type: "written",
    rowsAffected: statement.readonly ? 0 : count,
    rowsInAll: changed(db) - before,
    lastInsertId: 0,
    columns: statement.columns().map(({ name }) => name),
    result: rows.result()
  }
}

/** What is killed from here on may be applied. */
const waitForLeave = () => {
  tell(mayCommit)
  take()
}

/** Nothing is on the disk before the commit, so that what is full is the limit. */
const tooLarge = (cause: unknown): boolean => cause instanceof Sqlite.SqliteError && cause.code === "SQLITE_FULL"

const run = (task: WriteTask): WriteAnswer => {
  let committing = false
  try {
    if (task.how === "alone") close()
    const db = handle(task)
    if (task.how === "alone") {
      if (!task.explains) OwnTables.watch(db, task.sql, task.params)
      waitForLeave()
      const written = write(db, task)
      close()
      return written
    }
    db.exec("BEGIN IMMEDIATE")
    limitGrowth(db)
    const look = OwnTables.watch(db, task.sql, task.params)
    const written = write(db, task)
    look()
    if (task.how === "undo") db.exec("ROLLBACK")
    else {
      waitForLeave()
      committing = true
      db.exec("COMMIT")
    }
    // Such as a temporary table, for who comes next.
    if (!task.rows) close()
    return written
  } catch (cause) {
    // With the handle goes what it has begun.
    close()
    const code = task.how !== "alone" && !committing && tooLarge(cause) ? { code: largeWrite } : {}
    return { ...failed(cause), ...code, committing }
  }
}

begin()
for (;;) tell(run(take() as WriteTask))
