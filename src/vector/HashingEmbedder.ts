/**
 * An embedder without a model: feature hashing of words and of the character n-grams within them.
 *
 * It is lexical. Texts are near when they share words, or words with common stems, in any language, also those written
 * without spaces; it knows nothing of meaning, synonyms or translations. It needs no download, is deterministic on every
 * machine, and is good enough to find passages by their wording.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { InvalidInput } from "../errors/index.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface HashingEmbedder {
  /** Such as `hashing-384`; the name to record as a collection's model. */
  readonly model: string
  readonly dimension: number
  /** A vector of length 1. A text with nothing but blanks gets the one fixed vector that stands for "no text". */
  readonly embed: (text: string) => Float32Array
  readonly embedMany: (texts: ReadonlyArray<string>) => ReadonlyArray<Float32Array>
}

/**
 * Whether a model's name is that of one which is lexical, as this one is.
 *
 * @since 0.1.0
 * @category models
 */
export const isLexical = (model: string): boolean => /^hashing-\d+$/.test(model)

/** FNV-1a over UTF-16 units, then mixed: its low bits alone are not spread well enough for small dimensions. */
const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

const words = /[\p{L}\p{M}\p{N}]+/gu
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u
const latinAccents = /[\u0300-\u036f]/g

/** Case, width and Latin accents do not distinguish words. */
const normalize = (text: string): string =>
  text.normalize("NFKD").toLowerCase().replace(latinAccents, "").normalize("NFC")

const ngrams = function* (characters: ReadonlyArray<string>, sizes: ReadonlyArray<number>) {
  for (const size of sizes) {
    for (let i = 0; i + size <= characters.length; i++) yield characters.slice(i, i + size).join("")
  }
}

/** English words that say how a sentence is built, not what it is about. */
const grammar = new Set(
  (
    "a about also an and any are as at be been but by can could did do does for from had has have how i if in into is it " +
    "its may me more most my no not of on one or our out should so some such than that the their them then there these " +
    "they this those to up was we were what when where which while who why will with would you your"
  ).split(" ")
)

/** How often each feature occurs, weighted: short words say less. */
const features = (text: string): Map<string, number> => {
  const found = new Map<string, number>()
  const add = (feature: string, weight: number) => found.set(feature, (found.get(feature) ?? 0) + weight)
  for (const [word] of text.matchAll(words)) {
    const characters = Array.from(word)
    if (unspaced.test(word)) {
      for (const gram of ngrams(characters, [1])) add(`w${gram}`, 0.3)
      for (const gram of ngrams(characters, [2, 3])) add(`w${gram}`, 1)
    } else {
      add(`w${word}`, grammar.has(word) ? 0.05 : Math.min(1, (characters.length + 1) / 6))
      if (grammar.has(word)) continue
      const grams = Array.from(ngrams(["<", ...characters, ">"], [3, 4, 5]))
      if (characters.length > 3) for (const gram of grams) add(`g${gram}`, 0.7 / Math.sqrt(grams.length))
    }
  }
  // Punctuation or symbols only.
  if (found.size === 0) for (const gram of ngrams(Array.from(text.replace(/\s+/gu, "")), [1, 2, 3])) add(`s${gram}`, 1)
  return found
}

const embedWith = (dimension: number, text: string): Float32Array => {
  const sums = new Float64Array(dimension)
  const add = (feature: string, weight: number) => {
    const h = hash(feature)
    const at = (h >>> 1) % dimension
    sums[at] = sums[at]! + (h & 1 ? weight : -weight)
  }
  // A word that occurs nine times says more than one that occurs once, but not nine times more.
  for (const [feature, weight] of features(normalize(text))) add(feature, Math.log1p(weight))
  let length = Math.sqrt(sums.reduce((total, sum) => total + sum * sum, 0))
  if (length === 0) {
    sums[hash(text.trim()) % dimension] = 1
    length = 1
  }
  return Float32Array.from(sums, (sum) => sum / length)
}

/**
 * Dimension 384 unless told, 16 to 65535; `InvalidInput` otherwise. Fewer dimensions let more features collide.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: { readonly dimension?: number } = {}): Effect.Effect<HashingEmbedder, InvalidInput> => {
  const dimension = options.dimension ?? 384
  if (!Number.isInteger(dimension) || dimension < 16 || dimension > 65535) {
    const allowed = "an integer from 16 to 65535"
    return Effect.fail(
      new InvalidInput({
        operation: "HashingEmbedder.make",
        field: "dimension",
        allowed,
        message: `dimension is out of range; allowed: ${allowed}`
      })
    )
  }
  const embed = (text: string) => embedWith(dimension, text)
  return Effect.succeed({
    model: `hashing-${dimension}`,
    dimension,
    embed,
    embedMany: (texts) => texts.map(embed)
  })
}
