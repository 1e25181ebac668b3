/**
 * What somebody may have meant who wrote a name that is not there.
 *
 * @since 0.1.0
 */

/**
 * Edits (insert, delete, replace, swap of neighbours) that turn one word into another.
 *
 * @since 0.1.0
 * @category messages
 */
export const distance = (from: string, to: string): number => {
  let [before, last]: [Array<number>, Array<number>] = [[], Array.from({ length: to.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1]
      let edits = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        edits = Math.min(edits, before[j - 2]! + 1)
      }
      row.push(edits)
    }
    before = last
    last = row
  }
  return last[to.length]!
}

const mostEdits = (candidate: string): number => Math.max(2, Math.floor(candidate.length / 3))

/**
 * The names that somebody who wrote `name` may have meant, the likeliest first, three at most.
 *
 * @since 0.1.0
 * @category messages
 */
export const nearest = (name: string, candidates: ReadonlyArray<string>): ReadonlyArray<string> =>
  candidates
    // So many edits at least: whoever writes a name of a million characters is not kept for long.
    .filter((candidate) => Math.abs(candidate.length - name.length) <= mostEdits(candidate))
    .map((candidate) => ({ candidate, edits: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, edits }) => edits <= mostEdits(candidate))
    .sort((a, b) => a.edits - b.edits || (a.candidate < b.candidate ? -1 : 1))
    .slice(0, 3)
    .map(({ candidate }) => candidate)

/**
 * What to tell somebody who wrote a `name` that there is not: the names that they may have meant, or else `otherwise`.
 *
 * @since 0.1.0
 * @category messages
 */
export const didYouMean = (name: string, candidates: ReadonlyArray<string>, otherwise: string): string => {
  const near = nearest(name, candidates)
  return near.length > 0 ? `did you mean ${near.join(", ")}?` : otherwise
}
