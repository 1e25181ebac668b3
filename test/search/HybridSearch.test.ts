import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { TextHit } from "../../src/services/TextStore.js"

describe("a search", () => {
  it.scopedLive("looks for highlights in the texts of its results alone", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:" })
      let analysed = 0
      const counted = (hit: TextHit): TextHit => ({
        id: hit.id,
        text: hit.text,
        metadata: hit.metadata,
        bm25: hit.bm25,
        get highlights() {
          analysed++
          return hit.highlights
        }
      })
      const text = {
        ...backend.text,
        search: (...args: Parameters<typeof backend.text.search>) =>
          Effect.map(backend.text.search(...args), (hits) => hits.map(counted))
      }
      const search = SearchLive.make({ ...backend, text })
      yield* search.createCollection("many", { dimension: 2 })
      const records = Array.from({ length: 40 }, (_, i) => ({ id: `r${i}`, text: `needle ${i}`, vector: [1, i] }))
      yield* search.index("many", records)
      const { results } = yield* search.search("many", { text: "needle", vector: [1, 0], limit: 3 })
      assert.deepStrictEqual(
        results.map(({ highlights }) => highlights),
        Array.from({ length: 3 }, () => [{ start: 0, end: 6 }])
      )
      assert.strictEqual(analysed, 3)
    })
  )
})
