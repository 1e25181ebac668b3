/**
 * Who makes the checkpoints of a file that many processes write to: a thread of the primary. By itself SQLite makes one
 * every 1000 pages, within the commit of whoever writes, and the event loop of that process waits for the disk.
 *
 * Writers still make one where the log has become long. A thread never gets to the end of a log that is written to all
 * the time, and only what is copied to its end is begun anew; the writer has little left to copy and to wait for then.
 *
 * @since 0.1.0
 */
import type { Worker } from "node:worker_threads"
import type { Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import { type DbError, DbUnsupported, type ErrorContext, fromSqlite } from "../../errors/index.js"
import type { Sharing } from "../../services/Sharing.js"
import { startThread, whyMissing } from "./ChildProgram.js"
import type { CheckpointTask } from "./SqliteCheckpointThread.js"
import type { SqliteClient } from "./SqliteClient.js"
import { fromFile } from "./SqliteFiles.js"

/** Pages in the log after which SQLite makes a checkpoint by itself. */
const usualPages = 1_000

/** Bytes of the log after which a writer makes one all the same; `journalSizeLimit` is more than that unless changed. */
const backstopBytes = 32 * 1024 * 1024

/** Milliseconds between two looks whether there is work for a thread: a short command starts none. */
const lookMillis = 250

/** Milliseconds until a thread that failed is started again: the disk that was full may have room then. */
const retryMillis = 60_000

/** SQLite takes a NOOP that it does not know for a checkpoint. */
const checkVersion = (db: Database, context: ErrorContext): Effect.Effect<void, DbUnsupported> =>
  Effect.suspend(() => {
    const version = db.prepare<[], string>("SELECT sqlite_version()").pluck().get()!
    const [major = 0, minor = 0] = version.split(".").map(Number)
    return major > 3 || minor >= 51
      ? Effect.void
      : Effect.fail(new DbUnsupported({ ...context, message: `SQLite ${version} does not tell how long its log is` }))
  })

const threadFailed = (context: ErrorContext) =>
  fromFile(context, (code) => `The thread that copies the log into the file failed (${code}): check file and disk`)

/** Runs until it is interrupted or fails. */
const runThread = (task: Omit<CheckpointTask, "over">, context: ErrorContext): Effect.Effect<never, DbError> => {
  const over = new Int32Array(new SharedArrayBuffer(4))
  const start = Effect.sync(() => {
    const worker = startThread("SqliteCheckpointThread", { ...task, over } satisfies CheckpointTask)
    worker.unref()
    return worker
  })
  // Its handle is closed before those of the hub: whoever is last puts the log away.
  const end = (worker: Worker) =>
    Effect.async<void>((resume) => {
      if (worker.threadId === -1) return resume(Effect.void)
      worker.ref()
      worker.once("exit", () => resume(Effect.void))
      Atomics.store(over, 0, 1)
      Atomics.notify(over, 0)
    })
  return Effect.acquireUseRelease(
    start,
    (worker) =>
      Effect.async<never, DbError>((resume) => {
        worker.on("error", (cause) => resume(Effect.fail(threadFailed(context)(cause))))
      }),
    end
  )
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { lane, options, writer }: SqliteClient,
  file: string
): Pick<Sharing, "deferCheckpoints" | "runCheckpoints"> => {
  const context: ErrorContext = { backend: options.name, operation: "checkpoint" }
  const setPages = (pagesOf: (pageSize: number) => number) =>
    Effect.sync(() => {
      if (!writer.open) return
      const pageSize = writer.pragma("page_size", { simple: true }) as number
      writer.pragma(`wal_autocheckpoint = ${pagesOf(pageSize)}`)
    })
  const defer = Effect.acquireRelease(
    setPages((pageSize) => Math.max(usualPages, backstopBytes / pageSize)),
    () => setPages(() => usualPages)
  )

  /** Whether so much of the log is not yet in the database; not told within a transaction. */
  const isLong = Effect.try({
    try: () => {
      if (!writer.open) return false
      const [found] = writer.pragma("wal_checkpoint(NOOP)") as [{ log: number; checkpointed: number }]
      return found.log - found.checkpointed > usualPages
    },
    catch: (cause) => fromSqlite(cause, context)
  })
  const look = Effect.catchTag(lane.hold(context, lookMillis, isLong), "DbBusy", () => Effect.succeed(false))
  const untilLong = Effect.repeat(Effect.delay(look, lookMillis), { until: (found) => found })

  const task = { path: file, synchronous: options.synchronous, above: usualPages }
  const once = Effect.gen(function* () {
    yield* checkVersion(writer, context)
    yield* untilLong
    const missing = whyMissing("SqliteCheckpointThread")
    if (missing !== undefined) return yield* new DbUnsupported({ ...context, message: missing })
    return yield* runThread(task, context)
  })

  let told: string | undefined
  const tellOnce = (error: DbError) => {
    const isNews = error._tag !== "DbBusy" && error.message !== told
    if (isNews) told = error.message
    const left = "are left to those who write, once the log is long"
    return isNews ? Effect.logWarning(`Checkpoints of ${options.name} ${left}: ${error.message}`) : Effect.void
  }
  const run = Effect.forever(Effect.zipRight(Effect.catchAll(once, tellOnce), Effect.sleep(retryMillis)))

  const hasLog = options.journalMode === "WAL"
  return {
    deferCheckpoints: hasLog ? defer : Effect.void,
    runCheckpoints: hasLog ? Effect.asVoid(Effect.forkScoped(run)) : Effect.void
  }
}
