import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { assert } from "vitest"
import * as SqliteFilter from "../../src/layers/sqlite/SqliteFilter.js"
import { Filter, type FilterInput, type JsonObject } from "../../src/vector/index.js"
import { openClient } from "../support/index.js"
import * as Arbitraries from "../vector/filters.js"

const documents = (statement: string) =>
  `SELECT (${statement}) AS found FROM (SELECT value AS metadata FROM json_each(?))`

describe("SqliteFilter", () => {
  it.scoped(
    "matches what the predicate matches",
    () =>
      Effect.gen(function* () {
        const client = yield* openClient({ path: ":memory:" })
        const sample = FastCheck.sample(
          FastCheck.tuple(
            Arbitraries.filter,
            FastCheck.array(Arbitraries.metadata, { minLength: 40, maxLength: 40, size: "max" })
          ),
          { numRuns: 1500, seed: 7 }
        )
        let [found, missed] = [0, 0]
        for (const [input, metadata] of sample) {
          const filter = yield* Filter.parse(input)
          const { params, sql } = SqliteFilter.compile(filter)
          const texts = metadata.map((document) => JSON.stringify(document))
          const rows = yield* client.query(documents(sql), [...params, texts])
          const matches = Filter.matches(filter)
          rows.forEach((row, i) => {
            const expected = matches(metadata[i]!)
            assert.strictEqual(row.found, expected ? 1 : 0, `${JSON.stringify(input)} on ${texts[i]}`)
            expected ? found++ : missed++
          })
        }
        assert.isAbove(Math.min(found, missed), 10_000)
      }),
    120_000
  )

  it.scoped("compares numbers as the 64-bit floats that JSON readers see", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      const numbers = FastCheck.sample(FastCheck.double({ noNaN: true, noDefaultInfinity: true }), {
        numRuns: 2000,
        seed: 1
      })
      const integers = Array.from({ length: 500 }, (_, i) => 2 ** 53 * (1 + i * 2.0077))
      for (const n of [...numbers, ...integers]) {
        const { params, sql } = SqliteFilter.compile(yield* Filter.parse({ n, m: { $in: [n], $gte: n, $lte: n } }))
        const [row] = yield* client.query(documents(sql), [...params, [JSON.stringify({ n, m: n })]])
        assert.strictEqual(row?.found, 1, String(n))
      }
    })
  )

  it.scoped("keys and values are bound, never spliced", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      const hostile = `x"') OR 1=1 --`
      const input: FilterInput = { [hostile]: { $in: [hostile], $contains: hostile } }
      const { params, sql } = SqliteFilter.compile(yield* Filter.parse(input))
      assert.notInclude(sql, "1=1")
      const metadata: ReadonlyArray<JsonObject> = [{ [hostile]: hostile }, { x: hostile }, {}]
      const rows = yield* client.query(documents(sql), [
        ...params,
        metadata.map((document) => JSON.stringify(document))
      ])
      assert.deepStrictEqual(
        rows.map(({ found }) => found),
        [1, 0, 0]
      )
    })
  )

  it.scoped("compiles the largest and the deepest filters", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      const deep = Array.from({ length: 30 }).reduce<FilterInput>((filter) => ({ $or: [filter, { b: 2 }] }), { a: 1 })
      const wide: FilterInput = { $or: Array.from({ length: 1000 }, (_, n) => ({ [`k${n}`]: n })) }
      const long: FilterInput = { n: { $in: Array.from({ length: 50_000 }, (_, n) => n) } }
      for (const [input, document] of [
        [deep, { a: 1 }],
        [wide, { k999: 999 }],
        [long, { n: 49_999 }]
      ] as const) {
        const { params, sql } = SqliteFilter.compile(yield* Filter.parse(input))
        const [row] = yield* client.query(documents(sql), [...params, [JSON.stringify(document)]])
        assert.strictEqual(row?.found, 1)
      }
    })
  )
})
