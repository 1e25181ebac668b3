/**
 * Transactions and their savepoints: each is held by the fibres that run in it, and siblings keep apart.
 *
 * @since 0.1.0
 */
import { SqlError } from "@effect/sql/SqlError"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { DbConflict, type DbError, type ErrorContext, isDbError } from "../../errors/index.js"
import type { BackendShape, TransactionOptions } from "../../services/Backend.js"
import * as Lane from "../Lane.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import type { Request, Result } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"
import * as Session from "./PostgresSession.js"

/**
 * A transaction or a savepoint in progress.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  open: boolean
  /** Why the transaction as a whole is over before its end. */
  failure: DbError | undefined
  readonly session: Session.Session
  readonly root: Transaction | undefined
  readonly depth: number
  /** Keeps sibling savepoints apart. */
  readonly lane: Lane.Lane
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Transactions {
  readonly transaction: BackendShape["transaction"]
  readonly of: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Transaction | undefined
  /** Runs a statement in the transaction, if that is still there; a sibling's savepoint would undo it. */
  readonly run: (transaction: Transaction, operation: string, request: Request) => Effect.Effect<Result, DbError>
  /** The same when a sibling's savepoint has come to its end. */
  readonly runAlone: (transaction: Transaction, operation: string, request: Request) => Effect.Effect<Result, DbError>
  /** Runs a statement in a transaction of its own. */
  readonly runInOwn: (operation: string, request: Request) => Effect.Effect<Result, DbError>
  /** The statement that begins one. */
  readonly begin: string
}

/** The statements that begin, keep and undo a level. */
interface Statements {
  readonly begin: Effect.Effect<unknown, DbError>
  /** What was left to it may wait for others, and is interrupted in that. */
  readonly keep: Effect.Effect<unknown, DbError>
  readonly undo: Effect.Effect<void>
}

const inside = (session: Session.Session, outer: Transaction | undefined): Transaction => ({
  open: true,
  failure: undefined,
  session,
  root: outer === undefined ? undefined : (outer.root ?? outer),
  depth: outer === undefined ? 0 : outer.depth + 1,
  lane: Lane.make()
})

/**
 * Whether each statement of a client has a transaction: behind a pooler that keeps no sessions, only that can be told to
 * read alone.
 *
 * @since 0.1.0
 * @category checks
 */
export const readsByTransaction = ({ options }: Pool): boolean => options.readOnly && options.pooler === "transaction"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (pool: Pool): Transactions => {
  const { at, options } = pool
  // A tag of its own per client: inside a transaction of another client, statements of this one stay its own.
  const Current = Context.GenericTag<Transaction>(`effect-db-hub/PostgresTransaction/${globalThis.crypto.randomUUID()}`)
  const of: Transactions["of"] = (fiber) => fiber.currentContext.unsafeMap.get(Current.key) as Transaction | undefined
  const begin = readsByTransaction(pool) ? "BEGIN READ ONLY" : "BEGIN"

  const run: Transactions["run"] = (transaction, operation, request) => {
    const root = transaction.root ?? transaction
    const { session } = transaction
    const { connection } = session
    return Effect.suspend(() => {
      if (!transaction.open) return Effect.fail(SqlTemplates.transactionOver(at(operation)))
      if (root.failure !== undefined) return Effect.fail(root.failure)
      return Effect.matchEffect(Session.run(session, request, at(operation), "no"), {
        onFailure: (error) => {
          if (connection.failure !== undefined) root.failure = error
          return Effect.fail(error)
        },
        onSuccess: (result) => {
          if (connection.getTransactionStatus() !== "I") return Effect.succeed(result)
          root.failure = SqlTemplates.endedByStatement(at(operation))
          return Effect.fail(root.failure)
        }
      })
    })
  }

  /** Runs `effect` between the statements of its level. */
  const level = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    transaction: Transaction,
    statements: Statements
  ): Effect.Effect<A, E | DbError, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(Effect.exit(restore(statements.begin)), (begun) => {
        // An interruption may fall between BEGIN and its answer.
        if (Exit.isFailure(begun)) return Effect.zipRight(statements.undo, begun as Exit.Exit<never, DbError>)
        const body = Effect.exit(restore(Effect.provideService(effect, Current, transaction)))
        return Effect.flatMap(body as Effect.Effect<Exit.Exit<A, E>, never, R>, (exit) => {
          transaction.open = false
          // The body's own error is the one to report.
          if (Exit.isFailure(exit)) return Effect.zipRight(statements.undo, exit)
          const { failure } = transaction.root ?? transaction
          const left = transaction.session.pending.length > 0
          const kept = failure !== undefined ? Effect.fail(failure) : left ? restore(statements.keep) : statements.keep
          return Effect.zipRight(
            Effect.onExit(kept, (ended) => (Exit.isSuccess(ended) ? Effect.void : statements.undo)),
            exit
          )
        })
      })
    )

  /** One of the hub's own statements that begin, keep or end a transaction. */
  const control = (text: string): Request => ({ text, prepare: options.preparedStatements })

  const commit = (session: Session.Session): Effect.Effect<void, DbError> =>
    Effect.flatMap(
      Session.run(session, control("COMMIT"), at("transaction.commit"), "unknown"),
      // Where a statement failed and its error was caught, the server answers COMMIT with ROLLBACK.
      ({ command }) => (command === "ROLLBACK" ? Effect.fail(rolledBack(at("transaction.commit"))) : Effect.void)
    )

  const outermost = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    budget: number,
    isolation: TransactionOptions["isolation"]
  ): Effect.Effect<A, E | DbError, R> =>
    Effect.scoped(
      Effect.flatMap(Session.acquire(pool, at("transaction.begin"), budget), (session) =>
        level(effect as Effect.Effect<A, E>, inside(session, undefined), {
          begin: Effect.sync(() => {
            session.pending.push(control(isolation === undefined ? begin : `${begin} ISOLATION LEVEL ${isolation}`))
          }),
          // Where nothing was asked for, nothing has begun.
          keep: Effect.suspend(() => (session.begun || session.pending.length > 1 ? commit(session) : Effect.void)),
          undo: Session.undo(session, "ROLLBACK")
        })
      )
    ) as Effect.Effect<A, E | DbError, R>

  const nested = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    outer: Transaction,
    budget: number
  ): Effect.Effect<A, E | DbError, R> => {
    const { session } = outer
    const transaction = inside(session, outer)
    const savepoint = `hub_${transaction.depth}`
    return outer.lane.hold(
      at("transaction.begin"),
      budget,
      level(effect, transaction, {
        begin: run(outer, "transaction.begin", control(`SAVEPOINT ${savepoint}`)),
        keep: run(outer, "transaction.commit", control(`RELEASE SAVEPOINT ${savepoint}`)),
        undo: Session.undo(session, `ROLLBACK TO SAVEPOINT ${savepoint}; RELEASE SAVEPOINT ${savepoint}`)
      })
    )
  }

  const begun = <A, E, R>(
    outer: Transaction | undefined,
    effect: Effect.Effect<A, E, R>,
    { busyTimeout, isolation, retryConflicts = 0 }: TransactionOptions = {}
  ): Effect.Effect<A, E | DbError, R> => {
    const budget = busyTimeout === undefined ? options.acquireTimeout : Duration.toMillis(busyTimeout)
    if (outer !== undefined) return nested(effect, outer, budget)
    const once = outermost(effect, budget, isolation)
    return retryConflicts === 0
      ? once
      : Effect.retry(once, { schedule: conflictSchedule, times: retryConflicts, while: isRetryableConflict })
  }

  return {
    transaction: (effect, transactionOptions) =>
      Effect.withFiberRuntime((fiber) => SqlTemplates.traced(fiber, begun(of(fiber), effect, transactionOptions))),
    of,
    run,
    runAlone: (transaction, operation, request) => {
      const statement = run(transaction, operation, request)
      return transaction.lane.isHeld()
        ? transaction.lane.hold(at(operation), options.acquireTimeout, statement)
        : statement
    },
    runInOwn: (operation, request) =>
      outermost(
        Effect.withFiberRuntime((fiber) => run(of(fiber)!, operation, request)),
        options.acquireTimeout,
        undefined
      ),
    begin
  }
}

const isRetryableConflict = (error: unknown): boolean => {
  const inner = error instanceof SqlError ? error.cause : error
  return isDbError(inner) && inner._tag === "DbConflict" && inner.retryable && inner.applied === "no"
}

const rolledBack = (context: ErrorContext): DbConflict =>
  new DbConflict({
    ...context,
    code: "HUB_ROLLED_BACK",
    reason: "serialization",
    message:
      "A statement of the transaction failed and its error was caught, so PostgreSQL undid the whole: put what may fail into a nested transaction of its own"
  })

/** Conflicts end soon: the other transaction has been committed already. */
const conflictSchedule = Schedule.exponential("5 millis").pipe(
  Schedule.union(Schedule.spaced("200 millis")),
  Schedule.jittered
)
