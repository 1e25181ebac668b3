/**
 * Long texts as overlapping parts, each small enough to be embedded.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { InvalidInput } from "../errors/index.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface ChunkOptions {
  /** Units in a chunk at most, but for a single word that has more; default 400. */
  readonly size?: number
  /** Units that a chunk repeats from the one before at most, less than `size`; default 60. */
  readonly overlap?: number
  /**
   * What is counted: `words` (a character of a script without spaces counts as one, and 64 letters without a blank do),
   * `tokens` of a usual model, estimated as a quarter of a word's letters, or what a function counts in a text, such as
   * the tokenizer of a model; default `words`.
   */
  readonly unit?: "words" | "tokens" | ((text: string) => number)
}

/**
 * A part of a text as it stands there.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextChunk {
  readonly text: string
  /** Where it begins and ends in the text, in UTF-16 units. */
  readonly start: number
  readonly end: number
  /** The Markdown headings that it stands under, outermost first; one that it begins with is the last. */
  readonly headings: ReadonlyArray<string>
}

interface Piece {
  readonly start: number
  readonly end: number
  readonly units: number
  /** How good it is to begin a chunk here: 3 heading, 2 paragraph, 1 line or code fence's begin, 0 within a line. */
  readonly level: number
  /** The code fence that a chunk which begins here begins within. */
  readonly within: Fence | undefined
}

interface Fence {
  /** The piece that it begins with. */
  readonly first: number
  units: number
}

const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}]/u

/** Letters, or blanks, that are one piece at most: what has no breaks of its own is cut all the same. */
const longest = 64

/** A word with the blanks after it, or one character of a script without spaces. */
const words = new RegExp(
  [
    `${unspaced.source}\\s{0,${longest}}`,
    `(?:(?!${unspaced.source})\\S){1,${longest}}\\s{0,${longest}}`,
    `\\s{1,${longest}}`
  ].join("|"),
  "gu"
)

const fence = /^\s{0,3}(```+|~~~+)(.*)/

/** The fence that is open after a line, if there is one; one that closes says nothing more. */
const fenceAfter = (line: string, open: string | undefined): string | undefined => {
  const [, mark, rest = ""] = fence.exec(line) ?? []
  if (mark === undefined) return open
  if (open === undefined) return mark
  return mark.startsWith(open) && rest.trim() === "" ? undefined : open
}

const heading = /^#{1,6}\s/

const estimated =
  (unit: "words" | "tokens") =>
  (word: string): number =>
    unit === "words" || unspaced.test(word) ? 1 : Math.max(1, Math.ceil(Array.from(word.trim()).length / 4))

/** A function is asked for each word once. */
const counted = (count: (text: string) => number) => {
  const known = new Map<string, number>()
  return (word: string): number => {
    const units = known.get(word) ?? count(word.trim())
    known.set(word, units)
    return units
  }
}

const piecesOf = (text: string, unit: NonNullable<ChunkOptions["unit"]>): ReadonlyArray<Piece> => {
  const pieces: Array<Piece> = []
  const unitsOf = typeof unit === "function" ? counted(unit) : estimated(unit)
  let open: string | undefined
  let fence: Fence | undefined
  let [at, blankBefore] = [0, true]
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    const inside = open !== undefined
    open = fenceAfter(line, open)
    if (!inside) fence = open === undefined ? undefined : { first: pieces.length, units: 0 }
    const level = inside ? 0.5 : heading.test(line) ? 3 : blankBefore ? 2 : 1
    let first = true
    for (const match of line.matchAll(words)) {
      const [word] = match
      const units = word.trim() === "" && word.length < longest ? 0 : unitsOf(word)
      const start = at + match.index
      const within = fence?.first === pieces.length ? undefined : fence
      pieces.push({ start, end: start + word.length, units, level: first ? level : 0, within })
      if (fence !== undefined) fence.units += units
      first = false
    }
    blankBefore = !inside && line.trim() === ""
    at += line.length
  }
  return pieces
}

const namedUnits: ReadonlyArray<NonNullable<ChunkOptions["unit"]>> = ["words", "tokens"]
const unitsAllowed = `${namedUnits.join(", ")} or a function that counts from 0`

const isCount = (n: number, least: number): boolean => Number.isInteger(n) && n >= least

const refused = (field: string, allowed: string): InvalidInput =>
  new InvalidInput({
    operation: "Chunking.chunk",
    field,
    allowed,
    message: `${field} is out of range; allowed: ${allowed}`
  })

/**
 * Where the chunk that begins at `from` ends: as late as fits, at the best break in its last third, but before a code
 * fence that fits into the next one.
 */
const endOf = (pieces: ReadonlyArray<Piece>, from: number, size: number): number => {
  let [to, sum] = [from, 0]
  while (to < pieces.length && (to === from || sum + pieces[to]!.units <= size)) sum += pieces[to++]!.units
  if (to >= pieces.length) return pieces.length
  let [best, units] = [to, sum]
  for (let at = to; at > from && units >= (size * 2) / 3; at--) {
    if (pieces[at]!.level > pieces[best]!.level) best = at
    units -= pieces[at - 1]!.units
  }
  const cut = pieces[best]!.within
  return cut !== undefined && cut.units <= size && cut.first > from ? cut.first : best
}

/** The same where words side by side may count more than each by itself, such as by the blanks between them. */
const fittingEnd = (
  text: string,
  pieces: ReadonlyArray<Piece>,
  from: number,
  size: number,
  count: (text: string) => number
): number => {
  for (let tried = size; ; ) {
    const to = endOf(pieces, from, tried)
    const units = count(text.slice(pieces[from]!.start, pieces[to - 1]!.end).trim())
    if (units <= size || to === from + 1) return to
    tried = Math.min(tried - 1, Math.floor((tried * size) / units))
  }
}

/**
 * Where the next chunk begins: at most `overlap` before the last one's end, at the best break there, and not within a
 * code fence unless the last one ends within it.
 */
const beginOf = (pieces: ReadonlyArray<Piece>, from: number, to: number, overlap: number): number => {
  if (pieces[to]!.level >= 3) return to
  let [best, sum] = [to, 0]
  let furthest = to
  for (let at = to - 1; at > from; at--) {
    sum += pieces[at]!.units
    if (sum > overlap) break
    const { within } = pieces[at]!
    if (within !== undefined && within !== pieces[to]!.within) continue
    furthest = at
    if (pieces[at]!.level >= 0.5 && pieces[at]!.level >= pieces[best]!.level) best = at
  }
  return pieces[best]!.level >= 0.5 && best < to ? best : furthest
}

const headingsBefore = (text: string): ((offset: number) => ReadonlyArray<string>) => {
  const found: Array<{ readonly at: number; readonly path: ReadonlyArray<string> }> = []
  let [at, open] = [0, undefined as string | undefined]
  let path: Array<string | undefined> = []
  for (const line of text.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
    if (open === undefined && heading.test(line)) {
      const level = line.search(/[^#]/)
      path = path.slice(0, level - 1)
      path[level - 1] = line.replace(/^#+\s+|\s+#*\s*$/g, "").trim()
      found.push({ at, path: path.filter((title) => title !== undefined) })
    }
    open = fenceAfter(line, open)
    at += line.length
  }
  let last = 0
  return (offset) => {
    while (last < found.length && found[last]!.at <= offset) last++
    return found[last - 1]?.path ?? []
  }
}

/**
 * Cuts a text where it hurts least: before headings, between paragraphs, between lines, else between words; code fences
 * that have at most `size` are never cut, and the tail of one is repeated only where it is cut there. Chunks are parts of
 * the text as it stands, cover all of it but blanks, and none lies within another. A text of blanks has none. Fails with `InvalidInput` for a size below 1, an overlap that is not
 * smaller, or a function that counts what is no number.
 *
 * @since 0.1.0
 * @category chunking
 */
export const chunk = (
  text: string,
  options: ChunkOptions = {}
): Either.Either<ReadonlyArray<TextChunk>, InvalidInput> => {
  const { overlap = Math.min(60, Math.floor((options.size ?? 400) / 4)), size = 400, unit = "words" } = options
  if (!isCount(size, 1)) return Either.left(refused("size", "a whole number from 1"))
  if (!isCount(overlap, 0) || overlap >= size) {
    return Either.left(refused("overlap", "a whole number from 0, less than size"))
  }
  if (typeof unit !== "function" && !namedUnits.includes(unit)) return Either.left(refused("unit", unitsAllowed))
  const pieces = piecesOf(text, unit)
  if (pieces.some(({ units }) => !(units >= 0 && units < Number.POSITIVE_INFINITY))) {
    return Either.left(refused("unit", unitsAllowed))
  }
  const headings = headingsBefore(text)
  const chunks: Array<TextChunk> = []
  let from = 0
  while (from < pieces.length) {
    const to = typeof unit === "function" ? fittingEnd(text, pieces, from, size, unit) : endOf(pieces, from, size)
    const [first, end] = [pieces[from]!.start, pieces[to - 1]!.end]
    const body = text.slice(first, end)
    const trimmed = body.trim()
    let isNew = false
    if (trimmed !== "") {
      const start = chunks.length === 0 || /^\s*\n/.test(body) ? first + body.indexOf(trimmed) : first
      const kept = text.slice(start, end).trimEnd()
      isNew = start + kept.length > (chunks[chunks.length - 1]?.end ?? 0)
      if (isNew) {
        chunks.push({ text: kept, start, end: start + kept.length, headings: headings(start) })
      }
    }
    if (to >= pieces.length) break
    // Where all is repeated, no more is.
    from = isNew ? Math.max(from + 1, beginOf(pieces, from, to, overlap)) : to
  }
  return Either.right(chunks)
}
