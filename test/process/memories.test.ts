import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { MemoryStore } from "../../src/services/MemoryStore.js"
import { temporaryFile } from "../support/index.js"
import { runTogether, startProcess } from "../support/process.js"

describe("memories of many processes", () => {
  it.scopedLive(
    "six that race to store the same, in words or in meaning, store it once",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const made = yield* runTogether(
          Array.from({ length: 6 }, () => startProcess<ReadonlyArray<string>>("memory-process.ts", path, "ada", "6"))
        )
        // Each was told the same ids.
        assert.strictEqual(new Set(made.map((ids) => ids.join())).size, 1)
        const services = yield* Layer.build(Layer.provideMerge(StoresLive, Sqlite.layer({ path })))
        const memories = yield* Effect.provide(MemoryStore, services)
        const { items } = yield* memories.list("ada")
        assert.deepStrictEqual(items.map(({ id }) => id).sort(), made[0]!.toSorted())
        assert.strictEqual(items.length, 12)
      }),
    60_000
  )
})
