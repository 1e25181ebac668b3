/**
 * What a user types, as a query that engines compile. Nothing in it is ever handed to an engine's own parser.
 *
 * - `plain`: text is text. A record matches when it has some of the words; those that are only grammar count if there
 *   are no others. Quotes, signs and words such as AND mean nothing.
 * - `advanced`: all words must be there; `"a phrase"` word by word; `-word` and `-"a phrase"` must not be there; `OR`
 *   between alternatives, binding weaker than being side by side; `prefix*`. What is only excluded finds nothing.
 *
 * No text is an error: an unclosed quote reaches to the end, and an operator without operands is left out.
 *
 * @since 0.1.0
 */
import { type Language, type Token, tokens } from "./TextAnalysis.js"

/**
 * Terms that stand side by side, at least one; with `prefix` the last one only begins a term.
 *
 * @since 0.1.0
 * @category models
 */
export interface Phrase {
  readonly terms: ReadonlyArray<string>
  readonly prefix: boolean
}

/**
 * Holds where all of `all`, at least one, and none of `none` are.
 *
 * @since 0.1.0
 * @category models
 */
export interface Alternative {
  readonly all: ReadonlyArray<Phrase>
  readonly none: ReadonlyArray<Phrase>
}

/**
 * Holds where any alternative does; without one it holds nowhere.
 *
 * @since 0.1.0
 * @category models
 */
export type Query = ReadonlyArray<Alternative>

/**
 * @since 0.1.0
 * @category models
 */
export type Syntax = "plain" | "advanced"

/** Words of a query that are looked at: engines have limits on the depth of a query. */
const mostTerms = 256

const phraseOf = ({ single, term }: Token): Phrase => ({ terms: [term], prefix: single })

const plain = (text: string, language: Language): Query => {
  const all = tokens(text, language)
  const telling = all.filter(({ grammar }) => !grammar)
  const used = telling.length > 0 ? telling : all
  // The last character of a longer run is within its last pair already.
  const wanted = used.filter(({ single, start }) => !single || !used.some((other) => isPairBefore(other, start)))
  const distinct = new Map(wanted.slice(0, mostTerms).map((token) => [token.term, phraseOf(token)]))
  return Array.from(distinct.values(), (phrase) => ({ all: [phrase], none: [] }))
}

const isPairBefore = (token: Token, start: number): boolean => !token.single && token.start < start && token.end > start

/** `-`, then quoted or bare text, then `*`. */
const parts = /(-?)(?:"([^"]*)(?:"|$)|([^\s"]+))/gu

const quoted = (text: string, language: Language, prefix: boolean): Phrase | undefined => {
  const found = tokens(text, language).slice(0, mostTerms)
  const last = found[found.length - 1]
  if (last === undefined) return undefined
  const pairs = last.single && found.length > 1 && isPairBefore(found[found.length - 2]!, last.start)
  const used = pairs ? found.slice(0, -1) : found
  return { terms: used.map(({ term }) => term), prefix: prefix || (!pairs && last.single) }
}

const advanced = (text: string, language: Language): Query => {
  const alternatives: Array<{ all: Array<Phrase>; none: Array<Phrase> }> = [{ all: [], none: [] }]
  for (const [, minus, within, bare] of Array.from(text.matchAll(parts)).slice(0, mostTerms)) {
    if (bare === "OR" && minus === "") {
      alternatives.push({ all: [], none: [] })
      continue
    }
    const prefix = bare?.endsWith("*") === true
    // A prefix is no word yet, so it has no stem.
    const phrase = quoted(within ?? bare ?? "", prefix ? "simple" : language, prefix)
    const alternative = alternatives[alternatives.length - 1]!
    if (phrase !== undefined) (minus === "-" ? alternative.none : alternative.all).push(phrase)
  }
  return alternatives.filter(({ all }) => all.length > 0)
}

/**
 * @since 0.1.0
 * @category parsing
 */
export const parse = (text: string, language: Language, syntax: Syntax = "plain"): Query =>
  syntax === "plain" ? plain(text, language) : advanced(text, language)

/**
 * The phrases that a query looks for.
 *
 * @since 0.1.0
 * @category accessors
 */
export const wanted = (query: Query): ReadonlyArray<Phrase> => query.flatMap(({ all }) => all)
