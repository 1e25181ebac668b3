/**
 * PostgreSQL with pgvector: a server of one's own, Supabase, or what stands behind PgBouncer.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type DbError, DbUnsupported } from "../../errors/index.js"
import { hubMigrations } from "../../migrations/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { type BackendServices, fromBackend } from "../BackendLayer.js"
import { schemaOf } from "../Introspection.js"
import * as SqlMigrator from "../SqlMigrator.js"
import * as PostgresClient from "./PostgresClient.js"
import { dialect } from "./PostgresDialect.js"
import * as PostgresHealth from "./PostgresHealth.js"
import { type PostgresOptions, resolve } from "./PostgresOptions.js"
import * as PostgresSchema from "./PostgresSchema.js"
import * as PostgresVectorStore from "./PostgresVectorStore.js"

/**
 * Opens a pool; it is closed with the scope, after what still runs in it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: PostgresOptions): Effect.Effect<BackendShape, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const resolved = yield* resolve(options)
    const client = yield* Effect.provide(PostgresClient.make(resolved), Reactivity.layer)
    const basics = { ...client, name: resolved.name, dialect }
    const migrator = SqlMigrator.make(basics, hubMigrations, "hub")
    if (resolved.migrate) yield* migrator.migrate()
    return {
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
      query: client.query,
      execute: client.execute,
      stream: client.stream,
      transaction: client.transaction,
      readOnly: client.readOnly,
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
      migrator,
      health: PostgresHealth.make(client, migrator)
    } satisfies BackendShape
  })

/**
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: PostgresOptions): Layer.Layer<BackendServices, DbError> => fromBackend(make(options))
