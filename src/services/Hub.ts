/**
 * Many named backends under one roof.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { DurationInput } from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DbError } from "../errors/index.js"
import type { BackendShape, ExecuteResult, Row, SqlValue } from "./Backend.js"
import type { HealthStatus } from "./HealthChecker.js"
import type { MigrationReport, MigrationTarget } from "./Migrator.js"
import type { SearchHit, SearchOptions } from "./VectorStore.js"

/**
 * The least that a factory is told: which engine. Each engine's configuration adds its own fields.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackendSettings {
  readonly type: string
}

/**
 * Opens a backend; it is closed with the scope.
 *
 * @since 0.1.0
 * @category models
 */
export type BackendFactory = (
  name: string,
  settings: BackendSettings
) => Effect.Effect<BackendShape, DbError, Scope.Scope>

/**
 * Every `name` defaults to `primary`; an unknown one is `NotFound` with the names there are.
 *
 * @since 0.1.0
 * @category models
 */
export interface HubShape {
  readonly primary: BackendShape
  readonly get: (name?: string) => Effect.Effect<BackendShape, DbError>
  /** Opens a backend under a new name: `InvalidInput` for a bad name or unknown type, `DbConflict` for a taken one. */
  readonly add: (name: string, settings: BackendSettings) => Effect.Effect<BackendShape, DbError>
  /** Takes the name away at once, lets what runs come to its end, then closes. The primary cannot be removed. */
  readonly remove: (name: string) => Effect.Effect<void, DbError>
  /** Names in the order they were added; the primary first. */
  readonly list: Effect.Effect<ReadonlyArray<string>>
  /** The health of all, asked side by side, each within the timeout (default 5 seconds). */
  readonly status: (options?: {
    readonly timeout?: DurationInput
  }) => Effect.Effect<Readonly<Record<string, HealthStatus>>>
  readonly query: (
    sql: string,
    params?: ReadonlyArray<SqlValue>,
    name?: string
  ) => Effect.Effect<ReadonlyArray<Row>, DbError>
  readonly exec: (sql: string, params?: ReadonlyArray<SqlValue>, name?: string) => Effect.Effect<ExecuteResult, DbError>
  readonly migrate: (
    options?: { readonly target?: MigrationTarget },
    name?: string
  ) => Effect.Effect<MigrationReport, DbError>
  readonly vectorSearch: (
    collection: string,
    vector: ReadonlyArray<number> | Float32Array,
    options?: SearchOptions,
    name?: string
  ) => Effect.Effect<ReadonlyArray<SearchHit>, DbError>
  /** Teaches the hub another engine; replaces an earlier factory of the same type. */
  readonly registerFactory: (type: string, factory: BackendFactory) => Effect.Effect<void>
}

/**
 * The backends of a program by name, the primary among them.
 *
 * @since 0.1.0
 * @category tags
 */
export class Hub extends Context.Tag("effect-db-hub/Hub")<Hub, HubShape>() {}
