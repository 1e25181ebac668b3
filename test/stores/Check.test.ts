import * as NodeAssert from "node:assert/strict"
import { describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import * as Schema from "effect/Schema"
import * as Check from "../../src/layers/Check.js"
import { Message } from "../../src/services/ConversationStore.js"
import { optional } from "../../src/services/Model.js"

const at = new Date("2026-01-02T03:04:05.678Z")

const message: Message = {
  conversationId: "c",
  seq: 1,
  id: "m",
  kind: "message",
  role: "user",
  content: "hello",
  name: null,
  toolCallId: null,
  toolCalls: [{ id: "1" }],
  toolResults: null,
  model: null,
  promptTokens: 3,
  completionTokens: null,
  cost: "0.25",
  metadata: { a: { b: [1, null] } },
  coversSeq: null,
  createdAt: at,
  finishedAt: null
}

const Nested = Schema.Struct({
  message: Message,
  list: Schema.Array(Schema.Struct({ a: Schema.Number })),
  trigger: Schema.Union(
    Schema.Struct({ type: Schema.Literal("cron"), at: Schema.String }),
    Schema.Struct({ type: Schema.Literal("event"), pattern: optional(Schema.String) })
  ),
  note: optional(Schema.NullOr(Schema.String))
})

const nested = { message, list: [{ a: 1 }], trigger: { type: "event" } }

const values = FastCheck.constantFrom<unknown[]>(
  ...[undefined, null, "", "x", "0.5", "-0.5", "message", "\0", "\ud800", 0, -1, 1.5, Number.NaN, 2 ** 60, 10n, true],
  ...[at, new Date(Number.NaN), {}, [], [{ a: 1 }], [{ a: 1, b: 2 }], { a: undefined }, { a: at }, new Map()],
  ...[{ type: "cron", at: "x" }, { type: "event", pattern: 1 }, { type: "event", more: 1 }, message]
)

/** A valid value with some fields replaced, taken away or added. */
const spoiled = (valid: Readonly<Record<string, unknown>>) =>
  FastCheck.array(
    FastCheck.record({
      field: FastCheck.constantFrom(...Object.keys(valid), "note", "more"),
      value: values,
      gone: FastCheck.boolean()
    }),
    { maxLength: 2 }
  ).map((changes) => {
    const result: Record<string, unknown> = { ...valid }
    for (const { field, gone, value } of changes) {
      if (gone) delete result[field]
      else result[field] = value
    }
    return result
  })

describe("the check of a stored row", () => {
  for (const [name, schema, valid] of [
    ["a message", Message, message],
    ["a model within a model", Nested, nested]
  ] as const) {
    it(`says of ${name} what its schema says`, () => {
      const is: (value: unknown) => boolean = Check.make<unknown, unknown>(schema as Schema.Schema<unknown, unknown>)
      const expected = Schema.is(schema as Schema.Schema<unknown, unknown>, { onExcessProperty: "error" })
      NodeAssert.equal(is(valid), true)
      FastCheck.assert(
        FastCheck.property(spoiled(valid), (value) => {
          NodeAssert.equal(is(value), expected(value))
        }),
        { numRuns: 1000 }
      )
    })
  }

  it("is no for what is no object", () => {
    const is = Check.make(Message)
    for (const value of [undefined, null, 1, "x", [], at]) NodeAssert.equal(is(value), false)
  })
})
