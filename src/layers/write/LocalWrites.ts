/**
 * Writes on the backend of this process.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Backend, type BackendShape } from "../../services/Backend.js"
import { IdempotencyKey, WriteChannel } from "../../services/WriteChannel.js"
import * as Writes from "./Writes.js"

const make = (backend: BackendShape): Effect.Effect<WriteChannel["Type"], never, Scope.Scope> =>
  Effect.gen(function* () {
    const writes = yield* Writes.make(backend)
    if (backend.capabilities.writable) yield* Effect.forkScoped(writes.pruneNowAndThen("7 days"))
    return {
      changes: writes.changes,
      latest: writes.latest,
      prune: writes.prune,
      handle: (operation, handler) => {
        const prepared = writes.prepare(operation, handler)
        return (input) =>
          Effect.gen(function* () {
            const payload = yield* prepared.check(input)
            const key = yield* IdempotencyKey
            const write = prepared.write(payload, key)
            const result = yield* backend.transaction(
              key === undefined ? write : Effect.provideService(write, IdempotencyKey, undefined)
            )
            writes.committed()
            return result
          })
      }
    }
  })

/**
 * Every write runs on the backend of this process.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<WriteChannel, never, Backend> = Layer.scoped(
  WriteChannel,
  Effect.flatMap(Backend, make)
)
