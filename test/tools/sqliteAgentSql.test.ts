import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { AgentSqlOptions } from "../../src/services/AgentSql.js"
import { childrenOf, elapsed, failureOf, temporaryFolder } from "../support/index.js"

const opened = (options?: AgentSqlOptions) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const backend = yield* Sqlite.make({ path: `${folder}/hub.db`, migrate: false })
    yield* backend.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    yield* backend.execute("INSERT INTO t (id) VALUES (1), (2), (3)")
    return { folder, backend, door: yield* backend.agentSql(options) }
  })

const numbers = (n: number) =>
  `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < ${n}) SELECT n FROM c`
const endless = `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60000000) SELECT count(*) FROM c`

describe("agents' SQL on SQLite", { timeout: 60_000 }, () => {
  it.scopedLive(
    "a statement is killed at its deadline, and the next one works",
    () =>
      Effect.gen(function* () {
        const { door } = yield* opened({ deadline: "500 millis" })
        yield* door.query("SELECT 1")
        const started = performance.now()
        const error = yield* failureOf(door.query(endless))
        const taken = performance.now() - started
        assert.strictEqual(error._tag, "DbTimeout")
        assert.isAtLeast(taken, 499)
        assert.isBelow(taken, 600)
        assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[3]])
        // Also when all processes are lost at once, and while somebody waits for one.
        const fibers = yield* Effect.all([1, 2, 3, 4].map(() => Effect.fork(failureOf(door.query(endless)))))
        for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber))._tag, "DbTimeout")
        assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[3]])
      }),
    // A machine that is busy may be late.
    { retry: 5 }
  )

  it.scopedLive("a write that does not end fills neither the disk nor the write-ahead log", () =>
    Effect.gen(function* () {
      const { backend, folder } = yield* opened()
      const log = () => NodeFs.statSync(`${folder}/hub.db-wal`).size
      const before = log()
      const insert = `INSERT INTO t (x) WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT zeroblob(100000) FROM c`
      const limited = yield* backend.agentSql({ deadline: "1 minute" })
      const error = yield* failureOf(limited.execute!(insert))
      assert.deepStrictEqual([error._tag, error.code], ["DbQuery", "HUB_TOO_LARGE"])
      assert.include(error.message, "268435456 bytes")
      assert.strictEqual(log(), before)
      const stopped = yield* backend.agentSql({ deadline: "300 millis" })
      assert.strictEqual((yield* failureOf(stopped.execute!(insert.replace("100000", "10"))))._tag, "DbTimeout")
      assert.strictEqual(log(), before)
      const { rowsAffected } = yield* limited.execute!("UPDATE t SET x = zeroblob(1000000)")
      assert.strictEqual(rowsAffected, 3)
    })
  )

  it.scopedLive("a door that closes before its database leaves no log beside the file", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      for (let n = 0; n < 5; n++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const backend = yield* Sqlite.make({ path: `${folder}/hub.db`, migrate: false })
            const door = yield* backend.agentSql({ deadline: "1 minute" })
            yield* door.execute!("CREATE TABLE IF NOT EXISTS t (x)")
            yield* door.query("SELECT * FROM t")
            yield* Effect.fork(door.query(endless))
            yield* Effect.yieldNow()
          })
        )
        assert.deepStrictEqual(NodeFs.readdirSync(folder), ["hub.db"])
      }
    })
  )

  it.scopedLive("whoever waits or reads when the door closes is told so, and who asks afterwards", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { door } = yield* Scope.extend(opened({ concurrency: 1, deadline: "1 minute" }), scope)
      yield* door.query("SELECT 1")
      const asked = yield* Effect.all([1, 2, 3].map(() => Effect.fork(failureOf(door.query(endless)))))
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      for (const fiber of asked) assert.strictEqual((yield* Fiber.join(fiber)).code, "HUB_CLOSED")
      const before = childrenOf(process.pid).length
      for (const late of [door.query("SELECT 1"), door.execute!("DELETE FROM t")]) {
        assert.strictEqual((yield* failureOf(late)).code, "HUB_CLOSED")
      }
      assert.isAtMost(childrenOf(process.pid).length, before)
    })
  )

  it.scopedLive("what is wrong with a statement is told, without the values in it", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const wrong = [
        ["SELECT 'hunter2", "SQLite: unrecognized token"],
        ["SELECT * FROM t WHERE count(*) > 1", "SQLite: misuse of aggregate function count()"],
        [
          "SELECT 1 UNION SELECT 1, 2",
          "SQLite: SELECTs to the left and right of UNION do not have the same number of result columns"
        ],
        ["VALUES (1), (1, 2)", "SQLite: all VALUES must have the same number of terms"],
        ["SELECT 1 ORDER BY 3", "SQLite: 1st ORDER BY term out of range - should be between 1 and 1"],
        ["SELECT 1 WHERE 1 IN (SELECT 1, 2)", "SQLite: sub-select returns 2 columns - expected 1"],
        ["SELECT json('{hunter2')", "SQLite: malformed JSON"],
        ["SELECT *", "SQLite: no tables specified"],
        [`SELECT 1${"+1".repeat(2000)}`, "SQLite: Expression tree is too large (maximum depth 1000)"],
        [`SELECT 1${" UNION SELECT 1".repeat(600)}`, "SQLite: too many terms in compound SELECT"]
      ] as const
      for (const [sql, message] of wrong) assert.strictEqual((yield* failureOf(door.query(sql))).message, message)
    })
  )

  it.scopedLive("without a deadline a statement has all the time that it needs", () =>
    Effect.gen(function* () {
      const { door } = yield* opened({ deadline: Number.POSITIVE_INFINITY })
      assert.deepStrictEqual((yield* door.query(numbers(300_000), { maxRows: 1 })).rows, [[1]])
      assert.strictEqual((yield* door.execute!("DELETE FROM t")).rowsAffected, 3)
    })
  )

  it.scopedLive("a database in memory is read as it is at each statement", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:", migrate: false })
      const door = yield* backend.agentSql()
      yield* backend.execute("CREATE TABLE t (x)")
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[0]])
      yield* backend.execute("INSERT INTO t VALUES (1)")
      assert.deepStrictEqual((yield* door.query("SELECT x FROM t")).rows, [[1]])
      assert.strictEqual((yield* failureOf(door.query("DELETE FROM t")))._tag, "DbReadOnly")
    })
  )

  it.scopedLive("a file that takes another's place is the one that is read", () =>
    Effect.gen(function* () {
      const { backend, door, folder } = yield* opened()
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[3]])
      yield* backend.backup(`${folder}/copy.db`)
      const copy = new Database(`${folder}/copy.db`)
      copy.exec("DELETE FROM t")
      copy.close()
      for (const suffix of ["-wal", "-shm"]) NodeFs.rmSync(`${folder}/hub.db${suffix}`, { force: true })
      NodeFs.renameSync(`${folder}/copy.db`, `${folder}/hub.db`)
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[0]])
    })
  )

  it.scopedLive("what would take all memory ends its own process alone", () =>
    Effect.gen(function* () {
      const { door } = yield* opened({ deadline: "30 seconds" })
      for (const sql of [
        `${numbers(1_000_000_000)} ORDER BY random()`,
        "WITH RECURSIVE c(x) AS (SELECT 'x' UNION ALL SELECT x || x FROM c) SELECT sum(length(x)) FROM c",
        "SELECT hex(randomblob(500000000))"
      ]) {
        const error = yield* failureOf(door.query(sql))
        assert.include(["DbConnection", "DbQuery", "DbUnsupported", "InvalidInput"], error._tag, sql)
        assert.notStrictEqual(error.code, "HUB_DEADLINE", sql)
        assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[3]])
      }
    })
  )

  it.scopedLive("interruption stops the statement at once", () =>
    Effect.gen(function* () {
      const { door } = yield* opened({ concurrency: 1 })
      yield* door.query("SELECT 1")
      const fiber = yield* Effect.fork(door.query(endless))
      yield* Effect.sleep("100 millis")
      assert.isBelow(yield* elapsed(Fiber.interrupt(fiber)), 100)
      assert.deepStrictEqual((yield* door.query("SELECT 7")).rows, [[7]])
    })
  )

  it.scopedLive("the limits are exact, and each says so", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const rows = yield* Effect.forEach([99, 100, 101], (n) => door.query(numbers(n)))
      assert.deepStrictEqual(
        rows.map(({ reason, rows, truncated }) => [rows.length, truncated, reason]),
        [
          [99, false, null],
          [100, false, null],
          [100, true, "more than 100 rows"]
        ]
      )
      // [["aaaaaaaa"],["aaaaaaaa"]]
      const wide = "SELECT 'aaaaaaaa' UNION ALL SELECT 'aaaaaaaa'"
      assert.strictEqual((yield* door.query(wide, { maxBytes: 27 })).rows.length, 2)
      const bytes = yield* door.query(wide, { maxBytes: 26 })
      assert.deepStrictEqual([bytes.rows.length, bytes.truncated, bytes.reason], [1, true, "more than 26 bytes"])
      const cell = (sql: string) => Effect.map(door.query(sql, { maxCell: 4 }), (r) => [r.rows[0]?.[0], r.reason])
      assert.deepStrictEqual(yield* cell("SELECT 'abcd'"), ["abcd", null])
      assert.deepStrictEqual(yield* cell("SELECT 'abcde'"), ["abcd", "1 cell cut to 4 characters"])
      assert.deepStrictEqual(yield* cell("SELECT '😀😀😀😀'"), ["😀😀😀😀", null])
      assert.deepStrictEqual(yield* cell("SELECT '😀😀😀😀😀'"), ["😀😀😀😀", "1 cell cut to 4 characters"])
      assert.deepStrictEqual(yield* cell("SELECT x'010203'"), ["AQID", null])
      assert.deepStrictEqual(yield* cell("SELECT x'01020304'"), ["AQID", "1 cell cut to 4 characters"])
      for (const limit of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
        assert.strictEqual((yield* failureOf(door.query("SELECT 1", { maxRows: limit })))._tag, "InvalidInput")
      }
    })
  )

  it.scopedLive("values keep their meaning: big integers, bytes, NULL, infinity, columns of one name", () =>
    Effect.gen(function* () {
      const { door } = yield* opened()
      const { columns, notes, rows } = yield* door.query(
        "SELECT 9007199254740993 AS a, x'00ff' AS a, NULL AS n, '' AS e, 9e999 AS i, ? AS p, 1.0 AS r, 5 AS f",
        { params: ["bound"] }
      )
      assert.deepStrictEqual(columns, ["a", "a_2", "n", "e", "i", "p", "r", "f"])
      assert.deepStrictEqual(rows, [["9007199254740993", "AP8=", null, "", "Infinity", "bound", 1, 5]])
      assert.deepStrictEqual(notes, {
        a: "integers beyond 2^53 as text",
        a_2: "bytes as base64",
        i: "NaN and infinities as text"
      })
    })
  )

  it.scopedLive("errors are typed, without values and without the path", () =>
    Effect.gen(function* () {
      const { door, folder } = yield* opened()
      const tags = yield* Effect.forEach(
        [
          "SELECT * FROM absent",
          "SELEC 1",
          "SELECT ?",
          "SELECT 1; SELECT 2",
          "DELETE FROM t",
          "EXPLAIN DELETE FROM t",
          "SELECT load_extension('x')"
        ],
        (sql) => Effect.map(failureOf(door.query(sql)), (error) => [error._tag, error.message.includes(folder)])
      )
      assert.deepStrictEqual(tags, [
        ["DbQuery", false],
        ["DbReadOnly", false],
        ["InvalidInput", false],
        ["InvalidInput", false],
        ["DbReadOnly", false],
        ["DbReadOnly", false],
        ["DbReadOnly", false]
      ])
    })
  )

  it.scopedLive("reads what was committed a moment ago", () =>
    Effect.gen(function* () {
      const { backend, door } = yield* opened()
      yield* backend.execute("INSERT INTO t (id) VALUES (4)")
      assert.deepStrictEqual((yield* door.query("SELECT count(*) FROM t")).rows, [[4]])
    })
  )
})
