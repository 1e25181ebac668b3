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

/**
 * Rows lie in blocks of so many bytes, a fraction of a millisecond's work each: a search pauses between them, and an index
 * grows and is given back without holding the process up.
 */
const blockBytes = 4 * 1024 * 1024

/** What is short takes as long per row as by its bytes. */
const blockRows = 65_536

/** Blocks given back at a time. */
const releasedAtOnce = 4

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

/** Some of the rows to search, and the nearest of them as far as they are known. */
interface Part {
  readonly size: number
  readonly matrix: () => Int8Array
  readonly keyOf: (row: number) => number
  nearest: Int8Search.Nearest
  /** How many of `nearest` were taken. */
  taken: number
}

const nothing: Int8Search.Nearest = { rows: [], distances: [] }

/** No row of the part that was not taken is nearer. */
const nearestLeft = ({ nearest: { distances }, size, taken }: Part): number =>
  taken === size ? Number.POSITIVE_INFINITY : (distances[taken] ?? distances[taken - 1] ?? 0)

/** The part whose next row is the nearest, if there is any row left. */
const nextPart = (parts: ReadonlyArray<Part>): Part | undefined => {
  let found: Part | undefined
  let least = Number.POSITIVE_INFINITY
  for (const part of parts) {
    const distance = nearestLeft(part)
    if (distance < least) {
      least = distance
      found = part
    }
  }
  return found
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
  const rowsOfBlock = Math.min(blockRows, Math.max(1, Math.floor(blockBytes / dimension)))
  /** A buffer each, since the native search reads from the start of one. */
  const blocks: Array<Int8Array<ArrayBuffer>> = []
  let capacity = 0
  let keys = new Float64Array(0)
  let peaks = new Float64Array(0)
  const rowOf = RowNumbers.make()
  const outliers = new Set<number>()
  /** The largest rounding error, and the greatest length after rounding, of all that are not outliers. */
  let maxError = 0
  let maxLength = 0

  const makeRoom = (rows: number) => {
    const enlarge = (from: Float64Array<ArrayBuffer>) => {
      const into = new Float64Array(rows)
      into.set(from)
      return into
    }
    capacity = rows
    keys = enlarge(keys)
    peaks = enlarge(peaks)
    const maxByteLength = rowsOfBlock * dimension
    for (let i = Math.max(0, blocks.length - 1); i * rowsOfBlock < rows; i++) {
      const length = Math.min(rowsOfBlock, rows - i * rowsOfBlock) * dimension
      if (i < blocks.length) blocks[i]!.buffer.resize(length)
      else blocks.push(new Int8Array(new ArrayBuffer(length, { maxByteLength })))
    }
  }
  makeRoom(Math.max(16, options.capacity ?? 0))

  const blockOf = (row: number) => blocks[Math.floor(row / rowsOfBlock)]!
  const offsetOf = (row: number) => (row % rowsOfBlock) * dimension
  const bytesOf = (row: number) => blockOf(row).subarray(offsetOf(row), offsetOf(row) + dimension)

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
      if (row === capacity) makeRoom(Math.ceil(capacity * 1.5))
      rowOf.set(key, row)
      keys[row] = key
    }
    const scale = scaleOf(metric, vector)
    const peak = peakOf(vector, scale)
    peaks[row] = peak
    const { error, length } = quantize(vector, scale, step, blockOf(row), offsetOf(row))
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
    bytesOf(row).set(bytesOf(last))
    keys[row] = keys[last]!
    peaks[row] = peaks[last]!
    rowOf.set(keys[row]!, row)
  }

  /** Puts rows that lie anywhere together. */
  const gather = (rows: ReadonlyArray<number>, into: Int8Array): Int8Array => {
    for (let i = 0; i < rows.length; i++) into.set(bytesOf(rows[i]!), i * dimension)
    return into.subarray(0, rows.length * dimension)
  }

  function* allParts(): Generator<Part> {
    const total = rowOf.size()
    for (let first = 0; first < total; first += rowsOfBlock) {
      const size = Math.min(rowsOfBlock, total - first)
      const matrix = () => blockOf(first).subarray(0, size * dimension)
      yield { size, matrix, keyOf: (row) => keys[first + row]!, nearest: nothing, taken: 0 }
    }
  }

  /** Of the keys that are held here; others are told to `onMissing`. */
  function* partsWithin(within: ReadonlySet<number>, onMissing: (key: number) => void): Generator<Part> {
    const scratch = new Int8Array(Math.min(within.size, rowsOfBlock) * dimension)
    const partOf = (rows: ReadonlyArray<number>): Part => {
      const matrix = () => gather(rows, scratch)
      return { size: rows.length, matrix, keyOf: (row) => keys[rows[row]!]!, nearest: nothing, taken: 0 }
    }
    let rows: Array<number> = []
    for (const key of within) {
      const row = rowOf.get(key)
      if (row === undefined) {
        onMissing(key)
        continue
      }
      rows.push(row)
      if (rows.length < rowsOfBlock) continue
      yield partOf(rows)
      rows = []
    }
    if (rows.length > 0) yield partOf(rows)
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

  const search: VectorIndex["search"] = ({
    fetch,
    k,
    limit = Number.POSITIVE_INFINITY,
    minScore,
    pause = Effect.void,
    query,
    within
  }) =>
    Effect.gen(function* () {
      let fetched = 0
      const best = TopK.make(k, minScore)
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
      const total = within?.size ?? rowOf.size()
      if (total <= batchSize) {
        yield* rescore(Array.from(within ?? keys.subarray(0, total)))
        return best.result()
      }

      const quantized = new Int8Array(dimension)
      const bound = bestScore(query, quantized)
      const look = (part: Part, count: number) => {
        const kind = metric === "dot" ? "ip" : "l2sq"
        part.nearest = Int8Search.search(part.matrix(), quantized, dimension, Math.min(part.size, count), kind)
        // Of equal distances, others than before may come first.
        part.taken = 0
      }
      // Outliers are scored whatever their distance; so is what is not held here, which may be anything.
      const seen = new Set<number>()
      for (const key of outliers) if (within?.has(key) ?? true) seen.add(key)
      const parts: Array<Part> = []
      const count = Math.max(32, Math.ceil(Math.max(256, 8 * k) / Math.ceil(total / rowsOfBlock)))
      for (const part of within === undefined ? allParts() : partsWithin(within, (key) => seen.add(key))) {
        yield* pause
        look(part, count)
        parts.push(part)
      }
      yield* rescore(Array.from(seen))

      let batch: Array<number> = []
      while (true) {
        const part = nextPart(parts)
        if (part === undefined || bound(nearestLeft(part)) < floor) {
          yield* rescore(batch)
          return best.result()
        }
        const row = part.nearest.rows[part.taken]
        if (row === undefined) {
          yield* pause
          look(part, 4 * part.taken)
          continue
        }
        part.taken++
        const key = part.keyOf(Number(row))
        if (seen.has(key)) continue
        seen.add(key)
        batch.push(key)
        if (batch.length < batchSize) continue
        yield* rescore(batch)
        batch = []
        batchSize = Math.min(fetchLimit, 2 * batchSize)
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
      for (const block of blocks.splice(-releasedAtOnce)) block.buffer.resize(0)
      return blocks.length > 0
    }
  }
}
