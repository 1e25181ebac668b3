import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { dialect as postgresql } from "../../src/layers/postgres/PostgresDialect.js"
import * as SqlMigrator from "../../src/layers/sql/SqlMigrator.js"
import { dialect as sqlite } from "../../src/layers/sqlite/SqliteDialect.js"
import { hubMigrations } from "../../src/migrations/index.js"

/** Per engine, the digest of every step in order. Databases remember these: add to them, change none. */
const shipped: Readonly<Record<string, ReadonlyArray<string>>> = JSON.parse(
  NodeFs.readFileSync(new URL("checksums.json", import.meta.url), "utf8")
)

describe("the hub's own migrations", () => {
  for (const [engine, dialect] of Object.entries({ sqlite, postgresql })) {
    it(`are, on ${engine}, those that databases remember; a new one is added to checksums.json`, () => {
      const now = hubMigrations.map((step) => `${step.id} ${step.name} ${SqlMigrator.checksumOf(step, dialect)}`)
      assert.deepStrictEqual(now, shipped[engine])
    })
  }
})
