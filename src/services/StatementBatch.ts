/**
 * Statements of your own as one write: one transaction, in this process or in the one that writes for the others.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Schema from "effect/Schema"
import { Json, type SqlValue } from "./Backend.js"
import { Count, Id, JsonValue, optional } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/** What JSON has no form for travels as an object of one key. */
const boxed = <A, I>(key: string, schema: Schema.Schema<A, I>) =>
  Schema.transform(Schema.Struct({ [key]: schema }), Schema.typeSchema(schema), {
    strict: true,
    decode: (box) => box[key]!,
    encode: (value) => ({ [key]: value })
  })

const BigInt64 = Schema.BigInt.pipe(Schema.filter((value) => BigInt.asIntN(64, value) === value))

const kinds = [
  Schema.Null,
  Schema.String,
  Schema.Boolean,
  Schema.Finite,
  boxed("$bigint", BigInt64),
  boxed("$date", Schema.Date),
  boxed("$base64", Schema.Uint8ArrayFromBase64)
] as const

/** JSON is boxed too, so that none of it is taken for another kind. */
const JsonParameter = Schema.transform(
  Schema.Struct({ $json: JsonValue }),
  Schema.declare((value: unknown): value is SqlValue =>
    Schema.is(JsonValue)(value instanceof Json ? value.value : value)
  ),
  {
    strict: true,
    decode: ({ $json }) => new Json($json),
    encode: (value) => ({ $json: value instanceof Json ? value.value : value })
  }
)

const Parameter = Schema.Union(...kinds, JsonParameter).annotations({
  message: () => ({
    message: "null, text, a finite number, a bigint of 64 bits, a boolean, a valid Date, bytes, or JSON",
    override: true
  })
})

const Value = Schema.Union(...kinds, boxed("$number", Schema.NumberFromString), boxed("$json", Schema.Unknown))

const Result = Schema.Struct({
  rowsAffected: Count,
  lastInsertId: Schema.NullOr(Schema.Union(Schema.Int, boxed("$bigint", Schema.BigInt))),
  rows: Schema.Array(Schema.Record({ key: Schema.String, value: Value }))
})

/**
 * Runs statements that write, in their order and in one transaction, with `?` parameters; succeeds with the result of
 * each, in the same order. When one fails, none has been done. `ids` names what they change, for the change feed; without
 * it there is no event.
 *
 * @since 0.1.0
 * @category operations
 */
export const ExecuteBatch = operation("StatementBatch.execute", {
  payload: {
    statements: Schema.NonEmptyArray(
      Schema.Struct({ sql: Schema.NonEmptyString, params: optional(Schema.Array(Parameter)) })
    ),
    ids: optional(Schema.Array(Id))
  },
  success: Schema.Array(Result)
})

/**
 * A batch may have an idempotency key, as every write of the stores; see `withIdempotencyKey`.
 *
 * @since 0.1.0
 * @category tags
 */
export class StatementBatch extends Context.Tag("effect-db-hub/StatementBatch")<
  StatementBatch,
  { readonly execute: Submit<typeof ExecuteBatch> }
>() {}
