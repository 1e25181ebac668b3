/**
 * The k best of a stream of scores.
 *
 * @since 0.1.0
 */
import { compareCodePoints } from "./CodePoint.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Scored {
  readonly key: number
  readonly id: string
  readonly score: number
}

/**
 * Greater scores first, equal ones by id in the order of code points.
 *
 * @since 0.1.0
 * @category ordering
 */
export const byScoreThenId = (a: Scored, b: Scored): number => b.score - a.score || compareCodePoints(a.id, b.id)

/**
 * @since 0.1.0
 * @category models
 */
export interface TopK {
  readonly offer: (scored: Scored) => void
  /** What scores less than this cannot be among the k best any more. */
  readonly threshold: () => number
  readonly result: () => ReadonlyArray<Scored>
}

/**
 * Keeps the k best that score `minScore` or more.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (k: number, minScore = Number.NEGATIVE_INFINITY): TopK => {
  const best: Array<Scored> = []
  let floor = minScore
  const compact = () => {
    best.sort(byScoreThenId)
    if (best.length < k) return
    best.length = k
    floor = best[k - 1]!.score
  }
  return {
    offer: (scored) => {
      if (scored.score < floor) return
      best.push(scored)
      if (best.length >= 2 * k + 64) compact()
    },
    threshold: () => {
      if (best.length >= k) compact()
      return floor
    },
    result: () => {
      compact()
      return best
    }
  }
}
