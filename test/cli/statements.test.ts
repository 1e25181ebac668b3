import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { document, emptyPlace, errorOf, place } from "./support.js"

const snapshot = (file: string) => NodeFs.readFileSync(file)

describe("query", () => {
  it.scoped("an aligned table: numbers to the right, NULL told from the empty text", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const outcome = yield* hub(["query", "SELECT * FROM users"])
      assert.strictEqual(
        outcome.out,
        ["id  name  score", "--  ----  -----", " 1  Ada     1.5", " 2         NULL", " 3  NULL     10", ""].join("\n")
      )
      assert.deepStrictEqual([outcome.code, outcome.err], [0, ""])
    })
  )

  it.scoped("--json keeps what text would lose: duplicate names, large integers, bytes, infinities", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const sql = "SELECT 1 AS a, 2 AS a, 9223372036854775807 AS big, x'0102' AS b, 9e999 AS inf, NULL AS n, '' AS e"
      assert.deepStrictEqual(document(yield* hub(["query", sql, "--json"])), {
        columns: ["a", "a_2", "big", "b", "inf", "n", "e"],
        rows: [{ a: 1, a_2: 2, big: "9223372036854775807", b: "AQI=", inf: "Infinity", n: null, e: "" }],
        count: 1,
        truncated: false,
        reason: null,
        notes: { big: "integers beyond 2^53 as text", b: "bytes as base64", inf: "NaN and infinities as text" }
      })
      assert.deepStrictEqual(document(yield* hub(["query", "SELECT 1 AS a WHERE 0", "--json"])).rows, [])
    })
  )

  it.scoped("DevClaw: exactly max rows are not truncated, one more is", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const rows = (n: number) =>
        `WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT ${n}) SELECT x FROM c`
      for (const [n, max, truncated] of [
        [99, undefined, false],
        [100, undefined, false],
        [101, undefined, true],
        [3, 3, false],
        [4, 3, true],
        [1, 1, false],
        [2, 1, true]
      ] as const) {
        const limit = max === undefined ? [] : ["--max-rows", String(max)]
        const found = document(yield* hub(["query", rows(n), "--json", ...limit]))
        assert.deepStrictEqual([found.count, found.truncated], [Math.min(n, max ?? 100), truncated], `${n} of ${max}`)
        const { err } = yield* hub(["query", rows(n), ...limit])
        assert.strictEqual(err.startsWith("note: "), truncated)
      }
    })
  )

  it.scoped("bind parameters: any JSON, exact integers, bytes; what is no JSON is a usage error", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const params = ['"x"', "-1", "null", "9223372036854775807", '{"$base64": "AQI="}', "true", "[1]"]
      const sql = `SELECT ${params.map((_, i) => `? AS p${i}`).join(", ")}`
      const [row] = document(yield* hub(["query", sql, "--json", ...params.flatMap((text) => ["--param", text])])).rows
      assert.deepStrictEqual(row, {
        p0: "x",
        p1: -1,
        p2: null,
        p3: "9223372036854775807",
        p4: "AQI=",
        p5: 1,
        p6: "[1]"
      })
      const equals = yield* hub(["query", "SELECT ? AS a", '--param="a=b"', "--json=true"])
      assert.deepStrictEqual(document(equals).rows, [{ a: "a=b" }])
      const kept = '{"id":"9007199254740993","n":[9007199254740992,1e20,0.1],"9007199254740993":"\\"9007199254740993"}'
      const [same] = document(yield* hub(["query", "SELECT ? AS a", "--json", "--param", kept])).rows
      assert.deepStrictEqual(JSON.parse(same.a), JSON.parse(kept))
      for (const other of ['{"id":9007199254740993}', "[1,[9007199254740993]]", "1e400", '{"n":-1e400}']) {
        const { code, err } = yield* hub(["query", "SELECT ? AS a", "--param", other])
        assert.deepStrictEqual(
          [code, err.includes("param[0] has a number that would become another")],
          [2, true],
          other
        )
      }
      for (const args of [["--param", "abc"], ["--param", '{"$base64": "!"}'], [], ["--param", "1", "--param", "2"]]) {
        const outcome = yield* hub(["query", "SELECT ? AS a", ...args])
        assert.strictEqual(outcome.code, 2, args.join(" "))
        assert.match(outcome.err, /^error: .*\n/)
        assert.notInclude(outcome.err, "abc")
      }
    })
  )

  it.scoped("SQL from standard input, and SQL that begins with a dash", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const stdin = "-- a comment\nSELECT count(*) AS n FROM users;\n"
      assert.deepStrictEqual(document(yield* hub(["query", "-", "--json"], { stdin })).rows, [{ n: 3 }])
      assert.deepStrictEqual(document(yield* hub(["query", "--json", "--", stdin])).rows, [{ n: 3 }])
      assert.deepStrictEqual(document(yield* hub(["query", stdin, "--json"])).rows, [{ n: 3 }])
      assert.strictEqual((yield* hub(["query", "-"], { stdin: " \n" })).code, 2)
    })
  )

  it.scoped("DevClaw: reads in every form are let through", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      for (const sql of [
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        "VALUES (1)",
        "/* c */ SELECT 1",
        "; SELECT 1",
        "SELECT 1;",
        "EXPLAIN SELECT 1",
        "EXPLAIN QUERY PLAN SELECT 1",
        "PRAGMA table_info(users)",
        "PRAGMA user_version",
        "SELECT * FROM pragma_table_info('users')"
      ]) {
        const outcome = yield* hub(["query", sql])
        assert.strictEqual(outcome.code, 0, `${sql}: ${outcome.err}`)
      }
    })
  )

  it.scoped("DevClaw: writes in every form are refused, and nothing changes", () =>
    Effect.gen(function* () {
      const { database, folder, hub } = yield* place
      const before = snapshot(database)
      const other = NodePath.join(folder, "stolen.db")
      for (const sql of [
        "DELETE FROM users",
        "INSERT INTO users (name) VALUES ('x') RETURNING id",
        "UPDATE users SET name = 'x'",
        "REPLACE INTO users (id, name) VALUES (1, 'x')",
        "CREATE TABLE x (a)",
        "DROP TABLE users",
        "SELECT 1; DELETE FROM users",
        `SELECT 1; ATTACH '${other}' AS o`,
        `SELECT 1; VACUUM INTO '${other}'`,
        "SELECT 1; WITH x AS (SELECT 1) DELETE FROM users",
        "WITH x AS (SELECT 1) DELETE FROM users",
        "WITH x AS (SELECT 1) INSERT INTO users (name) SELECT 'x' FROM x",
        `ATTACH '${other}' AS o`,
        `VACUUM INTO '${other}'`,
        "VACUUM",
        "REINDEX",
        "ANALYZE",
        "PRAGMA user_version = 9",
        "PRAGMA user_version(9)",
        "PRAGMA main.user_version = 9",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA query_only = OFF",
        "PRAGMA optimize",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "BEGIN IMMEDIATE",
        "/* SELECT */ DELETE FROM users",
        "; DELETE FROM users"
      ]) {
        const outcome = yield* hub(["query", sql, "--json"])
        assert.include([1, 2], outcome.code, sql)
        assert.include(["DbReadOnly", "InvalidInput", "DbQuery"], errorOf(outcome).type, sql)
        assert.strictEqual(outcome.out, "", sql)
      }
      assert.isTrue(before.equals(snapshot(database)))
      assert.isFalse(NodeFs.existsSync(other))
      assert.deepStrictEqual(document(yield* hub(["query", "PRAGMA user_version", "--json"])).rows, [
        { user_version: 0 }
      ])
    })
  )

  it.scoped("data cannot drive the terminal: controls are escaped in tables, messages and documents", () =>
    Effect.gen(function* () {
      const { hub, using } = yield* place
      const nasty = "\u001b[31mred\u0007\r\n\t\u009b2J\u202eevil"
      yield* using((backend) => backend.execute(`CREATE TABLE "n\u001b[2J" ("c\u001b[1m" TEXT)`))
      yield* using((backend) => backend.execute(`INSERT INTO "n\u001b[2J" VALUES (?)`, [nasty]))
      for (const args of [
        ["query", `SELECT * FROM "n\u001b[2J"`],
        ["query", `SELECT * FROM "n\u001b[2J"`, "--json"],
        ["schema"],
        ["schema", "n\u001b[2J"],
        ["query", `SELECT * FROM "missing\u001b[2J"`],
        ["query", "SELECT 1", "--backend", "\u001b[2J"],
        ["query", "SELECT 1", "--\u001b[2J"],
        ["\u001b[2J"]
      ]) {
        const { err, out } = yield* hub(args)
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        assert.notMatch(out + err, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/, JSON.stringify(args))
      }
      const { out } = yield* hub(["query", `SELECT * FROM "n\u001b[2J"`])
      assert.include(out, "\\x1b[31mred\\x07\\r\\n\\t\\x9b2J\\u202eevil")
      assert.strictEqual(
        document(yield* hub(["query", `SELECT * FROM "n\u001b[2J"`, "--json"])).rows[0]["c\u001b[1m"],
        nasty
      )
    })
  )

  it.scoped("long cells are cut on a terminal only", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const sql = "SELECT printf('%.*c', 300, 'x') AS long, '日本語' AS wide, 7 AS n"
      const cut = yield* hub(["query", sql], { columns: 60 })
      for (const line of cut.out.trimEnd().split("\n")) assert.isAtMost(line.length, 60)
      assert.include(cut.out, "…")
      assert.include((yield* hub(["query", sql])).out, "x".repeat(300))
    })
  )

  it.scoped("colours only where they are asked for", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      assert.include((yield* hub(["query", "SELECT NULL AS n"], { colors: true })).out, "\u001b[")
      assert.notInclude((yield* hub(["query", "SELECT NULL AS n"])).out, "\u001b[")
      assert.notInclude((yield* hub(["query", "SELECT NULL AS n", "--json"], { colors: true })).out, "\u001b[")
    })
  )
})

describe("execute", () => {
  it.scoped("rows affected, the last inserted id, RETURNING rows", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const insert = ["execute", "INSERT INTO users (name) VALUES (?)", "--param", '"Bob"']
      assert.strictEqual((yield* hub(insert)).out, "1 row affected, last inserted id 4\n")
      assert.deepStrictEqual(document(yield* hub([...insert, "--json"])), {
        rows_affected: 1,
        last_insert_id: 5,
        rows: []
      })
      const returning = "INSERT INTO users (name) VALUES ('C') RETURNING id, name"
      assert.deepStrictEqual(document(yield* hub(["execute", "-", "--json"], { stdin: returning })).rows, [
        { id: 6, name: "C" }
      ])
      assert.deepStrictEqual(document(yield* hub(["execute", "UPDATE users SET score = 1 WHERE id > 3", "--json"])), {
        rows_affected: 3,
        last_insert_id: null,
        rows: []
      })
      assert.include((yield* hub(["execute", returning])).out, "id  name\n")
    })
  )

  it.scoped("one statement at a time; a refusal has a type and an exit code", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const two = yield* hub(["execute", "DELETE FROM users; DELETE FROM users", "--json"])
      assert.deepStrictEqual([two.code, errorOf(two).code], [2, "HUB_ONE_STATEMENT"])
      const taken = yield* hub(["execute", "INSERT INTO users (id) VALUES (1)", "--json"])
      assert.deepStrictEqual([taken.code, errorOf(taken).type], [1, "DbConflict"])
      assert.strictEqual((yield* hub(["execute", "NONSENSE"])).code, 1)
      assert.strictEqual(document(yield* hub(["query", "SELECT count(*) AS n FROM users", "--json"])).rows[0].n, 3)
    })
  )
})

describe("a database that is not there", () => {
  it.scoped("is a clear error to every command that reads, and is not made", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* emptyPlace
      for (const args of [
        ["query", "SELECT 1"],
        ["schema"],
        ["backup"],
        ["vector", "collections"],
        ["vector", "search", "c", "text"]
      ]) {
        const outcome = yield* hub(args)
        assert.strictEqual(outcome.code, 1, args.join(" "))
        assert.match(outcome.err, /^error: There is no database at .*hub\.db.*\nhint: .*migrate/, args.join(" "))
        assert.strictEqual(errorOf(yield* hub([...args, "--json"])).code, "HUB_NO_FILE")
      }
      assert.strictEqual((yield* hub(["status"])).code, 1)
      assert.strictEqual((yield* hub(["doctor"])).code, 1)
      assert.strictEqual((yield* hub(["backends"])).code, 0)
      assert.strictEqual((yield* hub(["migrate", "--dry-run"])).code, 0)
      assert.deepStrictEqual(NodeFs.readdirSync(folder), ["db-hub.json"])
    })
  )

  it.scoped("execute makes it and runs no migration", () =>
    Effect.gen(function* () {
      const { hub } = yield* emptyPlace
      assert.strictEqual((yield* hub(["execute", "CREATE TABLE t (a)"])).code, 0)
      const [primary] = document(yield* hub(["status", "--backend", "primary", "--json"])).backends
      assert.deepStrictEqual([primary.healthy, primary.schema_version], [true, 0])
    })
  )
})
