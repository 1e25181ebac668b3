/**
 * What a search means, in the plainest words: loops over everything.
 *
 * @since 0.1.0
 */

/**
 * The score of a text of these words among all of a collection.
 *
 * @since 0.1.0
 * @category definitions
 */
export const bm25 = (
  text: ReadonlyArray<string>,
  all: ReadonlyArray<ReadonlyArray<string>>,
  wanted: Iterable<string>
): number => {
  const length = all.reduce((sum, each) => sum + each.length, 0) / all.length
  let score = 0
  for (const word of wanted) {
    const found = all.filter((each) => each.includes(word)).length
    const times = text.filter((each) => each === word).length
    const weight = Math.max(Math.log((all.length - found + 0.5) / (found + 0.5)), 1e-6)
    score += (weight * times * 3) / (times + 2 * (0.25 + (0.75 * text.length) / length))
  }
  return score
}

/**
 * The cosine of two vectors.
 *
 * @since 0.1.0
 * @category definitions
 */
export const cosine = (a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  const product = (x: ReadonlyArray<number>, y: ReadonlyArray<number>) =>
    x.reduce((sum, each, i) => sum + each * y[i]!, 0)
  return product(a, b) / Math.sqrt(product(a, a) * product(b, b))
}

/**
 * Reciprocal rank fusion of some rankings of ids, whose best are the first.
 *
 * @since 0.1.0
 * @category definitions
 */
export const fused = (
  legs: ReadonlyArray<ReadonlyArray<string>>
): ReadonlyArray<readonly [id: string, score: number]> => {
  const scores = new Map<string, number>()
  for (const leg of legs) {
    for (const [i, id] of leg.entries()) scores.set(id, (scores.get(id) ?? 0) + 1 / (61 + i))
  }
  return Array.from(scores).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
}
