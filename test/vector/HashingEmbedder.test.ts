import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import { Distance, HashingEmbedder } from "../../src/vector/index.js"

const embedder = Effect.runSync(HashingEmbedder.make())
const near = (a: string, b: string) => Distance.cosine(embedder.embed(a), embedder.embed(b))

describe("HashingEmbedder", () => {
  it("gives unit vectors for any text, the same each time", () => {
    FastCheck.assert(
      FastCheck.property(FastCheck.string({ unit: "binary", maxLength: 60 }), (text) => {
        const vector = embedder.embed(text)
        assert.lengthOf(vector, 384)
        assert.closeTo(Distance.dot(vector, vector), 1, 1e-5)
        assert.deepStrictEqual(embedder.embed(text), vector)
      })
    )
    assert.strictEqual(embedder.model, "hashing-384")
    assert.deepStrictEqual(embedder.embed(""), embedder.embed(" \n\t"))
    assert.deepStrictEqual(embedder.embedMany(["a", "b"]), [embedder.embed("a"), embedder.embed("b")])
  })

  it("does not change between versions: stored vectors stay comparable", () => {
    const vector = embedder.embed("The quick brown fox")
    const largest = Array.from(vector.entries())
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))
      .slice(0, 3)
    assert.deepStrictEqual(
      largest.map(([i]) => i),
      [10, 103, 52]
    )
  })

  it("finds texts by their wording, across inflection, case, accents and width", () => {
    const question = "How do I configure the connection pool?"
    const answer = "Connection pools are configured with max_open_conns."
    const other = "The migration steps carry a checksum and run in one transaction."
    assert.isAbove(near(question, answer), near(question, other) + 0.1)
    assert.isAbove(near("Café", "CAFE"), 0.99)
    assert.isAbove(near("ＡＢＣ", "abc"), 0.99)
  })

  it("works where words are not spaced", () => {
    assert.isAbove(near("数据库连接池", "配置数据库的连接池"), near("数据库连接池", "今天天气很好") + 0.3)
    assert.isAbove(near("データベースの設定", "設定データベース"), near("データベースの設定", "りんごを食べる") + 0.2)
  })

  it("tells symbols apart", () => {
    assert.isBelow(near("!!!", "???"), 0.9)
    assert.isBelow(near("😀", "🚀"), 0.9)
  })

  it("refuses a dimension that makes no sense", () => {
    for (const dimension of [0, 15, 1.5, Number.NaN, 70_000]) {
      assert.strictEqual(Effect.runSync(Effect.flip(HashingEmbedder.make({ dimension }))).field, "dimension")
    }
  })
})
