/**
 * Writes of many processes on one database: each is tried here, and where another process holds the lock it is sent to
 * the one process that writes for the others. Every write that may be sent has an idempotency key, made once, so that
 * it has one effect however often it is sent and to whomever.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import type * as Rpc from "@effect/rpc/Rpc"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type { DbError } from "../../errors/index.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import { type AnyOperation, IdempotencyKey, WriteBudget, WriteChannel } from "../../services/WriteChannel.js"
import * as AtOnce from "../AtOnce.js"
import { jittered, realClock, uptime } from "../EventLoop.js"
import * as LocalWrites from "./LocalWrites.js"
import type * as Primary from "./Primary.js"
import * as PrimaryConnection from "./PrimaryConnection.js"
import * as PrimaryElection from "./PrimaryElection.js"
import * as WriteAttempts from "./WriteAttempts.js"
import type * as Endpoint from "./WriteEndpoint.js"
import * as Writes from "./Writes.js"

export { probePrimary, stepDown } from "./PrimaryProbe.js"

/**
 * Where writes run, and how long they may wait.
 *
 * @since 0.1.0
 * @category models
 */
export interface ForwardingOptions {
  /**
   * `local-first` (default): here if the lock is free within `localWait`, else through the primary. `forward-always`:
   * only through the primary. `local-only`: only here, with no election.
   */
  readonly strategy?: "local-first" | "forward-always" | "local-only"
  /** How long a write may take in all unless `withWriteTimeout` says otherwise; default 5 seconds. */
  readonly timeout?: Duration.DurationInput
  /** How long a write waits for the lock here before it is sent; default 200 milliseconds. */
  readonly localWait?: Duration.DurationInput
  /** How long the writes after one that found the lock held follow it to the primary; default 250 milliseconds. */
  readonly contention?: Duration.DurationInput
  /** Writes that may wait at the primary; default 256. */
  readonly capacity?: number
  /** A primary that has not answered for so long hangs, and another takes its place; default 3 seconds. */
  readonly deadAfter?: Duration.DurationInput
  /** How long idempotency keys and changes are kept; default 7 days. */
  readonly keepKeys?: Duration.DurationInput
  /** How others reach this process when it is the primary; default `socket`. */
  readonly transport?: Endpoint.Transport
}

interface Settings {
  readonly strategy: "local-first" | "forward-always"
  readonly timeout: number
  readonly localWait: number
  readonly contention: number
  readonly capacity: number
  readonly deadAfter: number
  readonly keepKeys: number
  readonly transport: Endpoint.Transport
}

/** The primary's own "not done" is on its way when the time of a write is over. */
const answerGrace = 100

/** The same error where it is not known whether the write was done. */
const unsure = (error: DbError): DbError => {
  const Same = error.constructor as new (fields: object) => DbError
  return new Same({ ...error, message: error.message, applied: "unknown" })
}

/** What is done here or nowhere: the primary lacks the operation, its message is too large, or nobody can be found. */
const onlyHere = (error: DbError): boolean =>
  error._tag === "UnknownOperation" ||
  error.code === "HUB_MESSAGE_TOO_LARGE" ||
  (error.operation === "primary.lock" && error._tag !== "DbBusy")

const make = (
  backend: BackendShape,
  sharing: Sharing,
  settings: Settings
): Effect.Effect<WriteChannel["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    yield* sharing.deferCheckpoints
    const instance = NodeCrypto.randomUUID()
    const handlers = new Map<string, Primary.Handler>()
    const localFirst = settings.strategy === "local-first"
    const writes = yield* Writes.make(backend)
    const connection = yield* PrimaryConnection.make(backend.name, sharing, instance)
    const election = yield* PrimaryElection.make(
      { ...settings, backend, sharing, instance, writes, handlerOf: (operation) => handlers.get(operation) },
      connection,
      settings.deadAfter
    )
    const { following, here, isContended, locally, through } = yield* WriteAttempts.make(backend, sharing, {
      ...settings,
      instance,
      election,
      connection,
      committed: writes.committed
    })

    /** Here if the lock is free, else through the primary, in the time that the write has in all. */
    const submit = <R extends AnyOperation>(
      prepared: Writes.PreparedWrite<R>,
      input: unknown
    ): Effect.Effect<Rpc.Success<R>, DbError> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiberRuntime((fiber) => {
          const checked = prepared.check(input)
          if (Either.isLeft(checked)) return checked
          const payload = checked.right
          const operation = prepared.tag
          const given = Context.get(fiber.currentContext, IdempotencyKey)
          const budget = Context.get(fiber.currentContext, WriteBudget)
          const millis = budget === undefined ? settings.timeout : Duration.toMillis(budget)
          // JSON has no infinity.
          const deadline = Math.min(uptime() + millis, Number.MAX_SAFE_INTEGER)
          const attempt = { operation, deadline, statements: prepared.write(payload, given) }
          // Part of a transaction of this process: it cannot be done elsewhere.
          if (fiber.getFiberRef(sharing.transaction) !== undefined)
            return restore(here(attempt, Number.POSITIVE_INFINITY))
          const settled = () => {
            const key = given ?? NodeCrypto.randomUUID()
            const write = {
              operation,
              key,
              deadline,
              statements: prepared.write(payload, key),
              encode: () => prepared.encode(payload),
              decode: prepared.decodeResult
            }
            return restore(following(Effect.withClock(settle(write), realClock)))
          }
          if (!localFirst || isContended()) return settled()
          const local = locally(attempt, fiber, restore)
          if (AtOnce.done(local)?._tag === "Success") return local
          return Effect.catchAll(local, (error) => (error._tag === "DbBusy" ? settled() : Effect.fail(error)))
        })
      )

    /** Through the primary, or here when there is none, until one of them has done it or its time is over. */
    const settle = <A>(write: WriteAttempts.KeyedAttempt<A>): Effect.Effect<A, DbError> =>
      Effect.gen(function* () {
        const { deadline, operation } = write
        const timedOut = (applied: "no" | "unknown") => WriteAttempts.timedOut(backend.name, operation, applied)
        let isLost = false
        /** "Not done" is true of the last attempt alone, once one was sent whose answer is missing. */
        const giveUp = (error: DbError) => {
          if (!isLost || error.applied !== "no") return Effect.fail(error)
          return Effect.fail(error.retryable ? timedOut("unknown") : unsure(error))
        }
        for (let pause = 5; ; pause = Math.min(pause * 2, 250)) {
          const left = deadline - uptime()
          if (left <= 0) return yield* giveUp(timedOut("no"))
          let isSent = false
          const onSent = () => {
            isSent = true
          }
          const attempt = yield* through(write, onSent).pipe(
            Effect.timeoutFail({
              duration: left + answerGrace,
              onTimeout: () => timedOut(isSent ? "unknown" : "no")
            }),
            Effect.either
          )
          if (attempt._tag === "Right") return attempt.right
          const error = attempt.left
          if (error._tag === "PrimaryUnreachable") {
            if (error.applied === "unknown" && error.operation === operation) isLost = true
            if (localFirst && election.coordinator() === undefined) {
              const local = yield* Effect.either(here(write, settings.localWait))
              if (local._tag === "Right") return local.right
              if (local.left._tag !== "DbBusy") return yield* giveUp(local.left)
            }
          } else if (localFirst && onlyHere(error)) {
            const local = here(write, Number.POSITIVE_INFINITY)
            return yield* Effect.catchAll(local, (last) => giveUp(last._tag === "DbBusy" ? error : last))
          } else if (error._tag === "WriteOverloaded") {
            if (deadline - uptime() <= pause) return yield* giveUp(error)
          } else if (error._tag !== "DbBusy") return yield* giveUp(error)
          yield* Effect.sleep(jittered(pause))
        }
      })

    return {
      changes: writes.changes,
      latest: writes.latest,
      prune: writes.prune,
      handle: (operation, handler) => {
        const prepared = writes.prepare(operation, handler)
        handlers.set(prepared.tag, (encoded, key) =>
          Effect.map(prepared.decode(encoded), (payload) =>
            Effect.map(prepared.write(payload, key), prepared.encodeResult)
          )
        )
        return (input) => submit(prepared, input)
      }
    }
  })

/**
 * A channel for processes that share a database. On an engine that is a server, and with `local-only`, every write runs
 * on the backend of this process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: ForwardingOptions = {}): Layer.Layer<WriteChannel, never, Backend> =>
  Layer.unwrapEffect(
    Effect.map(Backend, (backend) => {
      const { strategy = "local-first" } = options
      const { capabilities, sharing } = backend
      if (sharing === undefined || !capabilities.writable || strategy === "local-only") return LocalWrites.layer
      const settings: Settings = {
        strategy,
        timeout: Duration.toMillis(options.timeout ?? "5 seconds"),
        localWait: Duration.toMillis(options.localWait ?? "200 millis"),
        contention: Duration.toMillis(options.contention ?? "250 millis"),
        capacity: options.capacity ?? 256,
        deadAfter: Duration.toMillis(options.deadAfter ?? "3 seconds"),
        keepKeys: Duration.toMillis(options.keepKeys ?? "7 days"),
        transport: options.transport ?? "socket"
      }
      return Layer.scoped(WriteChannel, make(backend, sharing, settings))
    })
  )
