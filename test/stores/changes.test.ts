import * as NodeAssert from "node:assert/strict"
import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { SqliteMemory } from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { WriteChannel, withIdempotencyKey } from "../../src/services/WriteChannel.js"
import * as Postgres from "../support/postgres.js"

const engines = [
  ["SQLite", SqliteMemory, false],
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
