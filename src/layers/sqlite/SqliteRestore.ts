/**
 * Puts a copy in the place of a database that nobody has open, and keeps what was there.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import Driver from "better-sqlite3"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type DbError, DbLocked, type ErrorContext, invalidInput } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Progress } from "../../services/Progress.js"
import { fromFile, isThere } from "./SqliteFiles.js"
import { retryBusy } from "./SqliteOpen.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface RestoreOptions {
  /** The database file to put the copy in the place of; it need not be there. */
  readonly path: string
  /** Milliseconds to wait until nobody else has it open; default 5000. */
  readonly busyTimeout?: number
  readonly onProgress?: (progress: Progress) => void
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Restored {
  readonly file: string
  readonly sizeBytes: number
  /** Where the database is kept that was there before; null if there was none. */
  readonly kept: string | null
}

/** What SQLite keeps beside a database. A log that is left there is taken for that of the file that is restored. */
const beside = ["-wal", "-shm", "-journal"]

const isSame = (one: string, other: string): boolean => {
  const [a, b] = [one, other].map((file) => NodeFs.statSync(file, { bigint: true, throwIfNoEntry: false }))
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino
}

/** Gives a file a second name; false where the file system has no such links. */
const link = (file: string, name: string): boolean => {
  try {
    NodeFs.linkSync(file, name)
    return true
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined
    if (code === "EPERM" || code === "ENOTSUP" || code === "ENOSYS" || code === "EOPNOTSUPP") return false
    throw cause
  }
}

const inUse = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_IN_USE",
    message: "Another program has the database open: end it, then restore"
  })

/**
 * Puts a verified copy of a backup, which is open as `source`, in the place of a database. What was there is kept under
 * another name beside it, with its log, so that nothing is lost; a damaged one, too. Nobody else may have the database
 * open: `DbLocked`.
 *
 * @since 0.1.0
 * @category backup
 */
export const restore = (
  source: BackendShape,
  file: string,
  options: RestoreOptions
): Effect.Effect<Restored, DbError> =>
  Effect.gen(function* () {
    const context: ErrorContext = { backend: source.name, operation: "restore" }
    const fromFileSystem = fromFile(
      context,
      (code) => `The database cannot be replaced (${code}): check its folder; what was there is unchanged, or beside it`
    )
    const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: fromFileSystem })
    // Of a link, the file that it leads to is replaced.
    const path = yield* attempt(() => (isThere(options.path) ? NodeFs.realpathSync(options.path) : options.path))
    if (isSame(file, path)) return yield* invalidInput(context, "file", "is the database itself", "a backup of it")

    const stamp = new Date(yield* Clock.currentTimeMillis).toISOString().replace(/[-:.]/g, "")
    const kept = `${path}.replaced-${stamp}`
    const staged = `${path}.restoring-${NodeCrypto.randomUUID()}`

    /** Where there are links, what was there has both names for a moment: there is a database at every moment. */
    const exchange = () => {
      const linked = link(path, kept)
      if (!linked) NodeFs.renameSync(path, kept)
      try {
        NodeFs.renameSync(staged, path)
      } catch (cause) {
        if (linked) NodeFs.rmSync(kept)
        else NodeFs.renameSync(kept, path)
        throw cause
      }
      return kept
    }
    const keepBeside = () => {
      for (const suffix of beside) if (isThere(path + suffix)) NodeFs.renameSync(path + suffix, kept + suffix)
    }
    /** Fails as long as somebody else has it open; what its log holds is in the file then, and there is no log. */
    const locked = retryBusy(options.busyTimeout ?? 5000, context, () => {
      const db = new Driver(path, { fileMustExist: true, timeout: 0 })
      try {
        db.pragma("journal_mode = DELETE")
        db.exec("BEGIN EXCLUSIVE")
        return db
      } catch (cause) {
        db.close()
        throw cause
      }
    })
    const replace = Effect.acquireUseRelease(
      locked,
      () => attempt(exchange),
      (db) => Effect.sync(() => db.close())
    ).pipe(
      Effect.catchTags({
        DbBusy: () => inUse(context),
        // A damaged one can neither be locked nor have its log written into it: both are kept as they are.
        DbCorrupt: () => Effect.zipRight(attempt(keepBeside), attempt(exchange))
      })
    )
    const place = attempt(() => {
      keepBeside()
      // Unlike a rename, it never replaces what somebody made there meanwhile.
      if (!link(staged, path)) NodeFs.renameSync(staged, path)
      return null
    })

    return yield* Effect.acquireUseRelease(
      Effect.succeed(staged),
      () =>
        Effect.flatMap(source.backup(staged, options), ({ sizeBytes }) =>
          Effect.map(isThere(path) ? replace : place, (kept): Restored => ({ file: path, sizeBytes, kept }))
        ),
      () => Effect.sync(() => NodeFs.rmSync(staged, { force: true }))
    )
  })
