/**
 * Transactions and their savepoints: each is held by the fibres that run in it, siblings keep apart, and what ends leaves
 * nothing open behind.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import { DbConstraint, type DbError, type ErrorContext } from "../../errors/index.js"
import type { BackendShape, TransactionOptions } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import * as AtOnce from "../AtOnce.js"
import * as Lane from "../Lane.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import { rollBackStray } from "./SqliteConnection.js"
import type { Handles } from "./SqliteHandles.js"
import * as Open from "./SqliteOpen.js"

/**
 * A transaction or a savepoint in progress.
 *
 * @since 0.1.0
 * @category models
 */
export interface Transaction {
  open: boolean
  /** The error at which SQLite rolled the transaction back by itself. */
  failure: DbError | undefined
  readonly parent: Transaction | undefined
  /** What closes the statements that streams have open in it. */
  readonly cursors: Set<() => void>
  /** The savepoint in progress inside it. */
  savepoint: Transaction | undefined
  readonly depth: number
  /** Keeps sibling savepoints apart; there once there was a savepoint. */
  lane: Lane.Lane | undefined
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Transactions {
  readonly transaction: BackendShape["transaction"]
  readonly beginNow: Sharing["beginNow"]
  readonly savepoint: Sharing["savepoint"]
  /** The transaction that a fiber is in. */
  readonly current: FiberRef.FiberRef<unknown>
  readonly of: (fiber: Fiber.RuntimeFiber<unknown, unknown>) => Transaction | undefined
  /** Makes the attempt in the transaction, if that is still there; a sibling's savepoint would undo it. */
  readonly attempt: <A>(transaction: Transaction, operation: string, attempt: () => A) => Effect.Effect<A, DbError>
  /** The same at once, or when a sibling's savepoint has come to its end. */
  readonly attemptAlone: <A>(transaction: Transaction, operation: string, attempt: () => A) => Effect.Effect<A, DbError>
  /** Runs statements that undo, if there is something to undo. */
  readonly undo: (operation: string, ...statements: ReadonlyArray<string>) => Effect.Effect<void, DbError>
}

/** The statements that begin, keep and undo a level, each of them run at once where it can be. */
interface Statements {
  readonly begin: () => Effect.Effect<unknown, DbError>
  readonly keep: () => Effect.Effect<unknown, DbError>
  readonly undo: () => Effect.Effect<void, DbError>
}

const isOver = (transaction: Transaction): boolean =>
  !transaction.open || (transaction.parent !== undefined && isOver(transaction.parent))

const rootOf = (transaction: Transaction): Transaction =>
  transaction.parent === undefined ? transaction : rootOf(transaction.parent)

const inside = (parent: Transaction | undefined): Transaction => ({
  open: true,
  failure: undefined,
  parent,
  cursors: new Set(),
  savepoint: undefined,
  depth: parent === undefined ? 0 : parent.depth + 1,
  lane: undefined
})

const nameOf = (savepoint: Transaction): string => `hub_${savepoint.depth}`

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ at, isClosed, lane, options, reads, toError, writer }: Handles): Transactions => {
  // Of its own per client: inside a transaction of another client, statements of this one stay its own. Not a service,
  // since to give one copies all that a fiber has.
  const current = FiberRef.unsafeMake<unknown>(undefined, { join: (parent) => parent })
  const leaveRoot = FiberRef.set(current, undefined)
  const of: Transactions["of"] = (fiber) => fiber.getFiberRef(current) as Transaction | undefined

  const control = (sql: string) => writer.prepare(sql).statement.run()

  const attemptNow = <A>(transaction: Transaction, operation: string, attempt: () => A): Exit.Exit<A, DbError> => {
    if (!writer.db.open) return Exit.fail(SqlTemplates.databaseClosed(at(operation)))
    if (isOver(transaction)) return Exit.fail(SqlTemplates.transactionOver(at(operation)))
    const root = rootOf(transaction)
    if (!writer.db.inTransaction) return Exit.fail(root.failure ?? SqlTemplates.endedByStatement(at(operation)))
    try {
      return Exit.succeed(attempt())
    } catch (cause) {
      const error = toError(cause, operation)
      if (!writer.db.inTransaction) root.failure = error
      return Exit.fail(error)
    }
  }

  const attemptLater: Transactions["attempt"] = (transaction, operation, attempt) =>
    Effect.suspend(() => attemptNow(transaction, operation, attempt))

  const undo: Transactions["undo"] = (operation, ...statements) =>
    Effect.suspend(() => {
      if (!writer.db.inTransaction) return Effect.void
      return Effect.try({
        try: () => {
          statements.forEach(control)
          reads.afterDefinition()
        },
        catch: (cause) => toError(cause, operation)
      })
    })

  /** SQLite undoes and ends nothing while a statement is being read. */
  const closeCursors = (transaction: Transaction | undefined): void => {
    if (transaction === undefined) return
    for (const closeCursor of transaction.cursors) closeCursor()
    closeCursors(transaction.parent)
  }

  /** Ends a level: what its fibers still read or have not finished ends with it. */
  const endLevel = (transaction: Transaction): void => {
    transaction.open = false
    for (const closeCursor of transaction.cursors) closeCursor()
    const unfinished = transaction.savepoint
    if (unfinished === undefined) return
    endLevel(unfinished)
    if (!writer.db.inTransaction) return
    closeCursors(transaction)
    control(`ROLLBACK TO ${nameOf(unfinished)}`)
  }

  /** At once; a defect where the driver refuses to undo what is unfinished. */
  const close = (transaction: Transaction): Effect.Effect<void> =>
    AtOnce.suspend(() => {
      if (transaction.open) endLevel(transaction)
      return Effect.void
    })

  /**
   * What becomes of a level whose body failed: its own error is the one to report, also when SQLite has rolled back. What
   * cannot be undone is not committed either.
   */
  const lost = <E>(transaction: Transaction, { undo }: Statements, cause: Cause.Cause<E>): Effect.Effect<never, E> => {
    const closed = AtOnce.exit(close(transaction))
    const undone = Effect.catchAll(Effect.suspend(undo), (error) =>
      Effect.sync(() => {
        rootOf(transaction).failure ??= error
      })
    )
    return Effect.zipRight(Effect.zipRight(closed, undone), Effect.failCause(cause))
  }

  const committed = (transaction: Transaction, statements: Statements): Effect.Effect<unknown, DbError> => {
    if (!writer.db.open) return Effect.fail(SqlTemplates.databaseClosed(at("transaction.commit")))
    const { failure } = rootOf(transaction)
    if (failure !== undefined) return Effect.fail(failure)
    if (!writer.db.inTransaction) return Effect.fail(SqlTemplates.endedByStatement(at("transaction.commit")))
    return statements.keep()
  }

  /** What becomes of a level whose body is done. */
  const kept = <A>(transaction: Transaction, statements: Statements, value: A): Effect.Effect<A, DbError> =>
    after(
      AtOnce.flatMap(close(transaction), () => committed(transaction, statements)),
      (cause) => lost(transaction, statements, cause),
      () => Effect.succeed(value)
    )

  /** Whichever of the two it is, at once. */
  const ended = <A, E>(
    transaction: Transaction,
    statements: Statements,
    exit: Exit.Exit<A, E>
  ): Effect.Effect<A, E | DbError> =>
    AtOnce.suspend<A, E | DbError, never>(() =>
      Exit.isSuccess(exit) ? kept(transaction, statements, exit.value) : lost(transaction, statements, exit.cause)
    )

  /** Runs `effect` between the statements of its level; the lane is held by the caller. */
  const level = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    transaction: Transaction,
    statements: Statements,
    restore: Lane.Restore
  ): Effect.Effect<A, E | DbError, R> => {
    const leave = transaction.parent === undefined ? leaveRoot : FiberRef.set(current, transaction.parent)
    const run = () =>
      Effect.matchCauseEffect(
        Effect.flatMap(FiberRef.set(current, transaction), () => restore(effect)),
        {
          onFailure: (cause) => Effect.flatMap(leave, () => lost(transaction, statements, cause)),
          onSuccess: (value) => Effect.flatMap(leave, () => kept(transaction, statements, value))
        }
      )
    const failed = (cause: Cause.Cause<E | DbError>) => lost(transaction, statements, cause)
    // An interruption may fall between BEGIN and its answer.
    return after(statements.begin(), failed, run, restore)
  }

  /** Has no effect within a transaction. */
  const enforceReferences = (enforced: boolean): void => {
    if (writer.db.open) writer.db.pragma(`foreign_keys = ${enforced ? "ON" : "OFF"}`)
  }

  const checkReferences = (): void => {
    const [broken] = writer.db.prepare('SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1').raw().all()
    if (broken !== undefined) throw brokenReference(at("transaction.commit"), broken as ReadonlyArray<unknown>)
  }

  const ofRoot = (budget: number, deferReferences: boolean): Statements => ({
    begin: () =>
      Open.tryNow(budget, at("transaction.begin"), () => {
        if (deferReferences) enforceReferences(false)
        return beginRoot()
      }),
    keep: () =>
      Open.tryNow(budget, at("transaction.commit"), () => {
        if (deferReferences) checkReferences()
        return control("COMMIT")
      }),
    undo: () => undo("transaction.rollback", "ROLLBACK")
  })

  const beginRoot = () => {
    rollBackStray(writer.db)
    return control(options.readOnly ? "BEGIN" : "BEGIN IMMEDIATE")
  }

  const beginNow: Transactions["beginNow"] = (budget) => {
    const release = isClosed() ? undefined : lane.takeNow()
    if (release === undefined) return undefined
    try {
      beginRoot()
    } catch (_refused) {
      // Who then waits for it meets the same refusal, and tells.
      release()
      return undefined
    }
    const transaction = inside(undefined)
    const statements = ofRoot(budget, false)
    return {
      transaction,
      end: (exit) => Lane.releaseAfter(ended(transaction, statements, exit), release)
    }
  }

  const outermost = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    budget: number,
    deferReferences: boolean
  ): Effect.Effect<A, E | DbError, R> => {
    const statements = ofRoot(budget, deferReferences)
    return lane.holdMask(at("transaction.begin"), budget, (restore) => {
      const whole = level(effect, inside(undefined), statements, restore)
      return deferReferences
        ? Effect.ensuring(
            whole,
            Effect.sync(() => enforceReferences(true))
          )
        : whole
    })
  }

  const ofSavepoint = (outer: Transaction, inner: Transaction) => {
    const name = nameOf(inner)
    return {
      begin: () =>
        attemptNow(outer, "transaction.begin", () => {
          control(`SAVEPOINT ${name}`)
          outer.savepoint = inner
        }),
      keep: () =>
        attemptNow(outer, "transaction.commit", () => {
          control(`RELEASE ${name}`)
          outer.savepoint = undefined
        }),
      undo: () => {
        if (outer.savepoint !== inner || isOver(outer)) return Effect.void
        outer.savepoint = undefined
        closeCursors(outer)
        return undo("transaction.rollback", `ROLLBACK TO ${name}`, `RELEASE ${name}`)
      }
    }
  }

  const savepoint: Transactions["savepoint"] = (transaction) => {
    const outer = transaction as Transaction
    const inner = inside(outer)
    const statements = ofSavepoint(outer, inner)
    return Exit.map(statements.begin(), () => ({
      transaction: inner,
      end: (exit) => ended(inner, statements, exit)
    }))
  }

  const nested = <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    outer: Transaction,
    budget: number
  ): Effect.Effect<A, E | DbError, R> => {
    const inner = inside(outer)
    const statements = ofSavepoint(outer, inner)
    outer.lane ??= Lane.make(lane.metrics)
    return outer.lane.holdMask(at("transaction.begin"), budget, (restore) => level(effect, inner, statements, restore))
  }

  const begun = <A, E, R>(
    outer: Transaction | undefined,
    effect: Effect.Effect<A, E, R>,
    { busyTimeout, deferReferences = false }: TransactionOptions = {}
  ): Effect.Effect<A, E | DbError, R> => {
    const budget = busyTimeout === undefined ? options.busyTimeout : Duration.toMillis(busyTimeout)
    if (outer !== undefined) return nested(effect, outer, budget)
    return isClosed()
      ? Effect.fail(SqlTemplates.databaseClosed(at("transaction.begin")))
      : outermost(effect, budget, deferReferences && options.foreignKeys)
  }

  return {
    transaction: (effect, transactionOptions) =>
      Effect.withFiberRuntime((fiber) => SqlTemplates.traced(fiber, begun(of(fiber), effect, transactionOptions))),
    beginNow,
    savepoint,
    current,
    of,
    attempt: attemptLater,
    attemptAlone: (transaction, operation, attempt) =>
      transaction.lane?.isHeld()
        ? transaction.lane.hold(at(operation), options.busyTimeout, attemptLater(transaction, operation, attempt))
        : attemptNow(transaction, operation, attempt),
    undo
  }
}

/** Goes on at once after what is done already. */
const after = <A, E, R>(
  step: Effect.Effect<unknown, DbError>,
  onFailure: (cause: Cause.Cause<E | DbError>) => Effect.Effect<A, E | DbError, R>,
  onSuccess: () => Effect.Effect<A, E | DbError, R>,
  restore: Lane.Restore = (effect) => effect
): Effect.Effect<A, E | DbError, R> => {
  const done = AtOnce.done(step)
  if (done === undefined) return Effect.matchCauseEffect(restore(step), { onFailure, onSuccess })
  return Exit.isSuccess(done) ? onSuccess() : onFailure(done.cause)
}

const brokenReference = (context: ErrorContext, [table, parent]: ReadonlyArray<unknown>): DbConstraint =>
  new DbConstraint({
    ...context,
    reason: "foreign-key",
    message: `A row of ${table} would refer to a row of ${parent} that is not there`
  })
