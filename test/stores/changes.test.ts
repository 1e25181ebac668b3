import * as NodeAssert from "node:assert/strict"
import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { vi } from "vitest"
import type { DbError } from "../../src/errors/index.js"
import * as PostgresLive from "../../src/layers/postgres/Postgres.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { WriteChannel, withIdempotencyKey } from "../../src/services/WriteChannel.js"
import { temporaryFile } from "../support/index.js"
import * as Postgres from "../support/postgres.js"

const engines = [
  ["SQLite", Sqlite.SqliteMemory, false],
  ["PostgreSQL", Postgres.layer(), Postgres.noServer]
] as const

const set = (key: string) =>
  Effect.flatMap(SettingsStore, (settings) => withIdempotencyKey(key)(settings.set({ user: "ada", key, value: 1 })))

/** Makes everything written so far 8 days old. */
const age = Effect.flatMap(Backend, (backend) => {
  const then = new Date(Date.now() - 8 * 86_400_000)
  return Effect.forEach(["db_hub_changes", "db_hub_writes"], (table) =>
    backend.execute(`UPDATE ${table} SET created_at = ?`, [then])
  )
})

const week = { olderThan: "7 days" } as const

/** Two programs on one database, each with a connection of its own. */
const pairs = [
  ["SQLite", Effect.map(temporaryFile, (path) => Sqlite.layer({ path })), false],
  [
    "PostgreSQL",
    Effect.map(Postgres.temporaryDatabase, (database) => PostgresLive.layer(Postgres.optionsFor(database))),
    Postgres.noServer
  ]
] as const

for (const [engine, place, missing] of pairs) {
  describe.skipIf(missing)(`changes between handles on ${engine}`, () => {
    it.scopedLive("are heard by whoever listens on another one, in one order for both", () =>
      Effect.gen(function* () {
        const layer = Layer.provideMerge(StoresLive, yield* place as Effect.Effect<Layer.Layer<Backend, DbError>>)
        const [one, other] = [yield* Layer.build(layer), yield* Layer.build(Layer.fresh(layer))]
        const latest = yield* Context.get(one, WriteChannel).latest
        const hear = (from: typeof one) =>
          Effect.map(Stream.runCollect(Stream.take(Context.get(from, WriteChannel).changes(latest), 20)), (changes) =>
            Array.from(changes, ({ ids }) => ids)
          )
        const heard = yield* Effect.fork(Effect.all([hear(one), hear(other)], { concurrency: "unbounded" }))
        const write = (to: typeof one, name: string) =>
          Effect.forEach(Array.from({ length: 10 }).keys(), (n) =>
            Context.get(to, SettingsStore).set({ user: "ada", key: `${name} ${n}`, value: n })
          )
        yield* Effect.all([write(one, "one"), write(other, "other")], { concurrency: "unbounded" })
        const [first, second] = yield* Fiber.join(heard)
        NodeAssert.deepEqual(first, second)
        NodeAssert.equal(new Set(first.flat()).size, 20)
      })
    )
  })
}

for (const [engine, layer, missing] of engines) {
  describe.skipIf(missing)(`old changes on ${engine}`, () => {
    it.live("are forgotten with the keys of their writes, however many, and newer ones are not", () =>
      Effect.gen(function* () {
        const [backend, channel] = [yield* Backend, yield* WriteChannel]
        NodeAssert.deepEqual(yield* channel.prune(week), { changes: 0, keys: 0 })
        const many = Array.from({ length: 1200 }, (_, n) => `old ${n}`)
        yield* backend.transaction(Effect.forEach(many, set, { discard: true }))
        yield* age
        yield* set("new")
        NodeAssert.deepEqual(yield* channel.prune({ olderThan: Number.POSITIVE_INFINITY }), { changes: 0, keys: 0 })
        NodeAssert.deepEqual(yield* channel.prune(week), { changes: 1200, keys: 1200 })
        NodeAssert.deepEqual(yield* channel.prune(week), { changes: 0, keys: 0 })
        const left = yield* backend.query("SELECT idempotency_key FROM db_hub_writes")
        NodeAssert.deepEqual(left, [{ idempotency_key: "new" }])
      }).pipe(Effect.provide(Layer.provideMerge(StoresLive, layer)))
    )

    it.live("are missed by nobody without his being told", () =>
      Effect.gen(function* () {
        const channel = yield* WriteChannel
        const first = (after: string) => Effect.flatten(Stream.runHead(channel.changes(after)))
        const empty = yield* channel.latest
        for (const key of ["one", "two", "three"]) yield* set(key)
        const one = yield* first(empty)
        const end = yield* channel.latest
        yield* age
        NodeAssert.equal((yield* channel.prune(week)).changes, 3)
        for (const place of [empty, one.cursor]) {
          const error = yield* Effect.flip(first(place))
          NodeAssert.deepEqual([error._tag, error._tag === "NotFound" && error.entity], ["NotFound", "change"])
        }
        // Who has read it all, or begins now, misses nothing.
        NodeAssert.equal(yield* channel.latest, end)
        yield* set("four")
        NodeAssert.deepEqual((yield* first(end)).ids, ['["ada","four"]'])
      }).pipe(Effect.provide(Layer.provideMerge(StoresLive, layer)))
    )
  })
}

it.live("a program that writes forgets old changes and keys by itself, and goes on doing so", () =>
  Effect.gen(function* () {
    // It waits in real time, whatever the program's clock is.
    yield* Effect.acquireRelease(
      Effect.sync(() => vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })),
      () => Effect.sync(() => vi.useRealTimers())
    )
    const services = yield* Layer.build(Layer.provideMerge(StoresLive, Sqlite.SqliteMemory))
    const left = Effect.map(
      Effect.flatMap(Backend, ({ query }) =>
        Effect.all([query("SELECT id FROM db_hub_changes"), query("SELECT idempotency_key FROM db_hub_writes")])
      ),
      ([changes, keys]) => [changes.length, keys.length]
    )
    for (const [key, minutes] of [
      ["one", 1],
      ["two", 60]
    ] as const) {
      yield* Effect.provide(Effect.zipRight(set(key), age), services)
      NodeAssert.deepEqual(yield* Effect.provide(left, services), [1, 1])
      yield* Effect.promise(() => vi.advanceTimersByTimeAsync(minutes * 60_000))
      NodeAssert.deepEqual(yield* Effect.provide(left, services), [0, 0])
    }
  }).pipe(Effect.scoped)
)
