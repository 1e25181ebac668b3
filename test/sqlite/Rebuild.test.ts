import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as SqlMigrator from "../../src/layers/sql/SqlMigrator.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { Backend } from "../../src/services/Backend.js"
import type { MigrationStep } from "../../src/services/Migrator.js"

const families: MigrationStep = {
  id: 1,
  name: "parents and children",
  up: () => [
    "CREATE TABLE parents (id INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE)",
    "INSERT INTO parents VALUES (1, 'Ada'), (2, 'Bob')",
    "INSERT INTO children VALUES (1, 1), (2, 1), (3, 2)"
  ],
  down: () => ["DROP TABLE parents", "DROP TABLE children"]
}

const rebuild = (copied: string): MigrationStep => ({
  id: 2,
  name: "parents have names",
  up: () => [
    "CREATE TABLE new_parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    `INSERT INTO new_parents SELECT id, name FROM parents WHERE ${copied}`,
    "DROP TABLE parents",
    "ALTER TABLE new_parents RENAME TO parents"
  ],
  down: () => []
})

const count = (backend: Backend["Type"], table: string) =>
  Effect.map(backend.query(`SELECT count(*) AS n FROM ${table}`), ([row]) => row?.["n"])

describe("a migration step that makes a table anew which others refer to", () => {
  it.live("keeps their rows, and references are enforced again after it", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const { migrate } = SqlMigrator.make(backend, [families, rebuild("1 = 1")], "app")
      yield* migrate()
      assert.deepStrictEqual([yield* count(backend, "parents"), yield* count(backend, "children")], [2, 3])
      const orphan = yield* Effect.flip(backend.execute("INSERT INTO children VALUES (4, 9)"))
      assert.strictEqual(orphan._tag, "DbConstraint")
      yield* backend.execute("DELETE FROM parents WHERE id = 1")
      assert.strictEqual(yield* count(backend, "children"), 1)
      yield* migrate({ target: "empty" })
    }).pipe(Effect.provide(Sqlite.SqliteMemory))
  )

  it.live("is undone whole if it leaves a row that refers to none", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const { currentVersion, migrate } = SqlMigrator.make(backend, [families, rebuild("id = 1")], "app")
      const error = yield* Effect.flip(migrate())
      assert.deepStrictEqual([error._tag, error.message.includes("children")], ["DbConstraint", true])
      assert.deepStrictEqual(
        [yield* currentVersion, yield* count(backend, "parents"), yield* count(backend, "children")],
        [1, 2, 3]
      )
      const orphan = yield* Effect.flip(backend.execute("INSERT INTO children VALUES (4, 9)"))
      assert.strictEqual(orphan._tag, "DbConstraint")
    }).pipe(Effect.provide(Sqlite.SqliteMemory))
  )
})
