/**
 * Where a text says what was looked for.
 *
 * @since 0.1.0
 */
import * as QuerySyntax from "./QuerySyntax.js"
import { type Language, tokens } from "./TextAnalysis.js"

/**
 * A part of a text in UTF-16 units, the end exclusive.
 *
 * @since 0.1.0
 * @category models
 */
export interface Range {
  readonly start: number
  readonly end: number
}

/**
 * The parts of a text that a query looks for, in order, apart from each other, never within a character.
 *
 * @since 0.1.0
 * @category analysis
 */
export const ranges = (text: string, query: QuerySyntax.Query, language: Language): ReadonlyArray<Range> => {
  const found = tokens(text, language)
  const marked: Array<Range> = []
  const phrases = QuerySyntax.wanted(query)
  const exact = new Set(phrases.flatMap(({ prefix, terms }) => (terms.length === 1 && !prefix ? terms : [])))
  const others = phrases.filter(({ prefix, terms }) => terms.length > 1 || prefix)
  found.forEach(({ end, start, term }, at) => {
    if (exact.has(term)) marked.push({ start, end })
    for (const phrase of others) {
      if (!QuerySyntax.isAt(found, at, phrase)) continue
      // What only begins a pair or a triple is the part of it that was looked for.
      const characters = Array.from(text.slice(start, end))
      const [begun = ""] = phrase.prefix && phrase.terms.length === 1 ? phrase.terms : []
      const length = Array.from(begun).length
      const isPart =
        (language === "trigram" ? length > 0 : length === 1 && Array.from(term).length === 2) &&
        characters.length === Array.from(term).length
      marked.push({
        start,
        end: isPart ? start + characters.slice(0, length).join("").length : found[at + phrase.terms.length - 1]!.end
      })
    }
  })
  const joined: Array<{ start: number; end: number }> = []
  for (const { end, start } of marked.sort((a, b) => a.start - b.start || a.end - b.end)) {
    const last = joined[joined.length - 1]
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end)
    else joined.push({ start, end })
  }
  return joined
}
