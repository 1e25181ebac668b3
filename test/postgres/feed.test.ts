import * as NodeAssert from "node:assert/strict"
import { describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { type Change, WriteChannel } from "../../src/services/WriteChannel.js"
import { layer, noServer } from "../support/postgres.js"

const stores = Layer.provideMerge(StoresLive, layer())

/** Runs an effect outside of the transaction that it is called in. */
const outside = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatten(Effect.promise(() => Effect.runPromiseExit(effect)))

const keysOf = (changes: Iterable<Change>): ReadonlyArray<string> =>
  Array.from(changes, ({ ids }) => (JSON.parse(ids[0]!) as [string, string])[1])

describe.skipIf(noServer)("the change feed of concurrent transactions", () => {
  it.live("never passes over one that began to write earlier and commits later", () =>
    Effect.gen(function* () {
      const [backend, channel, settings] = [yield* Backend, yield* WriteChannel, yield* SettingsStore]
      const place = yield* channel.latest
      const [written, release] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = yield* Effect.fork(
        backend.transaction(
          settings
            .set({ user: "ada", key: "slow", value: 1 })
            .pipe(Effect.zipRight(Deferred.succeed(written, undefined)), Effect.zipRight(Deferred.await(release)))
        )
      )
      yield* Deferred.await(written)
      yield* settings.set({ user: "ada", key: "fast", value: 1 })

      const early = yield* Stream.runHead(channel.changes(place)).pipe(Effect.timeoutOption("400 millis"))
      NodeAssert.ok(Option.isNone(early), "a later writer came before an earlier one that was still open")
      NodeAssert.equal(yield* channel.latest, place)

      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(slow)
      const both = yield* Stream.runCollect(Stream.take(channel.changes(place), 2))
      NodeAssert.deepEqual(keysOf(both), ["slow", "fast"])
    }).pipe(Effect.provide(stores))
  )

  it.live("waits for no transaction that writes no change, however long it is open", () =>
    Effect.gen(function* () {
      const [backend, channel, settings] = [yield* Backend, yield* WriteChannel, yield* SettingsStore]
      yield* backend.execute("CREATE TABLE unrelated (n INT)")
      const place = yield* channel.latest
      yield* backend.transaction(
        Effect.gen(function* () {
          yield* backend.execute("INSERT INTO unrelated VALUES (1)")
          yield* outside(settings.set({ user: "ada", key: "other", value: 1 }))
          const seen = yield* Stream.runHead(channel.changes(place)).pipe(Effect.timeout("5 seconds"), outside)
          NodeAssert.deepEqual(keysOf(Option.toArray(seen)), ["other"])
          // What it writes after all comes after what was told already.
          yield* settings.set({ user: "ada", key: "mine", value: 1 })
        })
      )
      const both = yield* Stream.runCollect(Stream.take(channel.changes(place), 2))
      NodeAssert.deepEqual(keysOf(both), ["other", "mine"])
    }).pipe(Effect.provide(stores))
  )

  it.live("tells each once, in one order for all, to readers that go on after any cursor", () =>
    Effect.gen(function* () {
      const [backend, channel, settings] = [yield* Backend, yield* WriteChannel, yield* SettingsStore]
      const [writers, rounds] = [8, 12]
      const start = yield* channel.latest
      const expected = new Set<string>()
      const write = (writer: number) =>
        Effect.forEach(
          Array.from({ length: rounds }, (_, round) => round),
          (round) => {
            const undone = round % 4 === 3
            const keys = [`${writer} ${round} a`, `${writer} ${round} b`]
            if (!undone) for (const key of keys) expected.add(key)
            const pause = Effect.suspend(() => Effect.sleep(Math.random() * 15))
            const body = Effect.forEach(keys, (key) =>
              Effect.zipLeft(settings.set({ user: "eve", key, value: round }), pause)
            )
            const end = undone ? Effect.fail("undone" as const) : Effect.void
            return Effect.catchIf(
              backend.transaction(Effect.zipRight(body, end)),
              (error) => error === "undone",
              () => Effect.void
            )
          },
          { discard: true }
        )
      const total = writers * rounds * 2 * 0.75
      const whole = yield* Effect.fork(Stream.runCollect(Stream.take(channel.changes(start), total)))
      /** Reads a few, leaves, and goes on after the last one. */
      const piecewise = yield* Effect.fork(
        Effect.gen(function* () {
          const seen: Array<Change> = []
          while (seen.length < total) {
            const next = Stream.take(channel.changes(seen.at(-1)?.cursor ?? start), Math.min(5, total - seen.length))
            seen.push(...(yield* Stream.runCollect(next)))
          }
          return seen
        })
      )
      yield* Effect.forEach(
        Array.from({ length: writers }, (_, n) => n),
        write,
        { concurrency: "unbounded" }
      )
      const first = keysOf(Chunk.toReadonlyArray(yield* Fiber.join(whole)))
      NodeAssert.deepEqual(keysOf(yield* Fiber.join(piecewise)), first)
      NodeAssert.equal(first.length, expected.size)
      NodeAssert.deepEqual(new Set(first), expected)
    }).pipe(Effect.timeout("20 seconds"), Effect.provide(stores))
  )
})
