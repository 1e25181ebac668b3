/**
 * The health of a PostgreSQL server and of the pools that lead to it.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { type DbError, DbTimeout } from "../../errors/index.js"
import type { Row } from "../../services/Backend.js"
import { type HealthChecker, HealthStatus } from "../../services/HealthChecker.js"
import type { Migrator } from "../../services/Migrator.js"
import * as SqlMigrator from "../sql/SqlMigrator.js"
import type { PostgresClient } from "./PostgresClient.js"
import type { Pool } from "./PostgresPool.js"

/** Milliseconds for one check. */
const timeout = 5_000

/** Milliseconds from which on a replica's answers are worth a warning. */
const lagLimit = 30_000

/** A replica that has replayed all it received is not behind, however long ago the last commit was. */
const question = `SELECT current_setting('server_version') AS version,
  pg_is_in_recovery() AS replica,
  (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'vector') AS vector,
  CASE
    WHEN NOT pg_is_in_recovery() THEN NULL
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
    ELSE (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::float8
  END AS lag`

/**
 * Whether a version of pgvector has the overflow in parallel index builds (CVE-2026-3172, before 0.8.2) or the faults
 * in vacuuming hnsw (before 0.8.4).
 *
 * @since 0.1.0
 * @category versions
 */
export const hasVectorFaults = (version: string): boolean => {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number)
  return major === 0 && (minor < 8 || (minor === 8 && patch < 4))
}

const warningsOf = (row: Row): ReadonlyArray<string> => {
  const { lag, vector } = row
  const warnings: Array<string> = []
  if (typeof vector === "string" && hasVectorFaults(vector)) {
    warnings.push(
      `pgvector ${vector} has CVE-2026-3172 or faults in vacuuming hnsw indexes: update it to 0.8.4 or later, then ALTER EXTENSION vector UPDATE`
    )
  }
  if (typeof lag === "number" && lag > lagLimit) {
    warnings.push(`The replica is ${Math.round(lag / 1000)} seconds behind its primary`)
  }
  return warnings
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: PostgresClient,
  migrator: Context.Tag.Service<Migrator>
): Context.Tag.Service<HealthChecker> => {
  const { name: backend } = client.options
  const timed = (sql: string): Effect.Effect<readonly [number, Row], DbError> =>
    Effect.suspend(() => {
      const started = performance.now()
      return Effect.map(client.query(sql), ([row]) => [performance.now() - started, row ?? {}] as const)
    }).pipe(
      Effect.timeoutFail({
        duration: timeout,
        onTimeout: () =>
          new DbTimeout({
            backend,
            operation: "health",
            code: "HUB_TIMEOUT",
            message: `The database did not answer within ${timeout} ms`
          })
      })
    )

  return {
    ping: Effect.map(timed("SELECT 1 AS one"), ([latency]) => latency),
    status: Effect.gen(function* () {
      const outcome = yield* Effect.either(timed(question))
      const { schemaVersion, warnings } =
        outcome._tag === "Left" ? SqlMigrator.unknown : yield* SqlMigrator.health(migrator)
      const pools = Array.from(client.pools)
      const inAll = (of: (pool: Pool) => number) => pools.reduce((sum, pool) => sum + of(pool), 0)
      const openConnections = inAll((pool) => pool.open())
      const idle = Math.min(
        inAll((pool) => pool.idle()),
        openConnections
      )
      const [latency, row] = outcome._tag === "Left" ? [0, {} as Row] : outcome.right
      const { lag, replica, vector, version } = row
      return new HealthStatus({
        healthy: outcome._tag === "Right",
        latency,
        version: typeof version === "string" ? version : "",
        ...(outcome._tag === "Left" ? { error: outcome.left.message } : {}),
        warnings: [...warningsOf(row), ...warnings],
        openConnections,
        inUse: openConnections - idle,
        idle,
        waitCount: inAll(({ metrics }) => metrics.waitCount),
        waitDuration: inAll(({ metrics }) => metrics.waitDuration),
        maxOpenConns: inAll(({ size }) => size),
        maxIdleClosed: inAll(({ metrics }) => metrics.idleClosed),
        maxLifetimeClosed: inAll(({ metrics }) => metrics.lifetimeClosed),
        schemaVersion,
        fileSize: null,
        walSize: null,
        ...(typeof replica === "boolean" ? { role: replica ? ("replica" as const) : ("primary" as const) } : {}),
        ...(typeof lag === "number" ? { replicationLag: lag } : {}),
        ...(typeof vector === "string" ? { vectorVersion: vector } : {})
      })
    })
  }
}
