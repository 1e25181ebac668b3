/**
 * Closeness of vectors, computed in 64-bit floats over 32-bit ones: no scale of the input under- or overflows.
 *
 * @since 0.1.0
 */

/**
 * How closeness is measured. Scores are always "greater is closer": the cosine (−1…1), the dot product, or the negative
 * Euclidean distance for `l2`.
 *
 * @since 0.1.0
 * @category models
 */
export type Metric = "cosine" | "dot" | "l2"

/**
 * @since 0.1.0
 * @category distances
 */
export const dot = (a: Float32Array, b: Float32Array): number => {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}

/**
 * The cosine of the angle, −1…1, the same for any lengths of the two; 0 if one of them is zero.
 *
 * @since 0.1.0
 * @category distances
 */
export const cosine = (a: Float32Array, b: Float32Array): number => cosineOf(dot(a, b), dot(a, a), dot(b, b))

/** One root of the product, not a product of roots: a vector against itself is exactly 1. */
const cosineOf = (ab: number, aa: number, bb: number): number =>
  ab === 0 ? 0 : Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb)))

/**
 * The Euclidean distance.
 *
 * @since 0.1.0
 * @category distances
 */
export const l2 = (a: Float32Array, b: Float32Array): number => {
  let sum = 0
  for (let i = 0; i < a.length; i++) {
    const difference = a[i]! - b[i]!
    sum += difference * difference
  }
  return Math.sqrt(sum)
}

/**
 * The score of vectors against one query.
 *
 * @since 0.1.0
 * @category distances
 */
export const scorer = (metric: Metric, query: Float32Array): ((vector: Float32Array) => number) => {
  switch (metric) {
    case "cosine": {
      const length = dot(query, query)
      return (vector) => {
        let ab = 0
        let bb = 0
        for (let i = 0; i < query.length; i++) {
          const x = vector[i]!
          ab += query[i]! * x
          bb += x * x
        }
        return cosineOf(ab, length, bb)
      }
    }
    case "dot":
      return (vector) => dot(query, vector)
    case "l2":
      return (vector) => 0 - l2(query, vector)
  }
}
