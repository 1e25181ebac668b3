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

/**
 * @since 0.1.0
 * @category constants
 */
export const syntaxes: ReadonlyArray<Syntax> = ["plain", "advanced"]

/** Words of a query that are looked at: engines have limits on the depth of a query. */
const mostTerms = 256

const phraseOf = ({ single, term }: Token): Phrase => ({ terms: [term], prefix: single })

const alternativesOf = (phrases: Iterable<Phrase>): Query => {
  const distinct = new Map(Array.from(phrases, (phrase) => [`${phrase.prefix} ${phrase.terms.join(" ")}`, phrase]))
  return Array.from(distinct.values(), (phrase) => ({ all: [phrase], none: [] }))
}

/** Each word as the phrase of its triples, or what it begins if it is shorter. */
const plainTrigrams = (text: string): Query => {
  const phrases: Array<{ terms: Array<string>; prefix: boolean }> = []
  let last: Token | undefined
  for (const token of tokens(text, "trigram").slice(0, mostTerms)) {
    const begins = last === undefined || last.end <= token.start
    if (begins) phrases.push({ terms: [token.term], prefix: token.single })
    else if (!token.single) phrases[phrases.length - 1]?.terms.push(token.term)
    last = token
  }
  return alternativesOf(phrases)
}

const plain = (text: string, language: Language): Query => {
  if (language === "trigram") return plainTrigrams(text)
  const all = tokens(text, language)
  const telling = all.filter(({ grammar }) => !grammar)
  const used = telling.length > 0 ? telling : all
  // The last character of a longer run is within its last pair already.
  const wanted = used.filter(({ single, start }) => !single || !used.some((other) => isPairBefore(other, start)))
  return alternativesOf(wanted.slice(0, mostTerms).map(phraseOf))
}

const isPairBefore = (token: Token, start: number): boolean => !token.single && token.start < start && token.end > start

/** `-`, then quoted or bare text, then `*`. */
const parts = /(-?)(?:"([^"]*)(?:"|$)|([^\s"]+))/gu

/** Side by side as in a text, but nothing after the last word, which may go on there. */
const quotedTrigrams = (text: string): Phrase | undefined => {
  const found = tokens(text, "trigram").slice(0, mostTerms)
  const begin = found.findLastIndex(({ start }, i) => i === 0 || found[i - 1]!.end <= start)
  if (begin === -1) return undefined
  const whole = found.slice(begin).filter(({ single }) => !single)
  const last = whole.length > 0 ? whole : found.slice(begin, begin + 1)
  return { terms: [...found.slice(0, begin), ...last].map(({ term }) => term), prefix: whole.length === 0 }
}

const quoted = (text: string, language: Language, prefix: boolean): Phrase | undefined => {
  if (language === "trigram") return quotedTrigrams(text)
  // A prefix is no word yet, so it has no stem.
  const found = tokens(text, prefix ? "simple" : language).slice(0, mostTerms)
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
    const phrase = quoted(within ?? bare ?? "", language, prefix)
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

/**
 * The words of those phrases, each once, and whether it only begins a term: what scores are made of.
 *
 * @since 0.1.0
 * @category accessors
 */
export const words = (query: Query): ReadonlyArray<Phrase> => {
  const found = new Map<string, Phrase>()
  for (const { prefix, terms } of wanted(query)) {
    terms.forEach((term, i) => {
      const begins = prefix && i === terms.length - 1
      found.set(`${begins}${term}`, { terms: [term], prefix: begins })
    })
  }
  return Array.from(found.values())
}

/**
 * Whether a record that has one of the words matches, whatever else is in it.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAnyWord = (query: Query): boolean =>
  query.every(({ all, none }) => all.length === 1 && all[0]!.terms.length === 1 && none.length === 0)

/**
 * The same with the words of each phrase wherever they are: finds what the query finds, and maybe more.
 *
 * @since 0.1.0
 * @category conversions
 */
export const withoutOrder = (query: Query): Query =>
  query.map((alternative) => ({ ...alternative, all: words([alternative]) }))

/**
 * Whether a phrase is at this place among the terms of a text.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isAt = (found: ReadonlyArray<Token>, at: number, { prefix, terms }: Phrase): boolean =>
  terms.every((wanted, i) => {
    const there = found[at + i]?.term
    return prefix && i === terms.length - 1 ? there?.startsWith(wanted) === true : there === wanted
  })

/**
 * Whether a text of these terms matches.
 *
 * @since 0.1.0
 * @category predicates
 */
export const matches = (query: Query, found: ReadonlyArray<Token>): boolean => {
  const isThere = (phrase: Phrase) => found.some((_, at) => isAt(found, at, phrase))
  return query.some(({ all, none }) => all.every(isThere) && !none.some(isThere))
}
