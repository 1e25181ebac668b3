import { assert, describe, it } from "@effect/vitest"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Stream from "effect/Stream"
import type { SqliteClient } from "../../src/layers/sqlite/SqliteClient.js"
import { Json, type SqlValue } from "../../src/services/Backend.js"
import { failureOf, openClient, temporaryFile } from "../support/index.js"

const table =
  "CREATE TABLE v (id INTEGER PRIMARY KEY, flag BOOLEAN, at DATETIME, stamp TIMESTAMP, n INTEGER, real REAL, text TEXT, bytes BLOB, json JSON)"

const withTable = Effect.gen(function* () {
  const client = yield* openClient({ path: ":memory:" })
  yield* client.execute(table)
  return client
})

/** What a column reads as after a value was written to it, by query, stream and RETURNING alike. */
const through = (client: SqliteClient, column: string, value: SqlValue) =>
  Effect.gen(function* () {
    yield* client.execute("DELETE FROM v")
    const { rows } = yield* client.execute(`INSERT INTO v (id, ${column}) VALUES (1, ?) RETURNING ${column} AS c`, [
      value
    ])
    const queried = yield* client.query(`SELECT ${column} AS c FROM v`)
    const streamed = yield* Stream.runCollect(client.stream(`SELECT ${column} AS c FROM v`))
    assert.deepStrictEqual(rows, queried)
    assert.deepStrictEqual(Array.from(streamed), queried)
    return queried[0]?.["c"]
  })

describe("values", () => {
  const cases: ReadonlyArray<readonly [string, SqlValue]> = [
    ["flag", true],
    ["flag", false],
    ["flag", null],
    ["at", new Date("2026-02-03T04:05:06.789Z")],
    ["stamp", new Date(0)],
    ["at", new Date("-000001-01-01T00:00:00.000Z")],
    ["at", new Date("+010000-01-01T00:00:00.000Z")],
    ["at", null],
    ["n", 0],
    ["n", Number.MAX_SAFE_INTEGER],
    ["n", 2n ** 53n + 1n],
    ["n", 2n ** 63n - 1n],
    ["n", -(2n ** 63n)],
    ["real", 0.1],
    ["real", Number.POSITIVE_INFINITY],
    ["text", ""],
    ["text", "Grüße \u{1F980} 'quoted' \"q\" ; --"],
    ["text", "nul \u0000 inside"],
    ["bytes", new Uint8Array([0, 1, 255])],
    ["bytes", new Uint8Array(0)],
    ["json", { a: [1, { b: null }], c: "x" }],
    ["json", []],
    ["json", [1, "2", null]]
  ]
  for (const [column, value] of cases) {
    const shown =
      value instanceof Date ? value.toISOString() : typeof value === "bigint" ? `${value}n` : JSON.stringify(value)
    it.scoped(`${shown} comes back from a column of ${column}`, () =>
      Effect.gen(function* () {
        const client = yield* withTable
        assert.deepStrictEqual(yield* through(client, column, value), value)
      })
    )
  }

  it.scoped("JSON at the top level comes back through Json", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      for (const value of ["text", "5", "", "null", 5, 1.5, true, false, null, { a: 1 }, ["x"]]) {
        assert.deepStrictEqual(yield* through(client, "json", new Json(value)), value)
      }
    })
  )

  it.scoped("bigints and doubles come back exactly", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      const { rows } = yield* client.readOnly(
        "SELECT 9007199254740993, -9223372036854775808, 9223372036854775807, 1e300"
      )
      assert.deepStrictEqual(rows, [[9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n, 1e300]])
      for (const n of FastCheck.sample(FastCheck.bigInt(-(2n ** 63n), 2n ** 63n - 1n), 200)) {
        const back = yield* through(client, "n", n)
        assert.strictEqual(BigInt(back as number | bigint), n)
        assert.strictEqual(typeof back, Number.isSafeInteger(Number(n)) ? "number" : "bigint")
      }
      for (const x of FastCheck.sample(FastCheck.double({ noNaN: true }), 200)) {
        assert.strictEqual(Number(yield* through(client, "real", x)) === x, true, String(x))
      }
    })
  )

  it.scoped("a row id beyond 2^53 is told exactly", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      const { lastInsertId } = yield* client.execute("INSERT INTO v (id) VALUES (?)", [2n ** 53n + 1n])
      assert.strictEqual(lastInsertId, 2n ** 53n + 1n)
      assert.deepStrictEqual(yield* client.execute("DELETE FROM v"), { rowsAffected: 1, lastInsertId: null, rows: [] })
      assert.strictEqual((yield* client.execute("INSERT INTO v (id) VALUES (7)")).lastInsertId, 7)
      assert.strictEqual((yield* client.execute("INSERT OR IGNORE INTO v (id) VALUES (7)")).lastInsertId, null)
    })
  )

  it.scoped("an integer in a TEXT column stays what it is", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      assert.strictEqual(yield* through(client, "text", 1), "1")
      assert.strictEqual(yield* through(client, "text", 1.5), "1.5")
      yield* client.sql`UPDATE v SET text = ${2}`
      assert.deepStrictEqual(yield* client.query("SELECT text FROM v"), [{ text: "2" }])
    })
  )

  it.scoped("times without a zone are UTC", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      for (const text of [
        "2026-01-02 03:04:05",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05.000Z",
        "2026-01-02 05:04:05+02:00"
      ]) {
        assert.deepStrictEqual(yield* through(client, "at", text), new Date("2026-01-02T03:04:05Z"), text)
      }
      yield* client.execute("UPDATE v SET at = CURRENT_TIMESTAMP")
      const [row] = yield* client.query("SELECT at FROM v")
      assert.isBelow(Math.abs((row!["at"] as Date).getTime() - Date.now()), 5000)
      assert.strictEqual(yield* through(client, "at", 1_700_000_000), 1_700_000_000)
    })
  )

  class Custom {}
  const cyclic: Record<string, unknown> = {}
  cyclic["self"] = cyclic
  const unsupported: ReadonlyArray<readonly [string, unknown]> = [
    ["undefined", undefined],
    ["NaN", Number.NaN],
    ["a symbol", Symbol("s")],
    ["a function", () => 1],
    ["a Map", new Map()],
    ["an object of a class", new Custom()],
    ["a lone surrogate", "x\ud800y"],
    ["an invalid Date", new Date(Number.NaN)],
    ["2^63", 2n ** 63n],
    ["-2^63 - 1", -(2n ** 63n) - 1n],
    ["Json(undefined)", new Json(undefined)],
    ["a cycle", cyclic],
    ["JSON with a bigint", { n: 1n }]
  ]
  for (const [name, value] of unsupported) {
    it.scoped(`${name} is refused by position`, () =>
      Effect.gen(function* () {
        const client = yield* withTable
        const params = [1, value as SqlValue]
        const sql = "INSERT INTO v (id, text) VALUES (?, ?)"
        const errors = [
          yield* failureOf(client.execute(sql, params)),
          yield* failureOf(client.query(sql, params)),
          yield* failureOf(client.transaction(client.execute(sql, params))),
          yield* failureOf(client.readOnly("SELECT ?, ?", { params })),
          yield* failureOf(Stream.runDrain(client.stream("SELECT ?, ?", params))),
          (yield* failureOf(client.sql.unsafe(sql, params))).cause
        ]
        for (const error of errors) {
          assert.propertyVal(error, "_tag", "InvalidInput")
          assert.propertyVal(error, "field", "params[1]")
        }
        assert.deepStrictEqual(yield* client.query("SELECT * FROM v"), [])
      })
    )
  }

  for (const params of [[], [1, 2]]) {
    it.scoped(`${params.length} values for one placeholder are refused`, () =>
      Effect.gen(function* () {
        const client = yield* withTable
        assert.strictEqual((yield* failureOf(client.query("SELECT ? AS x", params)))._tag, "InvalidInput")
        assert.strictEqual(
          (yield* failureOf(client.execute("INSERT INTO v (id) VALUES (?)", params)))._tag,
          "InvalidInput"
        )
        assert.strictEqual(
          (yield* failureOf(Stream.runDrain(client.stream("SELECT ? AS x", params))))._tag,
          "InvalidInput"
        )
      })
    )
  }

  for (const [column, stored] of [
    ["flag", "'yes'"],
    ["flag", "2"],
    ["at", "'soon'"],
    ["at", "'room 5'"],
    ["at", "'2026-13-01'"],
    ["json", "'{broken'"]
  ] as const) {
    it.scoped(`${stored} in a column of ${column} is DbCorrupt that names it`, () =>
      Effect.gen(function* () {
        const client = yield* withTable
        yield* client.execute(`INSERT INTO v (id, ${column}) VALUES (1, ${stored})`)
        for (const read of [
          client.query(`SELECT ${column} AS renamed FROM v`),
          Stream.runCollect(client.stream(`SELECT ${column} AS renamed FROM v`))
        ]) {
          const error = yield* failureOf<unknown, { readonly _tag: string; readonly message: string }, never>(read)
          assert.strictEqual(error._tag, "DbCorrupt")
          assert.include(error.message, `v.${column}`)
          assert.notInclude(error.message, stored.replaceAll("'", ""))
        }
        const returning = yield* failureOf(
          client.execute(`INSERT INTO v (${column}) VALUES (${stored}) RETURNING ${column}`)
        )
        assert.strictEqual(returning.applied, "yes")
      })
    )
  }

  it.scoped("of columns that share a name the last is read, by its own type", () =>
    Effect.gen(function* () {
      const client = yield* withTable
      yield* client.execute("CREATE TABLE w (flag BOOLEAN, json TEXT)")
      yield* client.execute("INSERT INTO v (flag, json) VALUES (1, ?)", [new Json("a")])
      yield* client.execute("INSERT INTO w VALUES (1, 'plain')")
      assert.deepStrictEqual(yield* client.query("SELECT v.flag, w.flag, v.json, w.json FROM v, w"), [
        { flag: true, json: "plain" }
      ])
      assert.deepStrictEqual(yield* client.query("SELECT v.json, v.json FROM v"), [{ json: "a" }])
    })
  )
})

describe("the statement cache", () => {
  const fresh = Effect.gen(function* () {
    const path = yield* temporaryFile
    const client = yield* openClient({ path })
    yield* client.execute("CREATE TABLE s (a TEXT)")
    yield* client.execute("INSERT INTO s VALUES ('x')")
    return client
  })
  const read = (client: SqliteClient) => client.query("SELECT * FROM s")
  const readings = (client: SqliteClient) =>
    Effect.all([
      read(client),
      client.transaction(read(client)),
      Effect.map(Stream.runCollect(client.stream("SELECT * FROM s")), (rows) => Array.from(rows)),
      Effect.map(client.execute("UPDATE s SET a = a RETURNING *"), ({ rows }) => rows)
    ])

  it.scoped("follows a view that is made anew, whatever words stand in it", () =>
    Effect.gen(function* () {
      const client = yield* fresh
      yield* client.execute("CREATE TABLE typed (a JSON, b BOOLEAN)")
      yield* client.execute("INSERT INTO typed VALUES ('[1]', 1)")
      yield* client.execute("CREATE VIEW w AS SELECT a AS c, replace(1, 2, 3) AS d FROM typed")
      assert.deepStrictEqual(yield* client.query("SELECT c FROM w"), [{ c: [1] }])
      yield* client.transaction(
        Effect.gen(function* () {
          yield* client.query("SELECT c FROM w")
          yield* client.execute("DROP VIEW w")
          yield* client.execute("CREATE VIEW w AS SELECT b AS c, replace(1, 2, 3) AS d FROM typed")
          assert.deepStrictEqual(yield* client.query("SELECT c FROM w"), [{ c: true }])
        })
      )
      assert.deepStrictEqual(yield* client.query("SELECT c FROM w"), [{ c: true }])
    })
  )

  const changes: ReadonlyArray<readonly [string, string, ReadonlyArray<unknown>]> = [
    ["a column is added", "ALTER TABLE s ADD COLUMN b BOOLEAN DEFAULT 1", [{ a: "x", b: true }]],
    [
      "a column is renamed",
      "ALTER TABLE s RENAME COLUMN a TO b; ALTER TABLE s ADD COLUMN a TEXT",
      [{ b: "x", a: null }]
    ],
    [
      "a table is made anew",
      "DROP TABLE s; CREATE TABLE s (a JSON, z BLOB); INSERT INTO s VALUES ('[1]', x'01')",
      [{ a: [1], z: new Uint8Array([1]) }]
    ],
    ["a column takes another type", "DROP TABLE s; CREATE TABLE s (a BOOLEAN); INSERT INTO s VALUES (1)", [{ a: true }]]
  ]
  for (const [name, ddl, expected] of changes) {
    it.scoped(`follows when ${name} by this client`, () =>
      Effect.gen(function* () {
        const client = yield* fresh
        yield* readings(client)
        for (const text of ddl.split("; ")) yield* client.execute(text)
        for (const rows of yield* readings(client)) assert.deepStrictEqual(rows, expected)
      })
    )

    it.scopedLive(`follows when ${name} by another connection`, () =>
      Effect.gen(function* () {
        const client = yield* fresh
        yield* readings(client)
        const other = new Sqlite(client.options.path)
        yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
        other.exec(ddl)
        // Whatever happens in one turn of the event loop cannot be told apart; two are enough for everybody.
        yield* Effect.sleep(1)
        for (const rows of yield* readings(client)) assert.deepStrictEqual(rows, expected)
      })
    )
  }

  it.scoped("follows when a change of the schema is rolled back", () =>
    Effect.gen(function* () {
      const client = yield* fresh
      yield* Effect.ignore(
        client.transaction(
          Effect.gen(function* () {
            yield* client.execute("DROP TABLE s")
            yield* client.execute("CREATE TABLE s (a BOOLEAN)")
            yield* client.execute("INSERT INTO s VALUES (1)")
            assert.deepStrictEqual(yield* read(client), [{ a: true }])
            return yield* Effect.fail("no")
          })
        )
      )
      for (const rows of yield* readings(client)) assert.deepStrictEqual(rows, [{ a: "x" }])
    })
  )

  it.scoped("works on beyond its size", () =>
    Effect.gen(function* () {
      const client = yield* fresh
      for (let i = 0; i < 1500; i++) assert.deepStrictEqual(yield* client.query(`SELECT ${i} AS n`), [{ n: i }])
      assert.deepStrictEqual(yield* client.query("SELECT 0 AS n"), [{ n: 0 }])
    })
  )
})
