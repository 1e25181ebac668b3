import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { compareCodePoints, Fusion, Mmr } from "../../src/vector/index.js"

const ids = FastCheck.constantFrom("a", "b", "c", "d", "é", "\uffee", "😀", "z")
const ranked = FastCheck.uniqueArray(
  FastCheck.record({ id: ids, score: FastCheck.double({ min: -5, max: 30, noNaN: true }) }),
  { selector: ({ id }) => id, maxLength: 8 }
).map((entries) => entries.sort((a, b) => b.score - a.score || compareCodePoints(a.id, b.id)))
const legs = FastCheck.array(
  FastCheck.record({ ranked, weight: FastCheck.double({ min: 0.1, max: 1, noNaN: true }) }),
  { minLength: 1, maxLength: 4 }
)
const ways = {
  rrf: (given: ReadonlyArray<Fusion.Leg>) => Fusion.reciprocalRank(given),
  "min-max": (given: ReadonlyArray<Fusion.Leg>) => Fusion.weighted(given, "min-max"),
  "z-score": (given: ReadonlyArray<Fusion.Leg>) => Fusion.weighted(given, "z-score")
}

describe("Fusion", () => {
  it("RRF adds 1 / (60 + rank) over the legs", () => {
    const fused = Fusion.reciprocalRank([
      {
        ranked: [
          { id: "a", score: 9 },
          { id: "b", score: 1 }
        ]
      },
      {
        ranked: [
          { id: "b", score: 0.9 },
          { id: "c", score: 0.8 }
        ]
      }
    ])
    assert.deepStrictEqual(fused, [
      { id: "b", score: 1 / 62 + 1 / 61, ranks: [2, 1] },
      { id: "a", score: 1 / 61, ranks: [1, undefined] },
      { id: "c", score: 1 / 62, ranks: [undefined, 2] }
    ])
  })

  it("weighted fusion is the weighted mean of scores mapped to 0…1", () => {
    const text = {
      ranked: [
        { id: "a", score: 12 },
        { id: "b", score: 7 },
        { id: "c", score: 2 }
      ],
      weight: 0.3
    }
    const vector = {
      ranked: [
        { id: "b", score: 0.9 },
        { id: "c", score: 0.5 }
      ],
      weight: 0.7
    }
    assert.deepStrictEqual(
      Fusion.weighted([text, vector]).map(({ id, score }) => [id, Number(score.toFixed(10))]),
      [
        ["b", 0.85],
        ["a", 0.3],
        ["c", 0]
      ]
    )
  })

  it("equal scores are ordered by the code points of their ids", () => {
    const legs = [["😀"], ["\uffee"], ["b"], ["a"]].map(([id]) => ({ ranked: [{ id: id!, score: 1 }] }))
    for (const fuse of Object.values(ways)) {
      assert.deepStrictEqual(
        fuse(legs).map(({ id }) => id),
        ["a", "b", "\uffee", "😀"]
      )
    }
  })

  for (const [name, fuse] of Object.entries(ways)) {
    it(`${name}: each id of any leg once, best first, finite, and the same bits again`, () => {
      FastCheck.assert(
        FastCheck.property(legs, (given) => {
          const fused = fuse(given)
          assert.deepStrictEqual(
            fused.map(({ id }) => id).toSorted(),
            Array.from(new Set(given.flatMap(({ ranked }) => ranked.map(({ id }) => id)))).toSorted()
          )
          assert.deepStrictEqual(fuse(structuredClone(given)), fused)
          fused.forEach(({ id, ranks, score }, i) => {
            assert.isTrue(Number.isFinite(score))
            const before = fused[i - 1]
            assert.isTrue(before === undefined || before.score > score || compareCodePoints(before.id, id) < 0)
            ranks.forEach((rank, leg) => {
              if (rank !== undefined) assert.strictEqual(given[leg]!.ranked[rank - 1]!.id, id)
            })
          })
        })
      )
    })

    it(`${name}: what is at least as good in every leg is not ranked below`, () => {
      FastCheck.assert(
        FastCheck.property(legs, (given) => {
          const fused = fuse(given)
          const rankOf = (entry: Fusion.Fused, leg: number) => entry.ranks[leg] ?? Number.POSITIVE_INFINITY
          for (const [i, below] of fused.entries()) {
            for (const above of fused.slice(0, i)) {
              const better = given.every((_, leg) => rankOf(below, leg) < rankOf(above, leg))
              // Rounding may move equal ones by a last bit.
              if (better) assert.approximately(below.score, above.score, 1e-12)
            }
          }
        })
      )
    })
  }

  it("legs without entries and without weight change nothing and divide by nothing", () => {
    assert.deepStrictEqual(Fusion.weighted([]), [])
    assert.deepStrictEqual(Fusion.weighted([{ ranked: [] }, { ranked: [{ id: "a", score: 1 }], weight: 0 }]), [
      { id: "a", score: 0, ranks: [undefined, 1] }
    ])
  })
})

describe("Mmr", () => {
  const candidates = [
    { id: "a", score: 1, topic: 1 },
    { id: "b", score: 0.99, topic: 1 },
    { id: "c", score: 0.6, topic: 2 }
  ]
  const alike = (a: { topic: number }, b: { topic: number }) => (a.topic === b.topic ? 1 : 0)

  it("prefers what is unlike what was chosen already", () => {
    const chosen = Mmr.select(candidates, alike, { limit: 2, lambda: 0.5 })
    assert.deepStrictEqual(
      chosen.map(({ id }) => id),
      ["a", "c"]
    )
  })

  it("with lambda 1 keeps the order of scores, and never gives more than there are", () => {
    const chosen = Mmr.select(candidates, alike, { limit: 10, lambda: 1 })
    assert.deepStrictEqual(chosen, candidates)
  })
})
