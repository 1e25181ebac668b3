/**
 * The writes that wait for the primary: a bounded queue, fair between those who send, committed in groups.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type DbError, PrimaryUnreachable, WriteOverloaded, WriteTimeout } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"

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
}

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
  /** The wall clock, in milliseconds, after which it is not begun, and undone if it has begun. */
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
  /** Takes no more, finishes what was taken within `bound`, and answers the rest as not applied. */
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

interface Job extends WaitingWrite<unknown> {
  readonly arrived: number
  readonly answer: Deferred.Deferred<unknown, DbError>
}

/** Deadlines are those of other processes, so they are read from the wall clock, also under a test's clock. */
const realClock = Clock.make()

/** How long one attempt waits for the lock of the file; what waits in the queue meanwhile may run out of its time. */
const lockWait = "1 second"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "transaction">,
  options: CoordinatorOptions,
  hooks: {
    /** Runs first in every transaction; its failure ends the coordinator. */
    readonly guard: Effect.Effect<void, DbError>
    readonly onCommit: Effect.Effect<void>
    readonly onFenced: Effect.Effect<void>
  }
): Effect.Effect<Coordinator, never, Scope.Scope> =>
  Effect.gen(function* () {
    const queues = new Map<string, Array<Job>>()
    const filled = yield* Effect.makeLatch(false)
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
    let working = false
    const idle = yield* Effect.makeLatch(true)

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
        message: "This process no longer writes for the others; the write was not done: send it again"
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
        if (Date.now() < job.deadline) return job
        counts.dropped++
        Deferred.unsafeDone(job.answer, Exit.fail(late(job.operation)))
      }
    }

    const failAll = (error: (operation: string) => DbError) =>
      Effect.sync(() => {
        for (const { answer, operation } of Array.from(queues.values()).flat()) {
          Deferred.unsafeDone(answer, Exit.fail(error(operation)))
        }
        counts.dropped += depth
        queues.clear()
        depth = 0
      })

    const answer = (job: Job, exit: Exit.Exit<unknown, DbError>) => {
      if (Exit.isSuccess(exit)) counts.completed++
      else counts.failed++
      Deferred.unsafeDone(job.answer, exit)
      return Metric.update(latency, performance.now() - job.arrived)
    }

    const runOne = (job: Job): Effect.Effect<Exit.Exit<unknown, DbError>> =>
      Effect.exit(
        backend.transaction(
          Effect.timeoutFail(Effect.interruptible(job.write), {
            duration: Duration.millis(Math.max(1, job.deadline - Date.now())),
            onTimeout: () => late(job.operation)
          })
        )
      )

    const group = Effect.suspend(() => {
      const done: Array<readonly [Job, Exit.Exit<unknown, DbError>]> = []
      let fenced = false
      const body = Effect.gen(function* () {
        yield* Effect.tapError(hooks.guard, () =>
          Effect.sync(() => {
            fenced = true
          })
        )
        const started = performance.now()
        while (done.length < options.maxGroup && performance.now() - started < options.maxGroupMillis) {
          const job = take()
          if (job === undefined) return
          const at = done.push([job, Exit.fail(ended(job.operation))]) - 1
          done[at] = [job, yield* runOne(job)]
        }
      })
      return Effect.exit(backend.transaction(body, { busyTimeout: lockWait })).pipe(
        Effect.tap((commit) => {
          // A lock is waited for again; a broken disk or a closed database will not mend while writes wait.
          if (done.length > 0 || fenced || Exit.isSuccess(commit)) return Effect.void
          const error = Cause.failureOption(commit.cause)
          return Option.isSome(error) && error.value._tag === "DbBusy"
            ? Effect.void
            : failAll((operation) => (Option.isSome(error) ? error.value : ended(operation)))
        }),
        Effect.tap((commit) => {
          if (done.length > 0) {
            counts.groups++
            counts.maxGroup = Math.max(counts.maxGroup, done.length)
          }
          return Exit.isSuccess(commit) ? hooks.onCommit : Effect.void
        }),
        Effect.tap((commit) =>
          Effect.forEach(done, ([job, exit]) =>
            // What failed in its savepoint has its own error; what did not stands and falls with the commit.
            answer(job, Exit.isSuccess(exit) && Exit.isFailure(commit) ? commit : exit)
          )
        ),
        Effect.zipRight(Effect.suspend(() => (done.length > 0 ? Metric.update(groupSize, done.length) : Effect.void))),
        Effect.zipRight(
          Effect.suspend(() => {
            if (!fenced) return Effect.void
            closed = true
            return Effect.zipRight(failAll(ended), hooks.onFenced)
          })
        ),
        Effect.asVoid
      )
    })

    const worker = Effect.gen(function* () {
      while (!closed || depth > 0) {
        yield* filled.await
        working = true
        if (depth > 0) yield* Effect.uninterruptible(group)
        working = false
        if (depth === 0) {
          yield* filled.close
          yield* idle.open
        }
      }
    })
    const fiber = yield* Effect.forkScoped(Effect.withClock(Effect.interruptible(worker), realClock))

    const submit = <A>(write: WaitingWrite<A>): Effect.Effect<A, DbError> =>
      Effect.suspend(() => {
        if (closed) return Effect.fail(ended(write.operation))
        if (depth >= options.capacity) {
          counts.overloaded++
          return Effect.fail(
            new WriteOverloaded({
              ...context(write.operation),
              message: `${options.capacity} writes are waiting already; this one was not done: send it again a little later`
            })
          )
        }
        const job: Job = { ...write, arrived: performance.now(), answer: Deferred.unsafeMake(fiber.id()) }
        const queue = queues.get(job.source)
        if (queue === undefined) queues.set(job.source, [job])
        else queue.push(job)
        depth++
        counts.accepted++
        counts.maxDepth = Math.max(counts.maxDepth, depth)
        const dropped = () => {
          if (remove(job)) counts.dropped++
        }
        // The time of a write that has not begun ends here; one that has begun is answered by its group.
        const timer = setTimeout(
          () => {
            if (!remove(job)) return
            counts.dropped++
            Deferred.unsafeDone(job.answer, Exit.fail(late(job.operation)))
          },
          Math.max(0, job.deadline - Date.now())
        )
        return Effect.zipRight(idle.close, filled.open).pipe(
          Effect.zipRight(Deferred.await(job.answer)),
          Effect.onInterrupt(() => Effect.sync(dropped)),
          Effect.ensuring(Effect.sync(() => clearTimeout(timer)))
        ) as Effect.Effect<A, DbError>
      })

    return {
      submit,
      metrics: Effect.sync(() => ({ ...counts, depth })),
      drain: (bound) =>
        Effect.suspend(() => {
          closed = true
          return Effect.suspend(() => (working || depth > 0 ? idle.await : Effect.void)).pipe(
            Effect.timeout(bound),
            Effect.ignore,
            Effect.zipRight(failAll(ended)),
            Effect.zipRight(Fiber.interrupt(fiber)),
            Effect.withClock(realClock),
            Effect.asVoid
          )
        })
    }
  })
