import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import * as Int8Search from "../../src/vector/Int8Search.js"
import { Distance, type Metric, QuantizedIndex, TopK } from "../../src/vector/index.js"
import { gaussianOf, random as randomFrom } from "../support/random.js"

const gaussian = (random: () => number) => gaussianOf(random)()

type Make = (random: () => number, i: number, dimension: number) => Float32Array

const fill = (dimension: number, f: (i: number) => number) => Float32Array.from({ length: dimension }, (_, i) => f(i))

const base = (dimension: number) => fill(dimension, (i) => Math.sin(i + 1))

/** Data made to break rounding: what is near, small, far or equal. */
const kinds: { readonly [kind: string]: Make } = {
  gaussian: (random, _, d) => fill(d, () => gaussian(random)),
  "near-duplicates": (random, _, d) => base(d).map((x) => x * (1 + 1e-6 * gaussian(random))),
  duplicates: (random, _, d) => base(d).map((x, i) => (i === 0 ? x + Math.floor(random() * 3) : x)),
  "all equal": (_random, _, d) => base(d),
  "one direction, many lengths": (random, _, d) => base(d).map((x) => x * 10 ** (6 * random() - 3)),
  tiny: (random, _, d) => fill(d, () => 1e-20 * gaussian(random)),
  denormal: (random, _, d) => fill(d, () => 1e-43 * (1 + Math.floor(random() * 50))),
  huge: (random, _, d) => fill(d, () => 1e37 * gaussian(random)),
  "all scales": (random, _, d) => {
    const scale = 10 ** (70 * random() - 35)
    return fill(d, () => scale * gaussian(random))
  },
  "huge outliers": (random, i, d) => fill(d, () => (i % 97 === 0 ? 1e6 : 1) * gaussian(random)),
  "outlying dimension": (random, _, d) => fill(d, (i) => (i === 0 ? 100 : 1) * gaussian(random)),
  "one-hot": (random, _, d) => {
    const hot = Math.floor(random() * d)
    return fill(d, (i) => (i === hot ? 1 : 0))
  },
  "two signs": (random, _, d) => fill(d, () => (random() < 0.5 ? -1 : 1))
}

/** One component so large that the others are lost in rounding. */
const lopsided = (random: () => number, dimension: number) =>
  fill(dimension, (i) => (i === 0 ? 1000 : 1) * gaussian(random))

/** Ids in an order of their own, so that ties are not broken by accident. */
const idOf = (key: number) => `${(key * 7919) % 1009}-${key}`

const naive = (
  metric: Metric,
  vectors: ReadonlyMap<number, Float32Array>,
  query: Float32Array,
  k: number,
  within: Iterable<number> = vectors.keys()
) => {
  const score = Distance.scorer(metric, query)
  return Array.from(within)
    .map((key) => ({ key, id: idOf(key), score: score(vectors.get(key)!) }))
    .sort(TopK.byScoreThenId)
    .slice(0, k)
}

const indexed = (metric: Metric, vectors: ReadonlyMap<number, Float32Array>, range?: number) => {
  const [first] = vectors.values()
  const sample = Array.from(vectors.values()).slice(0, 100)
  const index = QuantizedIndex.make({
    dimension: first!.length,
    metric,
    range: range ?? QuantizedIndex.rangeOf(metric, sample)
  })
  for (const [key, vector] of vectors) index.put(key, vector)
  let fetched = 0
  let pauses = 0
  const search = (query: Float32Array, k: number, within?: ReadonlySet<number>, minScore?: number) =>
    Effect.runSync(
      index.search({
        query,
        k,
        within,
        minScore,
        pause: Effect.sync(() => {
          pauses++
        }),
        fetch: (keys) =>
          Effect.sync(() => {
            fetched += keys.length
            return keys.map((key) => ({ key, id: idOf(key), score: Distance.scorer(metric, query)(vectors.get(key)!) }))
          })
      })
    )
  return { index, search, fetched: () => fetched, pauses: () => pauses }
}

const metrics: ReadonlyArray<Metric> = ["cosine", "dot", "l2"]

describe("QuantizedIndex", () => {
  for (const [kind, make] of Object.entries(kinds)) {
    it(`equals a plain loop: ${kind}`, () => {
      for (const metric of metrics) {
        for (const [seed, dimension, count] of [
          [1, 3, 600],
          [2, 32, 1500],
          [3, 131, 700]
        ] as const) {
          const random = randomFrom(seed)
          const vectors = new Map(Array.from({ length: count }, (_, i) => [i, make(random, i, dimension)]))
          const { search } = indexed(metric, vectors)
          const within = new Set(Array.from(vectors.keys()).filter((key) => key % 3 === 0))
          for (const query of [
            vectors.get(7)!,
            make(random, 1, dimension),
            kinds.gaussian!(random, 0, dimension),
            lopsided(random, dimension)
          ]) {
            for (const k of [1, 10, 60]) {
              assert.deepStrictEqual(search(query, k), naive(metric, vectors, query, k))
            }
            assert.deepStrictEqual(search(query, 20, within), naive(metric, vectors, query, 20, within))
            assert.deepStrictEqual(search(query, count + 5), naive(metric, vectors, query, count))
          }
        }
      }
    })
  }

  it("equals a plain loop where rows are many, in turns that are short", () => {
    const dimension = 20_000
    for (const kind of ["gaussian", "all equal", "huge outliers"]) {
      const random = randomFrom(6)
      const vectors = new Map(Array.from({ length: 450 }, (_, i) => [i, kinds[kind]!(random, i, dimension)]))
      const { index, pauses, search } = indexed("cosine", vectors)
      for (let key = 0; key < 450; key += 3) {
        index.remove(key)
        vectors.delete(key)
      }
      const within = new Set(Array.from(vectors.keys()).filter((key) => key % 5 !== 0))
      const query = vectors.get(301)!
      for (const k of [1, 10, 120]) {
        for (const some of [undefined, within]) {
          const before = pauses()
          assert.deepStrictEqual(search(query, k, some), naive("cosine", vectors, query, k, some))
          if (k < 100) assert.isAtLeast(pauses() - before, 2)
        }
      }
    }
  })

  it("equals a plain loop through random changes", () => {
    const vector = FastCheck.array(FastCheck.float({ noNaN: true, noDefaultInfinity: true }), {
      minLength: 4,
      maxLength: 4
    }).map((components) => Float32Array.from(components))
    const change = FastCheck.tuple(FastCheck.nat(200), FastCheck.option(vector, { freq: 4 }))
    const metric = FastCheck.constantFrom(...metrics)
    FastCheck.assert(
      FastCheck.property(
        metric,
        FastCheck.array(change, { maxLength: 600, size: "max" }),
        vector,
        (metric, changes, query) => {
          const vectors = new Map<number, Float32Array>([[0, Float32Array.of(1, 2, 3, 4)]])
          const { index, search } = indexed(metric, vectors, 5)
          for (const [key, value] of changes) {
            if (value === null) {
              vectors.delete(key)
              index.remove(key)
            } else {
              vectors.set(key, value)
              index.put(key, value)
            }
          }
          assert.strictEqual(index.size(), vectors.size)
          assert.deepStrictEqual(search(query, 3), naive(metric, vectors, query, 3))
        }
      ),
      { numRuns: 200 }
    )
  })

  it("leaves out what scores below minScore", () => {
    const random = randomFrom(5)
    const vectors = new Map(Array.from({ length: 900 }, (_, i) => [i, kinds.gaussian!(random, i, 16)]))
    const query = vectors.get(3)!
    const all = naive("cosine", vectors, query, 900)
    const minScore = all[20]!.score
    assert.deepStrictEqual(indexed("cosine", vectors).search(query, 100, undefined, minScore), all.slice(0, 21))
  })

  it("fetches a small part of clustered vectors", () => {
    const random = randomFrom(4)
    const centres = Array.from({ length: 50 }, (_, i) => kinds.gaussian!(random, i, 128))
    const vectors = new Map(
      Array.from({ length: 10_000 }, (_, i) => [i, centres[i % 50]!.map((x) => x + 0.3 * gaussian(random))])
    )
    const { fetched, search } = indexed("cosine", vectors)
    search(vectors.get(17)!, 10)
    assert.isBelow(fetched(), 500)
  })

  it("says when its range is outgrown, and a fitting range is not", () => {
    const random = randomFrom(9)
    const vectors = new Map(Array.from({ length: 2000 }, (_, i) => [i, kinds.gaussian!(random, i, 16)]))
    const { index } = indexed("l2", vectors, 0.5)
    assert.isTrue(index.outgrown())
    assert.isFalse(indexed("l2", vectors, index.fittingRange()).index.outgrown())
  })

  it("accounts for its memory", () => {
    const index = QuantizedIndex.make({ dimension: 384, metric: "cosine", range: 1, capacity: 1000 })
    for (let i = 0; i < 1000; i++) index.put(i, base(384))
    assert.strictEqual(index.bytes(), QuantizedIndex.bytesFor(384, 1000))
  })

  it("takes one vector more than there was room for without copying the others", () => {
    const count = 30_000
    const index = QuantizedIndex.make({ dimension: 1000, metric: "dot", range: 1, capacity: count })
    const vector = new Float32Array(1000).fill(0.5)
    for (let i = 0; i < count; i++) index.put(i, vector)
    const before = process.memoryUsage.rss()
    index.put(count, vector)
    assert.isBelow(process.memoryUsage.rss() - before, 10_000_000)
    assert.strictEqual(index.size(), count + 1)
  })

  it("has room for millions", () => {
    const index = QuantizedIndex.make({ dimension: 384, metric: "dot", range: 1, capacity: 3_000_000 })
    index.put(1, base(384))
    assert.isAbove(index.bytes(), 3_000_000 * 384)
  })

  it("gives its memory back in steps", () => {
    const index = QuantizedIndex.make({ dimension: 1000, metric: "dot", range: 1, capacity: 50_000 })
    let steps = 1
    while (index.release()) steps++
    assert.strictEqual(steps, 3)
  })
})

describe("Int8Search", () => {
  it("gives the same distances with and without the native library, at extreme values too", () => {
    for (const dimension of [1, 16, 384, 40_000]) {
      const random = randomFrom(dimension)
      const matrix = Int8Array.from({ length: 20 * dimension }, (_, i) =>
        i < dimension ? 127 : i < 2 * dimension ? -127 : Math.floor(random() * 255) - 127
      )
      // A view into the matrix, on purpose.
      const query = matrix.subarray(dimension, 2 * dimension)
      for (const metric of ["l2sq", "ip"] as const) {
        const expected = Int8Search.portable(matrix, query, dimension, 20, metric)
        const found = Int8Search.search(matrix, query, dimension, 20, metric)
        for (let i = 0; i < 20; i++) {
          assert.closeTo(found.distances[i]!, expected.distances[i]!, 1e-6 * Math.abs(expected.distances[i]!))
        }
      }
    }
  })
})

describe("Distance", () => {
  it("does not depend on scale: identical vectors of any length have cosine 1", () => {
    for (const scale of [1, 1e-4, 1e-6, 1e-20, 1e-40, 1e30]) {
      const vector = base(50).map((x) => x * scale)
      assert.strictEqual(Distance.cosine(vector, vector), 1)
      assert.closeTo(Distance.cosine(vector, base(50)), 1, scale < 1e-37 ? 1e-4 : 1e-7)
      assert.closeTo(
        Distance.cosine(
          vector.map((x) => -x),
          base(50)
        ),
        -1,
        scale < 1e-37 ? 1e-4 : 1e-7
      )
    }
  })

  it("scores greater as closer, and 0 for what has no direction", () => {
    const a = Float32Array.of(3, 0)
    const b = Float32Array.of(0, 4)
    assert.strictEqual(Distance.scorer("cosine", a)(b), 0)
    assert.strictEqual(Distance.scorer("dot", a)(a), 9)
    assert.strictEqual(Distance.scorer("l2", a)(b), -5)
    assert.isTrue(Object.is(Distance.scorer("l2", a)(a), 0))
    assert.strictEqual(Distance.cosine(a, Float32Array.of(0, 0)), 0)
  })
})
