import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { scripted } from "../../src/conformance/Scripted.js"
import * as EmbeddingPass from "../../src/layers/search/EmbeddingPass.js"

describe("a pass", () => {
  it.effect("tells of what it leaves out as long as that waits, and of no more", () =>
    Effect.gen(function* () {
      const model = scripted("m")
      model.fails = (text) => (text === "b" ? "refused" : undefined)
      const over = (texts: ReadonlyArray<string>, skip: ReadonlyArray<string>) => {
        const batches = [{ seen: texts.length, waiting: texts.map((text) => ({ key: `key of ${text}`, text })) }]
        return EmbeddingPass.run(
          model.embeddings,
          {
            total: Effect.succeed(texts.length),
            next: Effect.sync(() => batches.pop()),
            fill: (waiting) => Effect.succeed(waiting.length)
          },
          new Set(skip),
          () => Effect.void
        )
      }
      const first = yield* over(["a", "b", "c"], [])
      assert.deepInclude(first, { embedded: 2, refused: ["key of b"], stopped: false })
      model.asked.length = 0
      assert.deepStrictEqual((yield* over(["b", "d"], first.refused)).refused, ["key of b"])
      assert.deepStrictEqual((yield* over(["e"], first.refused)).refused, [])
      assert.deepStrictEqual(model.asked, ["d", "e"])
    })
  )
})
