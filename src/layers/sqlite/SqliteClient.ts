/**
 * SQLite for fibres: one writer lane, readers that never wait for it, transactions that belong to one client, and
 * errors with types. better-sqlite3 runs the statements; `@effect/sql` compiles the templates.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import type { Database } from "better-sqlite3"
import * as Effect from "effect/Effect"
import type * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import { nextTurn } from "../EventLoop.js"
import type * as Lane from "../Lane.js"
import * as Handles from "./SqliteHandles.js"
import type { ResolvedSqliteOptions } from "./SqliteOptions.js"
import * as ReadOnly from "./SqliteReadOnly.js"
import * as Statements from "./SqliteStatements.js"
import * as Streams from "./SqliteStreams.js"
import * as Templates from "./SqliteTemplates.js"
import * as Transactions from "./SqliteTransactions.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteClient
  extends Pick<BackendShape, "sql" | "query" | "execute" | "stream" | "transaction" | "readOnly"> {
  readonly options: ResolvedSqliteOptions
  /**
   * As `query`, for a fiber that is in no transaction, and at once, so that the effect is mostly done already. For use where
   * it is about to run.
   */
  readonly queryOutside: BackendShape["query"]
  /** The statements of the backend, for the fiber that is about to run them. */
  readonly ofFiber: Statements.Statements["ofFiber"]
  /** A number that changes when anybody commits, asked outside of a transaction; undefined where it cannot be told. */
  readonly version: () => number | undefined
  /** Ends the turn of the event loop if statements and whatever else asks have had their share of it. */
  readonly breathe: Effect.Effect<void>
  readonly beginNow: Sharing["beginNow"]
  readonly savepoint: Sharing["savepoint"]
  readonly inTransaction: Effect.Effect<boolean>
  /** The transaction that a fiber is in. */
  readonly current: FiberRef.FiberRef<unknown>
  /** The writing handle, for what only the driver can do. */
  readonly writer: Database
  /** The reading handle; the same as `writer` where there is only one. */
  readonly reader: Database
  readonly lane: Lane.Lane
  /** Handles open now, streams' included. */
  readonly openHandles: () => number
  /** Handles that a transaction, a reservation or a stream holds now. */
  readonly busyHandles: () => number
  /** The damage that a statement met, if one did. */
  readonly corruption: () => DbError | undefined
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: ResolvedSqliteOptions
): Effect.Effect<SqliteClient, DbError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const handles = yield* Handles.make(options)
    const transactions = Transactions.make(handles)
    const statements = Statements.make(handles, transactions)
    const streams = Streams.make(handles, transactions, statements)
    const { corruption, isClosed, lane, reader, turn, writer } = handles
    const separateReader = reader !== writer

    // A connection is not told of its own commits, and the reader makes none.
    const dataVersion = separateReader ? reader.db.prepare("PRAGMA data_version").pluck() : undefined
    const version = (): number | undefined => {
      try {
        return isClosed() ? undefined : (dataVersion?.get() as number | undefined)
      } catch (_cause) {
        // What is read next fails in the same way, and tells why.
        return undefined
      }
    }

    return {
      options,
      sql: yield* Templates.make(handles, transactions, statements, streams),
      query: statements.query,
      queryOutside: statements.queryOutside,
      ofFiber: statements.ofFiber,
      version,
      breathe: Effect.suspend(() => (turn.isOver() ? nextTurn : Effect.void)),
      execute: statements.execute,
      stream: (sql, params = []) => streams.stream(sql, params, true),
      transaction: transactions.transaction,
      beginNow: transactions.beginNow,
      savepoint: transactions.savepoint,
      inTransaction: Effect.withFiberRuntime((fiber) => Effect.succeed(transactions.of(fiber) !== undefined)),
      current: transactions.current,
      readOnly: ReadOnly.make(handles, transactions),
      writer: writer.db,
      reader: reader.db,
      lane,
      openHandles: () => (isClosed() ? 0 : (separateReader ? 2 : 1) + streams.openHandles()),
      busyHandles: () => (lane.isHeld() ? 1 : 0) + streams.openHandles(),
      corruption
    }
  })
