/**
 * Nearest rows of a matrix of 8-bit integers, in exact integer arithmetic.
 */
import { createRequire } from "node:module"

/** `l2sq` is the squared distance, `ip` is one minus the dot product. */
export type IntegerMetric = "l2sq" | "ip"

/** Rows by increasing distance; `distances` may be rounded to 32-bit floats. */
export interface Nearest {
  readonly rows: ArrayLike<number | bigint>
  readonly distances: ArrayLike<number>
}

/** `count` may not exceed the number of rows. */
export type Int8Search = (
  matrix: Int8Array,
  query: Int8Array,
  dimension: number,
  count: number,
  metric: IntegerMetric
) => Nearest

/** Without SIMD: some forty times slower, and available everywhere. */
export const portable: Int8Search = (matrix, query, dimension, count, metric) => {
  const all = new Float64Array(matrix.length / dimension)
  for (let row = 0, at = 0; row < all.length; row++) {
    let sum = 0
    for (let i = 0; i < dimension; i++, at++) {
      const x = matrix[at]!
      const difference = query[i]! - x
      sum += metric === "l2sq" ? difference * difference : query[i]! * x
    }
    all[row] = metric === "l2sq" ? sum : 1 - sum
  }
  const rows = Uint32Array.from(all.keys())
    .sort((a, b) => all[a]! - all[b]!)
    .subarray(0, count)
  return { rows, distances: Float64Array.from(rows, (row) => all[row]!) }
}

/**
 * The native search reads the whole buffer of a query from its start, so the query is copied out of a view. A matrix
 * must begin at the start of its buffer.
 */
const native = (usearch: typeof import("usearch")): Int8Search => {
  const metrics = { l2sq: usearch.MetricKind.L2sq, ip: usearch.MetricKind.IP }
  return (matrix, query, dimension, count, metric) => {
    const found = usearch.exactSearch(matrix, query.slice(), dimension, count, metrics[metric], 1)
    return {
      rows: (found as { keys: BigUint64Array }).keys,
      distances: (found as { distances: Float32Array }).distances
    }
  }
}

/** Exactness of results rests on exact integers, which a kernel for another processor might not deliver: it is tried. */
const agrees = (search: Int8Search): boolean =>
  [1, 7, 64, 131, 384, 1536].every((dimension) => {
    const matrix = Int8Array.from({ length: 32 * dimension }, (_, i) =>
      i % 5 === 0 ? (i % 2 === 0 ? 127 : -127) : (Math.imul(i, 0x9e3779b1) >> 24) % 128
    )
    const query = matrix.slice(3 * dimension, 4 * dimension).map((x) => -x)
    return (["l2sq", "ip"] as const).every((metric) => {
      const expected = portable(matrix, query, dimension, 32, metric)
      const distanceOf = new Map(Array.from(expected.rows, (row, i) => [Number(row), expected.distances[i]!]))
      const found = search(matrix, query, dimension, 32, metric)
      return Array.from(found.rows).every((row, i) => {
        const distance = distanceOf.get(Number(row)) ?? Number.NaN
        const reported = found.distances[i]!
        return Math.abs(reported - distance) <= 1e-6 * Math.abs(distance) && !(reported < found.distances[i - 1]!)
      })
    })
  })

const load = (): Int8Search => {
  try {
    const search = native(createRequire(import.meta.url)("usearch"))
    return agrees(search) ? search : portable
  } catch {
    // No prebuilt binary for this platform.
    return portable
  }
}

let chosen: Int8Search | undefined

/** The fastest search that works here; the native library is loaded on first use, not on import. */
export const search: Int8Search = (matrix, query, dimension, count, metric) => {
  chosen ??= load()
  return chosen(matrix, query, dimension, count, metric)
}
