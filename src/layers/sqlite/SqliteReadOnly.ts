/**
 * One statement that only reads, whatever it says, and some of its rows.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendShape, ReadOnlyResult } from "../../services/Backend.js"
import * as ReadOnly from "../sql/ReadOnly.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as AllowList from "./SqliteAllowList.js"
import * as Connections from "./SqliteConnection.js"
import type { Handles } from "./SqliteHandles.js"
import type { Transactions } from "./SqliteTransactions.js"
import * as Values from "./SqliteValues.js"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { at, isClosed, lane, options, reader, retryBusy, writer }: Handles,
  transactions: Transactions
): BackendShape["readOnly"] => {
  const context = at("readOnly")

  const firstRows = (
    on: Connections.SqliteConnection,
    sql: string,
    params: ReadonlyArray<unknown>,
    maxRows: number
  ): ReadOnlyResult => {
    const values = Values.encode(params, options.name)
    const guarded = on === writer && !options.readOnly
    if (guarded) writer.db.pragma("query_only = ON")
    try {
      const prepared = Connections.prepareFresh(on.db, sql)
      if (!prepared.reader) throw AllowList.notReading(context)
      const rows = Connections.firstRows(prepared, values, maxRows + 1)
      return ReadOnly.resultOf(prepared.columns, rows, maxRows)
    } finally {
      if (guarded) writer.db.pragma("query_only = OFF")
    }
  }

  return (sql, { maxRows = 100, params = [] } = {}) =>
    Effect.withFiberRuntime((fiber) => {
      const transaction = transactions.of(fiber)
      if (isClosed() && transaction === undefined) return Effect.fail(SqlTemplates.databaseClosed(context))
      const refused = ReadOnly.refusedRows(maxRows, context) ?? AllowList.refusal(sql, context)
      if (refused !== undefined) return Effect.fail(refused)
      if (transaction !== undefined) {
        return transactions.attemptAlone(transaction, "readOnly", () => firstRows(writer, sql, params, maxRows))
      }
      const run = retryBusy("readOnly", () => firstRows(reader, sql, params, maxRows))
      return reader === writer ? lane.hold(context, options.busyTimeout, run) : run
    })
}
