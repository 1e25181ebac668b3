import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import { Distance, HnswIndex, type Metric, OutOfCandidates, QuantizedIndex, TopK } from "../../src/vector/index.js"

const metrics: ReadonlyArray<Metric> = ["cosine", "dot", "l2"]

const vectorOf = (seed: number) => Float32Array.from({ length: 6 }, (_, i) => Math.sin(seed * 12.9898 + i * 78.233))

/** Ids in an order of their own, so that ties are not broken by accident. */
const idOf = (key: number) => `${(key * 7919) % 1009}-${key}`

const naive = (
  metric: Metric,
  vectors: ReadonlyMap<number, Float32Array>,
  query: Float32Array,
  k: number,
  minScore = Number.NEGATIVE_INFINITY
) => {
  const score = Distance.scorer(metric, query)
  return Array.from(vectors, ([key, vector]) => ({ key, id: idOf(key), score: score(vector) }))
    .filter(({ score }) => score >= minScore)
    .sort(TopK.byScoreThenId)
    .slice(0, k)
}

interface Sample {
  readonly metric: Metric
  /** What the graph holds. */
  readonly base: ReadonlyMap<number, Float32Array>
  /** What was written since. */
  readonly changes: ReadonlyMap<number, Float32Array>
  readonly deleted: ReadonlyArray<number>
}

/** A graph that finds the nearest without a miss, of those that can be reached. */
const indexOf = ({ base, changes, deleted, metric }: Sample, reachable: (key: number) => boolean = () => true) => {
  const counts: Array<number> = []
  const graph: HnswIndex.Graph = {
    size: base.size,
    bytes: 0,
    search: (query, count) => {
      counts.push(count)
      const nearest = naive(metric, base, query, count).map(({ key }) => key)
      return Effect.succeed(nearest.filter(reachable))
    }
  }
  const newer = QuantizedIndex.make({ dimension: 6, metric, range: 1 })
  for (const [key, vector] of changes) newer.put(key, vector)
  const index = HnswIndex.make({ graph, expansion: 16, changes: newer, deleted: new Set(deleted) })
  const current = new Map([...base, ...changes])
  for (const key of deleted) if (!changes.has(key)) current.delete(key)
  const search = (
    query: Float32Array,
    options: {
      readonly k: number
      readonly limit?: number
      readonly minScore?: number
      readonly within?: ReadonlySet<number>
      readonly matches?: (key: number) => boolean
    }
  ) =>
    Effect.runSync(
      Effect.either(
        index.search({
          query,
          ...options,
          fetch: (keys) =>
            Effect.sync(() =>
              keys
                .filter((key) => current.has(key) && (options.matches?.(key) ?? true))
                .map((key) => ({ key, id: idOf(key), score: Distance.scorer(metric, query)(current.get(key)!) }))
            )
        })
      )
    )
  return { index, current, search, counts }
}

const keysTo = (size: number) => FastCheck.uniqueArray(FastCheck.nat(size), { maxLength: size, size: "max" })

const sample = FastCheck.record({
  metric: FastCheck.constantFrom(...metrics),
  size: FastCheck.integer({ min: 1, max: 300 }),
  changed: keysTo(60),
  deleted: keysTo(80)
}).map(
  ({ changed, deleted, metric, size }): Sample => ({
    metric,
    base: new Map(Array.from({ length: size }, (_, key) => [key, vectorOf(key)])),
    changes: new Map(changed.map((key) => [key * 5, vectorOf(key + 1000)])),
    deleted
  })
)

describe("HnswIndex", () => {
  it("finds exactly the k best of what is there now, whatever the graph still holds", () => {
    FastCheck.assert(
      FastCheck.property(
        sample,
        FastCheck.nat(5000),
        FastCheck.integer({ min: 1, max: 400 }),
        FastCheck.integer({ min: 1, max: 50 }),
        (sample, seed, k, share) => {
          const query = vectorOf(seed + 0.5)
          const { current, search } = indexOf(sample)
          assert.deepStrictEqual(search(query, { k }), Either.right(naive(sample.metric, current, query, k)))
          const matches = (key: number) => key % share === 0
          const matching = new Map(Array.from(current).filter(([key]) => matches(key)))
          const wanted = Either.right(naive(sample.metric, matching, query, k))
          assert.deepStrictEqual(search(query, { k, matches }), wanted)
          assert.deepStrictEqual(search(query, { k, within: new Set(matching.keys()) }), wanted)
        }
      ),
      { numRuns: 300 }
    )
  })

  const large: Sample = {
    metric: "cosine",
    base: new Map(Array.from({ length: 5000 }, (_, key) => [key, vectorOf(key)])),
    changes: new Map(),
    deleted: []
  }

  it("asks the graph for more until enough match, and gives up at the limit", () => {
    const { counts, current, search } = indexOf(large)
    const query = vectorOf(0.5)
    const matches = (key: number) => key % 20 === 0
    const matching = new Map(Array.from(current).filter(([key]) => matches(key)))
    const found = search(query, { k: 10, limit: 2000, matches })
    assert.deepStrictEqual(found, Either.right(naive("cosine", matching, query, 10)))
    assert.isTrue(counts.every((count, i) => i === 0 || count === 4 * counts[i - 1]!))
    assert.isBelow(counts.at(-1)!, 5000)
    const given = search(query, { k: 10, limit: 200, matches: (key) => key === 4999 })
    assert.deepStrictEqual(given, Either.left(new OutOfCandidates()))
  })

  it("leaves out what scores below minScore, without going through all that is farther", () => {
    const { counts, current, search } = indexOf(large)
    const query = vectorOf(7)
    const minScore = naive("cosine", current, query, 30)[29]!.score
    const wanted = naive("cosine", current, query, 100, minScore)
    assert.deepStrictEqual(search(query, { k: 100, minScore }), Either.right(wanted))
    assert.isBelow(counts.at(-1)!, 5000)
  })

  it("says so when it cannot reach k", () => {
    const { current, search } = indexOf(large, (key) => key < 40)
    const query = vectorOf(3.5)
    assert.deepStrictEqual(search(query, { k: 50 }), Either.left(new OutOfCandidates()))
    const within = new Set(current.keys())
    assert.deepStrictEqual(search(query, { k: 50, within }), Either.right(naive("cosine", current, query, 50)))
  })
})

describe("vectors for a graph", () => {
  it("keep the order of their scores, at any scale, within 16-bit floats", () => {
    for (const metric of metrics) {
      for (const size of [1e-20, 1, 1e20]) {
        const vectors = Array.from({ length: 50 }, (_, i) => vectorOf(i).map((x) => x * size))
        const scale = HnswIndex.scaleOf(vectors)
        const written = vectors.map((vector) => {
          const into = new Float32Array(8)
          HnswIndex.writeForGraph(metric, scale, vector, into, 1)
          assert.deepStrictEqual([into[0], into[7]], [0, 0])
          return into.slice(1, 7)
        })
        assert.isTrue(written.every((vector) => vector.every((x) => Math.abs(x) < 65_504)))
        assert.isAbove(Math.max(...written.flatMap((vector) => Array.from(vector))), 0.1)
        const order = (all: ReadonlyArray<Float32Array>) => {
          const score = Distance.scorer(metric === "cosine" ? "cosine" : metric, all[0]!)
          const [scores, indexes] = [all.map(score), Array.from(all.keys())]
          return indexes.sort((a, b) => scores[b]! - scores[a]!)
        }
        assert.deepStrictEqual(order(written), order(vectors))
      }
    }
  })
})
