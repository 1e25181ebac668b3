/**
 * Election beside a database file. Each lock is a small SQLite file held by an exclusive transaction, so the operating
 * system lets it go with its process; it is never unlinked, since two processes could then hold "the" lock on two files.
 * The record of the primary is in a file of its own, which is opened for every use: one that was damaged is replaced.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import Driver, { type Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { DbConnection, DbCorrupt, type DbError, fromSqlite, isDbError } from "../../errors/index.js"
import { PrimaryRecord, type Sharing } from "../../services/Sharing.js"
import * as Checkpoints from "./SqliteCheckpoints.js"
import type { SqliteClient } from "./SqliteClient.js"
import { makeFile } from "./SqliteFiles.js"
import { retryBusy } from "./SqliteOpen.js"

const slots = 4

/** The record is read and written in microseconds; whoever waits longer waits for a broken disk. */
const recordBudget = 1_000

const decodeRecord = Schema.decodeUnknownEither(Schema.parseJson(PrimaryRecord))

/**
 * @since 0.1.0
 * @category constructors
 */
export const sharing = (client: SqliteClient): Effect.Effect<Sharing, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const { name, path } = client.options
    const context = { backend: name, operation: "primary.lock" }
    const locks = new Map<number, Database>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const db of locks.values()) db.close()
      })
    )

    /** Errors are about a file beside the database, and not about the database. */
    const toError =
      (beside: string, advice: string) =>
      (cause: unknown): DbError => {
        if (isDbError(cause)) return cause
        const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
        const told = `A file beside the database (${NodePath.basename(beside)})`
        if (/^(E[A-Z]+$|SQLITE_(CANTOPEN|PERM|READONLY))/.test(code)) {
          const remedy = "move away what is in its place, or correct its owner and mode"
          const message = `${told} cannot be opened (${code}): it has to be a file that this user may write; ${remedy}`
          return new DbConnection({ ...context, code, message })
        }
        const error = fromSqlite(cause, context)
        return error._tag === "DbCorrupt"
          ? new DbCorrupt({ ...error, message: `${told} is damaged: ${advice}` })
          : error
      }

    // However the path is spelled, one database has one primary.
    const file = yield* Effect.try({ try: () => NodeFs.realpathSync(path), catch: toError(path, "") })
    // Exact, since numbers round the long ones of Windows.
    const { dev, ino } = yield* Effect.try({
      try: () => NodeFs.statSync(file, { bigint: true }),
      catch: toError(file, "")
    })
    /** A folder that was copied with its files must not lead to the primary of the original. */
    const database = `${dev}:${ino}`

    const recordFile = `${file}-primary`
    const recordError = toError(recordFile, "the next primary writes it anew")
    const unreadable = new DbCorrupt({
      ...context,
      message: `A file beside the database (${NodePath.basename(recordFile)}) holds no record: the next primary writes it anew`
    })

    const withRecord = <A>(use: (db: Database) => A): Effect.Effect<A, DbError> =>
      retryBusy(recordBudget, context, () => {
        try {
          makeFile(recordFile)
          const db = new Driver(recordFile, { timeout: 0 })
          try {
            return use(db)
          } finally {
            db.close()
          }
        } catch (cause) {
          throw recordError(cause)
        }
      })

    const published = withRecord((db) =>
      db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'record'").get() === undefined
        ? undefined
        : db.prepare("SELECT record FROM record WHERE database = ?").pluck().get(database)
    )

    // Who only looks makes no file.
    const read: Sharing["read"] = Effect.suspend(() =>
      NodeFs.existsSync(recordFile)
        ? Effect.flatMap(published, (text) =>
            text === undefined ? Effect.succeed(undefined) : Either.mapLeft(decodeRecord(text), () => unreadable)
          )
        : Effect.succeed(undefined)
    )

    const remove = Effect.try({
      try: () => {
        for (const name of [recordFile, `${recordFile}-journal`]) NodeFs.rmSync(name, { force: true })
      },
      catch: recordError
    })

    const publish: Sharing["publish"] = (record) =>
      read.pipe(
        Effect.catchTag("DbCorrupt", ({ message }) => Effect.zipRight(Effect.logWarning(message), remove)),
        Effect.zipRight(
          withRecord((db) => {
            db.exec(
              "CREATE TABLE IF NOT EXISTS record (database TEXT PRIMARY KEY, epoch INTEGER NOT NULL, record TEXT NOT NULL)"
            )
            db.prepare(
              `INSERT INTO record (database, epoch, record) VALUES (?, ?, ?) ON CONFLICT (database) DO UPDATE
               SET epoch = excluded.epoch, record = excluded.record WHERE excluded.epoch > epoch`
            ).run(database, record.epoch, JSON.stringify(record))
          })
        )
      )

    const lockFile = (slot: number): Database => {
      const known = locks.get(slot)
      if (known !== undefined) return known
      const path = `${file}-primary-lock${slot}`
      makeFile(path)
      const db = new Driver(path, { timeout: 0 })
      locks.set(slot, db)
      return db
    }

    const tryLock = (slot: number): Effect.Effect<boolean, DbError> =>
      Effect.suspend(() => {
        try {
          const db = lockFile(slot)
          if (db.inTransaction) return Effect.succeed(false)
          // Nothing is ever written here, so no journal need lie beside it.
          db.pragma("journal_mode = MEMORY")
          db.exec("BEGIN EXCLUSIVE")
          return Effect.succeed(true)
        } catch (cause) {
          const error = toError(`${file}-primary-lock${slot}`, "end all that has it open, then delete it")(cause)
          return error._tag === "DbBusy" ? Effect.succeed(false) : Effect.fail(error)
        }
      })

    const unlock = (slot: number) =>
      Effect.sync(() => {
        const db = locks.get(slot)
        if (db?.open === true && db.inTransaction) db.exec("ROLLBACK")
      })

    return {
      slots,
      transaction: client.current,
      isWriting: client.lane.isHeld,
      beginNow: client.beginNow,
      savepoint: client.savepoint,
      tryLock: (slot) => Effect.acquireRelease(tryLock(slot), (locked) => (locked ? unlock(slot) : Effect.void)),
      read,
      publish,
      ...Checkpoints.make(client, file)
    }
  })
