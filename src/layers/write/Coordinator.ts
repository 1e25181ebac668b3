/**
 * The writes that wait for the primary: a bounded queue, fair between those who send, committed in groups.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import * as Runtime from "effect/Runtime"
import * as RuntimeFlags from "effect/RuntimeFlags"
import type * as Scope from "effect/Scope"
import { type DbError, PrimaryUnreachable, WriteOverloaded, WriteTimeout } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import { IdempotencyKey } from "../../services/WriteChannel.js"
import * as AtOnce from "../AtOnce.js"
import { longestTimer, nextTurn, realClock, uptime } from "../EventLoop.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as Tracing from "../Tracing.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface CoordinatorOptions {
  /** Writes that may wait; the next one is `WriteOverloaded`. */
  readonly capacity: number
  /** Writes in one commit, at most. */
  readonly maxGroup: number
  /** Milliseconds that a group takes writes in before it commits. */
  readonly maxGroupMillis: number
  /** Milliseconds that a group waits for the lock of the file before it looks again what still has time. */
  readonly lockWait: number
  /** What a lock that was held so long means for the writes: they wait on, or fail with `DbBusy`. */
  readonly whenLocked: "wait" | "fail"
}

/**
 * What one commit takes in at most: for longer, nobody else could write, and timers would wait.
 *
 * @since 0.1.0
 * @category constants
 */
export const grouping = { maxGroup: 128, maxGroupMillis: 10 }

/**
 * How long writes that were taken may go on when their process, or its time as the primary, ends.
 *
 * @since 0.1.0
 * @category constants
 */
export const drainBound = "5 seconds"

/**
 * @since 0.1.0
 * @category models
 */
export interface CoordinatorMetrics {
  readonly accepted: number
  readonly completed: number
  readonly failed: number
  /** Writes that never began, since their time had passed or their sender had gone. */
  readonly dropped: number
  readonly overloaded: number
  readonly depth: number
  readonly maxDepth: number
  readonly groups: number
  readonly maxGroup: number
}

/**
 * A write that waits.
 *
 * @since 0.1.0
 * @category models
 */
export interface WaitingWrite<A> {
  /** Who sends it: the writes of one sender keep their order, and no sender waits for all of another's. */
  readonly source: string
  readonly operation: string
  /** The `uptime` after which it is not begun, and undone if it has begun. */
  readonly deadline: number
  /** The statements, for a savepoint. */
  readonly write: Effect.Effect<A, DbError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Coordinator {
  /** Waits in the queue and for the commit. An interruption before the write has begun takes it out of the queue. */
  readonly submit: <A>(write: WaitingWrite<A>) => Effect.Effect<A, DbError>
  readonly metrics: Effect.Effect<CoordinatorMetrics>
  /** Nothing waits and nothing is being written. */
  readonly isIdle: () => boolean
  /** Takes no more, finishes what was taken within `bound`, undoes the rest and answers it as not applied. */
  readonly drain: (bound: Duration.DurationInput) => Effect.Effect<void>
}

const latency = Metric.histogram(
  "db_hub_write_latency_ms",
  MetricBoundaries.exponential({ start: 0.5, factor: 2, count: 16 }),
  "Milliseconds from a write's arrival at the primary to its answer"
)
const groupSize = Metric.histogram(
  "db_hub_write_group_size",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 9 }),
  "Writes in one commit"
)

/** A write of a group, and how its statements ended. */
type Done = readonly [job: Job, exit: Exit.Exit<unknown, DbError>]

interface Job extends WaitingWrite<unknown> {
  readonly arrived: number
  /** Where the statements run: with the tracer and the settings of the one who asked. */
  readonly caller: Fiber.RuntimeFiber<unknown, unknown>
  readonly answer: (result: Effect.Effect<unknown, DbError>) => void
}

/**
 * Waits until a deadline has passed.
 *
 * @since 0.1.0
 * @category running
 */
export const untilDeadline = (deadline: number): Effect.Effect<void> =>
  Effect.suspend(() => Effect.sleep(Math.max(1, deadline - uptime())))

/** The fiber of a write is a part of its caller's: it is not counted as one more. */
const runtimeFlags = RuntimeFlags.disable(Runtime.defaultRuntimeFlags, RuntimeFlags.RuntimeMetrics)

/** A key stands for its write, not for those that the handler does as parts of it. */
const withoutKey = (context: Context.Context<never>): Context.Context<never> =>
  Context.get(context, IdempotencyKey) === undefined ? context : Context.omit(IdempotencyKey)(context)

/**
 * Starts a write in a transaction: in a fiber of its own, with all that its caller has but the idempotency key.
 * Statements are synchronous, so most writes are done when their fiber has been started.
 *
 * @since 0.1.0
 * @category running
 */
export const start = <A>(
  sharing: Pick<Sharing, "transaction">,
  transaction: unknown,
  caller: Fiber.RuntimeFiber<unknown, unknown>,
  write: Effect.Effect<A, DbError>
): Fiber.RuntimeFiber<A, DbError> => {
  const context = withoutKey(caller.currentContext)
  const fiberRefs = FiberRefs.updateAs(caller.getFiberRefs(), {
    fiberId: caller.id(),
    fiberRef: sharing.transaction,
    value: transaction
  })
  return Runtime.runFork(Runtime.make({ context, fiberRefs, runtimeFlags }))(write)
}

/**
 * How a write ends that was started, or the error of the first end that comes before. Only one that waits for something
 * has to be watched. Nobody waits for one that is given up: what it still sends is refused, since its transaction is over.
 *
 * @since 0.1.0
 * @category running
 */
export const outcome = <A>(
  fiber: Fiber.RuntimeFiber<A, DbError>,
  ends: ReadonlyArray<readonly [comes: Effect.Effect<unknown>, error: () => DbError]>
): Effect.Effect<Exit.Exit<A, DbError>> => {
  const done = fiber.unsafePoll()
  if (done !== null) return Effect.succeed(done)
  return Effect.raceAll([
    Fiber.await(fiber),
    ...ends.map(([comes, error]) =>
      Effect.map(Effect.zipRight(comes, Fiber.interruptFork(fiber)), () => Exit.fail(error()))
    )
  ]).pipe(Effect.onInterrupt(() => Fiber.interruptFork(fiber)))
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "transaction">,
  sharing: Pick<Sharing, "transaction" | "beginNow" | "savepoint">,
  options: CoordinatorOptions,
  hooks: {
    /** Runs first in every transaction; its failure ends the coordinator. */
    readonly guard: Effect.Effect<void, DbError>
    readonly onCommit: () => void
    readonly onFenced: Effect.Effect<void>
  }
): Effect.Effect<Coordinator, never, Scope.Scope> =>
  Effect.gen(function* () {
    const queues = new Map<string, Array<Job>>()
    const counts = {
      accepted: 0,
      completed: 0,
      failed: 0,
      dropped: 0,
      overloaded: 0,
      maxDepth: 0,
      groups: 0,
      maxGroup: 0
    }
    let depth = 0
    let closed = false
    /** Open while a write waits. */
    const filled = yield* Effect.makeLatch(false)
    /** Open while nothing waits and nothing is being written. */
    const idle = yield* Effect.makeLatch(true)
    let isIdle = true
    /** Open when what has begun is given up. */
    const stopped = yield* Effect.makeLatch(false)

    const context = (operation: string) => ({ backend: backend.name, operation })

    const late = (operation: string) =>
      new WriteTimeout({
        ...context(operation),
        message: "The write did not get its turn in time and was not done: send it again, or give it more time"
      })
    const ended = (operation: string) =>
      new PrimaryUnreachable({
        ...context(operation),
        code: "HUB_NOT_PRIMARY",
        message: "This process takes no more writes, and this one was not done: send it again"
      })
    const full = (operation: string) =>
      new WriteOverloaded({
        ...context(operation),
        message: `${options.capacity} writes are waiting already; this one was not done: send it again a little later`
      })

    const remove = (job: Job): boolean => {
      const queue = queues.get(job.source)
      const at = queue?.indexOf(job) ?? -1
      if (queue === undefined || at === -1) return false
      queue.splice(at, 1)
      if (queue.length === 0) queues.delete(job.source)
      depth--
      return true
    }

    const drop = (job: Job, error: DbError) => {
      counts.dropped++
      job.answer(Effect.fail(error))
    }

    /** Ends the time of writes that have not begun; those that have begun are answered by their group. */
    let expiry: { readonly at: number; readonly timer: NodeJS.Timeout } | undefined
    const expireAt = (deadline: number) => {
      if (expiry !== undefined && expiry.at <= deadline) return
      clearTimeout(expiry?.timer)
      const timer = setTimeout(expire, Math.min(longestTimer, Math.max(0, deadline - uptime())))
      // While something waits, what it waits for keeps the process from ending.
      expiry = { at: deadline, timer: timer.unref() }
    }
    const expire = () => {
      expiry = undefined
      const now = uptime()
      for (const job of Array.from(queues.values()).flat()) {
        if (job.deadline > now) expireAt(job.deadline)
        else if (remove(job)) drop(job, late(job.operation))
      }
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(expiry?.timer)))

    /** The first write of the sender whose turn it is; that sender goes to the end of the line. */
    const take = (): Job | undefined => {
      for (;;) {
        const first = queues.entries().next().value
        if (first === undefined) return undefined
        const [source, queue] = first
        const job = queue.shift()!
        depth--
        queues.delete(source)
        if (queue.length > 0) queues.set(source, queue)
        if (uptime() < job.deadline) return job
        drop(job, late(job.operation))
      }
    }

    const failAll = (error: (operation: string) => DbError) =>
      Effect.sync(() => {
        for (let job = take(); job !== undefined; job = take()) drop(job, error(job.operation))
      })

    const labels = yield* FiberRef.get(FiberRef.currentMetricLabels)
    const answer = (job: Job, exit: Exit.Exit<unknown, DbError>) => {
      if (Exit.isSuccess(exit)) counts.completed++
      else counts.failed++
      latency.unsafeUpdate(performance.now() - job.arrived, labels)
      job.answer(exit)
    }

    /** Its statements in the transaction; done at once where they are. */
    const runIn = (job: Job, transaction: unknown): Effect.Effect<Exit.Exit<unknown, DbError>> => {
      const ending = outcome(start(sharing, transaction, job.caller, job.write), [
        [untilDeadline(job.deadline), () => late(job.operation)],
        [stopped.await, () => ended(job.operation)]
      ])
      return AtOnce.done(ending) === undefined ? Effect.interruptible(ending) : ending
    }

    const runOne = (job: Job, transaction: unknown, alone: boolean): Effect.Effect<Exit.Exit<unknown, DbError>> => {
      if (alone) return runIn(job, transaction)
      const savepoint = sharing.savepoint(transaction)
      if (Exit.isFailure(savepoint)) return Effect.succeed(savepoint)
      const { end, transaction: inside } = savepoint.value
      const write = SqlTemplates.traced(job.caller, job.write)
      return AtOnce.flatMap(runIn({ ...job, write }, inside), (exit) => AtOnce.exit(end(exit)))
    }

    /** Runs what waits in a transaction: the writes that it did, or the failure of the one that was alone. */
    const steps = (transaction: unknown, done: Array<Done>): Effect.Effect<void, DbError> => {
      const started = performance.now()
      // One that is alone needs no savepoint of its own.
      const alone = depth === 1
      const isFull = () =>
        done.length >= options.maxGroup || (done.length > 0 && performance.now() - started >= options.maxGroupMillis)
      const next = (): Effect.Effect<void, DbError> => {
        const job = isFull() ? undefined : take()
        if (job === undefined) return Effect.void
        const ran = AtOnce.exit(AtOnce.suspend(() => runOne(job, transaction, alone)))
        return AtOnce.flatMap(ran, (whole) => {
          const exit = Exit.flatten(whole)
          done.push([job, exit])
          return alone || Exit.isFailure(whole) ? Exit.asVoid(exit) : next()
        })
      }
      return next()
    }

    const group = Effect.withFiberRuntime<void>((worker) => {
      const done: Array<Done> = []
      let fenced = false
      const guarded = (transaction: unknown): Effect.Effect<void, DbError> => {
        const guard = outcome(start(sharing, transaction, worker, hooks.guard), [])
        return AtOnce.flatMap(guard, (exit) => {
          if (Exit.isSuccess(exit)) return steps(transaction, done)
          fenced = Option.isSome(Cause.failureOption(exit.cause))
          return exit
        })
      }
      const begun = Tracing.isTraced(worker) ? undefined : sharing.beginNow(options.lockWait)
      const committed =
        begun === undefined
          ? Effect.exit(
              backend.transaction(
                Effect.withFiberRuntime<void, DbError>((inside) => guarded(inside.getFiberRef(sharing.transaction))),
                { busyTimeout: options.lockWait }
              )
            )
          : AtOnce.flatMap(AtOnce.exit(AtOnce.suspend(() => guarded(begun.transaction))), (exit) =>
              AtOnce.exit(begun.end(exit))
            )
      return AtOnce.flatMap(committed, (commit) => {
        for (const [job, exit] of done) {
          // What failed in its savepoint has its own error; what did not stands and falls with the commit.
          answer(job, Exit.isSuccess(exit) && Exit.isFailure(commit) ? commit : exit)
        }
        if (Exit.isSuccess(commit)) hooks.onCommit()
        if (done.length > 0) {
          counts.groups++
          counts.maxGroup = Math.max(counts.maxGroup, done.length)
          groupSize.unsafeUpdate(done.length, labels)
          return Effect.void
        }
        if (fenced) {
          closed = true
          return Effect.zipRight(failAll(ended), hooks.onFenced)
        }
        if (Exit.isSuccess(commit)) return Effect.void
        // A lock may be waited for again; a broken disk or a closed database will not mend while writes wait.
        const error = Option.getOrUndefined(Cause.failureOption(commit.cause))
        const waits = error?._tag === "DbBusy" && options.whenLocked === "wait"
        return waits ? Effect.void : failAll((operation) => error ?? ended(operation))
      })
    })

    const worker = Effect.gen(function* () {
      for (;;) {
        while (depth > 0) {
          yield* Effect.uninterruptible(group)
          // Others get their chance at the lock, and those who were answered send what they write next.
          yield* nextTurn
        }
        isIdle = true
        yield* filled.close
        yield* idle.open
        yield* filled.await
      }
    })
    const fiber = yield* Effect.forkScoped(Effect.withClock(Effect.interruptible(worker), realClock))

    const submit = <A>(write: WaitingWrite<A>): Effect.Effect<A, DbError> =>
      Effect.withFiberRuntime((caller) => {
        const { operation } = write
        if (closed) return Effect.fail(ended(operation))
        if (depth >= options.capacity) {
          counts.overloaded++
          return Effect.fail(full(operation))
        }
        return Effect.async<unknown, DbError>((resume) => {
          const job: Job = { ...write, arrived: performance.now(), caller, answer: resume }
          const queue = queues.get(job.source)
          if (queue === undefined) queues.set(job.source, [job])
          else queue.push(job)
          depth++
          counts.accepted++
          counts.maxDepth = Math.max(counts.maxDepth, depth)
          expireAt(job.deadline)
          isIdle = false
          idle.unsafeClose()
          filled.unsafeOpen()
          return Effect.sync(() => {
            if (remove(job)) counts.dropped++
          })
        }) as Effect.Effect<A, DbError>
      })

    return {
      submit,
      metrics: Effect.sync(() => ({ ...counts, depth })),
      isIdle: () => isIdle,
      drain: (bound) =>
        Effect.suspend(() => {
          closed = true
          return idle.await.pipe(
            Effect.timeout(bound),
            Effect.ignore,
            Effect.zipRight(failAll(ended)),
            Effect.zipRight(stopped.open),
            Effect.zipRight(idle.await),
            Effect.zipRight(Fiber.interrupt(fiber)),
            Effect.withClock(realClock),
            Effect.asVoid
          )
        })
    }
  })
