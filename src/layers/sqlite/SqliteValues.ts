/**
 * How values go into SQLite and come out of it.
 *
 * @since 0.1.0
 */
import type { ColumnDefinition } from "better-sqlite3"
import { DbCorrupt, type ErrorContext, invalidInput } from "../../errors/index.js"
import { Json } from "../../services/Backend.js"
import { jsonText } from "../../services/JsonText.js"

const allowed =
  "null, well-formed strings, numbers other than NaN, 64-bit bigints, booleans, valid Dates, bytes, plain objects and arrays"

const refuse = (index: number, problem: string, backend: string): never => {
  throw invalidInput({ operation: "sqlite.bind", backend }, `params[${index}]`, problem, allowed)
}

const toJson = (value: unknown, index: number, backend: string): string =>
  jsonText(value) ?? refuse(index, "has no JSON form that keeps all of it", backend)

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return Array.isArray(value) || prototype === Object.prototype || prototype === null
}

const encodeObject = (value: object, index: number, backend: string): unknown => {
  if (value instanceof Uint8Array) return value
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? refuse(index, "is an invalid Date", backend) : value.toISOString()
  }
  if (value instanceof Json) return toJson(value.value, index, backend)
  return isPlain(value) ? toJson(value, index, backend) : refuse(index, "is of a class that has no SQL form", backend)
}

/**
 * Integers go in as integers: the driver binds every number as a float, and a TEXT column would then hold `1.0`.
 */
const encodeNumber = (value: number, index: number, backend: string): number | bigint => {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return BigInt(value)
  return Number.isNaN(value) ? refuse(index, "is NaN, which SQLite would store as NULL", backend) : value
}

const encodeValue = (value: unknown, index: number, backend: string): unknown => {
  switch (typeof value) {
    case "string":
      return value.isWellFormed() ? value : refuse(index, "has a lone surrogate", backend)
    case "number":
      return encodeNumber(value, index, backend)
    case "boolean":
      return value ? 1n : 0n
    case "bigint":
      return BigInt.asIntN(64, value) === value ? value : refuse(index, "is beyond 64 bits", backend)
    case "object":
      return value === null ? null : encodeObject(value, index, backend)
    default:
      return refuse(index, `is ${value === undefined ? "undefined" : `a ${typeof value}`}`, backend)
  }
}

/**
 * The values to bind; throws `InvalidInput` that names the position of a value with no SQL form.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encode = (params: ReadonlyArray<unknown>, backend: string): ReadonlyArray<unknown> =>
  params.length === 0 ? params : params.map((value, index) => encodeValue(value, index, backend))

/** What a stored value reads as by its column's declared type; undefined = it is not what was declared. */
type Decoder = (value: unknown) => { readonly read: unknown } | undefined

const decodeBoolean: Decoder = (value) =>
  value === 0 || value === 0n ? { read: false } : value === 1 || value === 1n ? { read: true } : undefined

/** The forms of ISO 8601 that SQLite and `toISOString` write; `Date` alone would take "room 5" for a day in May. */
const timestamp = /^([+-]\d{6}|\d{4})-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/

/** Whether a number counts seconds, milliseconds or Julian days is not declared, so it stays a number. */
const decodeTimestamp: Decoder = (value) => {
  if (typeof value !== "string") return { read: value }
  const parts = timestamp.exec(value)
  if (parts === null) return undefined
  const [, , time, , , zone] = parts
  // `CURRENT_TIMESTAMP` writes UTC without saying so.
  const date = new Date(value.replace(" ", "T") + (time !== undefined && zone === undefined ? "Z" : ""))
  return Number.isNaN(date.getTime()) ? undefined : { read: date }
}

/** JSONB bytes are SQLite's own and stay bytes. */
const decodeJson: Decoder = (value) => {
  if (typeof value !== "string") return { read: value }
  try {
    return { read: JSON.parse(value) }
  } catch (_notJson) {
    return undefined
  }
}

const byDeclaredType: ReadonlyArray<readonly [RegExp, Decoder]> = [
  [/^BOOL/i, decodeBoolean],
  [/^(DATETIME|TIMESTAMP)/i, decodeTimestamp],
  [/^JSON/i, decodeJson]
]

/**
 * A reader of rows for one statement, made once from the declared types of its columns; undefined when nothing needs
 * decoding.
 *
 * @since 0.1.0
 * @category decoding
 */
export const rowDecoder = (
  columns: ReadonlyArray<ColumnDefinition>
): ((row: Record<string, unknown>, context: ErrorContext) => void) | undefined => {
  // Of columns with one name, a row holds the last.
  const byName = new Map(columns.map((column) => [column.name, column]))
  const typed = Array.from(byName.values()).flatMap((column) => {
    const decode = byDeclaredType.find(([pattern]) => pattern.test(column.type ?? ""))?.[1]
    return decode === undefined ? [] : [{ column, decode }]
  })
  if (typed.length === 0) return undefined
  return (row, context) => {
    for (const { column, decode } of typed) {
      const value = row[column.name]
      if (value === null) continue
      const decoded = decode(value)
      if (decoded === undefined) {
        throw new DbCorrupt({
          ...context,
          code: "HUB_DECODE",
          message: `${column.table ?? "?"}.${column.column ?? column.name} holds a value that is no ${column.type}: correct the row, or read the column with CAST(… AS TEXT)`
        })
      }
      row[column.name] = decoded.read
    }
  }
}

const bytes = (value: Buffer): Uint8Array => new Uint8Array(value.buffer, value.byteOffset, value.byteLength)

const minSafe = BigInt(Number.MIN_SAFE_INTEGER)
const maxSafe = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * A value read with 64-bit integers on: a bigint only where a number would round.
 *
 * @since 0.1.0
 * @category decoding
 */
export const fromDriver = (value: unknown): unknown => {
  if (typeof value === "bigint") return value >= minSafe && value <= maxSafe ? Number(value) : value
  return Buffer.isBuffer(value) ? bytes(value) : value
}

/**
 * Whether a number that the driver read as a float may stand for a rounded 64-bit integer.
 *
 * @since 0.1.0
 * @category decoding
 */
export const maybeRounded = (value: unknown): boolean =>
  typeof value === "number" && (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER)
