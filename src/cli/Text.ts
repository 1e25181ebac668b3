/**
 * Text for people: tables, and data that cannot drive the terminal it is shown on.
 *
 * @since 0.1.0
 */
import { toJson } from "./Json.js"

/** Controls, separators that break lines, and marks that turn the direction of what follows. */
const unprintable = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]|\p{Cs}/gu

const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const escapeOne = (character: string): string => {
  const code = character.codePointAt(0)!
  return (
    short[character] ??
    (code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`)
  )
}

/**
 * Text in one line in which nothing but letters, marks and blanks reaches the terminal.
 *
 * @since 0.1.0
 * @category escaping
 */
export const printable = (text: string): string => text.replace(unprintable, escapeOne)

const excerptLength = 240

/**
 * Some of a text in one line, from shortly before a place.
 *
 * @since 0.1.0
 * @category excerpts
 */
export const excerpt = (text: string, place = 0): string => {
  const before = text.slice(0, place)
  const from = Math.max(before.lastIndexOf("\n") + 1, before.length - excerptLength / 3)
  const characters = Array.from(text.slice(from).toWellFormed().replace(/\s+/g, " ").trim())
  return characters.length > excerptLength ? `${characters.slice(0, excerptLength).join("")}…` : characters.join("")
}

const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u
const combining = /^(?:\p{M}|[\u200b-\u200d])$/u

const widthOf = (text: string): number => {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let width = 0
  for (const character of text) width += combining.test(character) ? 0 : wide.test(character) ? 2 : 1
  return width
}

const cut = (text: string, limit: number): string => {
  if (widthOf(text) <= limit) return text
  let kept = ""
  let width = 0
  for (const character of text) {
    width += widthOf(character)
    if (width > limit - 1) break
    kept += character
  }
  return `${kept}…`
}

/** A value as a cell of a table shows it. */
const cell = (value: unknown): string => {
  if (value === null || value === undefined) return "NULL"
  if (typeof value === "string") return printable(value)
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`
  if (value instanceof Date) return value.toISOString()
  return typeof value === "object" ? printable(JSON.stringify(toJson(value))) : String(value)
}

const isNumber = (value: unknown) => typeof value === "number" || typeof value === "bigint"

const gap = "  "

/** Takes from the widest column until all fit. */
const fit = (widths: ReadonlyArray<number>, columns: number | undefined): ReadonlyArray<number> => {
  const fitted = [...widths]
  if (columns === undefined) return fitted
  let excess = fitted.reduce((sum, width) => sum + width, gap.length * (fitted.length - 1)) - columns
  while (excess-- > 0) {
    const widest = fitted.indexOf(Math.max(...fitted))
    if (fitted[widest]! <= 8) break
    fitted[widest]!--
  }
  return fitted
}

/**
 * Rows under their headings: numbers to the right, cells cut only where a width is given. `absent` stands for null.
 *
 * @since 0.1.0
 * @category tables
 */
export const table = (
  headings: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  options: { readonly columns: number | undefined; readonly colors: boolean },
  absent = "NULL"
): string => {
  const titles = headings.map(printable)
  const cells = rows.map((row) => row.map((value) => (value === null ? absent : cell(value))))
  const natural = titles.map((title, i) => cells.reduce((max, row) => Math.max(max, widthOf(row[i]!)), widthOf(title)))
  const widths = fit(natural, options.columns)
  const toTheRight = titles.map(
    (_, i) => rows.some((row) => isNumber(row[i])) && rows.every((row) => row[i] === null || isNumber(row[i]))
  )
  const place = (text: string, i: number): string => {
    const kept = cut(text, widths[i]!)
    const blanks = " ".repeat(widths[i]! - widthOf(kept))
    return toTheRight[i] ? blanks + kept : kept + blanks
  }
  const line = (texts: ReadonlyArray<string>) => texts.join(gap).trimEnd()
  return [
    paint(options.colors, "bold", line(titles.map(place))),
    line(widths.map((width) => "-".repeat(width))),
    ...cells.map((row, r) =>
      line(row.map((text, i) => (rows[r]![i] === null ? paint(options.colors, "dim", place(text, i)) : place(text, i))))
    )
  ].join("\n")
}

const styles = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const

/**
 * @since 0.1.0
 * @category escaping
 */
export const paint = (colors: boolean, style: keyof typeof styles, text: string): string =>
  colors ? `\u001b[${styles[style]}m${text}\u001b[0m` : text

/**
 * @since 0.1.0
 * @category numbers
 */
export const bytes = (count: number): string => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let [amount, unit] = [count, 0]
  for (; amount >= 1024 && unit < units.length - 1; unit++) amount /= 1024
  return `${unit === 0 ? amount : amount.toFixed(1)} ${units[unit]}`
}

/**
 * @since 0.1.0
 * @category numbers
 */
export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`

const barWidth = 30

/**
 * How far something long has come.
 *
 * @since 0.1.0
 * @category progress
 */
export const bar = (what: string, done: number, total: number): string => {
  const part = done / Math.max(total, 1)
  const filled = Math.round(part * barWidth)
  return `${what} [${"#".repeat(filled)}${".".repeat(barWidth - filled)}] ${Math.floor(part * 100)}%`
}
