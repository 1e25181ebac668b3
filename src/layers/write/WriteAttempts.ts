/**
 * The attempts that make up a write: in a transaction of this process, or through the primary. Each is made once and
 * says how it ended; who goes on, and how long, is not decided here.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, WriteTimeout } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import { uptime } from "../EventLoop.js"
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
  /** Here as well: at once if nothing else is being written, else together with what waits. */
  readonly locally: <A>(attempt: Attempt<A>) => Effect.Effect<A, DbError>
  /** Through the primary, which may be this process; `onSent` is called when it is on its way. */
  readonly through: <A>(write: KeyedAttempt<A>, onSent: () => void) => Effect.Effect<A, DbError>
  /** The lock was held a moment ago, or an earlier write may still wait at the primary: the next ones follow it there. */
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
    readonly onCommit: Effect.Effect<void>
    /** Milliseconds that a write waits for the lock here. */
    readonly localWait: number
    /** Milliseconds that writes go straight to the primary after one found the lock held. */
    readonly contention: number
  }
): Effect.Effect<WriteAttempts, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { connection, contention, election, instance, localWait, onCommit } = options
    let contendedUntil = 0

    /** Writes of this process that came while another one was being done: they are committed together. */
    const waiting = yield* Coordinator.make(
      backend,
      sharing,
      { ...Coordinator.grouping, capacity: Number.POSITIVE_INFINITY, lockWait: localWait, whenLocked: "fail" },
      { guard: Effect.void, onCommit, onFenced: Effect.void }
    )
    yield* Effect.addFinalizer(() => waiting.drain(Coordinator.drainBound))

    const here: WriteAttempts["here"] = <A>({ deadline, operation, statements }: Attempt<A>, wait: number) => {
      const inTime = Effect.withFiberRuntime<A, DbError>((fiber) =>
        Effect.flatten(
          Coordinator.outcome(fiber.currentContext, fiber.getFiberRefs(), statements, [
            [Coordinator.untilDeadline(deadline), () => timedOut(backend.name, operation, "no")]
          ])
        )
      )
      const busyTimeout = Math.max(1, Math.min(wait, deadline - uptime()))
      return Effect.zipLeft(backend.transaction(inTime, { busyTimeout }), onCommit)
    }

    const locally: WriteAttempts["locally"] = (attempt) =>
      Effect.suspend(() => {
        const { deadline, operation, statements } = attempt
        const isAlone = !sharing.isWriting() && waiting.isIdle()
        return isAlone
          ? here(attempt, localWait)
          : waiting.submit({ source: "", operation, deadline, write: statements })
      }).pipe(
        Effect.tapError((error) =>
          Effect.sync(() => {
            if (error._tag === "DbBusy") contendedUntil = performance.now() + contention
          })
        )
      )

    const through: WriteAttempts["through"] = ({ deadline, decode, encode, key, operation, statements }, onSent) =>
      Effect.suspend(() => {
        const own = election.coordinator()
        if (own !== undefined) {
          onSent()
          return own.submit({ source: instance, operation, deadline, write: statements })
        }
        return Effect.flatMap(connection.client, (client) => {
          onSent()
          const { epoch } = client.record
          return client.forward({ operation, payload: encode(), key, source: instance, epoch, deadline }).pipe(
            Effect.tapError((error) => (error._tag === "PrimaryUnreachable" ? connection.letGo(client) : Effect.void)),
            Effect.flatMap(decode),
            // What was sent may still be waiting there: later writes of this process stay behind it.
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                contendedUntil = Math.max(contendedUntil, performance.now() + (deadline - uptime()))
              })
            )
          )
        })
      })

    return { here, locally, through, isContended: () => performance.now() < contendedUntil }
  })
