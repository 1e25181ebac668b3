/**
 * Whether a backend answers, and how its connections stand.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"

const renamed = <A, I, const Key extends string>(schema: Schema.Schema<A, I>, key: Key) =>
  Schema.propertySignature(schema).pipe(Schema.fromKey(key))

/**
 * The health of one backend; encoded with the field names of the wire (`open_connections` …).
 *
 * @since 0.1.0
 * @category models
 */
export class HealthStatus extends Schema.Class<HealthStatus>("effect-db-hub/HealthStatus")({
  healthy: Schema.Boolean,
  /** Milliseconds that the check took. */
  latency: Schema.Number,
  /** The engine's version; empty if it could not be asked. */
  version: Schema.String,
  /** Why it is not healthy. */
  error: Schema.optionalWith(Schema.String, { exact: true }),
  /** Things that work but deserve attention. */
  warnings: Schema.Array(Schema.String),
  openConnections: renamed(Schema.Number, "open_connections"),
  inUse: renamed(Schema.Number, "in_use"),
  idle: Schema.Number,
  /** How often somebody had to wait for a connection. */
  waitCount: renamed(Schema.Number, "wait_count"),
  /** Milliseconds waited in all. */
  waitDuration: renamed(Schema.Number, "wait_duration"),
  /** With those kept for agents, which the other numbers count, too; 0 where there is no such limit. */
  maxOpenConns: renamed(Schema.Number, "max_open_conns"),
  maxIdleClosed: renamed(Schema.Number, "max_idle_closed"),
  maxLifetimeClosed: renamed(Schema.Number, "max_lifetime_closed"),
  /** The last applied migration of the hub's own tables; null if it could not be read. */
  schemaVersion: renamed(Schema.NullOr(Schema.Number), "schema_version"),
  /** Bytes; null where there is no file. */
  fileSize: renamed(Schema.NullOr(Schema.Number), "file_size"),
  /** Bytes of the write-ahead log; null where there is none. */
  walSize: renamed(Schema.NullOr(Schema.Number), "wal_size"),
  /** Whether writes are taken here, where an engine replicates. */
  role: Schema.optionalWith(Schema.Literal("primary", "replica"), { exact: true }),
  /** Milliseconds that a replica is behind its primary. */
  replicationLag: Schema.optionalWith(Schema.Number, { exact: true }).pipe(Schema.fromKey("replication_lag")),
  /** The version of what searches vectors, where that is a thing of its own. */
  vectorVersion: Schema.optionalWith(Schema.String, { exact: true }).pipe(Schema.fromKey("vector_version"))
}) {}

/**
 * Tells whether a backend answers, and what it is short of.
 *
 * @since 0.1.0
 * @category tags
 */
export class HealthChecker extends Context.Tag("effect-db-hub/HealthChecker")<
  HealthChecker,
  {
    /** Succeeds with the milliseconds of one round trip; fails if the backend does not answer in time. */
    readonly ping: Effect.Effect<number, DbError>
    /** Never fails: a backend that does not answer is `healthy: false` with the reason in `error`. */
    readonly status: Effect.Effect<HealthStatus>
  }
>() {}
