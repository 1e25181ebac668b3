import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { drawn } from "../support/drawnEmbeddings.js"

describe("embedding what is pending", () => {
  it.scopedLive("a blank text that got words as it was looked at has its vector nevertheless", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:" })
      const others = SearchLive.make(backend)
      yield* others.createCollection("notes")
      yield* others.index("notes", [
        { id: "blank", text: " " },
        { id: "other", text: "other words" }
      ])
      let written = false
      const text = {
        ...backend.text,
        get: (collection: string, ids: ReadonlyArray<string>) =>
          Effect.tap(backend.text.get(collection, ids), () => {
            if (written) return Effect.void
            written = true
            return others.index("notes", [{ id: "blank", text: "now with words" }])
          })
      }
      const search = SearchLive.make({ ...backend, text }, drawn("model", 8))
      yield* search.createCollection("notes", { model: true })
      yield* search.embedPending("notes")
      assert.deepStrictEqual(yield* search.embedPending("notes"), { embedded: 1, pending: 0 })
      const { results } = yield* search.search("notes", { text: "now with words", mode: "vector", limit: 1 })
      assert.deepInclude(results[0], { id: "blank", cosine: 1 })
    })
  )
})
