import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"

const schemaOf = (...statements: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const backend = yield* Sqlite.make({ path: ":memory:" })
    for (const statement of statements) yield* backend.execute(statement)
    return yield* backend.schema()
  })

describe("schema of SQLite", () => {
  it.scoped("tells the rest although views are broken", () =>
    Effect.gen(function* () {
      const tables = yield* schemaOf(
        "CREATE TABLE t (a INTEGER)",
        "CREATE VIEW dangling AS SELECT a FROM missing",
        "CREATE VIEW helpless AS SELECT no_such_function(a) FROM t",
        "CREATE VIEW one AS SELECT * FROM two",
        "CREATE VIEW two AS SELECT * FROM one",
        "CREATE VIEW whole AS SELECT a FROM t"
      )
      assert.deepStrictEqual(
        tables.map(({ columns, kind, name }) => [name, kind, columns.map((column) => column.name)]),
        [
          ["dangling", "view", []],
          ["helpless", "view", []],
          ["one", "view", []],
          ["t", "table", ["a"]],
          ["two", "view", []],
          ["whole", "view", ["a"]]
        ]
      )
    })
  )

  it.scoped("tells generated columns, virtual tables, and indexes over expressions", () =>
    Effect.gen(function* () {
      const tables = yield* schemaOf(
        "CREATE TABLE t (a INTEGER, b INTEGER AS (a + 1) VIRTUAL, c INTEGER AS (a + 2) STORED)",
        "CREATE INDEX i ON t (a, b + c)",
        "CREATE VIRTUAL TABLE words USING fts5(body)",
        "CREATE TABLE w (k TEXT PRIMARY KEY) WITHOUT ROWID"
      )
      assert.deepStrictEqual(
        tables.map(({ columns, kind, name }) => [name, kind, columns.map((column) => column.name)]),
        [
          ["t", "table", ["a", "b", "c"]],
          ["w", "table", ["k"]],
          ["words", "virtual", ["body"]]
        ]
      )
      assert.deepStrictEqual(tables[0]?.indexes, [{ name: "i", unique: false, columns: ["a", null] }])
    })
  )

  it.scoped("estimates rows also where columns bear the names of the row id", () =>
    Effect.gen(function* () {
      const tables = yield* schemaOf(
        "CREATE TABLE a (rowid TEXT)",
        "INSERT INTO a VALUES ('x'), ('y')",
        "CREATE TABLE b (rowid TEXT, _ROWID_ TEXT, oid TEXT)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY)",
        "INSERT INTO c VALUES (-5)"
      )
      assert.deepStrictEqual(
        tables.map(({ rowEstimate }) => rowEstimate),
        [2, null, 0]
      )
    })
  )
})
