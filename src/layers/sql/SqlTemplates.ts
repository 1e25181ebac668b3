/**
 * The `SqlClient` of `@effect/sql` over a client of the hub.
 *
 * `SqlClient.make` is not used: its transactions are found by a tag that all clients share, so that a statement of one
 * database inside a transaction of another would run on the wrong one, and a COMMIT that fails is a defect there.
 *
 * @since 0.1.0
 */
import * as Reactivity from "@effect/experimental/Reactivity"
import * as SqlClient from "@effect/sql/SqlClient"
import type { Connection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as Statement from "@effect/sql/Statement"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { DbConflict, DbConnection, type DbError, DbLocked, type ErrorContext } from "../../errors/index.js"
import type { BackendShape, ExecuteResult, Row, SqlValue } from "../../services/Backend.js"
import * as Tracing from "../Tracing.js"

type Rows = ReadonlyArray<Record<string, unknown>>

/**
 * The ways in which a template runs.
 *
 * @since 0.1.0
 * @category models
 */
export interface Runner {
  readonly rows: (
    sql: string,
    params: ReadonlyArray<unknown>,
    options: { readonly safeIntegers: boolean; readonly prepare: boolean }
  ) => Effect.Effect<Rows, DbError>
  /** What the driver itself answers. */
  readonly raw: (sql: string, params: ReadonlyArray<unknown>) => Effect.Effect<unknown, DbError>
  readonly values: (
    sql: string,
    params: ReadonlyArray<unknown>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, DbError>
  readonly stream: (sql: string, params: ReadonlyArray<unknown>) => Stream.Stream<Record<string, unknown>, DbError>
}

const sqlError = (cause: DbError): SqlError => new SqlError({ cause, message: cause.message })

/**
 * A connection as templates see it: errors of the hub are the `cause` of a `SqlError`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const connection = (runner: Runner): Connection => {
  const rowsOf =
    (prepare: boolean): Connection["execute"] =>
    (sql, params, transform) =>
      Effect.withFiberRuntime((fiber) => {
        const safeIntegers = Context.get(fiber.currentContext, SqlClient.SafeIntegers)
        const rows = runner.rows(sql, params, { safeIntegers, prepare })
        return Effect.mapError(transform === undefined ? rows : Effect.map(rows, transform), sqlError)
      })
  return {
    execute: rowsOf(true),
    executeUnprepared: rowsOf(false),
    executeRaw: (sql, params) => Effect.mapError(runner.raw(sql, params), sqlError),
    executeValues: (sql, params) => Effect.mapError(runner.values(sql, params), sqlError),
    executeStream: (sql, params, transform) => {
      const rows = Stream.mapError(runner.stream(sql, params), sqlError)
      return transform === undefined
        ? rows
        : Stream.mapChunks(rows, (chunk) => Chunk.unsafeFromArray(Array.from(transform(Chunk.toReadonlyArray(chunk)))))
    }
  }
}

/** Marks a failure of a transaction's body, to tell it from those of the transaction itself. */
class Body<E> {
  constructor(readonly error: E) {}
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const client = (options: {
  /** Runs a statement where the fiber's own transaction says. */
  readonly ambient: Connection
  /** A connection of one's own until the scope closes. */
  readonly reserve: Effect.Effect<Connection, DbError, Scope.Scope>
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DbError, R>
  readonly compiler: Statement.Compiler
  readonly spanAttributes: ReadonlyArray<readonly [string, unknown]>
}): Effect.Effect<SqlClient.SqlClient, never, Reactivity.Reactivity> =>
  Effect.map(Reactivity.Reactivity, (reactivity) => {
    const { ambient, compiler, reserve, spanAttributes, transaction } = options
    const sql: SqlClient.SqlClient = Object.assign(
      Statement.make(Effect.succeed(ambient), compiler, spanAttributes, undefined),
      {
        [SqlClient.TypeId as SqlClient.TypeId]: SqlClient.TypeId as SqlClient.TypeId,
        safe: undefined as unknown as SqlClient.SqlClient,
        reserve: Effect.mapError(reserve, sqlError),
        withTransaction: <R, E, A>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R> =>
          // The body's failures pass through as they are; those of BEGIN and COMMIT are told apart by the wrapper.
          Effect.flatMap(Effect.exit(transaction(Effect.mapError(self, (error) => new Body(error)))), (exit) =>
            Exit.mapError(exit, (error) => (error instanceof Body ? (error.error as E) : sqlError(error)))
          ),
        withoutTransforms: (): SqlClient.SqlClient => sql,
        reactive: reactivity.stream,
        reactiveMailbox: reactivity.query
      }
    )
    return Object.assign(sql, { safe: sql })
  })

/**
 * A transaction as a span.
 *
 * @since 0.1.0
 * @category tracing
 */
export const traced = <A, E, R>(
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  transaction: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Tracing.traced(fiber, "sql.transaction", transaction, { kind: "client" })

/** A statement for the fiber that is about to run it. */
type FiberStatement<A> = (
  sql: string,
  params: ReadonlyArray<SqlValue> | undefined,
  fiber: Fiber.RuntimeFiber<unknown, unknown>
) => Effect.Effect<A, DbError>

/**
 * The statements of a backend, each for the fiber that is about to run it.
 *
 * @since 0.1.0
 * @category models
 */
export interface FiberStatements {
  readonly query: FiberStatement<ReadonlyArray<Row>>
  readonly execute: FiberStatement<ExecuteResult>
  readonly enqueue: FiberStatement<void>
}

/**
 * The statements of a backend, each a span where somebody traces, as templates are: with its text, without its values.
 *
 * @since 0.1.0
 * @category tracing
 */
export const tracedStatements = (
  system: string,
  statements: FiberStatements
): Pick<BackendShape, "query" | "execute" | "enqueue"> => {
  const spans =
    <A>(operation: string, run: FiberStatement<A>) =>
    (sql: string, params?: ReadonlyArray<SqlValue>) =>
      Effect.withFiberRuntime<A, DbError>((fiber) =>
        Tracing.isTraced(fiber)
          ? Tracing.traced(
              fiber,
              "sql.execute",
              Effect.suspend(() => run(sql, params, fiber)),
              {
                kind: "client",
                attributes: { "db.system.name": system, "db.operation.name": operation, "db.query.text": sql }
              }
            )
          : run(sql, params, fiber)
      )
  return {
    query: spans("query", statements.query),
    execute: spans("execute", statements.execute),
    enqueue: spans("enqueue", statements.enqueue)
  }
}

/**
 * Column names of which none occurs twice: the second `id` is `id_2`.
 *
 * @since 0.1.0
 * @category rows
 */
export const distinct = (columns: ReadonlyArray<string>): ReadonlyArray<string> => {
  const taken = new Set<string>()
  return columns.map((column) => {
    let name = column
    for (let n = 2; taken.has(name); n++) name = `${column}_${n}`
    taken.add(name)
    return name
  })
}

/**
 * @since 0.1.0
 * @category errors
 */
export const endedByStatement = (context: ErrorContext): DbConflict =>
  new DbConflict({
    ...context,
    code: "HUB_TRANSACTION_ENDED",
    reason: "serialization",
    message: "The transaction was ended by one of its own statements: leave COMMIT and ROLLBACK to `transaction`"
  })

/**
 * @since 0.1.0
 * @category errors
 */
export const databaseClosed = (context: ErrorContext): DbConnection =>
  new DbConnection({ ...context, code: "HUB_CLOSED", message: "The database is closed: its layer or scope has ended" })

/**
 * @since 0.1.0
 * @category errors
 */
export const transactionOver = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_TRANSACTION_OVER",
    retryable: false,
    message: "The transaction of this fiber is over: do not let fibers outlive the transaction they were forked in"
  })
