import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Sqlite from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { hasWalResetBug } from "../../src/layers/sqlite/SqliteOpen.js"
import type { SqliteOptions } from "../../src/layers/sqlite/SqliteOptions.js"
import { failureOf, lockSeenByOthers, openClient, temporaryFile, temporaryFolder } from "../support/index.js"

const modeOf = (path: string) => NodeFs.statSync(path).mode & 0o777

/** Opens, writes and closes, so that the file holds `pages` rows of a page each. */
const seed = (path: string, pages = 20) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openClient({ path })
      yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
      yield* client.transaction(
        Effect.forEach(Array.from({ length: pages }), () =>
          client.execute("INSERT INTO t (x) VALUES (?)", [new Uint8Array(4096).fill(7)])
        )
      )
    })
  )

describe("opening", () => {
  it.scoped("makes folder and files for their owner alone", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = NodePath.join(folder, "a", "b", "hub.db")
      const client = yield* openClient({ path })
      yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      yield* client.query("SELECT * FROM t")
      assert.strictEqual(modeOf(NodePath.join(folder, "a")), 0o700)
      assert.strictEqual(modeOf(NodePath.join(folder, "a", "b")), 0o700)
      for (const file of [path, `${path}-wal`, `${path}-shm`]) assert.strictEqual(modeOf(file), 0o600, file)
    })
  )

  it.scoped("a path that cannot be a database's is told with the reason", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = NodePath.join(folder, "file")
      NodeFs.writeFileSync(file, "")
      for (const [path, code] of [
        [folder, "EISDIR"],
        [NodePath.join(file, "folder", "hub.db"), "ENOTDIR"]
      ] as const) {
        const error = yield* failureOf(openClient({ path }))
        assert.deepStrictEqual([error._tag, error.code], ["DbConnection", code])
        assert.include(error.message, path)
      }
      assert.strictEqual((yield* failureOf(openClient({ path: folder, readOnly: true }))).code, "EISDIR")
    })
  )

  for (const name of [
    "what?.db",
    "a#b.db",
    "100%25.db",
    "my hub.db",
    "grüße-数据-\u{1F980}.db",
    "file:x.db",
    "q'uo\"te.db",
    "?mode=memory"
  ]) {
    it.scoped(`takes ${name} for the name of a file`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const path = NodePath.join(folder, name)
        yield* seed(path, 1)
        const client = yield* openClient({ path })
        assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM t"), [{ n: 1 }])
        assert.deepStrictEqual(
          NodeFs.readdirSync(folder).filter((file) => !file.startsWith(name)),
          []
        )
      })
    )
  }

  for (const [field, options] of [
    ["path", { path: "" }],
    ["path", { path: "trailing.db " }],
    ["path", { path: " leading.db" }],
    ["path", { path: "nul\u0000.db" }],
    ["path", { path: ":memory:", readOnly: true }],
    ["journalMode", { path: "x.db", journalMode: "OFF" }],
    ["synchronous", { path: "x.db", synchronous: "SOMETIMES" }],
    ["busyTimeout", { path: "x.db", busyTimeout: -1 }],
    ["busyTimeout", { path: "x.db", busyTimeout: Number.NaN }],
    ["busyTimeout", { path: "x.db", busyTimeout: 1.5 }],
    ["busyTimeout", { path: "x.db", busyTimeout: Number.POSITIVE_INFINITY }],
    ["journalSizeLimit", { path: "x.db", journalSizeLimit: -1 }],
    ["migrate", { path: "x.db", readOnly: true, migrate: true }]
  ] as const) {
    it.scoped(`refuses ${JSON.stringify(options)}`, () =>
      Effect.gen(function* () {
        const error = yield* failureOf(openClient(options as SqliteOptions))
        assert.strictEqual(error._tag, "InvalidInput")
        assert.propertyVal(error, "field", field)
        assert.isFalse(NodeFs.existsSync("x.db") || NodeFs.existsSync("trailing.db") || NodeFs.existsSync("leading.db"))
      })
    )
  }

  it.scoped("sets every pragma on every connection", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const client = yield* openClient({ path, synchronous: "FULL", journalSizeLimit: 12_345 })
      const pragma = (name: string) =>
        Effect.map(client.query(`PRAGMA ${name}`), (rows) => Object.values(rows[0] ?? {})[0])
      const sql =
        "SELECT (SELECT foreign_keys FROM pragma_foreign_keys) AS fk, (SELECT synchronous FROM pragma_synchronous) AS sync, (SELECT journal_mode FROM pragma_journal_mode) AS mode, (SELECT query_only FROM pragma_query_only) AS ro"
      const reading = { fk: 1, sync: 2, mode: "wal", ro: 1 }
      assert.strictEqual(yield* pragma("foreign_keys"), 1)
      assert.strictEqual(yield* pragma("synchronous"), 2)
      assert.strictEqual(yield* pragma("journal_mode"), "wal")
      assert.strictEqual(yield* pragma("journal_size_limit"), 12_345)
      assert.strictEqual(yield* pragma("query_only"), 0)
      assert.strictEqual(yield* pragma("busy_timeout"), 0)
      assert.deepStrictEqual(yield* client.query(sql), [reading])
      assert.deepStrictEqual(Array.from(yield* Stream.runCollect(client.stream(sql))), [reading])
      assert.deepStrictEqual(yield* client.transaction(client.query(sql)), [{ ...reading, ro: 0 }])
      const off = yield* openClient({ path, foreignKeys: false })
      assert.deepStrictEqual(yield* off.query(sql), [{ ...reading, fk: 0, sync: 1 }])
    })
  )

  for (const journalMode of ["WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"] as const) {
    it.scoped(`works in journal mode ${journalMode}, also on a file that had another`, () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        yield* seed(path, 2)
        const client = yield* openClient({ path, journalMode, busyTimeout: 500 })
        assert.deepStrictEqual(yield* client.query("PRAGMA journal_mode"), [
          { journal_mode: journalMode.toLowerCase() }
        ])
        yield* client.transaction(client.execute("INSERT INTO t DEFAULT VALUES"))
        yield* Effect.ignore(client.transaction(Effect.zipRight(client.execute("DELETE FROM t"), Effect.fail("no"))))
        assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM t"), [{ n: 3 }])
        assert.strictEqual((yield* Stream.runCollect(client.stream("SELECT id FROM t"))).length, 3)
      })
    )
  }

  it.scoped("a client that is opened leaves the locks of another one of its process, against other processes", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const first = yield* openClient({ path, journalMode: "DELETE" })
      yield* first.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      yield* first.transaction(
        Effect.gen(function* () {
          yield* first.execute("INSERT INTO t VALUES (1)")
          assert.strictEqual(yield* lockSeenByOthers(path), "held")
          yield* openClient({ path, journalMode: "DELETE" })
          assert.strictEqual(yield* lockSeenByOthers(path), "held")
        })
      )
      assert.strictEqual(yield* lockSeenByOthers(path), "free")
    })
  )

  it.scoped("`:memory:` is one database for all fibers and streams, and another for every client", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      yield* Effect.forEach([1, 2, 3], (id) => client.execute("INSERT INTO t VALUES (?)", [id]), { concurrency: 3 })
      const fiber = yield* Effect.fork(client.query("SELECT count(*) AS n FROM t"))
      assert.deepStrictEqual(yield* Fiber.join(fiber), [{ n: 3 }])
      assert.strictEqual((yield* Stream.runCollect(client.stream("SELECT id FROM t"))).length, 3)
      assert.deepStrictEqual((yield* client.readOnly("SELECT count(*) FROM t")).rows, [[3]])
      const other = yield* openClient({ path: ":memory:" })
      assert.strictEqual((yield* failureOf(other.query("SELECT * FROM t")))._tag, "DbQuery")
    })
  )

  it.scoped("fails with a typed error on what is no database that can be opened", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = (name: string, content: string | Uint8Array) => {
        const path = NodePath.join(folder, name)
        NodeFs.writeFileSync(path, content)
        return path
      }
      const whole = NodePath.join(folder, "whole.db")
      yield* seed(whole)
      const bytes = NodeFs.readFileSync(whole)
      const cases: ReadonlyArray<readonly [string, SqliteOptions]> = [
        ["DbConnection", { path: folder }],
        ["DbConnection", { path: folder, readOnly: true }],
        ["DbConnection", { path: `${folder}/` }],
        ["DbConnection", { path: NodePath.join(file("plain", "x"), "hub.db") }],
        ["DbConnection", { path: NodePath.join(folder, "missing.db"), readOnly: true }],
        ["DbConnection", { path: NodePath.join(folder, "none", "missing.db"), readOnly: true }],
        ["DbCorrupt", { path: file("text.db", "This is a text that is no database. ".repeat(200)) }],
        ["DbCorrupt", { path: file("text2.db", "This is a text that is no database. ".repeat(200)), readOnly: true }],
        ["DbCorrupt", { path: file("cut.db", bytes.subarray(0, 4096 * 10)) }],
        ["DbCorrupt", { path: file("cut2.db", bytes.subarray(0, 4096 * 10)), readOnly: true }],
        ["DbCorrupt", { path: file("cut3.db", bytes.subarray(0, 4096 * 3 + 17)) }]
      ]
      for (const [tag, options] of cases) {
        const error = yield* failureOf(Effect.scoped(openClient(options)))
        assert.strictEqual(error._tag, tag, JSON.stringify(options))
        assert.strictEqual(error.operation, "sqlite.open")
        assert.strictEqual(error.backend, "primary")
      }
      assert.isFalse(NodeFs.existsSync(NodePath.join(folder, "none")))
      yield* Effect.scoped(openClient({ path: whole }))
    })
  )

  it.scoped("reports a damaged page when it is met", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* seed(path)
      const handle = NodeFs.openSync(path, "r+")
      NodeFs.writeSync(handle, Buffer.alloc(4096, 0xee), 0, 4096, 4096)
      NodeFs.closeSync(handle)
      const client = yield* openClient({ path })
      assert.strictEqual((yield* failureOf(client.query("SELECT * FROM t")))._tag, "DbCorrupt")
      assert.strictEqual((yield* failureOf(client.execute("INSERT INTO t DEFAULT VALUES")))._tag, "DbCorrupt")
      const streamed = yield* failureOf(Stream.runDrain(client.stream("SELECT * FROM t")))
      assert.strictEqual(streamed._tag, "DbCorrupt")
    })
  )

  it.scoped("is not alarmed by a file whose last pages are still in another connection's log", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const other = new Sqlite(path)
      yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
      other.pragma("journal_mode = WAL")
      other.exec(
        "CREATE TABLE t (x); INSERT INTO t SELECT randomblob(3000) FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 50) SELECT n FROM c)"
      )
      const client = yield* openClient({ path })
      assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM t"), [{ n: 50 }])
    })
  )

  it.scoped("with readOnly refuses every write and changes nothing", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* seed(path, 1)
      const client = yield* openClient({ path, readOnly: true })
      for (const write of [
        client.execute("INSERT INTO t DEFAULT VALUES"),
        client.execute("CREATE TABLE u (x)"),
        client.query("DELETE FROM t RETURNING id"),
        client.transaction(client.execute("DELETE FROM t")),
        client.execute("PRAGMA user_version = 5")
      ]) {
        const error = yield* failureOf<unknown, { readonly _tag: string }, never>(write)
        assert.strictEqual(error._tag, "DbReadOnly")
      }
      const both = yield* Stream.zip(
        client.stream("SELECT id FROM t"),
        client.stream("SELECT count(*) AS n FROM t")
      ).pipe(Stream.runCollect)
      assert.deepStrictEqual(Array.from(both), [[{ id: 1 }, { n: 1 }]])
    })
  )

  it.scoped("closes although a stream of a read-only client was never read to its end", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* seed(path, 3)
      const exit = yield* Effect.exit(
        Effect.scoped(
          Effect.gen(function* () {
            const pull = yield* Stream.toPull(
              Stream.unwrap(
                Effect.map(openClient({ path, readOnly: true }), (client) => client.stream("SELECT id FROM t"))
              )
            )
            yield* pull
          })
        )
      )
      assert.isTrue(Exit.isSuccess(exit))
    })
  )
})

describe("hasWalResetBug", () => {
  const versions: ReadonlyArray<readonly [string, boolean]> = [
    ["3.6.23", false],
    ["3.7.0", true],
    ["3.40.1", true],
    ["3.44.5", true],
    ["3.44.6", false],
    ["3.45.1", true],
    ["3.49.2", true],
    ["3.50.6", true],
    ["3.50.7", false],
    ["3.51.0", true],
    ["3.51.2", true],
    ["3.51.3", false],
    ["3.52.0", false],
    ["3.53.2", false],
    ["4.0.0", false]
  ]
  for (const [version, bug] of versions) {
    it(`says ${bug} of ${version}`, () => assert.strictEqual(hasWalResetBug(version), bug))
  }

  it.scoped("says false of the bundled build", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      const [row] = yield* client.query("SELECT sqlite_version() AS version")
      assert.isFalse(hasWalResetBug(String(row?.["version"])))
    })
  )
})
