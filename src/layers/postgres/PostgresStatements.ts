/**
 * One statement, where it belongs: in the transaction of its fibre, or on any connection, held until the statement has
 * been answered or cancelled.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type Applied, type DbError, fromPostgres, invalidInput } from "../../errors/index.js"
import { endsConnection } from "../../errors/PostgresErrors.js"
import type { BackendShape } from "../../services/Backend.js"
import { type Connection, cancel, type Job, start } from "./PostgresConnection.js"
import type { Request, Result } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"
import * as Requests from "./PostgresRequests.js"
import { readsByTransaction, type Transaction, type Transactions } from "./PostgresTransactions.js"
import * as Values from "./PostgresValues.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Statements extends Pick<BackendShape, "query" | "execute" | "enqueue"> {
  readonly prepare: Requests.Prepare
  readonly run: (
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>,
    form: Requests.Form
  ) => Effect.Effect<Result, DbError>
}

/** Statements that wait for the next one, at most. */
const pendingLimit = 100

const writingCommands = new Set(["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"])

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (pool: Pool, transactions: Transactions): Statements => {
  const { at, options } = pool
  const prepare = Requests.make(pool)
  const portable: Requests.Form = { portable: true }

  const autocommit = (operation: string, request: Request, applied: Applied): Effect.Effect<Result, DbError> =>
    Effect.async((resume) => {
      let job: Job | undefined
      let held: Connection | undefined
      const fail = (error: unknown, applied: Applied) =>
        resume(Effect.fail(fromPostgres(error, at(operation), applied)))
      const finish = (connection: Connection, error: unknown, result: Result | undefined) => {
        const status = connection.getTransactionStatus()
        if (status === null || status === "I" || connection.failure !== undefined) {
          pool.release(connection, () => (result === undefined ? fail(error, applied) : resume(Effect.succeed(result))))
          return
        }
        // A statement that begins a transaction would leave it to whoever gets the connection next.
        start(connection, { text: "ROLLBACK" }, () => {
          pool.release(connection)
          resume(
            Effect.fail(
              invalidInput(
                at(operation),
                "sql",
                "begins a transaction",
                "statements other than BEGIN; use `transaction`"
              )
            )
          )
        })
      }
      const giveUp = pool.acquire(at(operation), options.acquireTimeout, (error, connection) => {
        if (connection === undefined) return fail(error, "no")
        held = connection
        job = start(connection, request, (error, result) => {
          if (result === undefined && endsConnection(error)) connection.failure ??= error
          if (job?.cancelling !== true) finish(connection, error, result)
        })
      })
      return Effect.async<void>((done) => {
        if (held === undefined || job === undefined) {
          giveUp()
          return done(Effect.void)
        }
        const connection = held
        if (job.settled) return done(Effect.void)
        cancel(connection, job, () => {
          if (connection.getTransactionStatus() !== "I") connection.destroy()
          pool.release(connection, () => done(Effect.void))
        })
      })
    })

  const outside = (operation: string, { request, text }: Requests.Prepared): Effect.Effect<Result, DbError> =>
    readsByTransaction(pool)
      ? transactions.runInOwn(operation, request)
      : autocommit(operation, request, text.reads ? "no" : "unknown")

  const withPrepared = <A>(
    operation: string,
    sql: string,
    params: ReadonlyArray<unknown>,
    form: Requests.Form,
    use: (prepared: Requests.Prepared, transaction: Transaction | undefined) => Effect.Effect<A, DbError>
  ): Effect.Effect<A, DbError> =>
    Effect.withFiberRuntime((fiber) =>
      Effect.flatMap(prepare(operation, sql, params, form), (prepared) =>
        prepared.text.verb === ""
          ? Effect.fail(invalidInput(at(operation), "sql", "holds no statement", "exactly one statement"))
          : use(prepared, transactions.of(fiber))
      )
    )

  const run: Statements["run"] = (operation, sql, params, form) =>
    withPrepared(operation, sql, params, form, (prepared, transaction) =>
      transaction === undefined
        ? outside(operation, prepared)
        : transactions.runAlone(transaction, operation, prepared.request)
    )

  return {
    prepare,
    run,
    query: (sql, params = []) => Effect.map(run("query", sql, params, portable), ({ rows }) => rows),
    execute: (sql, params = []) =>
      Effect.map(run("execute", sql, params, portable), ({ command, rowCount, rows }) => ({
        rowsAffected: command !== null && writingCommands.has(command) ? (rowCount ?? 0) : 0,
        lastInsertId: null,
        rows
      })),
    // Leaves a statement to the next one of its transaction, which takes it along.
    enqueue: (sql, params = []) =>
      withPrepared("execute", sql, params, portable, (prepared, transaction) => {
        if (transaction === undefined) return Effect.asVoid(outside("execute", prepared))
        const { request } = prepared
        const { lane, open, session } = transaction
        // The types of a list's parameters are asked for first.
        const waits = open && !lane.isHeld() && session.pending.length < pendingLimit && !Values.hasList(params)
        if (!waits) return Effect.asVoid(transactions.runAlone(transaction, "execute", request))
        session.pending.push(request)
        return Effect.void
      })
  }
}
