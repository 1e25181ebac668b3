import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import {
  compareCodePoints,
  Filter,
  type FilterInput,
  type JsonObject,
  parseJsonObject
} from "../../src/vector/index.js"
import * as Arbitraries from "./filters.js"

const matches = (filter: FilterInput, metadata: JsonObject): boolean =>
  Filter.matches(Either.getOrThrow(Filter.parse(filter)))(metadata)

const refused = (input: unknown) => Either.getOrThrow(Either.flip(Filter.parse(input)))

const document: JsonObject = {
  n: 5,
  zero: 0,
  text: "Grüße 😀",
  yes: true,
  no: false,
  nothing: null,
  tags: ["a", "b", null, 1],
  author: { name: { last: "Ng" } }
}

/** [filter, whether it matches `document`] */
const table: ReadonlyArray<readonly [FilterInput, boolean]> = [
  [{}, true],
  [{ n: 5 }, true],
  [{ n: { $eq: 5 } }, true],
  [{ n: "5" }, false],
  [{ n: { $ne: "5" } }, true],
  [{ yes: 1 }, false],
  [{ no: 0 }, false],
  [{ zero: false }, false],
  [{ yes: true, no: false }, true],
  [{ nothing: null }, true],
  [{ missing: null }, true],
  [{ "n.deeper": null }, true],
  [{ missing: { $ne: null } }, false],
  [{ missing: { $ne: 1 } }, true],
  [{ missing: { $nin: [1, 2] } }, true],
  [{ missing: { $in: [null] } }, true],
  [{ n: { $in: [] } }, false],
  [{ n: { $nin: [] } }, true],
  [{ missing: { $gt: 0 } }, false],
  [{ missing: { $not: { $gt: 0 } } }, true],
  [{ n: { $gt: 4, $lt: 6 } }, true],
  [{ n: { $gt: 5 } }, false],
  [{ n: { $gte: 5, $lte: 5 } }, true],
  [{ n: { $gt: "4" } }, false],
  [{ text: { $gt: 0 } }, false],
  [{ yes: { $gte: 0 } }, false],
  [{ text: { $gte: "Grüße" } }, true],
  [{ text: { $contains: "😀" } }, true],
  [{ text: { $contains: "grüße" } }, false],
  [{ text: { $contains: "" } }, true],
  [{ n: { $contains: 5 } }, false],
  [{ tags: { $contains: "a" } }, true],
  [{ tags: { $contains: null } }, true],
  [{ tags: { $contains: "1" } }, false],
  [{ tags: "a" }, false],
  [{ "tags.0": "a" }, false],
  [{ tags: { $ne: "a" } }, true],
  [{ nothing: { $exists: true } }, true],
  [{ missing: { $exists: false } }, true],
  [{ "author.name": { $exists: true } }, true],
  [{ "author.name.last": "Ng" }, true],
  [{ "author.name": null }, false],
  [{ $or: [{ n: 1 }, { n: 5 }] }, true],
  [{ $and: [{ n: 1 }, { n: 5 }] }, false],
  [{ $not: { n: 1 } }, true],
  [{ n: { $not: { $gt: 1, $lt: 3 } } }, true],
  [{ n: 5, $or: [{ yes: false }] }, false],
  [{ toString: null, constructor: null, "__proto__.x": null } as unknown as FilterInput, true],
  [{ constructor: { $exists: true } } as unknown as FilterInput, false]
]

const deep = (levels: number): FilterInput => (levels === 0 ? { a: 1 } : { $not: deep(levels - 1) })

/** [input, the field that is named, a word of what is allowed] */
const bad: ReadonlyArray<readonly [unknown, string, string]> = [
  [null, "filter", "object"],
  ["a = 1", "filter", "object"],
  [[], "filter", "object"],
  [new Date(), "filter", "object"],
  [{ a: { $regex: "x" } }, "filter.a.$regex", "$contains"],
  [{ $where: "1" }, "filter.$where", "$and"],
  [{ a: {} }, "filter.a", "$eq"],
  [{ a: { b: 1 } }, "filter.a.b", "$eq"],
  [{ a: undefined }, "filter.a", "string"],
  [{ a: [1] }, "filter.a", "string"],
  [{ a: Number.NaN }, "filter.a", "finite"],
  [{ a: { $gt: true } }, "filter.a.$gt", "finite number"],
  [{ a: { $gt: null } }, "filter.a.$gt", "finite number"],
  [{ a: { $in: "x" } }, "filter.a.$in", "list"],
  [{ a: { $in: [1, [2]] } }, "filter.a.$in[1]", "string"],
  [{ a: { $exists: 1 } }, "filter.a.$exists", "true"],
  [{ a: { $contains: { b: 1 } } }, "filter.a.$contains", "string"],
  [{ a: { $eq: "\ud800" } }, "filter.a.$eq", "well-formed"],
  [{ a: { $eq: "x\u0000" } }, "filter.a.$eq", "U+0000"],
  [{ "": 1 }, "filter.", "dots"],
  [{ "a..b": 1 }, "filter.a..b", "dots"],
  [{ "a.": 1 }, "filter.a.", "dots"],
  [{ $and: [] }, "filter.$and", "at least one"],
  [{ $or: { a: 1 } }, "filter.$or", "list"],
  [{ $or: [1] }, "filter.$or[0]", "object"],
  [{ $and: [{ a: 1 }, { b: { $x: 1 } }] }, "filter.$and[1].b.$x", "$eq"]
]

describe("Filter", () => {
  it.each(table)("%j on the document: %s", (filter, expected) => {
    assert.strictEqual(matches(filter, document), expected)
  })

  it.each(bad)("refuses %o and names %s", (input, field, allowed) => {
    const error = refused(input)
    assert.strictEqual(error._tag, "InvalidInput")
    assert.strictEqual(error.field, field)
    assert.include(error.allowed, allowed)
  })

  it("bounds depth and size", () => {
    assert.isTrue(Either.isRight(Filter.parse(deep(30))))
    assert.include(refused(deep(40)).allowed, "32 levels")
    assert.include(refused({ $or: Array.from({ length: 1001 }, (_, a) => ({ a })) }).allowed, "1000 conditions")
    const circle: Record<string, unknown> = {}
    circle.$not = circle
    assert.include(refused(circle).allowed, "32 levels")
  })

  it("never repeats a value of the caller in its message", () => {
    assert.notInclude(JSON.stringify(refused({ a: { $in: ["hunter2", ["hunter2"]] } })), "hunter2")
  })

  it("orders strings by code point", () => {
    assert.isBelow(compareCodePoints("\uffee", "😀"), 0)
    assert.isTrue(matches({ s: { $gt: "\uffee" } }, { s: "😀" }))
    const text = FastCheck.array(FastCheck.constantFrom("a", "b", "\ud7ff", "\ue000", "\uffee", "𐀀", "😀"), {
      maxLength: 4
    }).map((parts) => parts.join(""))
    FastCheck.assert(
      FastCheck.property(text, text, (a, b) => {
        assert.strictEqual(Math.sign(compareCodePoints(a, b)), Buffer.compare(Buffer.from(a), Buffer.from(b)))
      })
    )
  })

  it("accepts every valid filter, and a negation is the complement", () => {
    FastCheck.assert(
      FastCheck.property(Arbitraries.filter, Arbitraries.metadata, (filter, metadata) => {
        assert.strictEqual(matches({ $not: filter }, metadata), !matches(filter, metadata))
      }),
      { numRuns: 1000 }
    )
  })
})

describe("parseJsonObject", () => {
  const circle: Record<string, unknown> = {}
  circle.self = circle
  it.each([
    [{ a: undefined }, "metadata.a"],
    [{ a: [1, Number.POSITIVE_INFINITY] }, "metadata.a[1]"],
    [{ a: { b: () => 1 } }, "metadata.a.b"],
    [{ a: new Date() }, "metadata.a"],
    [{ a: 1n }, "metadata.a"],
    [{ a: "\udc00" }, "metadata.a"],
    [{ "k\u0000": 1 }, "metadata"],
    [[1], "metadata"],
    [null, "metadata"]
  ])("refuses %o", (input, field) => {
    const error = Either.getOrThrow(Either.flip(parseJsonObject(input, "metadata")))
    assert.strictEqual(error.field, field)
  })

  it("refuses circles, accepts what JSON carries", () => {
    assert.isTrue(Either.isLeft(parseJsonObject(circle, "metadata")))
    FastCheck.assert(
      FastCheck.property(Arbitraries.metadata, (metadata) => {
        assert.isTrue(Either.isRight(parseJsonObject(metadata, "metadata")))
      })
    )
  })
})
