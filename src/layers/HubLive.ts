/**
 * The hub as configuration describes it.
 *
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type DbError, DbUnsupported } from "../errors/index.js"
import { Embeddings } from "../services/Embeddings.js"
import { type BackendFactory, Hub } from "../services/Hub.js"
import type { HubConfig, PostgresConfig } from "../services/HubConfig.js"
import { type BackendServices, servicesOf } from "./BackendLayer.js"
import * as HubConfigFile from "./config/HubConfigFile.js"
import * as ConfiguredEmbeddings from "./embeddings/ConfiguredEmbeddings.js"
import * as HubMake from "./HubMake.js"
import * as Sqlite from "./sqlite/Sqlite.js"
import type { SqliteOptions } from "./sqlite/SqliteOptions.js"

/**
 * The engines that a hub opens by their type in the configuration. Drivers other than SQLite's are imported when the
 * first backend of their type is opened.
 *
 * @since 0.1.0
 * @category constants
 */
export const factories: Readonly<Record<string, BackendFactory>> = {
  sqlite: (name, settings) => Sqlite.make({ ...(settings as unknown as SqliteOptions), name }),
  postgresql: (name, settings) =>
    Effect.flatMap(
      Effect.tryPromise({
        try: () => import("./postgres/Postgres.js"),
        catch: () =>
          new DbUnsupported({
            backend: name,
            operation: "Hub.add",
            code: "HUB_DRIVER_MISSING",
            message: "PostgreSQL needs its driver: npm install pg pg-cursor @effect/sql-pg@0.53"
          })
      }),
      (Postgres) => Postgres.make({ ...Postgres.optionsOf(settings as unknown as PostgresConfig), name })
    )
}

/** What the hub is made from: the name `memory` answers with the primary unless it has a backend of its own. */
const optionsOf = ({ connections, primary }: HubConfig): HubMake.HubOptions => ({
  primary,
  connections,
  aliases: "memory" in connections ? {} : { memory: "primary" },
  factories
})

/**
 * What a hub provides: itself, the services of its primary, and the embedding model.
 *
 * @since 0.1.0
 * @category models
 */
export type HubServices = Hub | BackendServices | Embeddings

/**
 * A hub, and the services of its primary, from a configuration.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (config: HubConfig): Layer.Layer<HubServices, DbError> =>
  Layer.scopedContext(
    Effect.gen(function* () {
      const hub = yield* HubMake.make(optionsOf(config))
      const embeddings = yield* ConfiguredEmbeddings.make(config.embeddings, hub.primary)
      return servicesOf(hub.primary).pipe(Context.add(Hub, hub), Context.add(Embeddings, embeddings))
    })
  )

/**
 * A hub from a configuration file (YAML, TOML or JSON).
 *
 * @since 0.1.0
 * @category layers
 */
export const layerFile = (file?: string): Layer.Layer<HubServices, DbError> =>
  Layer.unwrapEffect(Effect.map(HubConfigFile.resolve(file), layer)).pipe(
    Layer.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer))
  )

/**
 * A hub from `db-hub.yaml`, `.yml`, `.toml` or `.json` in the working directory, else from `DATABASE_URL`, else SQLite
 * in `./data/hub.db`.
 *
 * @since 0.1.0
 * @category layers
 */
export const HubLive: Layer.Layer<HubServices, DbError> = layerFile()
