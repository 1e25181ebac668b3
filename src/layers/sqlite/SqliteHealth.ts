/**
 * The health of a database file and of the handles on it.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { DbConnection, DbCorrupt, type DbError } from "../../errors/index.js"
import { type HealthChecker, HealthStatus } from "../../services/HealthChecker.js"
import type { Migrator } from "../../services/Migrator.js"
import * as SqlMigrator from "../sql/SqlMigrator.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as Open from "./SqliteOpen.js"

/** Files up to this many bytes are checked page by page at every call; larger ones would hold up the event loop. */
const quickCheckLimit = 16 * 1024 * 1024

/** Milliseconds that one check waits at most for another process to give up its lock of the file. */
const timeout = 5_000

/** Undefined for a file that is not there or cannot be reached any more. */
const statOf = (path: string): NodeFs.Stats | undefined => {
  try {
    return NodeFs.statSync(path)
  } catch (_unreachable) {
    return undefined
  }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: SqliteClient,
  migrator: Context.Tag.Service<Migrator>
): Context.Tag.Service<HealthChecker> => {
  const { name, path } = client.options
  const context = { backend: name, operation: "health" }
  const onDisk = path !== ":memory:"
  const sizeOf = (file: string): number | null => (onDisk ? (statOf(file)?.size ?? null) : null)
  const opened = statOf(path)?.ino

  /** An open handle works on after its file was deleted or replaced, and everything written to it is lost. */
  const checkFile = () => {
    if (!onDisk) return
    const found = statOf(path)
    if (found !== undefined && found.ino === opened) return
    throw new DbConnection({
      ...context,
      code: "HUB_FILE_GONE",
      message: "The database file was deleted or replaced while it was open: restore it, then restart the process"
    })
  }

  const checkPages = () => {
    if (!onDisk || (sizeOf(path) ?? 0) > quickCheckLimit) return
    const found = client.reader.pragma("quick_check(1)", { simple: true })
    if (found === "ok") return
    throw new DbCorrupt({
      ...context,
      code: "HUB_QUICK_CHECK",
      message: "The database file has damaged pages: stop writing, run `db-hub doctor` and restore a backup"
    })
  }

  const check = (steps: () => void): Effect.Effect<number, DbError> =>
    Open.retryBusy(Math.min(timeout, client.options.busyTimeout), context, () => {
      const started = performance.now()
      steps()
      return performance.now() - started
    })

  const answer = () => {
    checkFile()
    client.reader.prepare("SELECT count(*) FROM sqlite_master").get()
  }

  return {
    ping: check(answer),
    status: Effect.gen(function* () {
      const outcome = yield* Effect.either(
        check(() => {
          answer()
          checkPages()
        })
      )
      const failure = outcome._tag === "Left" ? outcome.left : client.corruption()
      // What did not answer once is not asked again, since that might wait as long.
      const { schemaVersion, warnings } =
        outcome._tag === "Left" ? SqlMigrator.unknown : yield* SqlMigrator.health(migrator)
      const version = client.reader.open
        ? (client.reader.prepare("SELECT sqlite_version()").pluck().get() as string)
        : ""
      const openConnections = client.openHandles()
      const inUse = Math.min(openConnections, client.busyHandles())
      return new HealthStatus({
        healthy: failure === undefined,
        latency: outcome._tag === "Right" ? outcome.right : 0,
        version,
        ...(failure === undefined ? {} : { error: failure.message }),
        warnings,
        openConnections,
        inUse,
        idle: openConnections - inUse,
        waitCount: client.lane.metrics.waitCount,
        waitDuration: client.lane.metrics.waitDuration,
        maxOpenConns: 0,
        maxIdleClosed: 0,
        maxLifetimeClosed: 0,
        schemaVersion,
        fileSize: sizeOf(path),
        walSize: sizeOf(`${path}-wal`)
      })
    })
  }
}
