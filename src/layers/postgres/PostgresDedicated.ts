/**
 * Connections outside of the pool, for what keeps one for long and must not take a place from others.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, type ErrorContext, fromPostgres } from "../../errors/index.js"
import type { PostgresClient } from "./PostgresClient.js"
import { Connection } from "./PostgresConnection.js"
import type { Request, Result } from "./PostgresPipeline.js"
import * as Session from "./PostgresSession.js"

/**
 * A connection that goes with the scope. What it runs then is cut off.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connect = (
  client: PostgresClient,
  context: ErrorContext,
  settings: Readonly<Record<string, string>> = {}
): Effect.Effect<Connection, DbError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const config = client.pool.config()
        const startup = client.options.pooler === "none" ? { ...config.startup, ...settings } : config.startup
        const connection = new Connection({ ...config, startup })
        await connection.connect()
        return connection
      },
      catch: (cause) => fromPostgres(cause, context)
    }),
    (connection) => Effect.sync(() => connection.destroy())
  )

/**
 * Runs a statement; interruption cancels it on the server.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (connection: Connection, context: ErrorContext, request: Request): Effect.Effect<Result, DbError> =>
  Effect.mapError(Session.send(connection, request), (cause) => fromPostgres(cause, context))
