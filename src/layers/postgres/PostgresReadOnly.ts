/**
 * One statement that only reads, whatever it says, and some of its rows.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import * as ReadOnly from "../sql/ReadOnly.js"
import type { Request, Result } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"
import * as Requests from "./PostgresRequests.js"
import * as Session from "./PostgresSession.js"
import type { Statements } from "./PostgresStatements.js"
import type { Transaction, Transactions } from "./PostgresTransactions.js"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (pool: Pool, transactions: Transactions, statements: Statements): BackendShape["readOnly"] => {
  const context = pool.at("readOnly")

  const readRows = (
    run: (request: Request) => Effect.Effect<Result, DbError>,
    { request, text }: Requests.Prepared,
    maxRows: number
  ): Effect.Effect<Result, DbError> => {
    if (!text.cursor) return run({ ...request, prepare: false, rowMode: "array" })
    const declare = {
      ...request,
      prepare: false,
      text: `DECLARE hub_read NO SCROLL CURSOR FOR ${request.text}`
    }
    return run(declare).pipe(
      // A cursor refuses what writes by itself, before the transaction does.
      Effect.mapError((error) => (error.code === "0A000" ? Requests.notReading(context) : error)),
      Effect.zipRight(run({ text: `FETCH FORWARD ${maxRows + 1} FROM hub_read`, rowMode: "array" }))
    )
  }

  const readOutside = (prepared: Requests.Prepared, maxRows: number): Effect.Effect<Result, DbError> =>
    Effect.scoped(
      Effect.flatMap(
        // Locks of the session outlive the transaction, and the pool's next user.
        Session.begin(pool, context, "BEGIN READ ONLY", () => "ROLLBACK; SELECT pg_advisory_unlock_all()"),
        (session) => readRows((request) => Session.run(session, request, context, "no"), prepared, maxRows)
      )
    )

  /** In the fiber's own transaction, in a savepoint that is always undone, so that it is read-only only for this. */
  const readInside = (
    outer: Transaction,
    prepared: Requests.Prepared,
    maxRows: number
  ): Effect.Effect<Result, DbError> => {
    const run = (request: Request) => transactions.run(outer, "readOnly", request)
    const body = Effect.zipRight(
      run({ text: "SAVEPOINT hub_read; SET LOCAL transaction_read_only = on", simple: true }),
      readRows(run, prepared, maxRows)
    )
    return outer.lane.hold(
      context,
      pool.options.acquireTimeout,
      Effect.ensuring(body, Session.undo(outer.session, "ROLLBACK TO SAVEPOINT hub_read; RELEASE SAVEPOINT hub_read"))
    )
  }

  return (sql, { maxRows = 100, params = [] } = {}) =>
    Effect.withFiberRuntime((fiber) => {
      const refused = ReadOnly.refusedRows(maxRows, context)
      if (refused !== undefined) return Effect.fail(refused)
      const outer = transactions.of(fiber)
      return statements.prepare("readOnly", sql, params, { portable: true }).pipe(
        Effect.filterOrFail(
          ({ text }) => text.cursor || text.verb === "SHOW" || text.verb === "EXPLAIN",
          () => Requests.notReading(context)
        ),
        Effect.flatMap((prepared) =>
          outer === undefined ? readOutside(prepared, maxRows) : readInside(outer, prepared, maxRows)
        ),
        Effect.map(({ fields, rows }) =>
          ReadOnly.resultOf(
            fields.map(({ name }) => name),
            rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>,
            maxRows
          )
        )
      )
    })
}
