/**
 * Which process writes for the others: everyone watches the primary, and takes its place when it is free or hangs.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { DbError } from "../../errors/index.js"
import type { PrimaryRecord } from "../../services/Sharing.js"
import { jittered, realClock } from "../EventLoop.js"
import type * as Coordinator from "./Coordinator.js"
import * as Primary from "./Primary.js"
import * as PrimaryConnection from "./PrimaryConnection.js"
import * as Endpoint from "./WriteEndpoint.js"
import * as Wire from "./WriteWire.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PrimaryElection {
  /** What takes the writes of everyone, while this process is the primary. */
  readonly coordinator: () => Coordinator.Coordinator | undefined
}

/** A place that was taken, from whom, and whether that one only hangs. */
interface Place extends Pick<PrimaryRecord, "epoch" | "slot"> {
  readonly before: PrimaryRecord | undefined
  readonly hangs: boolean
}

/** How often a process looks whether the primary's lock is free. */
const pollMillis = 200

/** How often the primary is asked for a sign of life. */
const askMillis = 1_000

/** How long a process that stepped down leaves the place to others. */
const stepDownPause = "2 seconds"

/**
 * Takes part in the election until the scope closes. A primary that has not answered for `deadAfter` milliseconds hangs.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  candidate: Primary.Candidate,
  connection: PrimaryConnection.PrimaryConnection,
  deadAfter: number
): Effect.Effect<PrimaryElection, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { backend, instance, sharing } = candidate
    const lastRecord = PrimaryConnection.lastRecord(sharing)
    let coordinator: Coordinator.Coordinator | undefined

    const firstFree = (slots: ReadonlyArray<number>): Effect.Effect<number | undefined, DbError, Scope.Scope> =>
      Effect.gen(function* () {
        for (const slot of slots) if (yield* sharing.tryLock(slot)) return slot
        return undefined
      })

    /** Takes a lock in the scope, and an epoch that is later than all before. */
    const takePlace = (hanging: number | undefined): Effect.Effect<Place | undefined, DbError, Scope.Scope> =>
      Effect.gen(function* () {
        const before = yield* lastRecord
        const first = before?.slot ?? 0
        // Another may have taken its place meanwhile, and that one does not hang.
        const hangs = hanging !== undefined && before?.epoch === hanging
        const all = Array.from({ length: sharing.slots }, (_, n) => (first + n) % sharing.slots)
        const slot = yield* firstFree(hangs ? all : [first])
        if (slot === undefined) return undefined
        // Somebody may have been elected between the look and the lock.
        const after = yield* lastRecord
        if (after?.epoch !== before?.epoch) return undefined
        const last = yield* Primary.lastEpoch(backend)
        // A file that was restored over this one begins anew, and its record goes on.
        const epoch = Math.max(last, before?.epoch ?? 0) + 1
        const { rowsAffected } = yield* backend.transaction(
          backend.execute("UPDATE db_hub_primary SET epoch = ?, instance = ? WHERE id = 1 AND epoch = ?", [
            epoch,
            instance,
            last
          ])
        )
        return rowsAffected === 1 ? { epoch, slot, before, hangs } : undefined
      })

    /** Is the primary in the scope if the place can be had, and tells why it no longer is. */
    const campaign = (hanging: number | undefined): Effect.Effect<string, DbError, Scope.Scope> =>
      Effect.gen(function* () {
        const place = yield* takePlace(hanging)
        if (place === undefined) return "not elected"
        const primary = yield* Primary.serve(candidate, place)
        if (place.before !== undefined && !place.hangs) yield* Endpoint.remove(place.before.socket)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            coordinator = primary.coordinator
          }),
          () =>
            Effect.sync(() => {
              coordinator = undefined
            })
        )
        // What was sent to the one before is sent again, to this process.
        yield* connection.leave()
        return yield* primary.over
      })

    /** Of the primary there is: its epoch, when it last was asked, and when it last answered or was new. */
    let known = -1
    let asked = 0
    let answered = performance.now()

    /** Waits for a reason to try again; gives the epoch of a primary that hangs. */
    const watch: Effect.Effect<number | undefined, DbError> = Effect.gen(function* () {
      yield* Effect.race(connection.lost, Effect.sleep(jittered(pollMillis)))
      const record = yield* lastRecord
      const now = performance.now()
      if (record === undefined) return undefined
      if (record.epoch !== known) {
        known = record.epoch
        answered = now
        yield* connection.leave(known)
      }
      // One of another version of this program cannot be asked, and may well be alive.
      if (record.protocol !== Wire.protocol || now - asked < askMillis) return undefined
      asked = now
      const alive = yield* connection.client.pipe(
        Effect.flatMap((client) => client.status),
        Effect.timeout(askMillis),
        Effect.isSuccess
      )
      if (alive) answered = performance.now()
      return performance.now() - answered > deadAfter ? known : undefined
    })

    let told: string | undefined
    /** A lock that is held comes free; what else keeps a process from its place stays so until somebody mends it. */
    const tellOnce = (error: DbError) => {
      const isNews = error._tag !== "DbBusy" && error.message !== told
      if (isNews) told = error.message
      return isNews ? Effect.logWarning(`No primary of ${backend.name}: ${error.message}`) : Effect.void
    }

    const role = Effect.gen(function* () {
      let hanging: number | undefined
      for (;;) {
        const end = yield* Effect.scoped(campaign(hanging)).pipe(
          Effect.catchAll((error) => Effect.as(tellOnce(error), "not elected"))
        )
        if (end !== "not elected") {
          known = -1
          answered = performance.now()
        }
        if (end === "stepped down") yield* Effect.sleep(stepDownPause)
        hanging = yield* Effect.orElseSucceed(watch, () => undefined)
      }
    })
    yield* Effect.forkScoped(Effect.interruptible(Effect.withClock(role, realClock)))
    return { coordinator: () => coordinator }
  })
