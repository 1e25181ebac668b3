/**
 * The thread that makes the checkpoints of a file that many processes write to. It has a handle of its own, and closes
 * it when it is told to end; what fails ends it, too.
 */
import * as NodeFs from "node:fs"
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

const file = NodeFs.statSync(path, { bigint: true })

const isFile = (descriptor: number): boolean => {
  try {
    const { dev, ino } = NodeFs.fstatSync(descriptor, { bigint: true })
    return dev === file.dev && ino === file.ino
  } catch (_closedMeanwhile) {
    return false
  }
}

/** All that this process has open of the file; not told on Windows. */
const descriptors = (): ReadonlyArray<number> =>
  NodeFs.existsSync("/dev/fd") ? NodeFs.readdirSync("/dev/fd").map(Number).filter(isFile) : []

/**
 * The descriptor that SQLite has for a handle that it opens, where it is certain which. One of our own would take from
 * this process all locks of the file when it is closed (https://www.sqlite.org/howtocorrupt.html, 2.2).
 */
const opened = (open: () => Database): readonly [Database, number | undefined] => {
  const before = descriptors()
  const db = open()
  const added = descriptors().filter((descriptor) => !before.includes(descriptor))
  return [db, added.length === 1 ? added[0] : undefined]
}

const run = (db: Database, descriptor: number | undefined): void => {
  db.pragma(`synchronous = ${synchronous}`)
  // Reads the header: before that, a handle does not know that there is a log.
  db.pragma("schema_version")
  const look = db.prepare<[], Log>("PRAGMA wal_checkpoint(NOOP)").raw()
  const copy = db.prepare<[], Log>("PRAGMA wal_checkpoint(PASSIVE)").raw()
  let last: Log = [0, 0, 0]
  let pause = firstPause
  while (Atomics.wait(over, 0, 0, pause) === "timed-out") {
    let log = look.get()!
    if (log[1] - log[2] > above) {
      log = copy.get()!
      // SQLite leaves this to whoever comes to the end of the log, which would be a writer with all that is here.
      if (descriptor !== undefined && synchronous !== "OFF" && isFile(descriptor)) NodeFs.fdatasyncSync(descriptor)
    }
    const isStill = log[1] === last[1] && log[2] === last[2]
    pause = isStill ? Math.min(pause * 2, longestPause) : firstPause
    last = log
  }
}

let db: Database | undefined
try {
  const [handle, descriptor] = opened(() => new Sqlite(path, { fileMustExist: true, timeout: 1_000 }))
  db = handle
  run(handle, descriptor)
} catch (cause) {
  if (!(cause instanceof Sqlite.SqliteError)) throw cause
  // Errors of the driver lose their text on the way out of a thread.
  throw Object.assign(new Error(cause.message), { code: cause.code })
} finally {
  db?.close()
}
