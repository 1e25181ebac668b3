/**
 * Opening a database file the way the hub wants every file opened.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import Sqlite, { type Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  DbBusy,
  DbConnection,
  DbCorrupt,
  type DbError,
  DbUnsupported,
  type ErrorContext,
  fromSqlite
} from "../../errors/index.js"
import { pause } from "../EventLoop.js"
import { fromFile, makeFile } from "./SqliteFiles.js"
import type { ResolvedSqliteOptions } from "./SqliteOptions.js"

/**
 * Milliseconds between two attempts at a lock. They grow fast: whoever writes alone for a while has the pages that it
 * wrote last at hand, and is not to be interrupted at every write by all who wait.
 */
const firstPause = 2
const pauseGrowth = 6
const longestPause = 70

/**
 * Tries until SQLite no longer answers BUSY, for `budget` milliseconds; the event loop runs on in between.
 *
 * @since 0.1.0
 * @category locking
 */
export const retryBusy = <A>(budget: number, context: ErrorContext, attempt: () => A): Effect.Effect<A, DbError> =>
  Effect.suspend(() => tryNow(budget, context, attempt))

/**
 * As `retryBusy`, but the first attempt is made at once, and its result is an `Exit`.
 *
 * @since 0.1.0
 * @category locking
 */
export const tryNow = <A>(budget: number, context: ErrorContext, attempt: () => A): Effect.Effect<A, DbError> => {
  let deadline: number | undefined
  let longest = firstPause
  const next = (): Effect.Effect<A, DbError> => {
    try {
      return Effect.succeed(attempt())
    } catch (cause) {
      if (!isBusy(cause)) {
        const error = fromSqlite(cause, context)
        if (error._tag !== "DbBusy") return Effect.fail(error)
      }
      const now = performance.now()
      deadline ??= now + budget
      if (now >= deadline) return Effect.fail(lockHeld(budget, context))
      // Jittered, so that waiters do not march in step.
      const millis = longest * (0.5 + Math.random() / 2)
      longest = Math.min(longest * pauseGrowth, longestPause)
      return Effect.flatMap(pause(Math.min(millis, deadline - now)), next)
    }
  }
  return next()
}

/** The plain answer to an attempt, without the cost of an error of the hub. */
const isBusy = (cause: unknown): boolean => cause instanceof Error && "code" in cause && cause.code === "SQLITE_BUSY"

const lockHeld = (budget: number, context: ErrorContext): DbBusy =>
  new DbBusy({
    ...context,
    code: "SQLITE_BUSY",
    message: `Another process held the lock of the database file for ${budget} ms: make its transactions shorter, or raise busy_timeout`
  })

/**
 * Whether a version of SQLite may lose commits when several connections write and checkpoint one WAL file: 3.7.0 to
 * 3.51.2, but for the releases that carry the fix, 3.50.7 and 3.44.6 (https://www.sqlite.org/wal.html#walresetbug).
 *
 * @since 0.1.0
 * @category versions
 */
export const hasWalResetBug = (version: string): boolean => {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number)
  if (major !== 3 || minor < 7 || minor > 51) return false
  if (minor === 51) return patch <= 2
  if (minor === 50) return patch < 7
  if (minor === 44) return patch < 6
  return true
}

/** Makes what is missing of folder and file, readable by their owner alone. */
const prepareFile = (path: string, context: ErrorContext): Effect.Effect<void, DbError> =>
  Effect.try({
    try: () => {
      NodeFs.mkdirSync(NodePath.dirname(path), { recursive: true, mode: 0o700 })
      makeFile(path)
      NodeFs.accessSync(path, NodeFs.constants.R_OK | NodeFs.constants.W_OK)
    },
    catch: fromFile(
      context,
      (code) =>
        `${path} cannot be made or opened for writing (${code}): check that it is a file in a folder that this user may write`
    )
  })

/** A file that was cut short opens well and fails much later, at the first page that is not there. */
const checkLength = (db: Database, path: string, context: ErrorContext): void => {
  // One read transaction, so that a checkpoint or a commit of somebody else cannot come between the numbers.
  const [expected, walSize, size] = db.transaction(() => [
    (db.pragma("page_count", { simple: true }) as number) * (db.pragma("page_size", { simple: true }) as number),
    NodeFs.statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0,
    NodeFs.statSync(path).size
  ])() as [number, number, number]
  if (walSize === 0 && size < expected) {
    throw new DbCorrupt({
      ...context,
      code: "HUB_TRUNCATED",
      message: `The database file has ${size} bytes and should have ${expected}: restore a backup`
    })
  }
}

const configure = (db: Database, options: ResolvedSqliteOptions, readOnly: boolean, context: ErrorContext): void => {
  db.pragma(`foreign_keys = ${options.foreignKeys ? "ON" : "OFF"}`)
  db.pragma(`synchronous = ${options.synchronous}`)
  // Reads the header: a file that is no database fails here and not at the first query.
  db.pragma("schema_version")
  if (readOnly) {
    db.pragma("query_only = ON")
    return
  }
  const wanted = options.path === ":memory:" ? "memory" : options.journalMode.toLowerCase()
  if (db.pragma("journal_mode", { simple: true }) !== wanted) {
    const mode = db.pragma(`journal_mode = ${wanted}`, { simple: true })
    if (mode !== wanted) {
      throw new DbUnsupported({
        ...context,
        code: "HUB_JOURNAL_MODE",
        message: `SQLite keeps the journal mode ${mode} for this file: set journal_mode to it, or move the file to a local disk`
      })
    }
  }
  db.pragma(`journal_size_limit = ${options.journalSizeLimit}`)
}

/** SQLite calls it a fault of the disk. */
const isFolder = (path: string): boolean => {
  try {
    return NodeFs.statSync(path).isDirectory()
  } catch (_unreachable) {
    return false
  }
}

const open = (options: ResolvedSqliteOptions, readOnly: boolean, context: ErrorContext): Database => {
  if (isFolder(options.path)) {
    throw new DbConnection({
      ...context,
      code: "EISDIR",
      message: `${options.path} is a folder: give the path of a file`
    })
  }
  const db = new Sqlite(options.path, { readonly: readOnly, fileMustExist: readOnly, timeout: 0 })
  try {
    const version = db.prepare("SELECT sqlite_version()").pluck().get() as string
    if (hasWalResetBug(version) && options.journalMode === "WAL") {
      throw new DbUnsupported({
        ...context,
        code: "HUB_WAL_RESET_BUG",
        message: `SQLite ${version} can lose commits in WAL mode: install better-sqlite3 12.6 or later, or set journal_mode to DELETE`
      })
    }
    configure(db, options, readOnly, context)
    if (options.path !== ":memory:") checkLength(db, options.path, context)
    return db
  } catch (cause) {
    db.close()
    throw cause
  }
}

/**
 * Opens one handle in the scope, with every setting of the options on it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const handle = (
  options: ResolvedSqliteOptions,
  readOnly: boolean
): Effect.Effect<Database, DbError, Scope.Scope> => {
  const context: ErrorContext = { backend: options.name, operation: "sqlite.open" }
  const prepared = readOnly || options.path === ":memory:" ? Effect.void : prepareFile(options.path, context)
  let db: Database | undefined
  // A handle with an open statement, of a transaction that outlived every wait for it, refuses to close.
  const close = Effect.ignore(Effect.try(() => db?.close()))
  const opened = Effect.zipRight(
    prepared,
    retryBusy(options.busyTimeout, context, () => {
      db = open(options, readOnly, context)
      return db
    })
  )
  // The wait for a lock of the file stays interruptible; whatever was opened is closed, also in a scope closed meanwhile.
  return Effect.acquireReleaseInterruptible(opened, () => close).pipe(
    Effect.filterOrFail(
      (handle) => handle.open,
      () =>
        new DbConnection({ ...context, code: "HUB_CLOSED", message: "The scope ended while the database was opened" })
    )
  )
}
