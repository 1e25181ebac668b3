/**
 * A copy of a live database, checked.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import Sqlite, { type Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import { DbConnection, DbCorrupt, type DbError, DbLocked, type ErrorContext, InvalidInput } from "../../errors/index.js"
import { defaultLimits } from "../../services/AgentRows.js"
import { deadlineMet, deadlineOf } from "../../services/AgentSql.js"
import type { BackendShape } from "../../services/Backend.js"
import { databaseClosed } from "../sql/SqlTemplates.js"
import { whyMissing } from "./ChildProgram.js"
import { thrown } from "./SqliteAgentSql.js"
import type { Answer, Task } from "./SqliteAgentWorker.js"
import type { SqliteClient } from "./SqliteClient.js"
import { fromFile, isThere } from "./SqliteFiles.js"
import * as Open from "./SqliteOpen.js"
import * as SqliteProcesses from "./SqliteProcesses.js"

/** Pages copied in one turn of the event loop: 1 MiB of the usual 4 KiB pages. */
const pagesPerTurn = 256

const program = "SqliteAgentWorker"

/** What a check has found: `ok`, or what is damaged first. It reads every page, so it has a process of its own. */
const checked = (file: string, context: ErrorContext): Effect.Effect<unknown, DbError> => {
  const deadline = deadlineOf({ deadline: Number.POSITIVE_INFINITY })
  const gone = new DbConnection({
    ...context,
    code: "HUB_CHECK_PROCESS",
    retryable: true,
    message: "The process that checks the copy ended (out of memory?): try again"
  })
  const task: Task = { database: file, sql: "PRAGMA integrity_check(1)", params: [], limits: defaultLimits }
  return Effect.acquireUseRelease(
    Effect.sync(() =>
      SqliteProcesses.make<Task, Answer>({
        program,
        concurrency: 1,
        deadline,
        late: () => deadlineMet(deadline, context),
        gone: () => gone,
        closed: () => databaseClosed(context)
      })
    ),
    ({ ask }) =>
      Effect.flatMap(
        Effect.async<Answer, DbError>((resume) => Effect.sync(ask(task, resume))),
        (answer) => {
          if (answer.type === "failed") return Effect.fail(thrown(answer, context))
          return Effect.succeed(answer.type === "rows" ? answer.result.rows[0]?.[0] : undefined)
        }
      ),
    ({ close }) => Effect.promise(close)
  )
}

/** A copy that runs is written to, or checked within this time: milliseconds. */
const abandonedAfter = 24 * 3_600_000

/** Takes away what copies have left in a folder whose process was killed. */
const removeAbandoned = (folder: string): void => {
  for (const name of NodeFs.readdirSync(folder)) {
    if (!/^\..+\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.partial(-journal|-wal|-shm)?$/.test(name)) continue
    const path = NodePath.join(folder, name)
    const found = NodeFs.lstatSync(path, { throwIfNoEntry: false })
    // In a folder of many users, each can take away their own alone.
    if (found === undefined || found.uid !== (process.getuid?.() ?? found.uid)) continue
    if (Date.now() - found.mtimeMs > abandonedAfter) NodeFs.rmSync(path, { force: true })
  }
}

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
      removeAbandoned(NodePath.dirname(file))
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

    const damaged = new DbCorrupt({
      ...context,
      code: "HUB_INTEGRITY_CHECK",
      message: "The copy is damaged and was removed: run `db-hub doctor` on the database"
    })

    const here = (run: (db: Database) => unknown) =>
      attempt(() => {
        const db = new Sqlite(partial, { fileMustExist: true })
        try {
          return run(db)
        } finally {
          db.close()
        }
      })

    const verify = (pages: number) =>
      Effect.gen(function* () {
        const found = yield* here((db) => {
          // One file, complete in itself.
          db.pragma("journal_mode = DELETE")
          return db.pragma("page_count", { simple: true })
        })
        if (found !== pages) return yield* damaged
        // Who puts this library into one file has a backup, too, though it holds up the event loop.
        const apart = whyMissing(program) === undefined
        const result = yield* apart
          ? checked(partial, context)
          : here((db) => db.pragma("integrity_check(1)", { simple: true }))
        if (result !== "ok") return yield* damaged
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
