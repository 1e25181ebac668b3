/**
 * A backend as a layer of all its services.
 *
 * @since 0.1.0
 */
import { SqlClient } from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import type * as ConfigErrors from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { ConfigError, type DbError } from "../errors/index.js"
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

const keyOf = (error: ConfigErrors.ConfigError): string => ("path" in error ? error.path.join(".") : keyOf(error.left))

/** Without the engine's own words, which quote the value. */
const asDbError = (error: ConfigErrors.ConfigError): ConfigError =>
  new ConfigError({
    operation: "config",
    key: keyOf(error),
    message: `${keyOf(error)} is missing or has a value that cannot be read: see the documentation of the layer`
  })

/**
 * The options of a layer, of its configuration; `ConfigError` names the key that is missing or cannot be read.
 *
 * @since 0.1.0
 * @category configuration
 */
export const configured = <Options>(config: Config.Config.Wrap<Options>): Effect.Effect<Options, ConfigError> =>
  Effect.mapError(Config.unwrap(config), asDbError)
