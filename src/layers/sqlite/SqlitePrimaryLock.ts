/**
 * Election beside a database file. Each lock is a small SQLite file held by an exclusive transaction, so the operating
 * system lets it go with its process; the record of the primary is in a file of its own. Neither is ever unlinked: two
 * processes could then hold "the" lock on two files.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import Driver, { type Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { DbConnection, DbCorrupt, type DbError, fromSqlite, isDbError } from "../../errors/index.js"
import { PrimaryRecord, type Sharing } from "../../services/Sharing.js"
import type { SqliteClient } from "./SqliteClient.js"
import { makeFile, retryBusy } from "./SqliteOpen.js"

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
    const handles = new Map<string, Database>()
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const db of handles.values()) db.close()
      })
    )

    const toError = (cause: unknown): DbError => {
      if (isDbError(cause)) return cause
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : ""
      if (/^E[A-Z]+$/.test(code)) {
        const message = "The files beside the database cannot be opened: check its folder"
        return new DbConnection({ ...context, code, message })
      }
      const error = fromSqlite(cause, context)
      if (error._tag !== "DbCorrupt") return error
      const message =
        "A file beside the database (-primary, -primary-lock0 …) is damaged: end all that has it open, then delete them"
      return new DbCorrupt({ ...error, message })
    }

    /** With errors that are about the files beside the database. */
    const told =
      <A>(run: () => A) =>
      (): A => {
        try {
          return run()
        } catch (cause) {
          throw toError(cause)
        }
      }

    // However the path is spelled, one database has one primary.
    const file = yield* Effect.try({ try: () => NodeFs.realpathSync(path), catch: toError })
    // Exact, since numbers round the long ones of Windows.
    const { dev, ino } = yield* Effect.try({ try: () => NodeFs.statSync(file, { bigint: true }), catch: toError })
    /** A folder that was copied with its files must not lead to the primary of the original. */
    const database = `${dev}:${ino}`

    const open = (suffix: string): Database => {
      const known = handles.get(suffix)
      if (known !== undefined) return known
      const beside = `${file}-${suffix}`
      makeFile(beside)
      const db = new Driver(beside, { timeout: 0 })
      handles.set(suffix, db)
      return db
    }

    /** Who only looks makes no file. */
    const published = (): unknown => {
      if (!handles.has("primary") && !NodeFs.existsSync(`${file}-primary`)) return undefined
      const db = open("primary")
      return db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'record'").get() === undefined
        ? undefined
        : db.prepare("SELECT record FROM record WHERE database = ?").pluck().get(database)
    }

    const publish = (record: PrimaryRecord): void => {
      const db = open("primary")
      db.exec(
        "CREATE TABLE IF NOT EXISTS record (database TEXT PRIMARY KEY, epoch INTEGER NOT NULL, record TEXT NOT NULL)"
      )
      db.prepare(
        `INSERT INTO record (database, epoch, record) VALUES (?, ?, ?) ON CONFLICT (database) DO UPDATE
         SET epoch = excluded.epoch, record = excluded.record WHERE excluded.epoch > epoch`
      ).run(database, record.epoch, JSON.stringify(record))
    }

    const tryLock = (slot: number): Effect.Effect<boolean, DbError> =>
      Effect.suspend(() => {
        try {
          const db = open(`primary-lock${slot}`)
          if (db.inTransaction) return Effect.succeed(false)
          // Nothing is ever written here, so no journal need lie beside it.
          db.pragma("journal_mode = MEMORY")
          db.exec("BEGIN EXCLUSIVE")
          return Effect.succeed(true)
        } catch (cause) {
          const error = toError(cause)
          return error._tag === "DbBusy" ? Effect.succeed(false) : Effect.fail(error)
        }
      })

    const unlock = (slot: number) =>
      Effect.sync(() => {
        const db = handles.get(`primary-lock${slot}`)
        if (db?.open === true && db.inTransaction) db.exec("ROLLBACK")
      })

    return {
      slots,
      transaction: client.current,
      isWriting: client.lane.isHeld,
      tryLock: (slot) => Effect.acquireRelease(tryLock(slot), (locked) => (locked ? unlock(slot) : Effect.void)),
      read: Effect.map(retryBusy(recordBudget, context, told(published)), (text) =>
        Either.getOrUndefined(decodeRecord(text))
      ),
      publish: (record) =>
        retryBusy(
          recordBudget,
          context,
          told(() => publish(record))
        )
    }
  })
