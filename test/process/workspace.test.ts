import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"
import { storesOn } from "../support/place.js"
import { places } from "../support/places.js"
import { runTogether, startProcess } from "../support/process.js"

const program = (place: string) =>
  Effect.gen(function* () {
    const names = ["a", "b", "c", "d"]
    yield* runTogether(names.map((name) => startProcess("workspace-process.ts", place, "ada", name, "25")))
    const { content, version } = yield* (yield* WorkspaceStore).get("ada", "log")
    const lines = content.split("\n")
    for (const name of names) {
      const own = lines.filter((line) => line.startsWith(name))
      assert.deepStrictEqual(
        own,
        Array.from({ length: 25 }, (_, n) => `${name} ${n}`)
      )
    }
    assert.deepStrictEqual([lines.length, version], [100, 100])
  })

for (const { engine, missing, place } of places) {
  describe.skipIf(missing)(`a workspace of many processes on ${engine}`, () => {
    it.scopedLive(
      "appends of four processes make one document, and none is lost",
      () => Effect.flatMap(place, (at) => Effect.provide(program(at), storesOn(at))),
      60_000
    )
  })
}
