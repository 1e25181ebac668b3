/**
 * The thread that makes the checkpoints of a file that many processes write to. It has a handle of its own, and closes
 * it when it is told to end; what fails ends it, too.
 */
import { workerData } from "node:worker_threads"
import Sqlite, { type Database } from "better-sqlite3"

export interface CheckpointTask {
  readonly path: string
  readonly synchronous: string
  /** Pages in the log that are not yet in the database, above which they are copied. */
  readonly above: number
  /** Its one number is 0 until the thread is to end. */
  readonly over: Int32Array
}

/** Busy, pages in the log, and how many of them are in the database. */
type Log = [number, number, number]

/**
 * Milliseconds between two looks at the log: while it grows, so few that little is left to copy at any time; twice as
 * many after each in which nobody wrote.
 */
const firstPause = 10
const longestPause = 1_000

const { above, over, path, synchronous } = workerData as CheckpointTask

const run = (db: Database): void => {
  db.pragma(`synchronous = ${synchronous}`)
  // Reads the header: before that, a handle does not know that there is a log.
  db.pragma("schema_version")
  const look = db.prepare<[], Log>("PRAGMA wal_checkpoint(NOOP)").raw()
  const copy = db.prepare<[], Log>("PRAGMA wal_checkpoint(PASSIVE)").raw()
  let last: Log = [0, 0, 0]
  let pause = firstPause
  while (Atomics.wait(over, 0, 0, pause) === "timed-out") {
    let log = look.get()!
    if (log[1] - log[2] > above) log = copy.get()!
    const isStill = log[1] === last[1] && log[2] === last[2]
    pause = isStill ? Math.min(pause * 2, longestPause) : firstPause
    last = log
  }
}

let db: Database | undefined
try {
  db = new Sqlite(path, { fileMustExist: true, timeout: 1_000 })
  run(db)
} catch (cause) {
  if (!(cause instanceof Sqlite.SqliteError)) throw cause
  // Errors of the driver lose their text on the way out of a thread.
  throw Object.assign(new Error(cause.message), { code: cause.code })
} finally {
  db?.close()
}
