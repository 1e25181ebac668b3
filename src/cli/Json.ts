/**
 * JSON for programs. What JSON has no form for is written as text (integers beyond 2^53, infinities, instants in ISO
 * 8601) or as `{"$base64": "…"}` (bytes).
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type InvalidInput, invalidInput } from "../errors/DbError.js"
import type { SqlValue } from "../services/Backend.js"

/**
 * @since 0.1.0
 * @category encoding
 */
export const toJson = (value: unknown): unknown => {
  if (value === undefined) return null
  if (typeof value === "bigint") return String(value)
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value)
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Uint8Array) return { $base64: Buffer.from(value).toString("base64") }
  if (value instanceof Float32Array) return Array.from(value)
  if (Array.isArray(value)) return value.map(toJson)
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, toJson(child)]))
}

/**
 * A document in which no character can drive a terminal.
 *
 * @since 0.1.0
 * @category encoding
 */
export const stringify = (document: unknown): string =>
  JSON.stringify(toJson(document), undefined, 2).replace(
    /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/**
 * Rows as objects; the names of columns must differ from each other.
 *
 * @since 0.1.0
 * @category encoding
 */
export const objects = (columns: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<unknown>>) =>
  rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]])))

const isBytes = (value: object): value is { readonly $base64: string } =>
  "$base64" in value && typeof value.$base64 === "string" && Object.keys(value).length === 1

const isBase64 = (text: string) => /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)

/** The numbers of a JSON text that JSON.parse would make others of without a word. */
const changed = (text: string): ReadonlyArray<string> => {
  const numbers = text.replace(/"(?:[^"\\]|\\.)*"/g, '""').match(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g) ?? []
  return numbers.filter((literal) => {
    const number = Number(literal)
    return !Number.isFinite(number) || (/^-?\d+$/.test(literal) && BigInt(number) !== BigInt(literal))
  })
}

const parameter = (text: string, index: number): Effect.Effect<SqlValue, InvalidInput> => {
  const refused = (problem: string) =>
    Effect.fail(
      invalidInput(
        { operation: "cli.param" },
        `param[${index}]`,
        problem,
        `JSON, such as 1, '"text"' (with its double quotes), null, true, or {"$base64": "…"} for bytes`
      )
    )
  // JSON.parse would round it.
  if (/^\s*-?\d{16,}\s*$/.test(text)) return Effect.succeed(BigInt(text))
  return Effect.try((): SqlValue => JSON.parse(text)).pipe(
    Effect.matchEffect({
      onFailure: () => refused("is not valid JSON"),
      onSuccess: (value) => {
        if (changed(text).length > 0) return refused("has a number that would become another: write it as text")
        if (typeof value !== "object" || value === null || !isBytes(value)) return Effect.succeed(value)
        return isBase64(value.$base64)
          ? Effect.succeed(new Uint8Array(Buffer.from(value.$base64, "base64")))
          : refused("is not valid base64")
      }
    })
  )
}

/**
 * The values of `--param`, one per `?`.
 *
 * @since 0.1.0
 * @category decoding
 */
export const parameters = (texts: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<SqlValue>, InvalidInput> =>
  Effect.forEach(texts, parameter)
