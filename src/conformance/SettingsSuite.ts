/**
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { SettingsStore } from "../services/SettingsStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const keysOf = (settings: SettingsStore["Type"], user: string) =>
  Effect.map(settings.list(user), (all) => all.map(({ key, value }) => [key, value]))

/**
 * @since 0.1.0
 * @category suites
 */
export const settingsSuite: Suite = {
  "any JSON value comes back as it was set": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    for (const value of ["text", "", 0, -1.5, true, false, null, [], {}, [1, [null]], { a: { b: "ü" } }]) {
      yield* settings.set({ user, key: "k", value })
      yield* equal((yield* settings.get(user, "k")).value, value)
    }
  }),

  "a setting is overwritten, deleted once, and then NotFound": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    yield* settings.set({ user, key: "k", value: 1 })
    const before = yield* settings.get(user, "k")
    yield* settings.set({ user, key: "k", value: 2 })
    const after = yield* settings.get(user, "k")
    yield* equal([after.value, after.updatedAt >= before.updatedAt], [2, true])
    yield* equal(
      [yield* settings.delete({ user, key: "k" }), yield* settings.delete({ user, key: "k" })],
      [true, false]
    )
    yield* failsWith("NotFound", settings.get(user, "k"))
  }),

  "users do not see each other's settings": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    yield* settings.set({ user: ada, key: "k", value: 1 })
    yield* equal([yield* settings.has(ada), yield* settings.has(bob)], [true, false])
    yield* failsWith("NotFound", settings.get(bob, "k"))
    yield* equal(yield* settings.delete({ user: bob, key: "k" }), false)
  }),

  "a list is ordered by code point": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    yield* settings.setMany({ user, settings: { b: 1, B: 2, a: 3, ä: 4, "\u{1F600}": 5, "\uFF5E": 6 } })
    const keys = (yield* settings.list(user)).map(({ key }) => key)
    yield* equal(keys, ["B", "a", "b", "ä", "\uFF5E", "\u{1F600}"])
  }),

  "whoever replaces or sets many at once does it as a whole": Effect.gen(function* () {
    const settings = yield* SettingsStore
    for (let round = 0; round < 5; round++) {
      const user = yield* fresh("user")
      const replace = (n: number) =>
        settings.replaceAll({ user, settings: { [`${n} a`]: n, both: n, [`${n} b`]: n, [`${n} c`]: n } })
      const add = settings.setMany({ user, settings: { "new a": "new", both: "new", "new b": "new" } })
      if (round > 2) yield* settings.set({ user, key: "both", value: "old" })
      yield* Effect.all([...[1, 2, 3, 4, 5, 6].map(replace), add], { concurrency: "unbounded", discard: true })
      const found = yield* settings.list(user)
      const owners = new Set(found.map(({ key }) => key.replace(/ .*/, "")))
      owners.delete("both")
      const added = owners.delete("new")
      yield* equal([owners.size, found.length], [1, added ? 6 : 4], `round ${round}`)
    }
  }),

  "setMany leaves others alone, replaceAll does not": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    yield* settings.setMany({ user, settings: { a: 1, b: 2 } })
    yield* settings.setMany({ user, settings: { b: 3, c: 4 } })
    yield* equal(yield* keysOf(settings, user), [
      ["a", 1],
      ["b", 3],
      ["c", 4]
    ])
    yield* settings.replaceAll({ user, settings: { c: 5 } })
    yield* equal(yield* keysOf(settings, user), [["c", 5]])
  }),

  "compareAndSet writes only over the expected value, and one of many racers wins": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    yield* failsWith("DbConflict", settings.compareAndSet({ user, key: "k", expected: 1, value: 2 }))
    yield* settings.compareAndSet({ user, key: "k", value: { n: 0 } })
    yield* failsWith("DbConflict", settings.compareAndSet({ user, key: "k", value: { n: 0 } }))
    const racers = Array.from({ length: 8 }, (_, n) =>
      Effect.isSuccess(settings.compareAndSet({ user, key: "k", expected: { n: 0 }, value: { n: n + 1 } }))
    )
    const won = yield* Effect.all(racers, { concurrency: "unbounded" })
    yield* equal(won.filter(Boolean).length, 1)
  }),

  "null is a value to compare with and to set, and is not the absence of a setting": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const user = yield* fresh("user")
    yield* failsWith("DbConflict", settings.compareAndSet({ user, key: "k", expected: null, value: 1 }))
    yield* settings.compareAndSet({ user, key: "k", value: null })
    yield* failsWith("DbConflict", settings.compareAndSet({ user, key: "k", value: 1 }))
    yield* settings.compareAndSet({ user, key: "k", expected: null, value: 2 })
    yield* failsWith("DbConflict", settings.compareAndSet({ user, key: "k", expected: null, value: 3 }))
    yield* settings.compareAndSet({ user, key: "k", expected: 2, value: null })
    yield* equal((yield* settings.get(user, "k")).value, null)
  }),

  "watch without a key follows all settings of a user, and no other's": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, other] = [yield* fresh("user"), yield* fresh("other")]
    const begun = yield* Deferred.make<void>()
    const watched = Stream.takeUntil(
      Stream.tap(settings.watch(user), () => Deferred.succeed(begun, undefined)),
      ({ key }) => key === "last"
    )
    const watching = yield* Effect.fork(Stream.runCollect(watched))
    // The watch has begun once it tells of a write.
    const knock = Effect.repeat(settings.set({ user, key: "knock", value: 0 }), Schedule.spaced("20 millis"))
    yield* Effect.raceFirst(knock, Deferred.await(begun))
    yield* settings.set({ user: other, key: "a", value: "not mine" })
    yield* settings.setMany({ user, settings: { a: 1, b: 2 } })
    yield* settings.set({ user, key: "last", value: 3 })
    const seen = Chunk.toReadonlyArray(yield* Fiber.join(watching)).filter(({ key }) => key !== "knock")
    yield* equal(new Map(seen.map(({ key, value }) => [key, value])), new Map(Object.entries({ a: 1, b: 2, last: 3 })))
  }),

  "watch follows a user's setting": Effect.gen(function* () {
    const settings = yield* SettingsStore
    const [user, other] = [yield* fresh("user"), yield* fresh("other")]
    const told = { 0: yield* Deferred.make<void>(), 1: yield* Deferred.make<void>(), 2: yield* Deferred.make<void>() }
    const watched = Stream.tap(settings.watch(user, "k"), ({ value }) =>
      Deferred.succeed(told[value as keyof typeof told], undefined)
    )
    const watching = yield* Effect.fork(Stream.runCollect(Stream.takeUntil(watched, ({ value }) => value === 2)))
    const set = (value: number) => settings.set({ user, key: "k", value })
    yield* Effect.raceFirst(Effect.repeat(set(0), Schedule.spaced("20 millis")), Deferred.await(told[0]))
    yield* settings.set({ user: other, key: "k", value: "not mine" })
    yield* settings.set({ user, key: "x", value: "another key" })
    yield* set(1)
    yield* Deferred.await(told[1])
    yield* set(2)
    const seen = new Set(Chunk.map(yield* Fiber.join(watching), ({ key, value }) => `${key} ${value}`))
    yield* equal(Array.from(seen), ["k 0", "k 1", "k 2"])
  })
}
