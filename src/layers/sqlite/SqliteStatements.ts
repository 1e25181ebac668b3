/**
 * One statement, where it belongs: in the transaction of its fibre, on the reading handle, or on the writing one, in its
 * turn.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape, ExecuteResult, Row } from "../../services/Backend.js"
import { nextTurn } from "../EventLoop.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as Connections from "./SqliteConnection.js"
import type { Handles } from "./SqliteHandles.js"
import type { Transaction, Transactions } from "./SqliteTransactions.js"
import * as Values from "./SqliteValues.js"

/**
 * What becomes of a statement and its values, as SQLite takes them.
 *
 * @since 0.1.0
 * @category models
 */
export type Use<A> = (prepared: Connections.Prepared, values: ReadonlyArray<unknown>) => A

/**
 * @since 0.1.0
 * @category models
 */
export interface Statements extends Pick<BackendShape, "query" | "execute"> {
  /**
   * As `query`, for a fiber that is in no transaction, and at once, so that the effect is mostly done already. For use where
   * it is about to run.
   */
  readonly queryOutside: BackendShape["query"]
  /** The same, at once, for the fiber that is about to run them. */
  readonly ofFiber: SqlTemplates.FiberStatements
  readonly run: <A>(
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>,
    use: Use<A>
  ) => Effect.Effect<A, DbError>
  /** Rows by the declared types of their columns. */
  readonly typed: Use<ReadonlyArray<Row>>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (handles: Handles, transactions: Transactions): Statements => {
  const { at, isClosed, lane, options, reads, retryBusy, toError, turn, writer } = handles

  const autocommit = <A>(operation: string, attempt: () => A): Effect.Effect<A, DbError> => {
    const alone = () => {
      Connections.rollBackStray(writer.db)
      return attempt()
    }
    const waiting = () => lane.hold(at(operation), options.busyTimeout, retryBusy(operation, alone))
    if (lane.isHeld()) return waiting()
    try {
      return Effect.succeed(alone())
    } catch (cause) {
      const error = toError(cause, operation)
      return error._tag === "DbBusy" ? waiting() : Effect.fail(error)
    }
  }

  const runNow = <A>(
    transaction: Transaction | undefined,
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>,
    use: Use<A>
  ): Effect.Effect<A, DbError> => {
    if (turn.isOver()) {
      return Effect.zipRight(
        nextTurn,
        Effect.suspend(() => runNow(transaction, operation, sql, params, use))
      )
    }
    if (isClosed() && transaction === undefined) return Effect.fail(SqlTemplates.databaseClosed(at(operation)))
    try {
      const values = Values.encode(params, options.name)
      const write = () => {
        const prepared = writer.prepare(sql)
        if (prepared.control) throw Connections.controlRefused(at(operation))
        const result = use(prepared, values)
        if (prepared.definition) reads.afterDefinition()
        return result
      }
      if (transaction !== undefined) return transactions.attemptAlone(transaction, operation, write)
      const reading = reads.prepare(sql)
      if (reading === undefined) return autocommit(operation, write)
      try {
        return Effect.succeed(use(reading, values))
      } catch (cause) {
        const error = toError(cause, operation)
        return error._tag === "DbBusy" ? retryBusy(operation, () => use(reading, values)) : Effect.fail(error)
      }
    } catch (cause) {
      return Effect.fail(toError(cause, operation))
    }
  }

  const run: Statements["run"] = (operation, sql, params, use) =>
    Effect.withFiberRuntime((fiber) => runNow(transactions.of(fiber), operation, sql, params, use))

  const reading = at("query")
  // A row of a RETURNING clause that cannot be read has been written.
  const writing = { ...reading, applied: "yes" as const }
  const typed: Use<ReadonlyArray<Row>> = (prepared, values) =>
    Connections.typedRows(prepared, values, prepared.readonly ? reading : writing)

  const executed: Use<ExecuteResult> = (prepared, values) => {
    if (prepared.reader) {
      const rows = typed(prepared, values)
      return { rowsAffected: prepared.readonly ? 0 : rows.length, lastInsertId: null, rows }
    }
    const { changes, lastInsertRowid } = Connections.runStatement(prepared, values)
    const inserted = changes > 0 && prepared.inserts
    return { rowsAffected: changes, lastInsertId: inserted ? lastInsertRowid : null, rows: [] }
  }

  const written: Use<void> = (prepared, values) => {
    if (prepared.reader) typed(prepared, values)
    else prepared.statement.run(...values)
  }

  return {
    ofFiber: {
      query: (sql, params = [], fiber) => runNow(transactions.of(fiber), "query", sql, params, typed),
      execute: (sql, params = [], fiber) => runNow(transactions.of(fiber), "execute", sql, params, executed),
      enqueue: (sql, params = [], fiber) => runNow(transactions.of(fiber), "execute", sql, params, written)
    },
    query: (sql, params = []) => run("query", sql, params, typed),
    queryOutside: (sql, params = []) => runNow(undefined, "query", sql, params, typed),
    execute: (sql, params = []) => run("execute", sql, params, executed),
    run,
    typed
  }
}
