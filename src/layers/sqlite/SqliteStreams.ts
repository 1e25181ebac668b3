/**
 * Statements whose rows are read as they are asked for.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { DbError } from "../../errors/index.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as Connections from "./SqliteConnection.js"
import * as Cursor from "./SqliteCursor.js"
import type { Handles } from "./SqliteHandles.js"
import * as Open from "./SqliteOpen.js"
import * as Reads from "./SqliteReads.js"
import type { Statements } from "./SqliteStatements.js"
import type { Transactions } from "./SqliteTransactions.js"
import * as Values from "./SqliteValues.js"

type Rows = Stream.Stream<Record<string, unknown>, DbError>

/**
 * @since 0.1.0
 * @category models
 */
export interface Streams {
  /** Rows by the declared types of their columns, or as SQLite has them. */
  readonly stream: (sql: string, params: ReadonlyArray<unknown>, decode: boolean) => Rows
  /** Handles that streams have open now. */
  readonly openHandles: () => number
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (handles: Handles, transactions: Transactions, statements: Statements): Streams => {
  const { at, isClosed, options, reads, toError, writer } = handles
  const cursor = Cursor.make(handles)
  let open = 0
  const counted = Effect.acquireRelease(
    Effect.sync(() => {
      open++
    }),
    () =>
      Effect.sync(() => {
        open--
      })
  )

  return {
    stream: (sql, params, decode) =>
      Stream.unwrapScoped(
        Effect.withFiberRuntime<Rows, DbError, Scope.Scope>((fiber) => {
          const transaction = transactions.of(fiber)
          if (isClosed() && transaction === undefined) return Effect.fail(SqlTemplates.databaseClosed(at("stream")))
          try {
            const values = Values.encode(params, options.name)
            const mayRead = options.readOnly ? Reads.mayRead(sql) : reads.prepare(sql) !== undefined
            if (transaction === undefined && mayRead) {
              return Effect.map(Effect.zipRight(counted, Open.handle(options, true)), (db) =>
                cursor(db, sql, values, decode)
              )
            }
            if (transaction !== undefined) {
              const prepared = writer.prepare(sql)
              if (prepared.reader && prepared.readonly) {
                const read: Cursor.Owner["read"] = (next) => transactions.attempt(transaction, "stream", next)
                return Effect.succeed(cursor(writer.db, sql, values, decode, { cursors: transaction.cursors, read }))
              }
            }
            // What writes, or lives in memory or in the writing connection, is small or must run at once.
            const rows = statements.run<ReadonlyArray<Record<string, unknown>>>(
              "stream",
              sql,
              params,
              decode ? statements.typed : Connections.rawRows
            )
            return Effect.map(rows, Stream.fromIterable)
          } catch (cause) {
            return Effect.fail(toError(cause, "stream"))
          }
        })
      ),
    openHandles: () => open
  }
}
