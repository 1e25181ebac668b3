/**
 * Writes of many processes on one database: each is tried here, and where another process holds the lock it is sent to
 * the one process that writes for the others. Every write that may be sent has an idempotency key, made once, so that
 * it has one effect however often it is sent and to whomever.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { DbConnection, type DbError, DbUnsupported, UnknownOperation, WriteTimeout } from "../../errors/index.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import type { Sharing } from "../../services/Sharing.js"
import { IdempotencyKey, WriteBudget, WriteChannel } from "../../services/WriteChannel.js"
import { realClock, uptime } from "../EventLoop.js"
import * as Coordinator from "./Coordinator.js"
import * as LocalWrites from "./LocalWrites.js"
import * as PrimaryConnection from "./PrimaryConnection.js"
import * as Endpoint from "./WriteEndpoint.js"
import * as Writes from "./Writes.js"
import * as Wire from "./WriteWire.js"

/**
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
  /** How long writes go straight to the primary after one found the lock held; default 250 milliseconds. */
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

/** What this process is when it writes for the others. */
interface Primary {
  readonly epoch: number
  readonly coordinator: Coordinator.Coordinator
  /** Done when it is so no longer. */
  readonly over: Deferred.Deferred<void>
}

type Serve = (encoded: unknown, key: string) => Effect.Effect<Effect.Effect<string, DbError>, DbError>

/** How often a process looks whether the primary's lock is free. */
const pollMillis = 200

/** How often the primary is asked for a sign of life, and looks itself whether its epoch still is the last. */
const heartbeatMillis = 1_000

/** How long writes that were taken may go on when the primary ends. */
const drainBound = "5 seconds"

/** How long a process that stepped down leaves the place to others. */
const stepDownPause = "2 seconds"

/** The primary's own "not done" is on its way when the time of a write is over. */
const answerGrace = 100

/** What one commit takes in at most: for longer, nobody else could write, and timers would wait. */
const grouping = { maxGroup: 128, maxGroupMillis: 10 }

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

/** Spread out, so that processes do not march in step. */
const jittered = (millis: number): Duration.Duration => Duration.millis(millis * (0.75 + Math.random() / 2))

const make = (
  backend: BackendShape,
  sharing: Sharing,
  settings: Settings
): Effect.Effect<WriteChannel["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const writes = yield* Writes.make(backend)
    const instance = NodeCrypto.randomUUID()
    const operations = new Map<string, Serve>()
    const { name } = backend
    let primary: Primary | undefined
    const connection = yield* PrimaryConnection.make(name, sharing, instance)
    let steppedDown = false
    /** Until when writes go to the primary without being tried here. */
    let contendedUntil = 0

    const lastRecord = PrimaryConnection.lastRecord(sharing)

    const epochInDatabase = Effect.map(backend.query("SELECT epoch FROM db_hub_primary WHERE id = 1"), ([row]) =>
      Number(row?.["epoch"] ?? 0)
    )

    // --- the primary

    const serveForward =
      (own: { readonly epoch: number; readonly coordinator: Coordinator.Coordinator }) =>
      ({ deadline, epoch, key, operation, payload, source }: Wire.ForwardedWrite): Effect.Effect<string, DbError> => {
        const serve = operations.get(operation)
        if (serve === undefined) {
          return Effect.fail(
            new UnknownOperation({
              backend: name,
              operation,
              message: "The primary process does not have this operation: run the same stores in every process"
            })
          )
        }
        if (epoch !== own.epoch) return Effect.fail(PrimaryConnection.unreachable(name, operation, "HUB_OTHER_EPOCH"))
        return Effect.flatMap(serve(payload, key), (write) =>
          own.coordinator.submit({
            source,
            operation,
            deadline,
            write: Effect.tap(write, (result) => Wire.resultFits(operation, result))
          })
        )
      }

    /** Becomes the primary in the scope if the lock can be had, and returns when it no longer is. */
    const campaign = (hanging: number | undefined): Effect.Effect<boolean, DbError, Scope.Scope> =>
      Effect.gen(function* () {
        const before = yield* lastRecord
        // Another may have taken its place meanwhile, and that one does not hang.
        const primaryHangs = hanging !== undefined && before?.epoch === hanging
        const first = before?.slot ?? 0
        const slots = primaryHangs
          ? Array.from({ length: sharing.slots }, (_, n) => (first + n) % sharing.slots)
          : [first]
        let slot: number | undefined
        for (const candidate of slots) {
          if (!(yield* sharing.tryLock(candidate))) continue
          slot = candidate
          break
        }
        if (slot === undefined) return false
        // Somebody may have been elected between the look and the lock.
        const after = yield* lastRecord
        if (after?.epoch !== before?.epoch) return false
        const last = yield* epochInDatabase
        // A file that was restored over this one begins anew, and its record goes on.
        const epoch = Math.max(last, before?.epoch ?? 0) + 1
        const { rowsAffected } = yield* backend.transaction(
          backend.execute("UPDATE db_hub_primary SET epoch = ?, instance = ? WHERE id = 1 AND epoch = ?", [
            epoch,
            instance,
            last
          ])
        )
        if (rowsAffected !== 1) return false
        const over = yield* Deferred.make<void>()
        const lose = Effect.asVoid(Deferred.succeed(over, undefined))
        const fence = Effect.flatMap(epochInDatabase, (now) =>
          now === epoch ? Effect.void : Effect.fail(PrimaryConnection.unreachable(name, "primary.fence", "HUB_FENCED"))
        )
        const coordinator = yield* Coordinator.make(
          backend,
          sharing,
          { ...grouping, capacity: settings.capacity, lockWait: 1_000, whenLocked: "wait" },
          { guard: fence, onCommit: writes.committed, onFenced: lose }
        )
        const secret = NodeCrypto.randomBytes(32).toString("base64url")
        const socket = yield* Wire.serve(
          secret,
          {
            forward: serveForward({ epoch, coordinator }),
            status: Effect.map(
              coordinator.metrics,
              (metrics) => new Wire.PrimaryStatus({ instance, epoch, pid: process.pid, ...metrics })
            ),
            stepDown: Effect.zipRight(
              Effect.sync(() => {
                steppedDown = true
              }),
              lose
            )
          },
          settings.transport
        )
        const record = { instance, epoch, slot, socket, secret, protocol: Wire.protocol }
        yield* sharing.publish(record)
        if (before !== undefined && !primaryHangs) yield* Endpoint.remove(before.socket)
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            primary = { epoch, coordinator, over }
          }),
          () =>
            Effect.suspend(() => {
              primary = undefined
              return coordinator.drain(drainBound)
            })
        )
        // What was sent to the one before is sent again, to this process.
        yield* connection.leave()
        const stayKnown = Effect.flatMap(lastRecord, (found) =>
          found === undefined ? sharing.publish(record) : Effect.void
        )
        yield* Effect.forkScoped(
          Effect.forever(
            Effect.zipRight(
              Effect.sleep(heartbeatMillis),
              Effect.catchAll(Effect.zipRight(fence, stayKnown), (error) =>
                error._tag === "PrimaryUnreachable" ? lose : Effect.void
              )
            )
          )
        )
        const old = { olderThan: settings.keepKeys }
        yield* Effect.forkScoped(
          Effect.zipRight(Effect.ignoreLogged(writes.prune(old)), writes.pruneNowAndThen(settings.keepKeys))
        )
        yield* Effect.logDebug(`Primary of ${name}, epoch ${epoch}`)
        yield* Deferred.await(over)
        return true
      })

    // --- the role

    /** Waits for a reason to try again; gives the epoch of a primary that hangs. */
    const watch = (since: {
      answered: number
      asked: number
      epoch: number
    }): Effect.Effect<number | undefined, DbError> =>
      Effect.gen(function* () {
        yield* Effect.race(connection.lost, Effect.sleep(jittered(pollMillis)))
        const record = yield* lastRecord
        const now = performance.now()
        if (record === undefined) return undefined
        if (record.epoch !== since.epoch) {
          Object.assign(since, { answered: now, epoch: record.epoch })
          yield* connection.leave(record.epoch)
        }
        // One of another version of this program cannot be asked, and may well be alive.
        if (record.protocol !== Wire.protocol || now - since.asked < heartbeatMillis) return undefined
        since.asked = now
        const alive = yield* connection.client.pipe(
          Effect.flatMap((client) => client.status),
          Effect.timeout(heartbeatMillis),
          Effect.isSuccess
        )
        if (alive) since.answered = performance.now()
        return performance.now() - since.answered > settings.deadAfter ? record.epoch : undefined
      })

    const role = Effect.gen(function* () {
      const since = { answered: performance.now(), asked: 0, epoch: -1 }
      let hanging: number | undefined
      let told: string | undefined
      /** A lock that is held comes free; what else keeps a process from its place stays so until somebody mends it. */
      const notElected = (error: DbError) => {
        const isNews = error._tag !== "DbBusy" && error.message !== told
        if (isNews) told = error.message
        return isNews ? Effect.logWarning(`No primary of ${name}: ${error.message}`) : Effect.void
      }
      for (;;) {
        const was: boolean = yield* Effect.scoped(campaign(hanging)).pipe(
          Effect.catchAll((error) => Effect.as(notElected(error), false))
        )
        if (was) Object.assign(since, { answered: performance.now(), epoch: -1 })
        if (steppedDown) {
          steppedDown = false
          yield* Effect.sleep(stepDownPause)
        }
        hanging = yield* Effect.orElseSucceed(watch(since), () => undefined)
      }
    })
    yield* Effect.forkScoped(Effect.interruptible(Effect.withClock(role, realClock)))

    // --- the write

    /** Writes of this process that came while another one was being done: they are committed together. */
    const local = yield* Coordinator.make(
      backend,
      sharing,
      { ...grouping, capacity: Number.POSITIVE_INFINITY, lockWait: settings.localWait, whenLocked: "fail" },
      { guard: Effect.void, onCommit: writes.committed, onFenced: Effect.void }
    )
    yield* Effect.addFinalizer(() => local.drain(drainBound))

    interface Attempt<A> {
      readonly operation: string
      readonly deadline: number
      readonly statements: Effect.Effect<A, DbError>
    }

    /** One that can be sent: its statements are under its key. */
    interface Write<A> extends Attempt<A> {
      readonly key: string
      readonly encode: () => unknown
      readonly decode: (result: string) => Effect.Effect<A, DbError>
    }

    /** In a transaction of this process, for whose lock it waits so many milliseconds. */
    const here = <A>({ deadline, operation, statements }: Attempt<A>, wait: number) => {
      const inTime = Effect.withFiberRuntime<A, DbError>((fiber) =>
        Effect.flatten(
          Coordinator.outcome(fiber.currentContext, fiber.getFiberRefs(), statements, [
            [Coordinator.untilDeadline(deadline), () => timedOut(operation, "no")]
          ])
        )
      )
      const busyTimeout = Math.max(1, Math.min(wait, deadline - uptime()))
      return Effect.zipLeft(backend.transaction(inTime, { busyTimeout }), writes.committed)
    }

    /** One attempt here: at once if nothing else is being written, else with what waits. */
    const locally = <A>(attempt: Attempt<A>) =>
      Effect.suspend(() => {
        const { deadline, operation, statements } = attempt
        const waits = sharing.isWriting() || !local.isIdle()
        return waits
          ? local.submit({ source: "", operation, deadline, write: statements })
          : here(attempt, settings.localWait)
      })

    const timedOut = (operation: string, applied: "no" | "unknown") =>
      new WriteTimeout({
        backend: name,
        operation,
        applied,
        message:
          applied === "no"
            ? "The write was not done in its time: send it again, or give it more time"
            : "The write may or may not have been done: send it again under the same idempotency key"
      })

    /** One attempt through the primary, which may be this process. */
    const through = <A>(write: Write<A>, onSent: () => void): Effect.Effect<A, DbError> =>
      Effect.suspend(() => {
        const { deadline, encode, key, operation } = write
        if (primary !== undefined) {
          onSent()
          return primary.coordinator.submit({ source: instance, operation, deadline, write: write.statements })
        }
        return Effect.flatMap(connection.client, (client) => {
          onSent()
          return client
            .forward({
              operation,
              payload: encode(),
              key,
              source: instance,
              epoch: client.record.epoch,
              deadline
            })
            .pipe(
              Effect.tapError((error) =>
                error._tag === "PrimaryUnreachable" ? connection.letGo(client) : Effect.void
              ),
              Effect.flatMap(write.decode),
              // What was sent may still be waiting there: later writes of this process stay behind it.
              Effect.onInterrupt(() =>
                Effect.sync(() => {
                  contendedUntil = Math.max(contendedUntil, performance.now() + (deadline - uptime()))
                })
              )
            )
        })
      })

    /** Through the primary, or here when there is none, until one of them has done it or its time is over. */
    const settle = <A>(write: Write<A>): Effect.Effect<A, DbError> =>
      Effect.gen(function* () {
        let sent = false
        let asked = false
        /** "Not done" is true of the last attempt alone, once one was sent whose answer is missing. */
        const giveUp = (error: DbError) => {
          if (!sent || error.applied !== "no") return Effect.fail(error)
          return Effect.fail(error.retryable ? timedOut(write.operation, "unknown") : unsure(error))
        }
        let pause = 5
        for (;;) {
          const left = write.deadline - uptime()
          if (left <= 0) return yield* giveUp(timedOut(write.operation, "no"))
          asked = false
          const attempt = yield* through(write, () => {
            asked = true
          }).pipe(
            Effect.timeoutFail({
              duration: left + answerGrace,
              onTimeout: () => timedOut(write.operation, asked ? "unknown" : "no")
            }),
            Effect.either
          )
          if (attempt._tag === "Right") return attempt.right
          const error = attempt.left
          if (error._tag === "PrimaryUnreachable") {
            if (error.applied === "unknown" && error.operation === write.operation) sent = true
          } else if (settings.strategy === "local-first" && onlyHere(error)) {
            const local = here(write, Number.POSITIVE_INFINITY)
            return yield* Effect.catchAll(local, (last) => giveUp(last._tag === "DbBusy" ? error : last))
          } else if (error._tag !== "WriteOverloaded" && error._tag !== "DbBusy") return yield* giveUp(error)
          if (settings.strategy === "local-first" && error._tag === "PrimaryUnreachable" && primary === undefined) {
            const local = yield* Effect.either(here(write, settings.localWait))
            if (local._tag === "Right") return local.right
            if (local.left._tag !== "DbBusy") return yield* giveUp(local.left)
          }
          if (write.deadline - uptime() <= pause && error._tag === "WriteOverloaded") return yield* giveUp(error)
          yield* Effect.sleep(jittered(pause))
          pause = Math.min(pause * 2, 250)
        }
      })

    const submit = <A>(
      operation: string,
      encode: () => unknown,
      statements: (key: string | undefined) => Effect.Effect<A, DbError>,
      decode: (result: string) => Effect.Effect<A, DbError>
    ): Effect.Effect<A, DbError> =>
      Effect.withFiberRuntime((fiber) => {
        const given = Context.get(fiber.currentContext, IdempotencyKey)
        const budget = Context.get(fiber.currentContext, WriteBudget)
        const millis = budget === undefined ? settings.timeout : Duration.toMillis(budget)
        // JSON has no infinity.
        const deadline = Math.min(uptime() + millis, Number.MAX_SAFE_INTEGER)
        const attempt = { operation, deadline, statements: statements(given) }
        // Part of a transaction of this process: it cannot be done elsewhere.
        if (fiber.getFiberRef(sharing.transaction) !== undefined) return here(attempt, Number.POSITIVE_INFINITY)
        const settled = () => {
          const key = given ?? NodeCrypto.randomUUID()
          return Effect.withClock(
            settle({ operation, key, encode, deadline, statements: statements(key), decode }),
            realClock
          )
        }
        if (settings.strategy === "forward-always" || performance.now() < contendedUntil) return settled()
        return Effect.catchAll(locally(attempt), (error) => {
          if (error._tag !== "DbBusy") return Effect.fail(error)
          contendedUntil = performance.now() + settings.contention
          return settled()
        })
      })

    return {
      changes: writes.changes,
      latest: writes.latest,
      prune: writes.prune,
      handle: (operation, handler) => {
        const prepared = writes.prepare(operation, handler)
        operations.set(prepared.tag, (encoded, key) =>
          Effect.map(prepared.decode(encoded), (payload) =>
            Effect.map(prepared.write(payload, key), prepared.encodeResult)
          )
        )
        return (input) =>
          Effect.flatMap(prepared.check(input), (payload) =>
            submit(
              prepared.tag,
              () => prepared.encode(payload),
              (key) => prepared.write(payload, key),
              prepared.decodeResult
            )
          )
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

/**
 * What the primary of a database says of itself. `DbConnection` if there is none (`HUB_NO_PRIMARY`) or if it does not
 * answer (`HUB_PRIMARY_HANGS`); `DbUnsupported` where every process writes for itself, and where the primary is of
 * another version of this program (`HUB_OTHER_PROTOCOL`).
 *
 * @since 0.1.0
 * @category status
 */
export const probePrimary = (backend: BackendShape): Effect.Effect<Wire.PrimaryStatus, DbError> =>
  withPrimary(backend, "primary.status", (client) => client.status)

/**
 * Asks the primary to leave its place to another process; what it has taken it finishes first. Fails as `probePrimary`.
 *
 * @since 0.1.0
 * @category status
 */
export const stepDown = (backend: BackendShape): Effect.Effect<void, DbError> =>
  withPrimary(backend, "primary.stepDown", (client) => client.stepDown)

/** A connection of its own, so that the question does not wait behind writes. */
const withPrimary = <A>(
  { kind, name, sharing }: BackendShape,
  operation: string,
  ask: (client: Wire.PrimaryClient) => Effect.Effect<A, DbError>
): Effect.Effect<A, DbError> => {
  const context = { backend: name, operation }
  const none = new DbConnection({
    ...context,
    code: "HUB_NO_PRIMARY",
    message: "No process writes for the others: none has this database open for forwarded writes"
  })
  const hangs = new DbConnection({
    ...context,
    code: "HUB_PRIMARY_HANGS",
    message: "The process that writes for the others does not answer: it hangs, or was stopped"
  })
  const other = new DbUnsupported({
    ...context,
    code: "HUB_OTHER_PROTOCOL",
    message:
      "The process that writes for the others is of another version of this program: run the same in every process"
  })
  if (sharing === undefined) {
    const message = `Every process writes for itself on this ${kind} backend: there is no primary`
    return Effect.fail(new DbUnsupported({ ...context, message }))
  }
  return Effect.flatMap(sharing.read, (record) =>
    record === undefined
      ? Effect.fail(none)
      : Wire.connect(record).pipe(
          Effect.flatMap((client) => (record.protocol === Wire.protocol ? ask(client) : Effect.fail(other))),
          Effect.scoped,
          Effect.timeoutFail({ duration: "2 seconds", onTimeout: () => hangs }),
          Effect.mapError((error) => (error._tag === "PrimaryUnreachable" ? none : error)),
          Effect.withClock(realClock)
        )
  )
}
