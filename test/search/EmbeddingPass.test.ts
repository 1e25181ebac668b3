import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Scripted, scripted } from "../../src/conformance/Scripted.js"
import * as EmbeddingPass from "../../src/layers/search/EmbeddingPass.js"

describe("a pass", () => {
  const over = (
    { embeddings }: Pick<Scripted, "embeddings">,
    texts: ReadonlyArray<string>,
    skip: EmbeddingPass.Refused = new Map()
  ) => {
    const batches = [{ seen: texts.length, waiting: texts.map((text) => ({ key: `key of ${text}`, text })) }]
    return EmbeddingPass.run(
      embeddings,
      {
        total: Effect.succeed(texts.length),
        next: Effect.sync(() => batches.pop()),
        fill: (waiting) => Effect.succeed(waiting.length)
      },
      skip,
      () => Effect.void
    )
  }
  const keys = ({ refused }: EmbeddingPass.Pass) => Array.from(refused.keys())

  it.effect("tells of what it leaves out as long as that waits, and of no more", () =>
    Effect.gen(function* () {
      const model = scripted("m")
      model.fails = (text) => (text === "b" ? "refused" : undefined)
      const first = yield* over(model, ["a", "b", "c"])
      assert.deepInclude(first, { embedded: 2, stopped: false })
      assert.deepStrictEqual(keys(first), ["key of b"])
      assert.strictEqual(first.refused.get("key of b")?.reason, "refused")
      model.asked.length = 0
      assert.deepStrictEqual(keys(yield* over(model, ["b", "d"], first.refused)), ["key of b"])
      assert.deepStrictEqual(keys(yield* over(model, ["e"], first.refused)), [])
      assert.deepStrictEqual(model.asked, ["d", "e"])
    })
  )

  it.effect("does not ask for one text after the other where the model refuses them all", () =>
    Effect.gen(function* () {
      const model = scripted("m")
      model.fails = () => "refused"
      const pass = yield* over(model, ["a", "b", "c", "d", "e", "f", "g", "h"])
      assert.deepInclude(pass, { embedded: 0, stopped: true })
      assert.deepStrictEqual(keys(pass), [])
      assert.lengthOf(model.asked, 9)
    })
  )

  it.effect("finds out that the model refuses them all, whatever a cache remembers of better times", () =>
    Effect.gen(function* () {
      const model = scripted("m")
      const embed = yield* Effect.cachedFunction(model.embeddings.embed)
      const cached = { embeddings: { ...model.embeddings, embed } }
      model.fails = (text) => (text === "b" ? "refused" : undefined)
      assert.deepInclude(yield* over(cached, ["a", "b"]), { embedded: 1, stopped: false })
      model.fails = () => "refused"
      model.asked.length = 0
      const pass = yield* over(cached, ["a", "b", "c", "d"])
      assert.deepInclude(pass, { embedded: 0, stopped: true })
      assert.lengthOf(model.asked, 5)
    })
  )
})
