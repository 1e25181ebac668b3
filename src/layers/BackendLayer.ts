/**
 * @since 0.1.0
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { DbError } from "../errors/index.js"
import { Backend, type BackendShape } from "../services/Backend.js"
import { HealthChecker } from "../services/HealthChecker.js"
import { Migrator } from "../services/Migrator.js"
import { TextStore } from "../services/TextStore.js"
import { VectorStore } from "../services/VectorStore.js"

/**
 * Everything that the hub's programs ask of one backend, and the `SqlClient` that the rest of the ecosystem asks for.
 *
 * @since 0.1.0
 * @category models
 */
export type BackendServices = Backend | VectorStore | TextStore | Migrator | HealthChecker | SqlClient

/**
 * @since 0.1.0
 * @category constructors
 */
export const servicesOf = (backend: BackendShape): Context.Context<BackendServices> =>
  Context.make(Backend, backend).pipe(
    Context.add(VectorStore, backend.vector),
    Context.add(TextStore, backend.text),
    Context.add(Migrator, backend.migrator),
    Context.add(HealthChecker, backend.health),
    Context.add(SqlClient, backend.sql)
  )

/**
 * A layer of all the services of a backend, open as long as the layer is.
 *
 * @since 0.1.0
 * @category layers
 */
export const fromBackend = (
  backend: Effect.Effect<BackendShape, DbError, Scope.Scope>
): Layer.Layer<BackendServices, DbError> => Layer.scopedContext(Effect.map(backend, servicesOf))
