/**
 * The kinds of value that the models of the stores are made of.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { isStorableText, type JsonObject, parseJsonObject } from "../vector/index.js"

const text = (what: string, max: number) =>
  Schema.String.pipe(
    Schema.filter((value) => value.length > 0 && value.length <= max && !value.includes("\0"), {
      message: () => `${what} of 1 to ${max} characters without NUL`
    })
  )

/**
 * Who owns a thing.
 *
 * @since 0.1.0
 * @category schemas
 */
export const UserId = text("a user id", 255)

/**
 * A name that indexes hold: 1 to 255 characters.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Key = text("a key", 255)

/**
 * An id; made by the caller or by the store.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Id = text("an id", 255)

/**
 * Text of any length, such as what a message says.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Text = Schema.String.pipe(
  Schema.filter(isStorableText, { message: () => "well-formed Unicode without U+0000" })
)

/**
 * An instant in UTC, to the millisecond.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Timestamp = Schema.Date

/**
 * An exact decimal as text, such as `0.000015`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Decimal = Schema.String.pipe(
  Schema.pattern(/^-?\d{1,20}(\.\d{1,18})?$/, { message: () => "a decimal number as text, such as 0.25" })
)

/**
 * What something cost: an exact decimal that is not negative.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Cost = Decimal.pipe(
  Schema.filter((value) => !value.startsWith("-"), { message: () => "a decimal number that is not negative, as text" })
)

/**
 * How many; 0 or more.
 *
 * @since 0.1.0
 * @category schemas
 */
export const Count = Schema.Int.pipe(Schema.nonNegative({ message: () => "a whole number from 0" }))

/**
 * A field of a payload that may be left out.
 *
 * @since 0.1.0
 * @category schemas
 */
export const optional = <S extends Schema.Schema.All>(schema: S) => Schema.optionalWith(schema, { exact: true })

const isJson = (value: unknown): boolean => Either.isRight(parseJsonObject({ value }, "value"))

/**
 * Any JSON value, null included.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonValue = Schema.Unknown.pipe(
  Schema.filter(isJson, {
    message: () => "a JSON value: strings, finite numbers, booleans, null, arrays, plain objects"
  })
)

/**
 * A JSON object, such as metadata.
 *
 * @since 0.1.0
 * @category schemas
 */
export const JsonRecord: Schema.Schema<JsonObject> = Schema.declare(
  (value: unknown): value is JsonObject => Either.isRight(parseJsonObject(value, "value")),
  { message: () => "a plain object of JSON values" }
)

/**
 * Which page of a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface PageOptions {
  /** At most 1000; default 50. */
  readonly limit?: number
  /** That of the page before; the first page without it. */
  readonly cursor?: string | null
}

/**
 * A page of a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface Page<A> {
  readonly items: ReadonlyArray<A>
  /** Gives the next page; null on the last. */
  readonly cursor: string | null
}

/**
 * A stored row that cannot be read, and what is wrong with it.
 *
 * Whoever asks for such a row, alone or in a list, gets `DbCorrupt` that names its table and id, since a list that is
 * short without a word would be a lie; it can be deleted like any other. What a scheduler or a worker goes by passes it
 * over instead, and reports it: one row never stops the others.
 *
 * @since 0.1.0
 * @category schemas
 */
export const UnreadableRow = Schema.Struct({ table: Schema.String, id: Schema.String, problem: Schema.String })

/**
 * @since 0.1.0
 * @category models
 */
export type UnreadableRow = typeof UnreadableRow.Type

/**
 * What could be read, in order, and what could not.
 *
 * @since 0.1.0
 * @category models
 */
export interface Readable<A> {
  readonly rows: ReadonlyArray<A>
  readonly unreadable: ReadonlyArray<UnreadableRow>
}
