/**
 * The attempts that make up a write: in a transaction of this process, or through the primary. Each is made once and
 * says how it ended; who goes on, and how long, is not decided here.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { type DbError, WriteTimeout } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import * as AtOnce from "../AtOnce.js"
import { uptime } from "../EventLoop.js"
import type { Restore } from "../Lane.js"
import * as Tracing from "../Tracing.js"
import * as Coordinator from "./Coordinator.js"
import type { PrimaryConnection } from "./PrimaryConnection.js"
import type { PrimaryElection } from "./PrimaryElection.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Attempt<A> {
  readonly operation: string
  /** The `uptime` at which its time is over. */
  readonly deadline: number
  readonly statements: Effect.Effect<A, DbError>
}

/**
 * One that can be sent: its statements are under its key.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyedAttempt<A> extends Attempt<A> {
  readonly key: string
  readonly encode: () => unknown
  readonly decode: (result: string) => Effect.Effect<A, DbError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface WriteAttempts {
  /** In a transaction of this process, for whose lock it waits so many milliseconds: `DbBusy` if it is held longer. */
  readonly here: <A>(attempt: Attempt<A>, wait: number) => Effect.Effect<A, DbError>
  /**
   * Here as well, begun at once: in one step if nothing else is being written, else together with what waits. For a
   * caller that is not to be interrupted but where it restores.
   */
  readonly locally: <A>(
    attempt: Attempt<A>,
    caller: Fiber.RuntimeFiber<unknown, unknown>,
    restore: Restore
  ) => Effect.Effect<A, DbError>
  /** Through the primary, which may be this process; `onSent` is called when it is on its way. */
  readonly through: <A>(write: KeyedAttempt<A>, onSent: () => void) => Effect.Effect<A, DbError>
  /** A write that goes through the primary, until it is settled. */
  readonly following: <A>(write: Effect.Effect<A, DbError>) => Effect.Effect<A, DbError>
  /** The lock was held a moment ago, and an earlier write may still wait at the primary: the next ones follow it there. */
  readonly isContended: () => boolean
}

/**
 * @since 0.1.0
 * @category errors
 */
export const timedOut = (backend: string, operation: string, applied: "no" | "unknown"): WriteTimeout =>
  new WriteTimeout({
    backend,
    operation,
    applied,
    message:
      applied === "no"
        ? "The write was not done in its time: send it again, or give it more time"
        : "The write may or may not have been done: send it again under the same idempotency key"
  })

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: BackendShape,
  sharing: Sharing,
  options: {
    readonly instance: string
    readonly election: PrimaryElection
    readonly connection: PrimaryConnection
    /** Runs after every commit of this process. */
    readonly committed: () => void
    /** Milliseconds that a write waits for the lock here. */
    readonly localWait: number
    /** Milliseconds that writes follow those at the primary after one found the lock held. */
    readonly contention: number
  }
): Effect.Effect<WriteAttempts, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { committed, connection, contention, election, instance, localWait } = options
    let contendedUntil = 0
    /** Writes on their way through the primary, and until when one may be there whose answer nobody waits for. */
    let underWay = 0
    let lostUntil = 0

    /** Writes of this process that came while another one was being done: they are committed together. */
    const waiting = yield* Coordinator.make(
      backend,
      sharing,
      { ...Coordinator.grouping, capacity: Number.POSITIVE_INFINITY, lockWait: localWait, whenLocked: "fail" },
      { guard: Effect.void, onCommit: committed, onFenced: Effect.void }
    )
    yield* Effect.addFinalizer(() => waiting.drain(Coordinator.drainBound))

    const outcome = <A>(fiber: Fiber.RuntimeFiber<A, DbError>, { deadline, operation }: Attempt<A>) =>
      Coordinator.outcome(fiber, [[Coordinator.untilDeadline(deadline), () => timedOut(backend.name, operation, "no")]])

    const within = ({ deadline }: Attempt<unknown>, wait: number) => Math.max(1, Math.min(wait, deadline - uptime()))

    const tellCommitted = <A>(value: A): A => {
      committed()
      return value
    }

    const here: WriteAttempts["here"] = <A>(attempt: Attempt<A>, wait: number) => {
      const inTime = Effect.withFiberRuntime<A, DbError>((fiber) =>
        Effect.flatten(
          outcome(
            Coordinator.start(sharing, fiber.getFiberRef(sharing.transaction), fiber, attempt.statements),
            attempt
          )
        )
      )
      return Effect.map(backend.transaction(inTime, { busyTimeout: within(attempt, wait) }), tellCommitted)
    }

    /** Here and now; undefined where something has to be waited for. Uninterruptible but for what it restores. */
    const now = <A>(
      attempt: Attempt<A>,
      caller: Fiber.RuntimeFiber<unknown, unknown>,
      restore: Restore
    ): Effect.Effect<A, DbError> | undefined => {
      // Only `transaction` makes a span.
      const begun = Tracing.isTraced(caller) ? undefined : sharing.beginNow(within(attempt, localWait))
      if (begun === undefined) return undefined
      const end = (exit: Exit.Exit<A, DbError>) =>
        AtOnce.flatMap(begun.end(exit), (value) => Effect.succeed(tellCommitted(value)))
      const ran = AtOnce.suspend(() =>
        outcome(Coordinator.start(sharing, begun.transaction, caller, attempt.statements), attempt)
      )
      return AtOnce.flatMap(AtOnce.exit(AtOnce.done(ran) === undefined ? restore(ran) : ran), (exit) =>
        end(Exit.flatten(exit))
      )
    }

    const together = <A>(attempt: Attempt<A>) => waiting.submit({ source: "", ...attempt, write: attempt.statements })

    const locally: WriteAttempts["locally"] = (attempt, caller, restore) => {
      const isAlone = !sharing.isWriting() && waiting.isIdle()
      const done = isAlone ? now(attempt, caller, restore) : undefined
      if (done !== undefined) return done
      return Effect.tapError(restore(isAlone ? here(attempt, localWait) : together(attempt)), (error) =>
        Effect.sync(() => {
          if (error._tag === "DbBusy") contendedUntil = uptime() + contention
        })
      )
    }

    const send = <A>({ deadline, decode, encode, key, operation }: KeyedAttempt<A>, onSent: () => void) =>
      Effect.flatMap(connection.client, (client) => {
        onSent()
        const { epoch } = client.record
        return client.forward({ operation, payload: encode(), key, source: instance, epoch, deadline }).pipe(
          Effect.tapError((error) => (error._tag === "PrimaryUnreachable" ? connection.letGo(client) : Effect.void)),
          Effect.flatMap(decode),
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              lostUntil = Math.max(lostUntil, deadline)
            })
          )
        )
      })

    const through: WriteAttempts["through"] = (write, onSent) =>
      Effect.suspend(() => {
        const own = election.coordinator()
        if (own === undefined) return send(write, onSent)
        const { deadline, operation, statements } = write
        onSent()
        return own.submit({ source: instance, operation, deadline, write: statements })
      })

    const following: WriteAttempts["following"] = (write) =>
      Effect.suspend(() => {
        underWay++
        return Effect.ensuring(
          write,
          Effect.sync(() => {
            underWay--
          })
        )
      })

    return {
      here,
      locally,
      through,
      following,
      isContended: () => (underWay > 0 && uptime() < contendedUntil) || uptime() < lostUntil
    }
  })
