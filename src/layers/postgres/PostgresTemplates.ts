/**
 * The connections that templates run on: one that goes where the fibre is, and one that is reserved.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { DbError } from "../../errors/index.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import type { Pool } from "./PostgresPool.js"
import { needsSessionError } from "./PostgresRequests.js"
import * as Session from "./PostgresSession.js"
import type { Statements } from "./PostgresStatements.js"
import type { Streams } from "./PostgresStreams.js"
import type { Transactions } from "./PostgresTransactions.js"

const connectionOf = (run: Statements["run"], stream: SqlTemplates.Runner["stream"]): Connection =>
  SqlTemplates.connection({
    rows: (sql, params, { prepare }) =>
      Effect.map(run("execute", sql, params, { portable: false, prepare }), ({ rows }) => rows),
    raw: (sql, params) => run("executeRaw", sql, params, { portable: false }),
    values: (sql, params) =>
      Effect.map(
        run("executeValues", sql, params, { portable: false, rowMode: "array" }),
        ({ rows }) => rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>
      ),
    stream
  })

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  pool: Pool,
  transactions: Transactions,
  statements: Statements,
  streams: Streams
): Effect.Effect<SqlClient, never, Reactivity.Reactivity> => {
  const { at, options } = pool
  const ambient = connectionOf(statements.run, (sql, params) => streams.stream(sql, params, false))

  const reserved = (session: Session.Session): Connection => {
    const run: Statements["run"] = (operation, sql, params, form) =>
      Effect.flatMap(statements.prepare(operation, sql, params, form), ({ request }) =>
        Session.run(session, request, at(operation), "unknown")
      )
    return connectionOf(run, (sql, params) =>
      // The reserved connection may be in a transaction or not: whole, since a cursor needs one.
      Stream.unwrap(
        Effect.map(run("stream", sql, params, { portable: false }), ({ rows }) => Stream.fromIterable(rows))
      )
    )
  }

  const reserve = Effect.withFiberRuntime<Connection, DbError, Scope.Scope>((fiber) => {
    if (transactions.of(fiber) !== undefined) return Effect.succeed(ambient)
    if (options.pooler === "transaction") {
      return Effect.fail(needsSessionError(at("reserve"), "A reserved connection"))
    }
    return Session.acquire(pool, at("reserve"), options.acquireTimeout).pipe(
      Effect.tap((session) => Effect.addFinalizer(() => Session.undo(session, "ROLLBACK"))),
      Effect.map(reserved)
    )
  })

  return SqlTemplates.client({
    ambient,
    reserve,
    transaction: transactions.transaction,
    compiler: PgClient.makeCompiler(),
    spanAttributes: [
      ["db.system.name", "postgresql"],
      ["db.namespace", options.database],
      ["server.address", options.host],
      ["server.port", options.port]
    ]
  })
}
