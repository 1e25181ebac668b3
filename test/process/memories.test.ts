import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { MemoryStore } from "../../src/services/MemoryStore.js"
import { storesOn } from "../support/place.js"
import { places } from "../support/places.js"
import { runTogether, startProcess } from "../support/process.js"

const program = (place: string) =>
  Effect.gen(function* () {
    const made = yield* runTogether(
      Array.from({ length: 6 }, () => startProcess<ReadonlyArray<string>>("memory-process.ts", place, "ada", "6"))
    )
    // Each was told the same ids.
    assert.strictEqual(new Set(made.map((ids) => ids.join())).size, 1)
    const { items } = yield* (yield* MemoryStore).list("ada")
    assert.deepStrictEqual(items.map(({ id }) => id).sort(), made[0]!.toSorted())
    assert.strictEqual(items.length, 12)
  })

for (const { engine, missing, place } of places) {
  describe.skipIf(missing)(`memories of many processes on ${engine}`, () => {
    it.scopedLive(
      "six that race to store the same, in words or in meaning, store it once",
      () => Effect.flatMap(place, (at) => Effect.provide(program(at), storesOn(at))),
      60_000
    )
  })
}
