/** The same service, tested on a database in memory: only the layer differs. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqliteMemory } from "effect-db-hub"
import { Notes, NotesLive } from "./notes.js"

it.layer(NotesLive.pipe(Layer.provide(SqliteMemory)))("notes", (it) => {
  it.effect("the nearest note comes first", () =>
    Effect.gen(function* () {
      const notes = yield* Notes
      yield* notes.write("a", "apples", [1, 0, 0])
      yield* notes.write("b", "bread", [0, 1, 0])
      assert.deepStrictEqual(yield* notes.near([0.9, 0.1, 0], 2), ["apples", "bread"])
    })
  )

  it.effect("a note of the same id replaces the old one", () =>
    Effect.gen(function* () {
      const notes = yield* Notes
      yield* notes.write("a", "apricots", [0, 0, 1])
      assert.deepStrictEqual(yield* notes.near([0, 0, 1], 1), ["apricots"])
    })
  )
})
