/**
 * Maximal marginal relevance: results that are good and unlike each other.
 *
 * @since 0.1.0
 */
import { compareCodePoints } from "./CodePoint.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Candidate {
  readonly id: string
  /** How good it is, on the scale of `similarity`. */
  readonly score: number
}

/**
 * How much being good counts for against being unlike.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultLambda = 0.7

/**
 * Chooses one after the other whatever has most of `lambda * score - (1 - lambda) * its greatest similarity to those
 * chosen`; equal ones by id. `lambda` 1 is the order of scores, 0 only looks for what is unlike.
 *
 * @since 0.1.0
 * @category ranking
 */
export const select = <A extends Candidate>(
  candidates: ReadonlyArray<A>,
  similarity: (a: A, b: A) => number,
  options: { readonly limit: number; readonly lambda?: number }
): ReadonlyArray<A> => {
  const { lambda = defaultLambda, limit } = options
  const left = candidates.toSorted((a, b) => b.score - a.score || compareCodePoints(a.id, b.id))
  const nearest = new Map<A, number>()
  const chosen: Array<A> = []
  const worthOf = (each: A) => lambda * each.score - (1 - lambda) * (nearest.get(each) ?? 0)
  while (chosen.length < limit && left.length > 0) {
    let best = 0
    for (let i = 1; i < left.length; i++) if (worthOf(left[i]!) > worthOf(left[best]!)) best = i
    const [next] = left.splice(best, 1)
    if (next === undefined) break
    chosen.push(next)
    for (const each of left) {
      const near = similarity(each, next)
      nearest.set(each, Math.max(nearest.get(each) ?? Number.NEGATIVE_INFINITY, near))
    }
  }
  return chosen
}
