/**
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import Sqlite, { type Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import { DbCorrupt, type DbError, DbLocked, InvalidInput } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { SqliteClient } from "./SqliteClient.js"
import { fromFile, isThere } from "./SqliteFiles.js"
import * as Open from "./SqliteOpen.js"

/** Pages copied in one turn of the event loop: 1 MiB of the usual 4 KiB pages. */
const pagesPerTurn = 256

/**
 * The online backup of SQLite: copies while others read and write, into a file beside the wanted one, which takes its
 * name only after it was reopened and checked.
 *
 * @since 0.1.0
 * @category backup
 */
export const backup =
  (client: SqliteClient): BackendShape["backup"] =>
  (file, options) => {
    const context = { backend: client.options.name, operation: "backup" }
    const taken = () =>
      new InvalidInput({
        ...context,
        field: "file",
        allowed: "a file that does not exist yet",
        message: "The backup file exists already: choose another name, or move it away first"
      })
    const fromFileSystem = fromFile(context, (code) => `The backup cannot be written (${code}): check folder and space`)
    const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: fromFileSystem })

    const partial = NodePath.join(
      NodePath.dirname(file),
      `.${NodePath.basename(file)}.${NodeCrypto.randomUUID()}.partial`
    )
    const removePartial = Effect.sync(() => {
      for (const suffix of ["", "-journal", "-wal", "-shm"]) NodeFs.rmSync(partial + suffix, { force: true })
    })

    const reserve = attempt(() => {
      if (isThere(file)) throw taken()
      NodeFs.mkdirSync(NodePath.dirname(file), { recursive: true, mode: 0o700 })
      NodeFs.closeSync(NodeFs.openSync(partial, "wx", 0o600))
    })

    const copyFrom = (source: Database) =>
      Effect.async<number, DbError>((resume, signal) => {
        source
          .backup(partial, {
            progress: ({ remainingPages, totalPages }) => {
              // The only way out of the driver's loop.
              if (signal.aborted) throw new Error("aborted")
              options?.onProgress?.({ done: totalPages - remainingPages, total: totalPages })
              return pagesPerTurn
            }
          })
          .then(
            ({ totalPages }) => resume(Effect.succeed(totalPages)),
            (cause: unknown) => resume(Effect.fail(fromFileSystem(cause)))
          )
      })

    /**
     * A handle of its own in an open read transaction copies one snapshot, however much is written meanwhile. (The
     * driver takes a source that is locked at its first step for an empty one.)
     */
    const copySnapshot = Effect.scoped(
      Effect.gen(function* () {
        const source = yield* Open.handle(client.options, true)
        yield* attempt(() => source.exec("BEGIN; SELECT 1 FROM sqlite_master"))
        return yield* copyFrom(source)
      })
    )

    const copy =
      client.options.path === ":memory:"
        ? client.lane.hold(context, client.options.busyTimeout, copyFrom(client.writer))
        : copySnapshot

    const verify = (pages: number) =>
      attempt(() => {
        const db = new Sqlite(partial, { fileMustExist: true })
        try {
          // One file, complete in itself.
          db.pragma("journal_mode = DELETE")
          const found = db.pragma("integrity_check(1)", { simple: true })
          if (found !== "ok" || db.pragma("page_count", { simple: true }) !== pages) {
            throw new DbCorrupt({
              ...context,
              code: "HUB_INTEGRITY_CHECK",
              message: "The copy is damaged and was removed: run `db-hub doctor` on the database"
            })
          }
        } finally {
          db.close()
        }
      })

    const publish = attempt(() => {
      try {
        // Takes the name without ever replacing a file that appeared meanwhile; the copy then replaces this empty one.
        NodeFs.closeSync(NodeFs.openSync(file, "wx", 0o600))
      } catch (cause) {
        throw isThere(file) ? taken() : cause
      }
      NodeFs.renameSync(partial, file)
      return { file, sizeBytes: NodeFs.statSync(file).size }
    })

    return Effect.flatMap(client.inTransaction, (inside) =>
      inside
        ? Effect.fail(
            new DbLocked({
              ...context,
              code: "HUB_IN_TRANSACTION",
              retryable: false,
              message: "A backup cannot see an uncommitted transaction: make it after the transaction"
            })
          )
        : Effect.acquireUseRelease(
            reserve,
            () => Effect.zipRight(Effect.flatMap(copy, verify), publish),
            () => removePartial
          )
    )
  }
