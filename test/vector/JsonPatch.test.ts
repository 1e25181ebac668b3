import { assert, describe, it } from "@effect/vitest"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import type { JsonObject, JsonValue } from "../../src/vector/index.js"
import { JsonPatch } from "../../src/vector/index.js"

const origin = { operation: "test", backend: "primary" }
const setField = (target: JsonObject, path: ReadonlyArray<string>, value: JsonValue) =>
  JsonPatch.setField(target, path, value, origin)

const key = FastCheck.constantFrom("a", "b", "", "__proto__", "constructor", "ü.x", "0")
const { object, value } = FastCheck.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
  value: FastCheck.oneof(
    { maxDepth: 3 },
    FastCheck.constantFrom<JsonValue>(null, true, false, 0, 1.5, "", "text"),
    FastCheck.array(tie("value"), { maxLength: 3 }),
    tie("object")
  ),
  object: FastCheck.uniqueArray(FastCheck.tuple(key, tie("value")), { maxLength: 4, selector: ([key]) => key }).map(
    (entries) => Object.fromEntries(entries)
  )
}))
const path = FastCheck.array(key, { minLength: 1, maxLength: 3 })

const read = (target: JsonValue, path: ReadonlyArray<string>): JsonValue | undefined => {
  let at: JsonValue | undefined = target
  for (const key of path) {
    at =
      typeof at === "object" && at !== null && !Array.isArray(at) && Object.hasOwn(at, key)
        ? (at as JsonObject)[key]
        : undefined
  }
  return at
}

/** Every place that holds no object, as text, with what it holds. */
const leaves = (value: JsonValue, at: ReadonlyArray<string> = []): ReadonlyArray<readonly [string, JsonValue]> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.entries(value as JsonObject).flatMap(([key, inner]) => leaves(inner, [...at, key]))
    : [[JSON.stringify(at), value]]

const isUnder = (leaf: string, path: ReadonlyArray<string>) =>
  JSON.stringify((JSON.parse(leaf) as Array<string>).slice(0, path.length)) === JSON.stringify(path)

/** The algorithm of RFC 7396 as it is printed there. */
const printed = (target: JsonValue, patch: JsonValue): JsonValue => {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target)
  const result: Array<[string, JsonValue]> = isObject ? Object.entries(target as JsonObject) : []
  for (const [name, value] of Object.entries(patch as JsonObject)) {
    const at = result.findIndex(([key]) => key === name)
    if (value === null) {
      if (at >= 0) result.splice(at, 1)
    } else if (at >= 0) result[at] = [name, printed(result[at]![1], value)]
    else result.push([name, printed(null, value)])
  }
  return Object.fromEntries(result)
}

describe("setField", () => {
  it("holds exactly the value at the path, and everything else as it was", () => {
    FastCheck.assert(
      FastCheck.property(object, path, value, (target, path, value) => {
        const before = JSON.stringify(target)
        const changed = setField(target, path, value)
        assert.strictEqual(JSON.stringify(target), before)
        if (Either.isLeft(changed)) {
          const blocked = path.slice(0, -1).map((_, i) => read(target, path.slice(0, i + 1)))
          assert.isTrue(blocked.some((at) => at !== undefined && (typeof at !== "object" || !at || Array.isArray(at))))
          return
        }
        assert.deepStrictEqual(read(changed.right, path), value)
        const others = (of: JsonObject) => leaves(of).filter(([leaf]) => !isUnder(leaf, path))
        assert.deepStrictEqual(new Map(others(changed.right)), new Map(others(target)))
      })
    )
  })

  it("replaces an object whole, stores null, and makes what is missing on the way", () => {
    assert.deepStrictEqual(setField({ k: { y: 2 } }, ["k"], { x: 1 }), Either.right({ k: { x: 1 } }))
    assert.deepStrictEqual(setField({ k: 1, l: 2 }, ["k"], null), Either.right({ k: null, l: 2 }))
    assert.deepStrictEqual(setField({}, ["a", "b"], 1), Either.right({ a: { b: 1 } }))
  })

  it("refuses to write through what is no object, no path, and nesting that cannot be stored", () => {
    const deep = Array.from({ length: 33 }, () => "k")
    for (const refused of [
      setField({ a: 1 }, ["a", "b"], 1),
      setField({ a: null }, ["a", "b"], 1),
      setField({ a: [1] }, ["a", "0"], 1),
      setField({}, [], 1),
      setField({}, deep, 1)
    ]) {
      assert.strictEqual(Either.isLeft(refused) && refused.left._tag, "InvalidInput")
    }
  })
})

describe("merge", () => {
  it("is the algorithm of RFC 7396", () => {
    FastCheck.assert(
      FastCheck.property(value, value, (target, patch) => {
        const before = JSON.stringify(target)
        assert.deepStrictEqual(JsonPatch.merge(target, patch), printed(target, patch))
        assert.strictEqual(JSON.stringify(target), before)
      })
    )
  })

  it("does the same when done twice", () => {
    FastCheck.assert(
      FastCheck.property(value, value, (target, patch) => {
        const once = JsonPatch.merge(target, patch)
        assert.deepStrictEqual(JsonPatch.merge(once, patch), once)
      })
    )
  })

  it("agrees with the examples of RFC 7396", () => {
    const examples: ReadonlyArray<readonly [JsonValue, JsonValue, JsonValue]> = [
      [{ a: "b" }, { a: "c" }, { a: "c" }],
      [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
      [{ a: "b" }, { a: null }, {}],
      [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
      [{ a: ["b"] }, { a: "c" }, { a: "c" }],
      [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
      [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
      [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
      [
        ["a", "b"],
        ["c", "d"],
        ["c", "d"]
      ],
      [{ a: "b" }, ["c"], ["c"]],
      [{ a: "foo" }, null, null],
      [{ a: "foo" }, "bar", "bar"],
      [{ e: null }, { a: 1 }, { e: null, a: 1 }],
      [[1, 2], { a: "b", c: null }, { a: "b" }],
      [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }]
    ]
    for (const [target, patch, result] of examples) assert.deepStrictEqual(JsonPatch.merge(target, patch), result)
  })
})
