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

const grammar = new Set(
  (
    "a about after all also am an and any are as at be because been before being both but by can could did do does doing " +
    "each few for from further had has have having he her here hers him his how i if in into is it its just me more most " +
    "my no nor not of on once only or other our out over own s same she should so some such t than that the their them " +
    "then there these they this those through to too under until up us very was we were what when where which while who " +
    "whom why will with would you your"
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

/**
 * The terms of a text in its order. The last character of a run without spaces is a term too, so that each of its
 * characters begins one.
 *
 * @since 0.1.0
 * @category analysis
 */
export const tokens = (text: string, language: Language): ReadonlyArray<Token> => {
  const found: Array<Token> = []
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
      const term = Array.from(language === "english" ? stem(word) : word)
        .slice(0, longestTerm)
        .join("")
      found.push({ term, start, end, single: false, grammar: language === "english" && grammar.has(word) })
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
