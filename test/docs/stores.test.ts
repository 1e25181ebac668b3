import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { storeDocs, target } from "../../scripts/write-store-docs.js"

describe("docs/stores.md", () => {
  const { problems, text } = storeDocs()

  it("tells of every operation what it does", () => {
    assert.deepStrictEqual(problems, [])
  })

  it("is the one that was committed; run `npx tsx scripts/write-store-docs.ts` after a change", () => {
    assert.strictEqual(readFileSync(target, "utf8"), text)
  })
})
