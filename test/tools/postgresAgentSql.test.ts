import * as NodeNet from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Pglite from "../../src/layers/postgres/Pglite.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import type { AgentSqlOptions } from "../../src/services/AgentSql.js"
import { failureOf } from "../support/index.js"
import { noServer, optionsFor, outside, serverUrl, temporaryDatabase } from "../support/postgres.js"

const opened = (options?: AgentSqlOptions) =>
  Effect.gen(function* () {
    const backend = yield* Postgres.make({ ...optionsFor(yield* temporaryDatabase), migrate: false })
    yield* backend.execute("CREATE TABLE t (id bigint PRIMARY KEY, x text)")
    yield* backend.execute("INSERT INTO t (id) VALUES (1), (2), (3)")
    return { backend, door: yield* backend.agentSql(options) }
  })

/** Reads through a proxy that joins what the door connects from with the server. */
const doorBehind = (join: (client: NodeNet.Socket, server: NodeNet.Socket) => void) =>
  Effect.gen(function* () {
    const database = yield* temporaryDatabase
    const url = new URL(serverUrl)
    const { hostname, port } = url
    const proxy = yield* Effect.acquireRelease(
      Effect.async<NodeNet.Server>((resume) => {
        const server = NodeNet.createServer((client) => {
          const onward = NodeNet.connect(Number(port), hostname)
          client.on("error", () => {}).on("close", () => onward.destroy())
          onward.on("error", () => {})
          join(client, onward)
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close())
    )
    url.host = `127.0.0.1:${(proxy.address() as NodeNet.AddressInfo).port}`
    const options = { ...optionsFor(database, url.href), sslMode: "disable", migrate: false } as const
    const backend = yield* Postgres.make(options)
    return yield* backend.agentSql({ concurrency: 1, deadline: "3 seconds" })
  })

const slow = "SELECT count(*) FROM generate_series(1, 1000000000) a"

describe.skipIf(noServer)("agents' SQL on PostgreSQL", { timeout: 60_000 }, () => {
  it.scopedLive(
    "a statement is stopped at its deadline, and the next one works",
    () =>
      Effect.gen(function* () {
        const { door } = yield* opened({ deadline: "500 millis" })
        yield* door.query("SELECT 1")
        const started = performance.now()
        const error = yield* failureOf(door.query(slow))
        const taken = performance.now() - started
        assert.strictEqual(error._tag, "DbTimeout")
        assert.isAtLeast(taken, 499)
        assert.isBelow(taken, 600)
        const all = yield* Effect.all(
          [1, 2, 3, 4].map(() => failureOf(door.query(slow))),
          { concurrency: 4 }
        )
        assert.deepStrictEqual(new Set(all.map(({ _tag }) => _tag)), new Set(["DbTimeout"]))
        assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[3]])
      }),
    // A machine that is busy may be late.
    { retry: 5 }
  )

  it.scopedLive("where the connection is lost a statement ends at its deadline, and the next one works", () =>
    Effect.gen(function* () {
      let lost = 0
      const door = yield* doorBehind((client, server) => {
        let gone = false
        client.on("data", (bytes) => {
          if (lost === 0 && bytes.includes("ROLLBACK")) {
            gone = true
            lost++
          }
          if (!gone) server.write(bytes)
        })
        server.on("data", (bytes) => void (gone || client.write(bytes)))
        server.on("close", () => void (gone || client.destroy()))
      })
      assert.strictEqual((yield* failureOf(door.query("SELECT 1")))._tag, "DbTimeout")
      assert.deepStrictEqual((yield* door.query("SELECT 2")).rows, [[2]])
      assert.strictEqual(lost, 1)
    })
  )

  it.scopedLive("a statement is one round trip, however many rows it may answer with", () =>
    Effect.gen(function* () {
      let heard = ""
      const door = yield* doorBehind((client, server) => {
        client.pipe(server)
        server.on("data", (bytes) => {
          heard += bytes.toString("latin1")
          client.write(bytes)
        })
        server.on("close", () => client.destroy())
      })
      const sql = "SELECT * FROM generate_series(1, 1000)"
      yield* door.query(sql)
      heard = ""
      assert.strictEqual((yield* door.query(sql)).rows.length, 100)
      const ready = "Z\0\0\0\x05I"
      assert.deepStrictEqual([heard.split(ready).length - 1, heard.endsWith(ready)], [1, true])
    })
  )

  it.scopedLive("what PostgreSQL brings as operators, casts and aggregates calls no volatile function", () =>
    Effect.gen(function* () {
      const { backend } = yield* opened()
      for (const [table, columns] of [
        ["pg_operator", ["oprcode"]],
        ["pg_cast", ["castfunc"]],
        ["pg_aggregate", ["aggtransfn", "aggfinalfn", "aggcombinefn", "aggserialfn", "aggdeserialfn", "aggmtransfn"]],
        ["pg_aggregate", ["aggminvtransfn", "aggmfinalfn"]]
      ] as const) {
        const [object] = table === "pg_aggregate" ? ["aggfnoid"] : ["oid"]
        const found = yield* backend.query(
          `SELECT p.proname FROM ${table} o JOIN pg_proc p ON p.oid IN (${columns.map((column) => `o.${column}`).join(", ")})
           WHERE o.${object} < 16384 AND p.provolatile = 'v'`
        )
        assert.deepStrictEqual(found, [], table)
      }
    })
  )

  it.scopedLive("the limits are exact, and each says so", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const series = (n: number, maxRows: number) =>
        door.query("SELECT * FROM generate_series(1, ?::int)", { params: [n], maxRows })
      const rows = yield* Effect.forEach([99, 100, 101, 100000], (n) => series(n, 100))
      assert.deepStrictEqual(
        rows.map(({ reason, rows, truncated }) => [rows.length, truncated, reason]),
        [
          [99, false, null],
          [100, false, null],
          [100, true, "more than 100 rows"],
          [100, true, "more than 100 rows"]
        ]
      )
      for (const maxRows of [999, 1000, 1001, 2002, 2003]) {
        for (const n of [0, maxRows - 1, maxRows, maxRows + 1, 10_000]) {
          const { rows, truncated } = yield* series(n, maxRows)
          assert.deepStrictEqual([rows.length, truncated], [Math.min(n, maxRows), n > maxRows], `${n} of ${maxRows}`)
        }
      }
      const wide = "SELECT 'aaaaaaaa' UNION ALL SELECT 'aaaaaaaa'"
      assert.strictEqual((yield* door.query(wide, { maxBytes: 27 })).truncated, false)
      assert.strictEqual((yield* door.query(wide, { maxBytes: 26 })).reason, "more than 26 bytes")
      const cell = yield* door.query("SELECT repeat('x', 3000), repeat('y', 2000)")
      assert.deepStrictEqual([String(cell.rows[0]?.[0]).length, cell.reason], [2000, "1 cell cut to 2000 characters"])
    })
  )

  it.scopedLive("of an answer that has all its bytes the rest is not read, and the next one comes", () =>
    Effect.gen(function* () {
      const { door } = yield* opened({ concurrency: 1 })
      const { reason, rows } = yield* door.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)", {
        maxBytes: 5000
      })
      assert.deepStrictEqual([rows.length, reason], [2, "more than 5000 bytes; 2 cells cut to 2000 characters"])
      assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]])
    })
  )

  it.scopedLive("an answer too large for memory is cut off, and the next one comes", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const error = yield* failureOf(door.query("SELECT repeat('x', 200000000)"))
      assert.strictEqual(error.code, "HUB_TOO_LARGE")
      assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]])
    })
  )

  it.scopedLive("values keep their meaning", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const { columns, notes, rows } = yield* door.query(
        "SELECT 9007199254740993::bigint AS a, '\\x00ff'::bytea AS a, NULL AS n, '' AS e, 'NaN'::float8 AS f, " +
          "'[1, {\"k\": null}]'::jsonb AS j, timestamptz '2026-01-02 03:04:05Z' AS at, true AS b, 1.50::numeric AS d"
      )
      assert.deepStrictEqual(columns, ["a", "a_2", "n", "e", "f", "j", "at", "b", "d"])
      assert.deepStrictEqual(rows, [
        ["9007199254740993", "AP8=", null, "", "NaN", [1, { k: null }], "2026-01-02T03:04:05.000Z", true, "1.50"]
      ])
      assert.deepStrictEqual(Object.keys(notes), ["a", "a_2", "f"])
    })
  )

  it.scopedLive("a function of the user's own that may write is refused, in every form of call", () =>
    Effect.gen(function* () {
      const { backend, door } = yield* opened()
      yield* backend.execute(
        "CREATE FUNCTION wipe(t) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT pg_advisory_lock(1); SELECT 1'"
      )
      yield* backend.execute("CREATE OPERATOR !!! (FUNCTION = wipe, RIGHTARG = t)")
      for (const sql of [
        "SELECT wipe(t) FROM t",
        "SELECT t.wipe FROM t",
        "SELECT (t).wipe FROM t",
        "SELECT !!! t FROM t"
      ]) {
        assert.strictEqual((yield* failureOf(door.query(sql)))._tag, "DbReadOnly", sql)
      }
      yield* backend.execute("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'")
      assert.deepStrictEqual((yield* door.query("SELECT twice(4)")).rows, [[8]])
    })
  )

  it.scopedLive("a function that was read with is refused as soon as it may write", () =>
    Effect.gen(function* () {
      const { backend, door } = yield* opened({ concurrency: 1 })
      yield* backend.execute("CREATE FUNCTION one() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'")
      for (let n = 0; n < 3; n++) {
        // Seen, and known from the time before.
        for (const sql of ["SELECT one()", "SELECT one()", "SELECT one() AS again"]) {
          assert.deepStrictEqual((yield* door.query(sql)).rows, [[1]], sql)
        }
        yield* backend.execute("ALTER FUNCTION one() VOLATILE")
        assert.strictEqual((yield* failureOf(door.query("SELECT one()")))._tag, "DbReadOnly")
        yield* backend.execute("ALTER FUNCTION one() STABLE")
      }
    })
  )

  it.scopedLive(
    "what begins and ends a string is what the parser takes it for, also on a server that would differ",
    () =>
      Effect.gen(function* () {
        const database = yield* temporaryDatabase
        const backend = yield* Postgres.make({ ...optionsFor(database), migrate: false })
        yield* backend.execute(`ALTER DATABASE ${database} SET standard_conforming_strings = off`)
        const door = yield* backend.agentSql()
        const { columns } = yield* door.query("SELECT '\\' AS a, ' , pg_ls_dir(chr(47)) --' AS b")
        assert.deepStrictEqual(columns, ["a", "b"])
      })
  )

  it.scopedLive("what is wrong with a statement is told, without the values in it", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const wrong = [
        [
          "SELECT x, count(*) FROM t",
          'column "t.x" must appear in the GROUP BY clause or be used in an aggregate function'
        ],
        ["SELECT u.x FROM t", 'missing FROM-clause entry for table "u"'],
        ["SELECT t.x FROM t a", 'invalid reference to FROM-clause entry for table "t"'],
        ["SELECT * FROM t, t", 'table name "t" specified more than once'],
        ["SELECT 1 UNION SELECT 1, 2", "each UNION query must have the same number of columns"],
        ["SELECT 1 UNION SELECT now()", "UNION types integer and timestamp with time zone cannot be matched"],
        ["SELECT id FROM t WHERE id", "argument of WHERE must be type boolean, not type bigint"],
        ["SELECT 1 FROM t WHERE count(*) > 1", "aggregate functions are not allowed in WHERE"],
        ["SELECT (SELECT id FROM t)", "more than one row returned by a subquery used as an expression"],
        ["SELECT (SELECT 1, 2)", "subquery must return only one column"],
        ["SELECT now()::int", "cannot cast type timestamp with time zone to integer"],
        ["SELECT 'hunter2'::date", "invalid input syntax for type date"],
        ["SELECT 'x' ~ '(hunter2'", "invalid regular expression"],
        ["SELECT 'hunter2 (:'::tsquery", "syntax error in tsquery"]
      ] as const
      for (const [sql, message] of wrong) {
        const told = (yield* failureOf(door.query(sql))).message
        assert.strictEqual(told.split(";")[0], `PostgreSQL: ${message}`)
      }
    })
  )

  it.scopedLive("columns may have the names of functions that nobody can call", () =>
    Effect.gen(function* () {
      const { backend, door } = yield* opened()
      yield* backend.execute("CREATE TABLE named (system text, random int)")
      assert.deepStrictEqual((yield* door.query("SELECT n.system, (n).random FROM named n")).rows, [])
    })
  )

  it.scopedLive("a session keeps no lock that a function took behind its back", () =>
    Effect.gen(function* () {
      const { backend, door } = yield* opened({ concurrency: 1 })
      yield* backend.execute(
        "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN PERFORM pg_advisory_lock(7); RETURN 1; END'"
      )
      assert.deepStrictEqual((yield* door.query("SELECT sneaky()")).rows, [[1]])
      // On the same connection, so after what the first left to do.
      const locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7"
      assert.deepStrictEqual((yield* door.query(locks)).rows, [[0]])
    })
  )

  it.scopedLive("a role sees what it was granted, and nothing else", () =>
    Effect.gen(function* () {
      const role = `reader_${globalThis.crypto.randomUUID().slice(0, 8)}`
      const { backend, door } = yield* opened({ role })
      yield* backend.execute("CREATE TABLE hidden (x int)")
      yield* backend.execute(`CREATE ROLE ${role}`)
      yield* Effect.addFinalizer(() => outside(serverUrl, `DROP ROLE IF EXISTS ${role}`))
      yield* backend.execute(`GRANT SELECT ON t TO ${role}`)
      yield* Effect.addFinalizer(() => Effect.ignore(backend.execute(`DROP OWNED BY ${role}`)))
      assert.deepStrictEqual((yield* door.query("SELECT count(*), current_user FROM t")).rows, [[3, role]])
      for (const sql of [
        "SELECT * FROM hidden",
        "SELECT * FROM pg_stat_file('x')",
        "SELECT rolpassword FROM pg_authid"
      ]) {
        yield* failureOf(door.query(sql))
      }
      assert.deepStrictEqual((yield* door.query("SELECT current_user")).rows, [[role]])
    })
  )

  it.scopedLive("nothing that is nested or long breaks the parser for who comes next", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      for (const sql of [
        `SELECT ${"(".repeat(5000)}1${")".repeat(5000)}`,
        `SELECT 1${" + 1".repeat(20000)}`,
        `SELECT ${"NOT ".repeat(20000)}true`,
        `SELECT ${"- ".repeat(40000)}1`,
        `SELECT ${"CASE WHEN true THEN ".repeat(4000)}1${" END".repeat(4000)}`,
        `${"SELECT 1 UNION ".repeat(6000)}SELECT 1`,
        "SELECT '\u0000'",
        "SELECT \ud800"
      ]) {
        yield* Effect.exit(door.query(sql))
        assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]], sql.slice(0, 40))
      }
    })
  )

  it.scopedLive("the parser is there for the next statement however often one was too much", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const sum = "+1".repeat(40_000)
      const hidden = (before: string, after: string) => `SELECT ${before}${sum}${after}`
      for (const sql of [
        `SELECT 1${sum}`,
        `SELECT 1${"::int".repeat(15_000)}`,
        `SELECT 1${" ISNULL".repeat(12_000)}`,
        `SELECT ''${' COLLATE "C"'.repeat(8_000)}`,
        `SELECT ${"(SELECT ".repeat(5_000)}1${")".repeat(5_000)}`,
        `SELECT '${")".repeat(9_000)}' || ${"(SELECT ".repeat(3_000)}1${")".repeat(3_000)}`,
        `SELECT 1${"-0x1e".repeat(18_000)}`,
        // What is no string, name or comment to PostgreSQL.
        hidden("\u00a0E'\\' ", " -- '"),
        hidden("1 ` 1", " ` 1"),
        hidden("1 -- \r", ""),
        hidden("E'a'\n'\\''", " -- '")
      ]) {
        for (let n = 0; n < 20; n++)
          assert.strictEqual((yield* failureOf(door.query(sql)))._tag, "InvalidInput", sql.slice(0, 40))
      }
      assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]])
    })
  )

  it.scopedLive("a run of comments or operators is refused before it holds anybody up", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const started = performance.now()
      for (const sql of [`SELECT 1 ${"/*".repeat(45_000)}`, `SELECT 1 ${"+".repeat(90_000)}1`]) {
        assert.strictEqual((yield* failureOf(door.query(sql)))._tag, "InvalidInput")
      }
      assert.isBelow(performance.now() - started, 1_000)
      const list = Array.from({ length: 15_000 }, (_, n) => n)
      assert.deepStrictEqual((yield* door.query(`SELECT 7 IN (${list.join(", ")})`)).rows, [[true]])
      assert.deepStrictEqual((yield* door.query("SELECT 7 = ANY (?::int[])", { params: [list] })).rows, [[true]])
    })
  )
})

describe("agents' SQL on PGlite", { timeout: 120_000 }, () => {
  it.scopedLive("reads, refuses and goes on", () =>
    Effect.gen(function* () {
      const backend = yield* Pglite.make({ migrate: false })
      yield* backend.execute("CREATE TABLE t (id int)")
      const door = yield* backend.agentSql()
      assert.strictEqual((yield* failureOf(door.query("DELETE FROM t")))._tag, "DbReadOnly")
      assert.strictEqual((yield* failureOf(door.query("SELECT nextval('x')")))._tag, "DbReadOnly")
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[0]])
      const much = yield* door.query("SELECT repeat('x', 100000) FROM generate_series(1, 100)", { maxBytes: 5000 })
      assert.deepStrictEqual([much.rows.length, much.truncated], [2, true])
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[0]])
      yield* backend.execute("INSERT INTO t VALUES (1)")
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[1]])
    })
  )
})
