import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import { Sqlite } from "effect-db-hub"
import { StoresShared } from "../../src/layers/stores/index.js"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { Backend } from "../../src/services/Backend.js"
import { SecretStore, secretsKey } from "../../src/services/SecretStore.js"
import { temporaryFile } from "../support/index.js"

const soon = Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(500))

const open = (path: string) =>
  Effect.flatMap(Sqlite.make({ path }), (backend) =>
    Effect.map(Layer.build(Layer.provideMerge(StoresShared(), Layer.succeed(Backend, backend))), (services) => ({
      backend,
      secrets: Context.get(services, SecretStore)
    }))
  )

const withKey = Effect.withConfigProvider(ConfigProvider.fromMap(new Map([[secretsKey, "k".repeat(32)]])))

describe("secrets of many processes", () => {
  it.scopedLive("are put by a process that has the key, through one that has not", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* open(path)
      const queue = ForwardingWrites.probePrimary(primary.backend)
      yield* Effect.retry(queue, soon)
      const other = yield* open(path)
      const [held, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const stranger = yield* Sqlite.make({ path })
      const holding = yield* Effect.fork(
        stranger.transaction(Effect.zipRight(Deferred.succeed(held, undefined), Deferred.await(release)))
      )
      yield* Deferred.await(held)
      const before = yield* queue
      const put = other.secrets.put({ user: "ada", name: "n", value: Redacted.make("hunter2") })
      const putting = yield* Effect.fork(withKey(put))
      yield* Effect.retry(
        Effect.filterOrFail(
          queue,
          ({ accepted }) => accepted > before.accepted,
          () => "not yet"
        ),
        soon
      )
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holding)
      assert.deepStrictEqual((yield* Fiber.join(putting)).name, "n")
      const error = yield* Effect.flip(primary.secrets.get("ada", "n"))
      assert.strictEqual(error._tag, "ConfigError")
      assert.strictEqual(Redacted.value(yield* withKey(other.secrets.get("ada", "n"))), "hunter2")
    })
  )
})
