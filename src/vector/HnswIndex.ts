/**
 * An approximate index: a graph of vectors (HNSW) as they once were, and what was written since in a `QuantizedIndex`.
 * The graph names candidates; their stored vectors give the scores, so a score is never approximate, and what was
 * written since is searched exactly.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as AtOnce from "./AtOnce.js"
import { dot, type Metric } from "./Distance.js"
import type { QuantizedIndex } from "./QuantizedIndex.js"
import * as TopK from "./TopK.js"
import { type IndexSearch, OutOfCandidates, type VectorIndex } from "./VectorIndex.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Graph {
  /** Vectors in the graph. */
  readonly size: number
  /** Memory held, in bytes, beside what the operating system maps and may let go. */
  readonly bytes: number
  /** The keys of about `count` nearest vectors, nearest first; may be found at once. Fails if the graph is lost. */
  readonly search: (query: Float32Array, count: number) => Effect.Effect<ArrayLike<number>, OutOfCandidates>
}

/**
 * How many candidates are scored for k results: a graph orders by rounded vectors, so those just behind count, too.
 *
 * @since 0.1.0
 * @category sizing
 */
export const scoredFor = (k: number): number => Math.ceil(1.1 * k) + 3

/**
 * How many candidates to ask a graph for: the far half of what it finds has gaps.
 *
 * @since 0.1.0
 * @category sizing
 */
export const countFor = (k: number, expansion: number): number => Math.max(expansion, 3 * k)

/** The greatest 16-bit float is 65504. */
const largest = 65_000

/**
 * Writes a vector as the graph holds it: under cosine with length 1, else scaled into the range of 16-bit floats. The
 * order of dot products and distances is the same at any scale.
 *
 * @since 0.1.0
 * @category conversions
 */
export const writeForGraph = (
  metric: Metric,
  scale: number,
  vector: Float32Array,
  into: Float32Array,
  at: number
): void => {
  const factor = metric === "cosine" ? 1 / Math.sqrt(dot(vector, vector)) : scale
  for (let i = 0; i < vector.length; i++) {
    const x = vector[i]! * factor
    // biome-ignore lint/complexity/useMathMinMax: calls take ten times as long as comparisons here.
    into[at + i] = x > largest ? largest : x < -largest ? -largest : x
  }
}

/**
 * A scale for vectors like those of the sample.
 *
 * @since 0.1.0
 * @category sizing
 */
export const scaleOf = (sample: ReadonlyArray<Float32Array>): number => {
  const peaks = sample.map((vector) => vector.reduce((peak, x) => Math.max(peak, Math.abs(x)), 0)).sort((a, b) => a - b)
  const scale = 1 / (peaks[peaks.length >> 1] ?? 1)
  return Number.isFinite(scale) ? scale : 1
}

/** Vectors held at one time for scoring. */
const fetchLimit = 1024

/** Candidates of one batch that all score below `minScore` show that the rest does, too. */
const conclusive = 8

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly graph: Graph
  /** The fewest candidates to ask the graph for. */
  readonly expansion: number
  /** What was written since; it takes the place of what the graph holds under the same keys. */
  readonly changes: QuantizedIndex
  /** Keys known to be deleted since. */
  readonly deleted: ReadonlySet<number>
}): VectorIndex => {
  const { changes, deleted, expansion, graph } = options

  const search: VectorIndex["search"] = <E, R>({
    fetch,
    k,
    limit = Number.POSITIVE_INFINITY,
    minScore,
    pause,
    query,
    within
  }: IndexSearch<E, R>) => {
    type Searching<A> = Effect.Effect<A, E | OutOfCandidates, R>
    const best = TopK.make(k, minScore)
    let [fetched, scored, tooFar] = [0, 0, false]

    const offer = (candidates: ReadonlyArray<TopK.Scored>) => {
      let closest = Number.NEGATIVE_INFINITY
      for (const candidate of candidates) {
        closest = Math.max(closest, candidate.score)
        best.offer(candidate)
      }
      scored += candidates.length
      tooFar = candidates.length >= conclusive && minScore !== undefined && closest < minScore
      return Effect.void
    }
    const rescore = (batch: ReadonlyArray<number>): Searching<void> => {
      fetched += batch.length
      if (fetched > limit) return new OutOfCandidates()
      if (batch.length <= fetchLimit) return AtOnce.flatMap(fetch(batch), offer)
      const parts = Chunk.chunksOf(Chunk.fromIterable(batch), fetchLimit)
      return Effect.forEach(parts, (part) => Effect.flatMap(fetch(Chunk.toReadonlyArray(part)), offer), {
        discard: true
      })
    }

    const result = () => Effect.succeed(best.result())
    if (within !== undefined) return AtOnce.flatMap(rescore(Array.from(within)), result)

    const enough = scoredFor(k)
    const seen = new Set<number>()
    const hasEnough = () => scored >= enough || tooFar

    /** Scores what was found, from one place on, in batches that grow. */
    const consider = (found: ArrayLike<number>, from: number, to: number): Searching<void> => {
      const batch: Array<number> = []
      const wanted = Math.max(enough - scored, Math.min(fetchLimit, fetched))
      let i = from
      for (; i < to && batch.length < wanted; i++) {
        const key = found[i]!
        if (seen.has(key) || deleted.has(key) || changes.has(key)) continue
        seen.add(key)
        batch.push(key)
      }
      if (batch.length === 0) return Effect.void
      return AtOnce.flatMap(rescore(batch), () => (i === to || hasEnough() ? Effect.void : consider(found, i, to)))
    }
    const ask = (count: number): Searching<ReadonlyArray<TopK.Scored>> =>
      AtOnce.flatMap(graph.search(query, count), (found) => {
        const all = count === graph.size
        return AtOnce.flatMap(consider(found, 0, all ? found.length : found.length >> 1), () => {
          if (hasEnough() || (all && found.length >= graph.size)) return result()
          // Some vectors cannot be reached.
          if (all) return scored >= k ? result() : new OutOfCandidates()
          return ask(Math.min(graph.size, 4 * count))
        })
      })

    const first = Math.min(graph.size, countFor(k, expansion))
    if (changes.size() === 0) return ask(first)
    return Effect.flatMap(changes.search({ query, k, limit, minScore, fetch, pause }), (some) => {
      for (const one of some) best.offer(one)
      return ask(first)
    })
  }

  return {
    size: () => Math.max(0, graph.size - deleted.size) + changes.size(),
    bytes: () => graph.bytes + changes.bytes() + deleted.size * 48,
    search
  }
}
