/**
 * SQLite, the default engine: embedded, in one file, nothing to install.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { DbError } from "../../errors/index.js"
import { hubMigrations } from "../../migrations/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { type BackendServices, configured, fromBackend } from "../BackendLayer.js"
import { schemaOf } from "../sql/Introspection.js"
import * as SqlMigrator from "../sql/SqlMigrator.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as SqlTextStore from "../sql/SqlTextStore.js"
import * as SqliteAgentSql from "./SqliteAgentSql.js"
import { backup } from "./SqliteBackup.js"
import * as SqliteClient from "./SqliteClient.js"
import { dialect } from "./SqliteDialect.js"
import * as SqliteHealth from "./SqliteHealth.js"
import { journalModes, resolve, type SqliteOptions, synchronousLevels } from "./SqliteOptions.js"
import { sharing } from "./SqlitePrimaryLock.js"
import * as SqliteSchema from "./SqliteSchema.js"
import * as SqliteTextStore from "./SqliteTextStore.js"
import * as SqliteVectorStore from "./SqliteVectorStore.js"

/**
 * Opens a database; it is closed with the scope, after what still runs in it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: SqliteOptions): Effect.Effect<BackendShape, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const resolved = yield* resolve(options)
    const client = yield* Effect.provide(SqliteClient.make(resolved), Reactivity.layer)
    const basics = { ...client, name: resolved.name, dialect }
    const text = SqlTextStore.make(basics, SqliteTextStore.make(client, resolved.name))
    const migrator = SqlMigrator.make({ ...basics, text }, hubMigrations, "hub")
    if (resolved.migrate) yield* migrator.migrate()
    const memory = resolved.path === ":memory:"
    return {
      name: resolved.name,
      kind: "sqlite",
      dialect,
      capabilities: {
        concurrentReads: !memory,
        persistent: !memory,
        vector: true,
        backup: true,
        writable: !resolved.readOnly
      },
      sql: client.sql,
      ...SqlTemplates.tracedStatements("sqlite", client.ofFiber),
      stream: client.stream,
      transaction: client.transaction,
      readOnly: client.readOnly,
      agentSql: SqliteAgentSql.make(client),
      watchOwnTables: SqliteAgentSql.watchOwnTables(client),
      schema: schemaOf(resolved.name, (internal) => SqliteSchema.describe(client, { internal })),
      backup: backup(client),
      ...(memory ? {} : { sharing: yield* sharing(client) }),
      vector: yield* SqliteVectorStore.make(client, {
        memoryBytes: resolved.vectorMemory,
        graphFrom: resolved.vectorIndex === "exact" ? Number.POSITIVE_INFINITY : resolved.vectorGraphFrom,
        recall: resolved.vectorRecall
      }),
      text,
      migrator,
      health: SqliteHealth.make(client, migrator)
    } satisfies BackendShape
  })

/**
 * A SQLite file, open as long as the layer is. `InvalidInput` for options out of range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: SqliteOptions): Layer.Layer<BackendServices, DbError> => fromBackend(make(options))

/**
 * As `layer`, with options from the configuration of the program; `ConfigError` names the key that is missing or cannot
 * be read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (config: Config.Config.Wrap<SqliteOptions>): Layer.Layer<BackendServices, DbError> =>
  Layer.unwrapEffect(Effect.map(configured(config), layer))

/**
 * SQLite as the environment configures it: `DB_HUB_SQLITE_PATH` (default `./data/hub.db`),
 * `DB_HUB_SQLITE_JOURNAL_MODE`, `DB_HUB_SQLITE_SYNCHRONOUS`, `DB_HUB_SQLITE_FOREIGN_KEYS`,
 * `DB_HUB_SQLITE_BUSY_TIMEOUT` (milliseconds).
 *
 * @since 0.1.0
 * @category layers
 */
export const SqliteLive: Layer.Layer<BackendServices, DbError> = layerConfig({
  path: Config.withDefault(Config.string("DB_HUB_SQLITE_PATH"), "./data/hub.db"),
  journalMode: Config.withDefault(Config.literal(...journalModes)("DB_HUB_SQLITE_JOURNAL_MODE"), "WAL" as const),
  synchronous: Config.withDefault(Config.literal(...synchronousLevels)("DB_HUB_SQLITE_SYNCHRONOUS"), "NORMAL" as const),
  foreignKeys: Config.withDefault(Config.boolean("DB_HUB_SQLITE_FOREIGN_KEYS"), true),
  busyTimeout: Config.withDefault(Config.integer("DB_HUB_SQLITE_BUSY_TIMEOUT"), 5_000)
})

/**
 * A database in memory that dies with the layer, for tests.
 *
 * @since 0.1.0
 * @category layers
 */
export const SqliteMemory: Layer.Layer<BackendServices, DbError> = layer({ path: ":memory:" })
