/**
 * What a process does while it writes for the others: it takes their writes, says how it is reached, and looks whether
 * the place still is its own.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, UnknownOperation } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { PrimaryRecord, Sharing } from "../../services/Sharing.js"
import * as Coordinator from "./Coordinator.js"
import * as PrimaryConnection from "./PrimaryConnection.js"
import type * as Endpoint from "./WriteEndpoint.js"
import type { Writes } from "./Writes.js"
import * as Wire from "./WriteWire.js"

/**
 * A process that may become the primary.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate {
  readonly backend: BackendShape
  readonly sharing: Sharing
  readonly instance: string
  readonly writes: Writes
  /** The handler of an operation, if this process has it. */
  readonly handlerOf: (operation: string) => Handler | undefined
  /** Writes that may wait. */
  readonly capacity: number
  /** Milliseconds that idempotency keys and changes are kept. */
  readonly keepKeys: number
  readonly transport: Endpoint.Transport
}

/**
 * Decodes a payload as it travels; the statements that it gives answer with the result as it travels.
 *
 * @since 0.1.0
 * @category models
 */
export type Handler = (payload: unknown, key: string) => Effect.Effect<Effect.Effect<string, DbError>, DbError>

/**
 * @since 0.1.0
 * @category models
 */
export interface Primary {
  readonly coordinator: Coordinator.Coordinator
  /** Waits until this process no longer is the primary: another has a later epoch, or it was asked to step down. */
  readonly over: Effect.Effect<"fenced" | "stepped down">
}

/** How often it looks whether its epoch still is the last. */
const heartbeatMillis = 1_000

/**
 * The epoch of the last primary, as the transactions of every process see it.
 *
 * @since 0.1.0
 * @category reading
 */
export const lastEpoch = (backend: BackendShape): Effect.Effect<number, DbError> =>
  Effect.map(backend.query("SELECT epoch FROM db_hub_primary WHERE id = 1"), ([row]) => Number(row?.["epoch"] ?? 0))

/**
 * Writes for the others until the scope closes, under a lock and an epoch that this process has taken.
 *
 * @since 0.1.0
 * @category constructors
 */
export const serve = (
  { backend, capacity, handlerOf, instance, keepKeys, sharing, transport, writes }: Candidate,
  { epoch, slot }: Pick<PrimaryRecord, "epoch" | "slot">
): Effect.Effect<Primary, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const unreachable = (operation: string, code: string) =>
      Effect.fail(PrimaryConnection.unreachable(backend.name, operation, code))
    const over = yield* Deferred.make<"fenced" | "stepped down">()
    const end = (why: "fenced" | "stepped down") => Effect.asVoid(Deferred.succeed(over, why))
    const fence = Effect.flatMap(lastEpoch(backend), (last) =>
      last === epoch ? Effect.void : unreachable("primary.fence", "HUB_FENCED")
    )
    const coordinator = yield* Coordinator.make(
      backend,
      sharing,
      { ...Coordinator.grouping, capacity, lockWait: 1_000, whenLocked: "wait" },
      { guard: fence, onCommit: writes.committed, onFenced: end("fenced") }
    )

    const forward = (write: Wire.ForwardedWrite): Effect.Effect<string, DbError> => {
      const { deadline, key, operation, source } = write
      const handler = handlerOf(operation)
      if (handler === undefined) return Effect.fail(unknown(backend.name, operation))
      if (write.epoch !== epoch) return unreachable(operation, "HUB_OTHER_EPOCH")
      return Effect.flatMap(handler(write.payload, key), (statements) => {
        // While it can be undone.
        const whole = Effect.tap(statements, (result) => Wire.resultFits(operation, result))
        return coordinator.submit({ source, operation, deadline, write: whole })
      })
    }
    const status = Effect.map(
      coordinator.metrics,
      (metrics) => new Wire.PrimaryStatus({ instance, epoch, pid: process.pid, ...metrics })
    )
    const secret = NodeCrypto.randomBytes(32).toString("base64url")
    const socket = yield* Wire.serve(secret, { forward, status, stepDown: end("stepped down") }, transport)
    const record = { instance, epoch, slot, socket, secret, protocol: Wire.protocol }
    yield* sharing.publish(record)
    yield* Effect.addFinalizer(() => coordinator.drain(Coordinator.drainBound))

    const stayKnown = Effect.flatMap(PrimaryConnection.lastRecord(sharing), (found) =>
      found === undefined ? sharing.publish(record) : Effect.void
    )
    const heartbeat = Effect.catchAll(Effect.zipRight(fence, stayKnown), (error) =>
      error._tag === "PrimaryUnreachable" ? end("fenced") : Effect.void
    )
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(Effect.sleep(heartbeatMillis), heartbeat)))
    yield* sharing.runCheckpoints
    const pruneOnce = Effect.ignoreLogged(writes.prune({ olderThan: keepKeys }))
    yield* Effect.forkScoped(Effect.zipRight(pruneOnce, writes.pruneNowAndThen(keepKeys)))
    yield* Effect.logDebug(`Primary of ${backend.name}, epoch ${epoch}`)
    return { coordinator, over: Deferred.await(over) }
  })

const unknown = (backend: string, operation: string): UnknownOperation =>
  new UnknownOperation({
    backend,
    operation,
    message: "The primary process does not have this operation: run the same stores in every process"
  })
