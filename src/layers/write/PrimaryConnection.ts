/**
 * The way from this process to the primary: one connection, opened when it is needed, and left when the primary moves.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { type DbError, PrimaryUnreachable } from "../../errors/index.js"
import type { PrimaryRecord, Sharing } from "../../services/Sharing.js"
import * as Wire from "./WriteWire.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PrimaryConnection {
  /** The client of the primary; `PrimaryUnreachable` if there is none, or if it moves before it has answered. */
  readonly client: Effect.Effect<Wire.PrimaryClient, DbError>
  /** Lets a client go that did not answer, unless another has taken its place already. */
  readonly letGo: (client: Wire.PrimaryClient) => Effect.Effect<void>
  /** Leaves every primary but that of this epoch: what waits for its answer is lost, and sent to the next one. */
  readonly leave: (except?: number) => Effect.Effect<void>
  /** Waits until a client was let go. */
  readonly lost: Effect.Effect<void>
}

/** A primary that was found, and the client once it has answered. */
interface Route {
  readonly epoch: number
  readonly left: Deferred.Deferred<never, PrimaryUnreachable>
  opened?: { readonly client: Wire.PrimaryClient; readonly scope: Scope.CloseableScope }
}

/**
 * Where nothing was sent, since nobody could be found who would take it.
 *
 * @since 0.1.0
 * @category errors
 */
export const unreachable = (backend: string, operation: string, code: string): PrimaryUnreachable =>
  new PrimaryUnreachable({
    backend,
    operation,
    code,
    message: "No process writes for the others at the moment; the write was not done: send it again"
  })

/**
 * What the last primary published; undefined also where it cannot be read: the next one writes it anew.
 *
 * @since 0.1.0
 * @category reading
 */
export const lastRecord = (sharing: Pick<Sharing, "read">): Effect.Effect<PrimaryRecord | undefined, DbError> =>
  Effect.catchTag(sharing.read, "DbCorrupt", () => Effect.succeed(undefined))

/**
 * Connections of one instance, which is never connected with itself.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: string,
  sharing: Pick<Sharing, "read">,
  instance: string
): Effect.Effect<PrimaryConnection, never, Scope.Scope> =>
  Effect.gen(function* () {
    let route: Route | undefined
    const opening = yield* Effect.makeSemaphore(1)
    const lost = yield* Effect.makeLatch(false)
    const none = unreachable(backend, "primary.connect", "HUB_NO_PRIMARY")

    const found: Effect.Effect<PrimaryRecord, DbError> = Effect.flatMap(lastRecord(sharing), (record) =>
      record === undefined || record.protocol !== Wire.protocol || record.instance === instance
        ? Effect.fail(none)
        : Effect.succeed(record)
    )

    const open = (record: PrimaryRecord, to: Route): Effect.Effect<Wire.PrimaryClient, DbError> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          const scope = yield* Scope.make()
          const client = yield* restore(Scope.extend(Wire.connect(record), scope)).pipe(
            Effect.filterOrFail(
              () => route === to,
              () => none
            ),
            Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
          )
          to.opened = { client, scope }
          return client
        })
      )

    const client: PrimaryConnection["client"] = Effect.suspend(() =>
      route?.opened !== undefined
        ? Effect.succeed(route.opened.client)
        : opening.withPermits(1)(
            Effect.gen(function* () {
              if (route?.opened !== undefined) return route.opened.client
              const record = yield* found
              const to: Route = { epoch: record.epoch, left: yield* Deferred.make<never, PrimaryUnreachable>() }
              route = to
              // One that was stopped is connected with, and says nothing.
              return yield* Effect.raceFirst(open(record, to), Deferred.await(to.left))
            })
          )
    )

    const leave: PrimaryConnection["leave"] = (except) =>
      Effect.suspend(() => {
        const last = route
        if (last === undefined || last.epoch === except) return Effect.void
        route = undefined
        const close = last.opened === undefined ? Effect.void : Scope.close(last.opened.scope, Exit.void)
        return Effect.zipRight(Deferred.fail(last.left, none), close)
      })

    yield* Effect.addFinalizer(() => leave())
    return {
      client,
      leave,
      letGo: (used) =>
        Effect.suspend(() => (route?.opened?.client === used ? Effect.zipRight(leave(), lost.open) : Effect.void)),
      lost: Effect.zipRight(lost.await, lost.close)
    }
  })
