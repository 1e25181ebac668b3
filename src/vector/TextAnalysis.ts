/**
 * How a text becomes the terms by which it is found: the same on every engine, which store terms and know no language.
 *
 * Words are runs of letters and digits; case, width and Latin accents do not distinguish them. What is written without
 * spaces (Chinese, Japanese, Thai …) becomes overlapping pairs of characters, so that any part of it is found. A
 * pictograph is a term of its own.
 *
 * @since 0.1.0
 */
import { stem } from "./Porter.js"

/**
 * `english` stems words; `simple` takes them as they are, in any language.
 *
 * @since 0.1.0
 * @category models
 */
export type Language = "english" | "simple"

/**
 * @since 0.1.0
 * @category constants
 */
export const languages: ReadonlyArray<Language> = ["english", "simple"]

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
  /** A single character of a script without spaces, which may begin a pair. */
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

/** Longer words are cut: nobody looks for their ends, and engines have limits. */
const longestTerm = 64

/**
 * @since 0.1.0
 * @category analysis
 */
export const normalize = (text: string): string =>
  text.normalize("NFKD").toLowerCase().replace(latinAccents, "").normalize("NFC")

/** Function words, after the lists of SMART and Snowball. */
const grammar = new Set(
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

const unspaced = (run: string, start: number): ReadonlyArray<Token> => {
  const raw = Array.from(run)
  const normal = Array.from(normalize(run))
  // Where normalisation joins or splits characters, each pair stands for the whole run.
  const aligned = raw.length === normal.length
  const offsets = [start]
  for (const character of raw) offsets.push(offsets[offsets.length - 1]! + character.length)
  return normal.map((character, i) => ({
    term: character + (normal[i + 1] ?? ""),
    start: aligned ? offsets[i]! : start,
    end: aligned ? offsets[Math.min(i + 2, raw.length)]! : start + run.length,
    single: i + 1 === normal.length,
    grammar: false
  }))
}

const cut = (word: string): string =>
  word.length <= longestTerm ? word : Array.from(word).slice(0, longestTerm).join("")

/** A few thousand words make up most of what is written: their stems are remembered, so that the rules run rarely. */
const stems = new Map<string, string>()
const mostStems = 20_000

const stemOf = (word: string): string => {
  const known = stems.get(word)
  if (known !== undefined) return known
  const found = stem(word)
  if (stems.size >= mostStems) stems.clear()
  stems.set(word, found)
  return found
}

const wordAt = (word: string, start: number, end: number, language: Language): Token => {
  const english = language === "english"
  return {
    term: cut(english ? stemOf(cut(word)) : word),
    start,
    end,
    single: false,
    grammar: english && grammar.has(word)
  }
}

/** Most texts, which need no look at what Unicode says of each character. */
const isAscii = (text: string): boolean => !/[^\p{ASCII}]/u.test(text)

/**
 * The terms of a text in its order. The last character of a run without spaces is a term too, so that each of its
 * characters begins one.
 *
 * @since 0.1.0
 * @category analysis
 */
export const tokens = (text: string, language: Language): ReadonlyArray<Token> => {
  const found: Array<Token> = []
  if (isAscii(text)) {
    for (const match of text.toLowerCase().matchAll(/[a-z0-9]+/g)) {
      const [word] = match
      found.push(wordAt(word, match.index, match.index + word.length, language))
    }
    return found
  }
  for (const match of text.matchAll(pieces)) {
    const [piece, run] = match
    const start = match.index
    if (run !== undefined) {
      found.push(...unspaced(run, start))
      continue
    }
    const end = start + piece.length
    // Compatibility forms such as ⅔ fall apart into digits and signs that are in no word.
    for (const [word] of normalize(piece).matchAll(/[\p{L}\p{M}\p{N}]+|\p{Extended_Pictographic}/gu)) {
      found.push(wordAt(word, start, end, language))
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
