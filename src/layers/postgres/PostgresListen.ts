/**
 * `LISTEN` and `NOTIFY`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { DbConnection, type DbError, DbTimeout, type ErrorContext } from "../../errors/index.js"
import type { PostgresClient } from "./PostgresClient.js"
import type { Connection } from "./PostgresConnection.js"
import * as Dedicated from "./PostgresDedicated.js"
import { dialect } from "./PostgresDialect.js"
import { needsSessionError } from "./PostgresRequests.js"

/**
 * What a listener is told: a message, or that the connection was lost and is back, so that messages sent in between are
 * gone: read what you keep up to date anew.
 *
 * @since 0.1.0
 * @category models
 */
export type Notification =
  | { readonly _tag: "Message"; readonly channel: string; readonly payload: string }
  | { readonly _tag: "Gap" }

/** A connection may die without a word; a silent one is asked after this long. */
const heartbeat = "20 seconds"

/** How long it may take to answer. */
const answerTime = "5 seconds"

/** The server may be away for minutes. */
const reconnectSchedule = Schedule.exponential("50 millis").pipe(
  Schedule.union(Schedule.spaced("5 seconds")),
  Schedule.jittered
)

const lost = (context: ErrorContext): DbConnection =>
  new DbConnection({ ...context, code: "HUB_CONNECTION_LOST", retryable: true, message: "The connection was lost" })

/** Fails when the connection is of no more use. */
const watch = (connection: Connection, context: ErrorContext): Effect.Effect<never, DbError> => {
  const ended = Effect.async<never, DbError>((resume) => {
    const end = () => resume(Effect.fail(lost(context)))
    connection.once("end", end)
    if (connection.failure !== undefined) end()
    return Effect.sync(() => connection.off("end", end))
  })
  const beat = Dedicated.run(connection, context, { text: "SELECT 1" }).pipe(
    Effect.timeoutFail({
      duration: answerTime,
      onTimeout: () => new DbTimeout({ ...context, code: "HUB_TIMEOUT", message: "The server does not answer" })
    }),
    Effect.delay(heartbeat),
    Effect.forever
  )
  return Effect.raceFirst(ended, beat)
}

/**
 * The messages of a channel, from the moment the first is awaited. Fails only if the first connection does; a later one
 * that is lost is made again.
 *
 * @since 0.1.0
 * @category listening
 */
export const listen = (client: PostgresClient, channel: string): Stream.Stream<Notification, DbError> => {
  const context: ErrorContext = { backend: client.options.name, operation: "listen" }
  if (client.options.pooler === "transaction") return Stream.fail(needsSessionError(context, "LISTEN"))
  return Stream.asyncPush<Notification, DbError>(
    (emit) => {
      const session = (connected: Effect.Effect<void>) =>
        Effect.scoped(
          Effect.gen(function* () {
            const connection = yield* Dedicated.connect(client, context)
            connection.on("notification", ({ channel, payload = "" }) => {
              emit.single({ _tag: "Message", channel, payload })
            })
            yield* Dedicated.run(connection, context, { text: `LISTEN ${dialect.quoteIdentifier(channel)}` })
            yield* connected
            return yield* watch(connection, context)
          })
        )
      return Effect.gen(function* () {
        let first = true
        const connected = Effect.sync(() => {
          if (!first) emit.single({ _tag: "Gap" })
          first = false
        })
        yield* session(connected).pipe(
          Effect.retry({ schedule: reconnectSchedule, while: () => !first }),
          Effect.catchAll((error) => Effect.sync(() => emit.fail(error))),
          Effect.forkScoped
        )
      })
    },
    { bufferSize: "unbounded" }
  )
}

/**
 * Sends a message to all who listen; inside a transaction when that is committed.
 *
 * @since 0.1.0
 * @category listening
 */
export const notify = (client: PostgresClient, channel: string, payload = ""): Effect.Effect<void, DbError> =>
  Effect.asVoid(client.query("SELECT pg_notify(?, ?)", [channel, payload]))
