/**
 * PostgreSQL for fibres: a bounded pool, statements that are cancelled on the server when their fibre is interrupted,
 * transactions that belong to one client, and errors with types. `pg` speaks with the server; `@effect/sql` compiles
 * the templates.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { ResolvedPostgresOptions } from "./PostgresOptions.js"
import * as Pool from "./PostgresPool.js"
import * as ReadOnly from "./PostgresReadOnly.js"
import * as Statements from "./PostgresStatements.js"
import * as Streams from "./PostgresStreams.js"
import * as Templates from "./PostgresTemplates.js"
import * as Transactions from "./PostgresTransactions.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PostgresClient
  extends Pick<BackendShape, "sql" | "query" | "execute" | "enqueue" | "stream" | "transaction" | "readOnly"> {
  readonly options: ResolvedPostgresOptions
  readonly inTransaction: Effect.Effect<boolean>
  readonly pool: Pool.Pool
  /** All whose connections count: its own, and those of agents. */
  readonly pools: Set<Pool.Pool>
  /** The first connection tells at once whether host, user, password and TLS are right. */
  readonly connect: Effect.Effect<void, DbError>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Pool.PoolOptions
): Effect.Effect<PostgresClient, DbError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const pool = Pool.make(options)
    yield* Effect.addFinalizer(() => pool.close)
    const transactions = Transactions.make(pool)
    const statements = Statements.make(pool, transactions)
    const streams = Streams.make(pool, transactions, statements)
    return {
      options,
      sql: yield* Templates.make(pool, transactions, statements, streams),
      query: statements.query,
      execute: statements.execute,
      enqueue: statements.enqueue,
      stream: (sql, params = []) => streams.stream(sql, params, true),
      transaction: transactions.transaction,
      inTransaction: Effect.withFiberRuntime((fiber) => Effect.succeed(transactions.of(fiber) !== undefined)),
      readOnly: ReadOnly.make(pool, transactions, statements),
      pool,
      pools: new Set([pool]),
      connect: Effect.asVoid(statements.run("postgresql.open", "SELECT 1", [], { portable: false }))
    }
  })
