import * as FastCheck from "effect/FastCheck"
import { assert, describe, it } from "vitest"
import * as RowNumbers from "../../src/vector/RowNumbers.js"

describe("RowNumbers", () => {
  it("is a map, whatever the keys", () => {
    // Near and beyond the ends of blocks, and as large as row ids get.
    const key = FastCheck.oneof(
      FastCheck.integer({ min: 0, max: 5 }),
      FastCheck.integer({ min: 65_530, max: 65_540 }),
      FastCheck.integer({ min: 2 ** 32 - 3, max: 2 ** 32 + 3 }),
      FastCheck.constantFrom(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 65_536, -1, -65_537)
    )
    const step = FastCheck.tuple(FastCheck.boolean(), key, FastCheck.nat())
    FastCheck.assert(
      FastCheck.property(FastCheck.array(step, { maxLength: 60 }), (steps) => {
        const rows = RowNumbers.make()
        const expected = new Map<number, number>()
        for (const [sets, key, row] of steps) {
          if (sets) {
            rows.set(key, row)
            expected.set(key, row)
          } else {
            rows.delete(key)
            expected.delete(key)
          }
          assert.strictEqual(rows.size(), expected.size)
          assert.strictEqual(rows.get(key), expected.get(key))
        }
        for (const [, key] of steps) {
          assert.strictEqual(rows.has(key), expected.has(key))
          assert.strictEqual(rows.get(key), expected.get(key))
        }
      })
    )
  })
})
