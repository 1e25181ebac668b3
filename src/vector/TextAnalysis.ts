/**
 * How a text becomes the terms by which it is found: the same on every engine, which store terms and know no language.
 *
 * Words are runs of letters and digits; case, width and Latin accents do not distinguish them. What is written without
 * spaces (Chinese, Japanese, Thai …) becomes overlapping pairs of characters, so that any part of it is found, and as a
 * `trigram` everything becomes overlapping triples. A pictograph is a term of its own.
 *
 * @since 0.1.0
 */
import { stem as englishStem } from "./Porter.js"
import { stemmers } from "./Stemming.js"

/**
 * A language's words are found by their stems; `simple` takes them as they are, in any language; `trigram` finds any
 * part of a word.
 *
 * @since 0.1.0
 * @category models
 */
export type Language = "english" | keyof typeof stemmers | "simple" | "trigram"

/**
 * @since 0.1.0
 * @category constants
 */
export const languages: ReadonlyArray<Language> = [
  "english",
  "simple",
  "trigram",
  ...(Object.keys(stemmers) as Array<keyof typeof stemmers>)
]

/**
 * @since 0.1.0
 * @category predicates
 */
export const isLanguage = (name: string): name is Language => languages.some((language) => language === name)

/**
 * A term and the part of the text that it stands for, in UTF-16 units.
 *
 * @since 0.1.0
 * @category models
 */
export interface Token {
  readonly term: string
  readonly start: number
  readonly end: number
  /** The end of a run that is shorter than its other terms, and so may begin one: half of a pair, say. */
  readonly single: boolean
  /** A word that says how a sentence is built, not what it is about. */
  readonly grammar: boolean
}

const scripts =
  "\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}"
const unspacedCharacter = `(?:(?=[\\p{L}\\p{N}])[${scripts}ー])`
const pieces = new RegExp(
  `(${unspacedCharacter}(?:${unspacedCharacter}|[\\p{M}\uff9e\uff9f])*)|((?:(?!${unspacedCharacter})[\\p{L}\\p{M}\\p{N}])+)|(\\p{Extended_Pictographic})`,
  "gu"
)
const latinAccents = /[\u0300-\u036f]/g
const wordOrPictograph = /[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic}/gu

/** Longer words are cut: nobody looks for their ends, and engines have limits. */
const longestTerm = 64

/**
 * @since 0.1.0
 * @category analysis
 */
export const normalize = (text: string): string =>
  text.normalize("NFKD").toLowerCase().replace(latinAccents, "").normalize("NFC")

/** How words become terms. */
interface Words {
  /** The form in which a stemmer wants words. */
  readonly prepare: (text: string) => string
  /** The term of a word in that form. */
  readonly stem: (word: string) => string
  readonly grammar: ReadonlySet<string>
}

/** A few thousand words make up most of what is written: their stems are remembered, so that the rules run rarely. */
const mostStems = 20_000

const remembered = (stem: (word: string) => string): ((word: string) => string) => {
  const stems = new Map<string, string>()
  return (word) => {
    const known = stems.get(word)
    if (known !== undefined) return known
    const found = stem(word)
    if (stems.size >= mostStems) stems.clear()
    stems.set(word, found)
    return found
  }
}

/** Function words, after the lists of SMART and Snowball. */
const englishGrammar = new Set(
  (
    "a about above across after again against all almost along already also although always am among an and another any " +
    "anybody anyone anything anywhere are around as at be became because become becomes been before being below besides " +
    "between beyond both but by can cannot could did do does doing done down during each either else enough etc ever every " +
    "everybody everyone everything few for from further had has have having he hence her here hers herself him himself his " +
    "how however i if in indeed instead into is it its itself just less lot many may maybe me might more moreover most much " +
    "must my myself neither never no nobody none nor not nothing now of off often on once one only onto or other others " +
    "otherwise ought our ours out over own per perhaps quite rather really s same shall she should since so some somebody " +
    "someone something sometimes still such t than that the their theirs them themselves then there therefore these they " +
    "this those though through throughout thus to together too toward towards under unless until up upon us very via was we " +
    "were what whatever when whenever where whereas whether which while who whoever whole whom whose why will with within " +
    "without would yet you your yours yourself"
  ).split(" ")
)

/** Overlapping terms of so many characters, then the rest of the run from each of its last ones. */
const windows = (run: string, normalized: string, start: number, size: number): ReadonlyArray<Token> => {
  const raw = Array.from(run)
  const normal = Array.from(normalized)
  // Where normalisation joins or splits characters, each term stands for the whole run.
  const aligned = raw.length === normal.length
  const offsets = [start]
  for (const character of raw) offsets.push(offsets[offsets.length - 1]! + character.length)
  return normal.map((_, i) => ({
    term: normal.slice(i, i + size).join(""),
    start: aligned ? offsets[i]! : start,
    end: aligned ? offsets[Math.min(i + size, raw.length)]! : start + run.length,
    single: i + size > normal.length,
    grammar: false
  }))
}

const cut = (word: string): string =>
  word.length <= longestTerm ? word : Array.from(word).slice(0, longestTerm).join("")

const english: Words = {
  prepare: normalize,
  stem: remembered((word) => englishStem(cut(word))),
  grammar: englishGrammar
}

const simple: Words = { prepare: normalize, stem: (word) => word, grammar: new Set() }

const known = new Map<Language, Words>([
  ["english", english],
  ["simple", simple]
])

const wordsOf = (language: Exclude<Language, "trigram">): Words => {
  const found = known.get(language)
  if (found !== undefined) return found
  const { grammar, stem } = stemmers[language as keyof typeof stemmers]
  const made: Words = {
    // Endings are known with their accents, which the stem loses.
    prepare: (text) => text.normalize("NFKC").toLowerCase(),
    stem: remembered((word) => normalize(stem(cut(word))) || normalize(word)),
    grammar: new Set(grammar)
  }
  known.set(language, made)
  return made
}

const wordAt = (word: string, start: number, end: number, { grammar, stem }: Words): Token => ({
  term: cut(stem(word)),
  start,
  end,
  single: false,
  grammar: grammar.has(word)
})

/** Most texts, which need no look at what Unicode says of each character. */
const isAscii = (text: string): boolean => !/[^\p{ASCII}]/u.test(text)

const trigrams = (text: string): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  for (const { 0: run, index } of text.matchAll(wordOrPictograph)) {
    const normalized = normalize(run)
    const parts = normalized.match(wordOrPictograph) ?? []
    if (parts.length === 1 && parts[0] === normalized) found.push(...windows(run, normalized, index, 3))
    else {
      // Compatibility forms such as ⅔ fall apart: each part stands for all.
      const end = index + run.length
      for (const part of parts) found.push(...windows(part, part, 0, 3).map((one) => ({ ...one, start: index, end })))
    }
  }
  return found
}

/**
 * The terms of a text in its order. The last character of a run without spaces is a term too, so that each of its
 * characters begins one; so are the last two of each word as a trigram.
 *
 * @since 0.1.0
 * @category analysis
 */
export const tokens = (text: string, language: Language): ReadonlyArray<Token> => {
  if (language === "trigram") return trigrams(text)
  const found: Array<Token> = []
  const words = wordsOf(language)
  if (isAscii(text)) {
    for (const match of text.toLowerCase().matchAll(/[a-z0-9]+/g)) {
      const [word] = match
      found.push(wordAt(word, match.index, match.index + word.length, words))
    }
    return found
  }
  for (const match of text.matchAll(pieces)) {
    const [piece, run] = match
    const start = match.index
    if (run !== undefined) {
      found.push(...windows(run, normalize(run), start, 2))
      continue
    }
    const end = start + piece.length
    // Compatibility forms such as ⅔ fall apart into digits and signs that are in no word.
    for (const [word] of words.prepare(piece).matchAll(wordOrPictograph)) {
      const token = wordAt(word, start, end, words)
      // Of accents alone nothing is left.
      if (token.term !== "") found.push(token)
    }
  }
  return found
}

/**
 * The terms of a text in its order.
 *
 * @since 0.1.0
 * @category analysis
 */
export const terms = (text: string, language: Language): ReadonlyArray<string> =>
  tokens(text, language).map(({ term }) => term)
