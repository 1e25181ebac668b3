/**
 * Statements whose rows are read as they are asked for, through a cursor of the server. It lives in a transaction: the
 * fibre's, or one of its own.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { DbError } from "../../errors/index.js"
import type { Request, Result } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"
import * as Session from "./PostgresSession.js"
import type { Statements } from "./PostgresStatements.js"
import type { Transaction, Transactions } from "./PostgresTransactions.js"

type Rows = Stream.Stream<Record<string, unknown>, DbError>

/**
 * @since 0.1.0
 * @category models
 */
export interface Streams {
  readonly stream: (sql: string, params: ReadonlyArray<unknown>, portable: boolean) => Rows
}

/** Rows that a stream reads in one round trip. */
const streamChunk = 256

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (pool: Pool, transactions: Transactions, statements: Statements): Streams => {
  let cursors = 0

  const cursor = (
    run: (request: Request) => Effect.Effect<Result, DbError>,
    close: (name: string) => Effect.Effect<unknown>,
    request: Request
  ): Rows =>
    Stream.unwrapScoped(
      Effect.gen(function* () {
        const name = `hub_cursor_${++cursors}`
        yield* run({ ...request, text: `DECLARE ${name} NO SCROLL CURSOR FOR ${request.text}`, prepare: false })
        yield* Effect.addFinalizer(() => close(name))
        const fetch = run({ text: `FETCH FORWARD ${streamChunk} FROM ${name}` })
        return Stream.paginateChunkEffect(undefined, () =>
          Effect.map(fetch, ({ rows }) => [
            Chunk.unsafeFromArray(rows),
            rows.length < streamChunk ? Option.none() : Option.some(undefined)
          ])
        )
      })
    )

  const ownCursor = (request: Request): Rows =>
    Stream.unwrapScoped(
      Effect.map(
        Session.begin(pool, pool.at("stream"), transactions.begin, (exit) =>
          Exit.isSuccess(exit) ? "COMMIT" : "ROLLBACK"
        ),
        (session) =>
          cursor(
            (request) => Session.run(session, request, session.at, "no"),
            () => Effect.void,
            request
          )
      )
    )

  const cursorIn = (transaction: Transaction, request: Request): Rows => {
    const run = (request: Request) => transactions.runAlone(transaction, "stream", request)
    const close = (name: string) =>
      Effect.suspend(() =>
        transaction.open && transaction.session.connection.getTransactionStatus() === "T"
          ? run({ text: `CLOSE ${name}` })
          : Effect.void
      )
    return cursor(run, (name) => Effect.ignore(close(name)), request)
  }

  return {
    stream: (sql, params, portable) =>
      Stream.unwrap(
        Effect.withFiberRuntime((fiber) =>
          Effect.flatMap(
            statements.prepare("stream", sql, params, { portable, prepare: false }),
            ({ request, text }): Effect.Effect<Rows, DbError> => {
              if (!text.cursor) {
                // What writes runs whole, as nobody could tell how much of it had been done.
                return Effect.map(statements.run("stream", sql, params, { portable }), ({ rows }) =>
                  Stream.fromIterable(rows)
                )
              }
              const transaction = transactions.of(fiber)
              return Effect.succeed(transaction === undefined ? ownCursor(request) : cursorIn(transaction, request))
            }
          )
        )
      )
  }
}
