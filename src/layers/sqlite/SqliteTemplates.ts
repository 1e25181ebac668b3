/**
 * The connections that templates run on: one that goes where the fibre is, and one that is reserved.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import type { SqlClient } from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Statement from "@effect/sql/Statement"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type DbError, DbLocked, type ErrorContext } from "../../errors/index.js"
import { nextTurn } from "../EventLoop.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as Connections from "./SqliteConnection.js"
import * as Cursor from "./SqliteCursor.js"
import type { Handles } from "./SqliteHandles.js"
import type { Statements } from "./SqliteStatements.js"
import type { Streams } from "./SqliteStreams.js"
import type { Transactions } from "./SqliteTransactions.js"
import * as Values from "./SqliteValues.js"

/** A reservation of the writer. */
interface Lease {
  over: boolean
  /** What closes the statements that streams have open in it. */
  readonly cursors: Set<() => void>
}

/** Templates see values as SQLite has them. */
const connectionOf = (run: Statements["run"], stream: SqlTemplates.Runner["stream"]): Connection =>
  SqlTemplates.connection({
    rows: (sql, params, { safeIntegers }) =>
      run("execute", sql, params, (prepared, values) => Connections.rawRows(prepared, values, safeIntegers)),
    raw: (sql, params) =>
      run("executeRaw", sql, params, (prepared, values) =>
        prepared.reader ? Connections.rawRows(prepared, values) : Connections.runStatement(prepared, values)
      ),
    values: (sql, params) => run("executeValues", sql, params, Connections.valueRows),
    stream
  })

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  handles: Handles,
  transactions: Transactions,
  statements: Statements,
  streams: Streams
): Effect.Effect<SqlClient, never, Reactivity.Reactivity> => {
  const { at, lane, options, reads, retryBusy, turn, writer } = handles
  const cursor = Cursor.make(handles)
  const ambient = connectionOf(statements.run, (sql, params) => streams.stream(sql, params, false))

  /** Whoever reserved the lane works on the writing connection, until it is given back. */
  const reserved = (lease: Lease): Connection => {
    const held = <A>(operation: string, attempt: () => A): Effect.Effect<A, DbError> =>
      Effect.suspend(() => {
        const run = retryBusy(operation, () => {
          if (lease.over) throw leaseOver(at(operation))
          return attempt()
        })
        return turn.isOver() ? Effect.zipRight(nextTurn, run) : run
      })
    return connectionOf(
      (operation, sql, params, use) =>
        held(operation, () => {
          const prepared = writer.prepare(sql)
          const result = use(prepared, Values.encode(params, options.name))
          if (prepared.definition) reads.afterDefinition()
          return result
        }),
      (sql, params) =>
        Stream.unwrap(
          Effect.map(
            held("stream", () => Values.encode(params, options.name)),
            (values) =>
              cursor(writer.db, sql, values, false, { cursors: lease.cursors, read: (next) => held("stream", next) })
          )
        )
    )
  }

  const reserve = Effect.withFiberRuntime<Connection, DbError, Scope.Scope>((fiber) => {
    if (transactions.of(fiber) !== undefined) return Effect.succeed(ambient)
    const lease: Lease = { over: false, cursors: new Set() }
    return lane.holdScoped(at("reserve"), options.busyTimeout).pipe(
      Effect.zipRight(
        Effect.addFinalizer(() => {
          lease.over = true
          for (const closeCursor of lease.cursors) closeCursor()
          return Effect.ignore(transactions.undo("reserve", "ROLLBACK"))
        })
      ),
      Effect.as(reserved(lease))
    )
  })

  return SqlTemplates.client({
    ambient,
    reserve,
    transaction: transactions.transaction,
    compiler: Statement.makeCompilerSqlite(),
    spanAttributes: [["db.system.name", "sqlite"]]
  })
}

const leaseOver = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_RESERVE_OVER",
    retryable: false,
    message: "The scope that reserved this connection has closed: reserve it again"
  })
