/**
 * Rows as an agent gets them: plain JSON, within exact limits. Stands alone, so that a child process can load it fast.
 *
 * @since 0.1.0
 */

/**
 * The most that one answer may hold.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentLimits {
  /** Rows; default 100. */
  readonly maxRows: number
  /** Bytes of the rows as JSON in UTF-8; default 1,000,000. */
  readonly maxBytes: number
  /** Characters (code points) of one cell; default 2,000. */
  readonly maxCell: number
}

/**
 * What an answer may hold unless a query says otherwise.
 *
 * @since 0.1.0
 * @category constants
 */
export const defaultLimits: AgentLimits = { maxRows: 100, maxBytes: 1_000_000, maxCell: 2_000 }

/**
 * The code that a statement is refused with that would change the hub's own tables.
 *
 * @since 0.1.0
 * @category constants
 */
export const ownTables = "HUB_OWN_TABLES"

/**
 * What was left out, and how each column's values are written where JSON has no form for them.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentRows {
  readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
  readonly truncated: boolean
  /** Which limits were met, in words; null if none was. */
  readonly reason: string | null
  /** By the column's position: such as `bytes as base64`. */
  readonly notes: Readonly<Record<number, string>>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Collector {
  /** Takes a row; false when it does not fit, and then no further row is wanted. */
  readonly add: (row: ReadonlyArray<unknown>) => boolean
  readonly result: () => AgentRows
}

const bytesNote = "bytes as base64"
const integerNote = "integers beyond 2^53 as text"
const floatNote = "NaN and infinities as text"

/**
 * The text up to so many code points; undefined if it has no more.
 *
 * @since 0.1.0
 * @category conversions
 */
export const cut = (text: string, max: number): string | undefined => {
  if (text.length <= max) return undefined
  let at = 0
  for (let points = 0; points < max && at < text.length; points++) at += text.codePointAt(at)! > 0xffff ? 2 : 1
  return at < text.length ? text.slice(0, at) : undefined
}

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")

/** A value inside of a list or an object. */
const plain = (value: unknown): unknown => {
  if (typeof value === "bigint") return String(value)
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (typeof value === "string") return value.toWellFormed()
  if (typeof value !== "object" || value === null) return value ?? null
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Uint8Array) return base64(value)
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plain(child)]))
}

/**
 * Collects rows until one does not fit. A row is only ever left out whole; a cell that is too long is cut.
 *
 * @since 0.1.0
 * @category constructors
 */
export const collector = ({ maxBytes, maxCell, maxRows }: AgentLimits): Collector => {
  const rows: Array<ReadonlyArray<unknown>> = []
  const notes: Record<number, string> = {}
  let bytes = 2
  let cells = 0
  let full: string | undefined

  const shortened = (text: string): string => {
    const short = cut(text, maxCell)
    if (short === undefined) return text
    cells++
    return short
  }

  const cell = (value: unknown, column: number): unknown => {
    if (value === null || value === undefined || typeof value === "boolean") return value ?? null
    if (typeof value === "string") return shortened(value.toWellFormed())
    if (typeof value === "bigint") {
      notes[column] = integerNote
      return shortened(String(value))
    }
    if (typeof value === "number") {
      if (Number.isFinite(value)) return value
      notes[column] = floatNote
      return String(value)
    }
    if (value instanceof Uint8Array) {
      notes[column] = bytesNote
      // Whole groups of four characters, so that what is left can still be read.
      const most = Math.max(0, Math.floor(maxCell / 4)) * 3
      if (Math.ceil(value.length / 3) * 4 <= maxCell) return base64(value)
      cells++
      return base64(value.subarray(0, most))
    }
    const json = plain(value)
    if (typeof json === "string") return shortened(json)
    const text = JSON.stringify(json) ?? "null"
    const short = cut(text, maxCell)
    if (short === undefined) return json
    cells++
    return short
  }

  return {
    add: (row) => {
      if (full !== undefined) return false
      if (rows.length >= maxRows) {
        full = `more than ${maxRows} rows`
        return false
      }
      const before = cells
      const written = row.map(cell)
      const size = Buffer.byteLength(JSON.stringify(written)) + (rows.length === 0 ? 0 : 1)
      if (bytes + size > maxBytes) {
        cells = before
        full = `more than ${maxBytes} bytes`
        return false
      }
      bytes += size
      rows.push(written)
      return true
    },
    result: () => {
      const cutCells = cells === 0 ? undefined : `${cells} cell${cells === 1 ? "" : "s"} cut to ${maxCell} characters`
      const reasons = [full, cutCells].filter((reason) => reason !== undefined)
      return { rows, truncated: reasons.length > 0, reason: reasons.length === 0 ? null : reasons.join("; "), notes }
    }
  }
}
