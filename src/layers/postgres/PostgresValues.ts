/**
 * How values go into PostgreSQL and come out of it.
 *
 * @since 0.1.0
 */
import * as Pg from "pg"
import { invalidInput } from "../../errors/index.js"
import { Json } from "../../services/Backend.js"
import { jsonText } from "../../services/JsonText.js"

const allowed =
  "null, well-formed strings without U+0000, numbers other than NaN, 64-bit bigints, booleans, valid Dates, bytes, plain objects and arrays"

const refuse = (index: number, problem: string, backend: string): never => {
  throw invalidInput({ operation: "postgresql.bind", backend }, `params[${index}]`, problem, allowed)
}

const toJson = (value: unknown, index: number, backend: string): string =>
  jsonText(value) ?? refuse(index, "has no JSON form that keeps all of it", backend)

/** ISO 8601 as PostgreSQL reads it also before the year 1 and after 9999. */
const timestamp = (date: Date): string => {
  const year = date.getUTCFullYear()
  const rest = date.toISOString().replace(/^[+-]?\d+/, "")
  return year > 0 ? `${String(year).padStart(4, "0")}${rest}` : `${String(1 - year).padStart(4, "0")}${rest} BC`
}

const isPlain = (value: object): boolean => {
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

const encodeText = (text: string, index: number, backend: string): string => {
  if (!text.isWellFormed()) return refuse(index, "has a lone surrogate", backend)
  return text.includes("\0") ? refuse(index, "has a U+0000, which PostgreSQL cannot store", backend) : text
}

const encodeObject = (value: object, index: number, backend: string): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof Date) {
    return Number.isNaN(value.getTime()) ? refuse(index, "is an invalid Date", backend) : timestamp(value)
  }
  if (value instanceof Json) return toJson(value.value, index, backend)
  if (Array.isArray(value)) return value
  return isPlain(value) ? toJson(value, index, backend) : refuse(index, "is of a class that has no SQL form", backend)
}

const encodeValue = (value: unknown, index: number, backend: string): unknown => {
  switch (typeof value) {
    case "string":
      return encodeText(value, index, backend)
    case "number":
      if (Number.isNaN(value)) return refuse(index, "is NaN", backend)
      return Object.is(value, -0) ? "-0" : String(value)
    case "boolean":
      return value ? "true" : "false"
    case "bigint":
      return BigInt.asIntN(64, value) === value ? String(value) : refuse(index, "is beyond 64 bits", backend)
    case "object":
      return value === null ? null : encodeObject(value, index, backend)
    default:
      return refuse(index, `is ${value === undefined ? "undefined" : `a ${typeof value}`}`, backend)
  }
}

/**
 * What to bind: text, bytes, null, and arrays, whose form depends on the type of their parameter. Throws `InvalidInput`
 * that names the position of a value with no SQL form.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encode = (params: ReadonlyArray<unknown>, backend: string): Array<unknown> =>
  params.map((value, index) => encodeValue(value, index, backend))

/** Types under which a list is JSON text: json, jsonb, and what the statement leaves open. */
const jsonLike = new Set([0, 25, 114, 705, 1043, 3802])

const element = (value: unknown, index: number, backend: string): string => {
  if (value === null) return "NULL"
  if (Array.isArray(value)) return arrayText(value, index, backend)
  const encoded = encodeValue(value, index, backend)
  const text = Buffer.isBuffer(encoded) ? `\\x${encoded.toString("hex")}` : String(encoded)
  return `"${text.replace(/[\\"]/g, "\\$&")}"`
}

const arrayText = (values: ReadonlyArray<unknown>, index: number, backend: string): string =>
  `{${values.map((value) => element(value, index, backend)).join(",")}}`

/**
 * Whether a statement's parameter types must be known to encode these values.
 *
 * @since 0.1.0
 * @category encoding
 */
export const hasList = (values: ReadonlyArray<unknown>): boolean => values.some(Array.isArray)

/**
 * Lists as JSON for json columns and as arrays for arrays.
 *
 * @since 0.1.0
 * @category encoding
 */
export const encodeLists = (
  values: ReadonlyArray<unknown>,
  types: ReadonlyArray<number>,
  backend: string
): Array<unknown> =>
  values.map((value, index) =>
    Array.isArray(value)
      ? jsonLike.has(types[index] ?? 0)
        ? toJson(value, index, backend)
        : arrayText(value, index, backend)
      : value
  )

const integer = (text: string): number | bigint => {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : BigInt(text)
}

const bytes = (text: string): Uint8Array => {
  const buffer = Buffer.from(text.slice(2), "hex")
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}

const builtinTimestamp = Pg.types.getTypeParser(1184) as (text: string) => unknown

/** The number of so many digits. */
const digits = (text: string, from: number, count: number): number => {
  let n = 0
  for (let i = from; i < from + count; i++) n = 10 * n + text.charCodeAt(i) - 48
  return n
}

/**
 * Sessions speak UTC and ISO, as in `2026-01-31 23:59:59.123456+00`. Microseconds are cut to milliseconds, as a Date has
 * no more: CAST to TEXT keeps them.
 */
const instant = (text: string): unknown => {
  // By far the most; the reader of the driver, which takes all others, has a regular expression for each.
  if (text[4] !== "-" || !text.endsWith("+00") || text < "0100") return builtinTimestamp(text)
  const places = Math.min(3, Math.max(0, text.length - 23))
  return new Date(
    Date.UTC(
      digits(text, 0, 4),
      digits(text, 5, 2) - 1,
      digits(text, 8, 2),
      digits(text, 11, 2),
      digits(text, 14, 2),
      digits(text, 17, 2),
      digits(text, 20, places) * 10 ** (3 - places)
    )
  )
}

const parseArray = Pg.types.getTypeParser(1009 as number) as (text: string) => ReadonlyArray<unknown>

const mapped =
  (read: (text: string) => unknown) =>
  (text: string): unknown => {
    const each = (value: unknown): unknown =>
      Array.isArray(value) ? value.map(each) : typeof value === "string" ? read(value) : value
    return each(parseArray(text))
  }

const asText = (text: string): string => text

const utc = (text: string): unknown => instant(/infinity|BC/.test(text) ? text : `${text}+00`)

const json = (text: string): unknown => JSON.parse(text)

/** By the type's number in `pg_type`, which is the same in every database for those built in. */
const parsers = new Map<number, (text: string) => unknown>([
  [17, bytes],
  [20, integer],
  [114, json],
  [199, mapped(json)],
  [600, asText],
  [718, asText],
  [1001, mapped(bytes)],
  [1016, mapped(integer)],
  [1082, asText],
  [1114, utc],
  [1115, mapped(utc)],
  [1182, parseArray],
  [1184, instant],
  [1185, mapped(instant)],
  [1186, asText],
  [1187, parseArray],
  [1231, parseArray],
  [1700, asText],
  [3802, json],
  [3807, mapped(json)]
])

/**
 * The driver's table of readers: integers exact, numerics, dates without time and intervals as text, instants as Date.
 *
 * @since 0.1.0
 * @category decoding
 */
export const types: Pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text" | "binary") =>
    (format === "binary" ? undefined : parsers.get(oid)) ??
    Pg.types.getTypeParser(oid, format as "text")) as Pg.CustomTypesConfig["getTypeParser"]
}
