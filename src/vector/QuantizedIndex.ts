/**
 * An exact index: one byte per component in memory, and results equal to those of a loop over all the vectors.
 *
 * Vectors (under cosine: brought to length 1) are rounded to multiples of one step. The distance between rounded vectors
 * differs from the true one by no more than the two rounding errors together (triangle inequality; for dot products:
 * Cauchy-Schwarz), and both errors are known. So a scan over the bytes gives, for each vector, the best score that it can
 * have. Candidates are fetched and scored exactly in that order, until the best possible score of the next one, and so of
 * all the rest, is below the k-th found.
 *
 * Vectors far larger than the others would make the step too coarse for all: those beyond the range are kept in a list of
 * outliers which every search scores exactly. When there are too many of them, `outgrown` says so; results stay exact,
 * and an index made anew with `fittingRange` is faster.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { dot, type Metric } from "./Distance.js"
import * as Int8Search from "./Int8Search.js"
import * as RowNumbers from "./RowNumbers.js"
import * as TopK from "./TopK.js"
import { OutOfCandidates, type VectorIndex } from "./VectorIndex.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface QuantizedIndex extends VectorIndex {
  readonly has: (key: number) => boolean
  /** Adds the vector, or replaces the one of that key. */
  readonly put: (key: number, vector: Float32Array) => void
  readonly remove: (key: number) => void
  /** Whether so many vectors exceed the range that an index with another would be faster. */
  readonly outgrown: () => boolean
  /** The range that suits the vectors held now. */
  readonly fittingRange: () => number
  /**
   * Gives some of the memory back, in a few milliseconds, and says whether there is more: at once, hundreds of megabytes
   * hold the whole process up. The index is of no use any more.
   */
  readonly release: () => boolean
}

/** Integer distances are exact but reported as 32-bit floats. */
const float32Slack = 1e-6
/** Far above what rounding in 64-bit floats adds up to over 65535 dimensions. */
const float64Slack = 1e-9

/** Vectors held at one time for scoring. */
const fetchLimit = 1024

/** Bytes given back at a time. */
const releaseStep = 16 * 1024 * 1024

/** What a matrix may grow to where it lies, as a multiple: of addresses, not of memory. */
const growth = 8

/** The most bytes that an array can have on every version of Node. */
const longest = 2 ** 32

const newMatrix = (length: number): Int8Array<ArrayBuffer> =>
  new Int8Array(new ArrayBuffer(length, { maxByteLength: Math.max(length, Math.min(longest, growth * length)) }))

/** The largest component, after bringing the vector to the length at which it is compared. */
const peakOf = (vector: Float32Array, scale: number): number => {
  let peak = 0
  for (let i = 0; i < vector.length; i++) peak = Math.max(peak, Math.abs(vector[i]!))
  return peak * scale
}

const scaleOf = (metric: Metric, vector: Float32Array): number => {
  if (metric !== "cosine") return 1
  const length = Math.sqrt(dot(vector, vector))
  return length === 0 ? 0 : 1 / length
}

/** One vector in two thousand may stay outside; the rest have a tenth to a quarter of headroom. */
const rangeOfPeaks = (peaks: Float64Array, headroom: number): number => {
  const sorted = peaks.slice().sort()
  return (sorted[Math.max(0, Math.ceil(sorted.length * 0.9995) - 1)] ?? 0) * headroom
}

/**
 * A range for vectors like those of the sample.
 *
 * @since 0.1.0
 * @category sizing
 */
export const rangeOf = (metric: Metric, sample: ReadonlyArray<Float32Array>): number =>
  rangeOfPeaks(
    Float64Array.from(sample, (vector) => peakOf(vector, scaleOf(metric, vector))),
    1.25
  )

/**
 * The memory that an index takes with room for so many vectors, in bytes.
 *
 * @since 0.1.0
 * @category sizing
 */
export const bytesFor = (dimension: number, count: number): number => count * (dimension + 64)

/** Rows for the whole index or a part of it, as the scan wants them. */
interface Rows {
  readonly matrix: Int8Array
  readonly keys: ArrayLike<number>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: {
  readonly dimension: number
  readonly metric: Metric
  /** The largest component expected (under cosine: of vectors brought to length 1), from `rangeOf`. */
  readonly range: number
  /** How many vectors to make room for. */
  readonly capacity?: number
}): QuantizedIndex => {
  const { dimension, metric, range } = options
  const step = range > 0 ? range / 127 : 1
  let capacity = Math.max(16, options.capacity ?? 0)
  let matrix = newMatrix(capacity * dimension)
  let keys = new Float64Array(capacity)
  let peaks = new Float64Array(capacity)
  const rowOf = RowNumbers.make()
  const outliers = new Set<number>()
  /** The largest rounding error, and the greatest length after rounding, of all that are not outliers. */
  let maxError = 0
  let maxLength = 0

  const grow = () => {
    capacity = Math.ceil(capacity * 1.5)
    const enlarge = <A extends Int8Array | Float64Array>(from: A, into: A): A => {
      into.set(from)
      return into
    }
    // To copy hundreds of megabytes would hold the whole process up.
    const { buffer } = matrix
    if (capacity * dimension <= buffer.maxByteLength) buffer.resize(capacity * dimension)
    else matrix = enlarge(matrix, newMatrix(capacity * dimension))
    keys = enlarge(keys, new Float64Array(capacity))
    peaks = enlarge(peaks, new Float64Array(capacity))
  }

  /** Writes the rounded vector; gives its rounding error and its length after rounding. */
  const quantize = (vector: Float32Array, scale: number, step: number, into: Int8Array, at: number) => {
    let error = 0
    let length = 0
    for (let i = 0; i < dimension; i++) {
      const x = vector[i]! * scale
      const rounded = Math.max(-127, Math.min(127, Math.round(x / step)))
      const rest = x - rounded * step
      error += rest * rest
      length += rounded * rounded
      into[at + i] = rounded
    }
    return { error: Math.sqrt(error) * (1 + float64Slack), length: Math.sqrt(length) * step * (1 + float64Slack) }
  }

  const put = (key: number, vector: Float32Array) => {
    let row = rowOf.get(key)
    if (row === undefined) {
      row = rowOf.size()
      if (row === capacity) grow()
      rowOf.set(key, row)
      keys[row] = key
    }
    const scale = scaleOf(metric, vector)
    const peak = peakOf(vector, scale)
    peaks[row] = peak
    const { error, length } = quantize(vector, scale, step, matrix, row * dimension)
    // A zero vector has no direction, so nothing is known about its cosine.
    if (peak > range || scale === 0) {
      outliers.add(key)
    } else {
      outliers.delete(key)
      maxError = Math.max(maxError, error)
      maxLength = Math.max(maxLength, length)
    }
  }

  const remove = (key: number) => {
    const row = rowOf.get(key)
    if (row === undefined) return
    rowOf.delete(key)
    outliers.delete(key)
    const last = rowOf.size()
    if (row === last) return
    matrix.copyWithin(row * dimension, last * dimension, (last + 1) * dimension)
    keys[row] = keys[last]!
    peaks[row] = peaks[last]!
    rowOf.set(keys[row]!, row)
  }

  const gather = (within: ReadonlyArray<number>): Rows => {
    const part = new Int8Array(within.length * dimension)
    for (let i = 0; i < within.length; i++) {
      const at = rowOf.get(within[i]!)! * dimension
      part.set(matrix.subarray(at, at + dimension), i * dimension)
    }
    return { matrix: part, keys: within }
  }

  /** From the reported integer distance of a vector to the best exact score that it can have. */
  const bestScore = (query: Float32Array, quantized: Int8Array): ((reported: number) => number) => {
    const scale = scaleOf(metric, query)
    if (metric === "dot") {
      // A product may have another step for the query, a difference may not.
      const queryStep = peakOf(query, scale) / 127 || 1
      const { error } = quantize(query, scale, queryStep, quantized, 0)
      const length = Math.sqrt(dot(query, query)) * (1 + float64Slack)
      const slack = error * maxLength + length * maxError + float64Slack * length * (maxLength + maxError)
      return (reported) => {
        const product = 1 - reported
        return (product + float32Slack * (Math.abs(product) + 1)) * step * queryStep + slack
      }
    }
    const { error } = quantize(query, scale, step, quantized, 0)
    const nearest = (reported: number) =>
      Math.max(0, Math.sqrt(reported) * step * (1 - float32Slack) - (error + maxError) * (1 + float64Slack))
    return metric === "cosine"
      ? (reported) => 1 - nearest(reported) ** 2 / 2 + float64Slack
      : (reported) => -nearest(reported) * (1 - float64Slack)
  }

  const search: VectorIndex["search"] = ({ fetch, k, limit = Number.POSITIVE_INFINITY, minScore, query, within }) =>
    Effect.gen(function* () {
      let fetched = 0
      const best = TopK.make(k, minScore)
      const seen = new Set<number>()
      let floor = best.threshold()
      const rescore = (batch: ReadonlyArray<number>) =>
        Effect.gen(function* () {
          fetched += batch.length
          if (fetched > limit) return yield* new OutOfCandidates()
          for (let i = 0; i < batch.length; i += fetchLimit) {
            for (const candidate of yield* fetch(batch.slice(i, i + fetchLimit))) best.offer(candidate)
          }
          floor = best.threshold()
        })

      let batchSize = Math.max(32, 2 * k)
      if ((within?.length ?? rowOf.size()) <= batchSize) {
        yield* rescore(within ?? Array.from(keys.subarray(0, rowOf.size())))
        return best.result()
      }
      const known = within?.filter((key) => rowOf.has(key))
      const total = known?.length ?? rowOf.size()
      const rows: Rows = known === undefined ? { matrix, keys } : gather(known)
      // What is not held here may be anything.
      for (const key of within ?? []) if (!rowOf.has(key)) seen.add(key)
      if (outliers.size > 0) {
        const members = within === undefined ? undefined : new Set(within)
        for (const key of outliers) if (members?.has(key) ?? true) seen.add(key)
      }
      yield* rescore(Array.from(seen))
      if (total === 0) return best.result()

      const quantized = new Int8Array(dimension)
      const bound = bestScore(query, quantized)
      const bytes = rows.matrix.subarray(0, total * dimension)
      for (let count = Math.min(total, Math.max(256, 8 * k)); ; count = Math.min(total, 4 * count)) {
        const nearest = Int8Search.search(bytes, quantized, dimension, count, metric === "dot" ? "ip" : "l2sq")
        let batch: Array<number> = []
        for (let i = 0; i < count; i++) {
          if (bound(nearest.distances[i]!) < floor) {
            yield* rescore(batch)
            return best.result()
          }
          const key = rows.keys[Number(nearest.rows[i]!)]!
          if (seen.has(key)) continue
          seen.add(key)
          batch.push(key)
          if (batch.length < batchSize) continue
          yield* rescore(batch)
          batch = []
          batchSize = Math.min(fetchLimit, 2 * batchSize)
        }
        yield* rescore(batch)
        if (count === total) return best.result()
      }
    })

  return {
    size: () => rowOf.size(),
    // A row costs its components, its key and peak, and an entry of the map.
    bytes: () => capacity * (dimension + 16) + rowOf.size() * 48,
    has: (key) => rowOf.has(key),
    put,
    remove,
    search,
    outgrown: () => outliers.size > Math.max(32, rowOf.size() / 1000),
    fittingRange: () => rangeOfPeaks(peaks.subarray(0, rowOf.size()), 1.1),
    release: () => {
      matrix.buffer.resize(Math.max(0, matrix.byteLength - releaseStep))
      return matrix.byteLength > 0
    }
  }
}
