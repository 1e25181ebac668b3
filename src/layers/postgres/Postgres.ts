/**
 * PostgreSQL with pgvector: a server of one's own, Supabase, or what stands behind PgBouncer.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { type DbError, DbUnsupported } from "../../errors/index.js"
import { hubMigrations } from "../../migrations/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { PostgresConfig } from "../../services/HubConfig.js"
import { type BackendServices, configured, servicesOf } from "../BackendLayer.js"
import { pause } from "../EventLoop.js"
import { schemaOf } from "../sql/Introspection.js"
import * as SqlMigrator from "../sql/SqlMigrator.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as SqlTextStore from "../sql/SqlTextStore.js"
import * as PostgresAgentSql from "./PostgresAgentSql.js"
import * as PostgresClient from "./PostgresClient.js"
import * as Dedicated from "./PostgresDedicated.js"
import { dialect } from "./PostgresDialect.js"
import * as PostgresHealth from "./PostgresHealth.js"
import * as PostgresListen from "./PostgresListen.js"
import { type PostgresOptions, poolers, type ResolvedPostgresOptions, resolve, sslModes } from "./PostgresOptions.js"
import * as OwnTables from "./PostgresOwnTables.js"
import { needsSessionError } from "./PostgresRequests.js"
import * as PostgresSchema from "./PostgresSchema.js"
import * as PostgresTextStore from "./PostgresTextStore.js"
import * as PostgresVectorStore from "./PostgresVectorStore.js"

/**
 * What PostgreSQL has and other engines have not.
 *
 * @since 0.1.0
 * @category tags
 */
export class Channels extends Context.Tag("effect-db-hub/PostgresChannels")<
  Channels,
  {
    /** The messages of a channel; a `Gap` says that some may have been missed. */
    readonly listen: (channel: string) => Stream.Stream<PostgresListen.Notification, DbError>
    /** Sends a message to all who listen; inside a transaction when that is committed. */
    readonly notify: (channel: string, payload?: string) => Effect.Effect<void, DbError>
  }
>() {}

/** Milliseconds between two looks at whether the other process is done. */
const turnInterval = 100

/**
 * A lock of a session, asked for again and again: who waited for it inside a statement would hold up the very
 * `CREATE INDEX CONCURRENTLY` that he waits for.
 */
const alone =
  (client: PostgresClient.PostgresClient) =>
  <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | DbError> => {
    const context = { backend: client.options.name, operation: "migrate" }
    if (client.options.pooler === "transaction") {
      return Effect.fail(needsSessionError(context, "A migration step outside of a transaction"))
    }
    return Effect.scoped(
      Effect.gen(function* () {
        const connection = yield* Dedicated.connect(client, context)
        const text = "SELECT pg_try_advisory_lock(7234201530119) AS mine"
        while ((yield* Dedicated.run(connection, context, { text })).rows[0]?.["mine"] !== true)
          yield* pause(turnInterval)
        return yield* effect
      })
    )
  }

/** Connections that write for agents at once. */
const agentWriters = 2

const dedicated = (client: PostgresClient.PostgresClient) =>
  Effect.map(PostgresClient.make({ ...client.options, maxOpenConns: agentWriters, once: true }), (writing) => {
    client.pools.add(writing.pool)
    return { ...SqlTemplates.tracedStatements("postgresql", writing), transaction: writing.transaction }
  }).pipe(Effect.provide(Reactivity.layer))

/** @internal */
export interface Opened {
  readonly backend: BackendShape
  readonly channels: Context.Tag.Service<Channels>
}

const open = (options: PostgresOptions): Effect.Effect<Opened, DbError, Scope.Scope> =>
  Effect.flatMap(resolve(options), openResolved)

/** @internal */
export const openResolved = (resolved: ResolvedPostgresOptions): Effect.Effect<Opened, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const client = yield* Effect.provide(PostgresClient.make(resolved), Reactivity.layer)
    yield* client.connect
    const basics = { ...client, name: resolved.name, dialect, alone: alone(client) }
    const text = SqlTextStore.make(basics, PostgresTextStore.make(client))
    const migrator = SqlMigrator.make({ ...basics, text }, hubMigrations, "hub")
    if (resolved.migrate) yield* migrator.migrate()
    const backend: BackendShape = {
      name: resolved.name,
      kind: "postgresql",
      dialect,
      capabilities: {
        concurrentReads: true,
        persistent: true,
        vector: true,
        backup: false,
        writable: !resolved.readOnly
      },
      sql: client.sql,
      ...SqlTemplates.tracedStatements("postgresql", client),
      stream: client.stream,
      transaction: client.transaction,
      alone: basics.alone,
      // What is spoken with through a stream has one session.
      ...(resolved.stream === undefined ? { dedicated: yield* dedicated(client) } : {}),
      readOnly: client.readOnly,
      agentSql: PostgresAgentSql.make(client),
      watchOwnTables: OwnTables.watch(resolved.name),
      schema: schemaOf(resolved.name, (internal) => PostgresSchema.describe(client, { internal })),
      backup: () =>
        Effect.fail(
          new DbUnsupported({
            backend: resolved.name,
            operation: "backup",
            code: "HUB_BACKUP",
            message: "A server is backed up on its own side: use pg_dump, pg_basebackup or the host's backups"
          })
        ),
      vector: yield* PostgresVectorStore.make(client),
      text,
      migrator,
      health: PostgresHealth.make(client, migrator)
    }
    return {
      backend,
      channels: {
        listen: (channel) => PostgresListen.listen(client, channel),
        notify: (channel, payload) => PostgresListen.notify(client, channel, payload)
      }
    }
  })

/**
 * Opens a pool; it is closed with the scope, after what still runs in it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: PostgresOptions): Effect.Effect<BackendShape, DbError, Scope.Scope> =>
  Effect.map(open(options), ({ backend }) => backend)

/**
 * The options that a configuration stands for.
 *
 * @since 0.1.0
 * @category constructors
 */
export const optionsOf = (config: PostgresConfig): PostgresOptions => {
  const { database, host, port, supabasePoolerHost, supabaseUrl, user, vector, ...rest } = config
  const address =
    supabaseUrl === undefined
      ? { host, port, database, user }
      : {
          supabase: {
            url: supabaseUrl,
            mode: config.pooler === "none" ? ("direct" as const) : config.pooler,
            ...(supabasePoolerHost === undefined ? {} : { poolerHost: supabasePoolerHost })
          }
        }
  return {
    ...rest,
    ...address,
    vector: {
      index: vector.indexType,
      indexAfter: vector.indexAfter,
      m: vector.hnswM,
      efConstruction: vector.hnswEfConstruction,
      efSearch: vector.hnswEfSearch,
      ...(vector.ivfLists === undefined ? {} : { lists: vector.ivfLists })
    }
  }
}

/**
 * A PostgreSQL server, and its channels; the pool is open as long as the layer is. `InvalidInput` for options out of
 * range.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: PostgresOptions): Layer.Layer<BackendServices | Channels, DbError> =>
  Layer.scopedContext(
    Effect.map(open(options), ({ backend, channels }) => Context.add(servicesOf(backend), Channels, channels))
  )

/**
 * As `layer`, with options from the configuration of the program; `ConfigError` names the key that is missing or cannot
 * be read.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = (
  config: Config.Config.Wrap<PostgresOptions>
): Layer.Layer<BackendServices | Channels, DbError> => Layer.unwrapEffect(Effect.map(configured(config), layer))

const optional = <K extends string, A>(key: K, config: Config.Config<A>): Config.Config<{ readonly [_ in K]?: A }> =>
  Config.map(Config.option(config), (found) =>
    Option.match(found, {
      onNone: () => ({}),
      onSome: (value) => ({ [key]: value }) as { readonly [_ in K]?: A }
    })
  )

/**
 * PostgreSQL as the environment configures it: `DB_HUB_POSTGRES_URL`, or `DB_HUB_POSTGRES_HOST`, `_PORT`, `_DATABASE`,
 * `_USER` and `_PASSWORD`; and `_SSL_MODE`, `_SSL_CA_FILE`, `_POOLER`, `_MAX_OPEN_CONNS`, `_STATEMENT_TIMEOUT` and
 * `_LOCK_TIMEOUT` (milliseconds), `_SEARCH_PATH`.
 *
 * @since 0.1.0
 * @category layers
 */
export const PostgresLive: Layer.Layer<BackendServices | Channels, DbError> = layerConfig(
  Config.map(
    Config.all([
      optional("url", Config.redacted("DB_HUB_POSTGRES_URL")),
      optional("host", Config.string("DB_HUB_POSTGRES_HOST")),
      optional("port", Config.integer("DB_HUB_POSTGRES_PORT")),
      optional("database", Config.string("DB_HUB_POSTGRES_DATABASE")),
      optional("user", Config.string("DB_HUB_POSTGRES_USER")),
      optional("password", Config.redacted("DB_HUB_POSTGRES_PASSWORD")),
      optional("sslMode", Config.literal(...sslModes)("DB_HUB_POSTGRES_SSL_MODE")),
      optional("sslCaFile", Config.string("DB_HUB_POSTGRES_SSL_CA_FILE")),
      optional("pooler", Config.literal(...poolers)("DB_HUB_POSTGRES_POOLER")),
      optional("maxOpenConns", Config.integer("DB_HUB_POSTGRES_MAX_OPEN_CONNS")),
      optional("statementTimeout", Config.integer("DB_HUB_POSTGRES_STATEMENT_TIMEOUT")),
      optional("lockTimeout", Config.integer("DB_HUB_POSTGRES_LOCK_TIMEOUT")),
      optional("searchPath", Config.string("DB_HUB_POSTGRES_SEARCH_PATH"))
    ]),
    (parts) => Object.assign({}, ...parts) as PostgresOptions
  )
)
