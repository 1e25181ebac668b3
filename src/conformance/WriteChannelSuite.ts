/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Backend } from "../services/Backend.js"
import { SettingsStore } from "../services/SettingsStore.js"
import { operation, WriteChannel, withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/**
 * What the write channel promises of every operation, shown on settings.
 *
 * @since 0.1.0
 * @category suites
 */
export const writeChannelSuite: Suite = {
  "a write run twice under one idempotency key has one effect and one result": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    yield* settings.set({ user, key: "a", value: 1 })
    const remove = withIdempotencyKey(key)(settings.delete({ user, key: "a" }))
    yield* equal(yield* remove, true)
    yield* settings.set({ user, key: "a", value: 2 })
    yield* equal(yield* remove, true)
    yield* equal((yield* settings.get(user, "a")).value, 2)
  }),

  "racing writes under one idempotency key have one effect": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const write = withIdempotencyKey(key)(settings.compareAndSet({ user, key: "once", value: 1 }))
    yield* Effect.all(
      Array.from({ length: 8 }, () => write),
      { concurrency: "unbounded" }
    )
    yield* equal((yield* settings.list(user)).length, 1)
  }),

  "an idempotency key that stands for another write is refused": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    yield* withIdempotencyKey(key)(settings.set({ user, key: "a", value: 1 }))
    yield* failsWith("InvalidInput", withIdempotencyKey(key)(settings.set({ user, key: "a", value: 2 })))
    yield* failsWith("InvalidInput", withIdempotencyKey(key)(settings.delete({ user, key: "a" })))
    yield* equal((yield* settings.get(user, "a")).value, 1)
  }),

  "the order of keys in a payload's JSON makes no other write": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const set = (value: unknown) => withIdempotencyKey(key)(settings.set({ user, key: "a", value }))
    yield* set({ one: 1, nested: [{ two: 2, three: 3 }] })
    yield* set({ nested: [{ three: 3, two: 2 }], one: 1 })
    yield* failsWith("InvalidInput", set({ one: 1, nested: [{ two: 3, three: 2 }] }))
  }),

  "a write that failed leaves its idempotency key free": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const write = withIdempotencyKey(key)(settings.compareAndSet({ user, key: "a", expected: 1, value: 2 }))
    yield* failsWith("DbConflict", write)
    yield* settings.set({ user, key: "a", value: 1 })
    yield* write
    yield* equal((yield* settings.get(user, "a")).value, 2)
  }),

  "the idempotency key of a write is not that of the writes that are parts of it": Effect.gen(function* () {
    const [channel, settings] = [yield* WriteChannel, yield* SettingsStore]
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const both = channel.handle(operation("Test.setBoth", { payload: { user: Schema.String } }), ({ user }) =>
      Effect.as(
        Effect.forEach(["a", "b"], (key) => settings.set({ user, key, value: 1 })),
        { result: undefined, ids: [] }
      )
    )
    const write = withIdempotencyKey(key)(both({ user }))
    yield* write
    yield* settings.set({ user, key: "a", value: 2 })
    yield* write
    yield* equal((yield* settings.get(user, "a")).value, 2)
    yield* equal((yield* settings.get(user, "b")).value, 1)
  }),

  "a payload that does not fit is refused by its field, without its value": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    const error = yield* failsWith("InvalidInput", settings.set({ user, key: "", value: "s3cret" }))
    yield* equal((error as { field?: string }).field, "key")
    const unstorable = yield* failsWith("InvalidInput", settings.set({ user, key: "k", value: { s3cret: Number.NaN } }))
    yield* Effect.sync(() => NodeAssert.ok(!JSON.stringify(unstorable).includes("s3cret")))
    yield* equal(yield* settings.has(user), false)
  }),

  "the change feed tells committed writes in order, and goes on after a cursor": Effect.gen(function* () {
    const [channel, settings, backend] = [yield* WriteChannel, yield* SettingsStore, yield* Backend]
    const user = yield* fresh("user")
    const own = (stream: ReturnType<typeof channel.changes>) =>
      Stream.filter(stream, ({ ids }) => ids.some((id) => id.includes(user)))
    const first = yield* Effect.fork(Stream.runHead(own(channel.changes())))
    // It has begun to listen once it tells of a write.
    const knock = Effect.repeat(settings.set({ user, key: "a", value: 1 }), Schedule.spaced("20 millis"))
    yield* Effect.raceFirst(knock, Fiber.await(first))
    const head = yield* Effect.flatten(Fiber.join(first))
    yield* equal([head.store, head.operation, head.ids], ["SettingsStore", "set", [JSON.stringify([user, "a"])]])

    yield* Effect.ignore(
      backend.transaction(Effect.zipRight(settings.set({ user, key: "b", value: 1 }), Effect.fail("no")))
    )
    yield* settings.delete({ user, key: "never there" })
    yield* settings.setMany({ user, settings: { c: 1, d: 2 } })
    yield* settings.delete({ user, key: "a" })
    const others = Stream.filter(own(channel.changes(head.cursor)), ({ operation }) => operation !== "set")
    const rest = yield* Stream.runCollect(Stream.take(others, 2))
    yield* equal(
      Chunk.toReadonlyArray(rest).map(({ operation }) => operation),
      ["setMany", "delete"]
    )
    yield* failsWith("InvalidInput", Stream.runHead(channel.changes("somewhere")))
  })
}
