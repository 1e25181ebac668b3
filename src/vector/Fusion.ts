/**
 * Several rankings of the same things as one. The same rankings give the same numbers, to the last bit, on every engine.
 *
 * @since 0.1.0
 */
import { compareCodePoints } from "./CodePoint.js"

/**
 * One entry of a ranking, whose best is the first.
 *
 * @since 0.1.0
 * @category models
 */
export interface Ranked {
  readonly id: string
  readonly score: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Leg {
  /** Each id once, the best first. */
  readonly ranked: ReadonlyArray<Ranked>
  /** Default 1; counts in proportion to that of the other legs. */
  readonly weight?: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Fused {
  readonly id: string
  readonly score: number
  /** The position in each leg, counted from 1, or undefined where it is not in it. */
  readonly ranks: ReadonlyArray<number | undefined>
}

/**
 * `min-max` maps a leg's scores to 0…1; `z-score` to their distance from the mean in standard deviations, and what a leg
 * lacks counts as its worst.
 *
 * @since 0.1.0
 * @category models
 */
export type Normalization = "min-max" | "z-score"

/**
 * Of added scores. A model that is lexical knows no more than the words do, and text search weighs words better.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultWeightsOf = (lexical: boolean): { readonly text: number; readonly vector: number } =>
  lexical ? { text: 0.7, vector: 0.3 } : { text: 0.3, vector: 0.7 }

/**
 * The constant of RRF: how little the first ranks count for more than the next.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultK = 60

const fuse = (
  legs: ReadonlyArray<Leg>,
  pointsOf: (leg: Leg) => (entry: Ranked, rank: number) => number,
  missingOf: (leg: Leg) => number
): ReadonlyArray<Fused> => {
  const found = new Map<string, { ranks: Array<number | undefined>; points: Array<number | undefined> }>()
  legs.forEach((leg, at) => {
    const points = pointsOf(leg)
    leg.ranked.forEach((entry, i) => {
      const known = found.get(entry.id)
      const fused = known ?? { ranks: legs.map(() => undefined), points: legs.map(() => undefined) }
      if (known === undefined) found.set(entry.id, fused)
      if (fused.ranks[at] !== undefined) return
      fused.ranks[at] = i + 1
      fused.points[at] = points(entry, i + 1)
    })
  })
  const missing = legs.map(missingOf)
  return Array.from(found, ([id, { points, ranks }]) => ({
    id,
    // Added up in the order of the legs, since sums of floats depend on it.
    score: points.reduce<number>((sum, point, at) => sum + (point ?? missing[at]!), 0),
    ranks
  })).sort((a, b) => b.score - a.score || compareCodePoints(a.id, b.id))
}

/**
 * Reciprocal rank fusion: the sum of `weight / (k + rank)`. Best first, equal ones by id.
 *
 * @since 0.1.0
 * @category fusion
 */
export const reciprocalRank = (legs: ReadonlyArray<Leg>, k: number = defaultK): ReadonlyArray<Fused> =>
  fuse(
    legs,
    ({ weight = 1 }) =>
      (_, rank) =>
        weight / (k + rank),
    () => 0
  )

const normalizerOf = (ranked: ReadonlyArray<Ranked>, normalization: Normalization): ((score: number) => number) => {
  if (ranked.length === 0) return () => 0
  let [least, most, sum] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0]
  for (const { score } of ranked) {
    least = Math.min(least, score)
    most = Math.max(most, score)
    sum += score
  }
  if (least === most) return () => (normalization === "min-max" ? 1 : 0)
  if (normalization === "min-max") return (score) => (score - least) / (most - least)
  const mean = sum / ranked.length
  let squares = 0
  for (const { score } of ranked) squares += (score - mean) * (score - mean)
  const deviation = Math.sqrt(squares / ranked.length)
  // Scores may differ by so little that their squares vanish.
  return (score) => (deviation === 0 ? 0 : (score - mean) / deviation)
}

/**
 * The weighted mean of normalised scores. Best first, equal ones by id. What a leg lacks has no more than its worst.
 *
 * @since 0.1.0
 * @category fusion
 */
export const weighted = (legs: ReadonlyArray<Leg>, normalization: Normalization = "min-max"): ReadonlyArray<Fused> => {
  const total = legs.reduce((sum, { weight = 1 }) => sum + weight, 0)
  const shareOf = ({ weight = 1 }: Leg) => (total > 0 ? weight / total : 0)
  return fuse(
    legs,
    (leg) => {
      const normalize = normalizerOf(leg.ranked, normalization)
      return ({ score }) => shareOf(leg) * normalize(score)
    },
    (leg) => {
      const worst = leg.ranked.reduce((least, { score }) => Math.min(least, score), Number.POSITIVE_INFINITY)
      const normalize = normalizerOf(leg.ranked, normalization)
      return normalization === "min-max" || leg.ranked.length === 0 ? 0 : shareOf(leg) * normalize(worst)
    }
  )
}
