import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as HubLive from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as SqlMigrator from "../../src/layers/sql/SqlMigrator.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { BackendFactory, BackendSettings } from "../../src/services/Hub.js"
import type { MigrationStep } from "../../src/services/Migrator.js"
import { failureOf, temporaryFolder } from "../support/index.js"

const inFolder = Effect.map(temporaryFolder, (folder) => (file: string) => NodePath.join(folder, file))

const at = (path: string) => ({ type: "sqlite", path }) as BackendSettings

const openHub = (options: Partial<HubMake.HubOptions> = {}) =>
  HubMake.make({ primary: at(":memory:"), factories: HubLive.factories, ...options })

const steps: ReadonlyArray<MigrationStep> = [1, 2].map((id) => ({
  id,
  name: `step ${id}`,
  up: () => [`CREATE TABLE step_${id} (a INTEGER)`],
  down: () => [`DROP TABLE step_${id}`]
}))

describe("what went wrong in DevClaw's hub", () => {
  it.scoped("mysql had a factory that was never registered, and any name was taken", () =>
    Effect.gen(function* () {
      const hub = yield* openHub()
      assert.strictEqual((yield* failureOf(hub.add("m", { type: "mysql" })))._tag, "DbUnsupported")
      assert.strictEqual((yield* failureOf(hub.add("o", { type: "oracle" })))._tag, "InvalidInput")
      assert.strictEqual((yield* failureOf(hub.add("a b", at(":memory:"))))._tag, "InvalidInput")
      assert.strictEqual((yield* failureOf(hub.add("primary", at(":memory:"))))._tag, "DbConflict")
    })
  )

  it.scoped("adding a slow backend stalled every reader", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const slow: BackendFactory = (name, settings) =>
        Effect.zipRight(Deferred.await(gate), HubLive.factories["sqlite"]!(name, settings))
      const hub = yield* openHub({ factories: { ...HubLive.factories, slow } })
      const adding = yield* Effect.fork(hub.add("late", { ...at(":memory:"), type: "slow" }))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* hub.list, ["primary"])
      assert.deepStrictEqual(yield* hub.query("SELECT 1 AS one"), [{ one: 1 }])
      assert.isTrue((yield* hub.status())["primary"]?.healthy)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(adding)
    })
  )

  it.scoped("backends were listed in random order", () =>
    Effect.gen(function* () {
      const names = ["z", "y", "b", "a"]
      const hub = yield* openHub({ connections: Object.fromEntries(names.map((name) => [name, at(":memory:")])) })
      assert.deepStrictEqual(yield* hub.list, ["primary", ...names])
    })
  )

  it.scoped("only the primary was closed", () =>
    Effect.gen(function* () {
      const file = yield* inFolder
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(openHub({ connections: { a: at(file("a.db")) } }), scope)
      const late = yield* hub.add("b", at(file("b.db")))
      const backends = [hub.primary, yield* hub.get("a"), late]
      yield* Scope.close(scope, Exit.void)
      for (const backend of backends) {
        assert.strictEqual((yield* failureOf(backend.query("SELECT 1")))._tag, "DbConnection")
      }
    })
  )

  it.scoped("a closed database was healthy, and latency was never measured", () =>
    Effect.gen(function* () {
      const file = yield* inFolder
      const scope = yield* Scope.make()
      const { health } = yield* Scope.extend(Sqlite.make({ path: file("hub.db") }), scope)
      const open = yield* health.status
      assert.isTrue(open.healthy)
      assert.isAbove(open.latency, 0)
      yield* Scope.close(scope, Exit.void)
      assert.isFalse((yield* health.status).healthy)
    })
  )
})

describe("what went wrong in DevClaw's SQLite", () => {
  it.scoped("the path was cut at the first question mark", () =>
    Effect.gen(function* () {
      const file = yield* inFolder
      yield* Sqlite.make({ path: file("what?_foreign_keys=OFF.db") })
      assert.isTrue(NodeFs.existsSync(file("what?_foreign_keys=OFF.db")))
      assert.isFalse(NodeFs.existsSync(file("what")))
    })
  )

  it.scoped("everybody could read folder and file", () =>
    Effect.gen(function* () {
      const file = yield* inFolder
      yield* Sqlite.make({ path: file("data/hub.db") })
      assert.strictEqual(NodeFs.statSync(file("data")).mode & 0o777, 0o700)
      assert.strictEqual(NodeFs.statSync(file("data/hub.db")).mode & 0o777, 0o600)
    })
  )

  it.scoped("`:memory:` was another database for each connection", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:" })
      yield* backend.execute("CREATE TABLE t (a INTEGER)")
      const counts = Effect.all(
        Array.from({ length: 20 }, () => backend.query("SELECT count(*) AS n FROM t")),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(new Set((yield* counts).map(([row]) => row?.["n"])), new Set([0]))
    })
  )

  it.scoped("transactions began deferred and failed when they came to write", () =>
    Effect.gen(function* () {
      const file = yield* inFolder
      const backend = yield* Sqlite.make({ path: file("hub.db") })
      const other = new Database(file("hub.db"), { timeout: 0 })
      yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
      const refused = backend.transaction(
        Effect.zipRight(
          backend.query("SELECT 1 AS one"),
          Effect.sync(() => assert.throws(() => other.exec("BEGIN IMMEDIATE"), /locked/))
        )
      )
      yield* refused
    })
  )

  it.scoped("the version of a fresh database was an error, so that the first migration could not run", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:", migrate: false })
      assert.strictEqual(yield* backend.migrator.currentVersion, 0)
      assert.isTrue(yield* backend.migrator.needsMigration)
      assert.strictEqual((yield* backend.migrator.migrate()).previousVersion, 0)
      assert.isFalse(yield* backend.migrator.needsMigration)
    })
  )

  it.scoped("the target was ignored, a dry run listed nothing, and there was no way down", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:" })
      const migrator = SqlMigrator.make(backend, steps, "app")
      const plan = yield* migrator.plan({ target: 1 })
      assert.deepStrictEqual(
        plan.map(({ sql }) => sql),
        [["CREATE TABLE step_1 (a INTEGER)"]]
      )
      assert.strictEqual((yield* migrator.migrate({ target: 1 })).currentVersion, 1)
      assert.strictEqual((yield* migrator.migrate()).currentVersion, 2)
      assert.strictEqual((yield* migrator.migrate({ target: "empty" })).currentVersion, 0)
      assert.strictEqual((yield* failureOf(backend.query("SELECT * FROM step_1")))._tag, "DbQuery")
    })
  )

  it.scoped("a migration that failed half-way stayed half-way", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: ":memory:" })
      const broken = { ...steps[0]!, up: () => ["CREATE TABLE half (a INTEGER)", "INSERT INTO nowhere VALUES (1)"] }
      const error = yield* failureOf(SqlMigrator.make(backend, [broken], "app").migrate())
      assert.strictEqual(error._tag, "MigrationError")
      assert.strictEqual((yield* failureOf(backend.query("SELECT * FROM half")))._tag, "DbQuery")
    })
  )
})

describe("what went wrong in DevClaw's vector store", () => {
  const withVectors = Effect.gen(function* () {
    const file = yield* inFolder
    const { vector } = yield* Sqlite.make({ path: file("hub.db") })
    yield* vector.createCollection("a", { dimension: 2 })
    yield* vector.createCollection("b", { dimension: 2 })
    return { file, vector }
  })

  it.scoped("collection and filter were dropped on the way", () =>
    Effect.gen(function* () {
      const { vector } = yield* withVectors
      yield* vector.insert("a", { id: "same", vector: [1, 0], metadata: { user: "ada" } })
      yield* vector.insert("b", { id: "same", vector: [0, 1], metadata: { user: "bob" } })
      const found = yield* vector.search("a", [1, 0])
      assert.deepStrictEqual(
        found.map(({ metadata }) => metadata),
        [{ user: "ada" }]
      )
      assert.deepStrictEqual(yield* vector.search("a", [1, 0], { filter: { user: "bob" } }), [])
    })
  )

  it.scoped("vectors were lost on restart", () =>
    Effect.gen(function* () {
      const { file, vector } = yield* withVectors
      yield* vector.insert("a", { id: "kept", vector: [1, 0], text: "words" })
      const again = yield* Sqlite.make({ path: file("hub.db") })
      assert.strictEqual((yield* again.vector.search("a", [1, 0]))[0]?.text, "words")
    })
  )

  it.scoped("k below 0 panicked, another dimension scored 0", () =>
    Effect.gen(function* () {
      const { vector } = yield* withVectors
      yield* vector.insert("a", { id: "x", vector: [1, 0] })
      for (const k of [0, -1]) {
        assert.strictEqual((yield* failureOf(vector.search("a", [1, 0], { k })))._tag, "InvalidInput")
      }
      assert.strictEqual((yield* failureOf(vector.search("a", [1, 0, 0])))._tag, "DimensionMismatch")
      assert.strictEqual((yield* failureOf(vector.insert("a", { id: "y", vector: [1] })))._tag, "DimensionMismatch")
    })
  )

  it.scoped("identical short vectors were not alike, and opposite ones were left out", () =>
    Effect.gen(function* () {
      const { vector } = yield* withVectors
      yield* vector.insertMany("a", [
        { id: "same", vector: [1e-6, 1e-6] },
        { id: "opposite", vector: [-1e-6, -1e-6] }
      ])
      const hits = yield* vector.search("a", [1e-6, 1e-6])
      assert.deepStrictEqual(
        hits.map(({ id, score }) => [id, Math.round(score * 1e6) / 1e6]),
        [
          ["same", 1],
          ["opposite", -1]
        ]
      )
    })
  )

  it.scoped("the caller's array was kept by reference", () =>
    Effect.gen(function* () {
      const { vector } = yield* withVectors
      const mine = new Float32Array([1, 0])
      yield* vector.insert("a", { id: "x", vector: mine })
      mine.set([0, 1])
      assert.deepStrictEqual(Array.from((yield* vector.get("a", ["x"]))[0]!.vector), [1, 0])
      assert.strictEqual((yield* vector.search("a", [1, 0]))[0]?.score, 1)
    })
  )
})

describe("what went wrong in the statements of DevClaw's tools", () => {
  const withTable = Effect.gen(function* () {
    const file = yield* inFolder
    const backend = yield* Sqlite.make({ path: file("hub.db") })
    yield* backend.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, x BLOB)")
    yield* backend.execute("INSERT INTO jobs VALUES (1, x'00ff')")
    return { backend, file }
  })

  it.scoped("a second statement, a pragma that sets, ATTACH and VACUUM INTO passed as queries", () =>
    Effect.gen(function* () {
      const { backend, file } = yield* withTable
      const refused = [
        "SELECT 1; DELETE FROM jobs",
        `SELECT 1; ATTACH '${file("x.db")}' AS x`,
        `SELECT 1; VACUUM INTO '${file("x.db")}'`,
        "SELECT 1; WITH x AS (SELECT 1) DELETE FROM jobs",
        "WITH x AS (SELECT 1) DELETE FROM jobs RETURNING id",
        "PRAGMA user_version = 9",
        "PRAGMA user_version(9)",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA foreign_keys = OFF",
        `VACUUM INTO '${file("x.db")}'`,
        `ATTACH '${file("x.db")}' AS x`
      ]
      for (const sql of refused) {
        assert.include(["DbReadOnly", "InvalidInput"], (yield* failureOf(backend.readOnly(sql)))._tag, sql)
      }
      assert.deepStrictEqual(yield* backend.query("SELECT id FROM jobs"), [{ id: 1 }])
      assert.isFalse(NodeFs.existsSync(file("x.db")))
    })
  )

  it.scoped("WITH, VALUES and a leading comment were refused as queries", () =>
    Effect.gen(function* () {
      const { backend } = yield* withTable
      for (const sql of ["WITH a AS (SELECT 1) SELECT * FROM a", "VALUES (1)", "-- one\nSELECT 1", "/**/ SELECT 1"]) {
        assert.deepStrictEqual((yield* backend.readOnly(sql)).rows, [[1]], sql)
      }
    })
  )

  it.scoped("one row too many was not told, no rows were null, columns of one name collapsed", () =>
    Effect.gen(function* () {
      const { backend } = yield* withTable
      const two = "SELECT 1 AS a UNION ALL SELECT 2"
      assert.isTrue((yield* backend.readOnly(two, { maxRows: 1 })).truncated)
      assert.isFalse((yield* backend.readOnly(two, { maxRows: 2 })).truncated)
      assert.deepStrictEqual((yield* backend.readOnly("SELECT id FROM jobs WHERE 0")).rows, [])
      assert.deepStrictEqual(yield* backend.readOnly("SELECT 1 AS a, 2 AS a"), {
        columns: ["a", "a_2"],
        rows: [[1, 2]],
        truncated: false
      })
    })
  )

  it.scoped("bytes became text, and there were no parameters", () =>
    Effect.gen(function* () {
      const { backend } = yield* withTable
      const { rows } = yield* backend.readOnly("SELECT x FROM jobs WHERE id = ?", { params: [1] })
      assert.deepStrictEqual(rows, [[new Uint8Array([0, 255])]])
    })
  )

  it.scoped("an update told a stale row id, and rows of RETURNING were lost", () =>
    Effect.gen(function* () {
      const { backend } = yield* withTable
      assert.strictEqual((yield* backend.execute("INSERT INTO jobs VALUES (7, NULL)")).lastInsertId, 7)
      const updated = yield* backend.execute("UPDATE jobs SET x = NULL")
      assert.deepStrictEqual([updated.rowsAffected, updated.lastInsertId], [2, null])
      assert.strictEqual((yield* backend.execute("DELETE FROM jobs WHERE id = 99")).rowsAffected, 0)
      const returned = yield* backend.execute("INSERT INTO jobs VALUES (8, NULL) RETURNING id")
      assert.deepStrictEqual([returned.rowsAffected, returned.rows], [1, [{ id: 8 }]])
    })
  )

  it.scoped("tables named order, 1abc or with a dot were unknown, views hidden, a missing table empty", () =>
    Effect.gen(function* () {
      const { backend } = yield* withTable
      const names = ["order", "1abc", "a.b c", "ümlaut"]
      for (const name of names) yield* backend.execute(`CREATE TABLE "${name}" (id INTEGER PRIMARY KEY)`)
      yield* backend.execute("CREATE VIEW seen AS SELECT id FROM jobs")
      for (const name of [...names, "seen"]) {
        const [info] = yield* backend.schema({ table: name })
        assert.deepStrictEqual(
          info?.columns.map((column) => column.name),
          ["id"],
          name
        )
      }
      assert.strictEqual((yield* failureOf(backend.schema({ table: "nowhere" })))._tag, "NotFound")
    })
  )

  it.scoped("a backup was not reopened, readable by all, and refused for two dots in its name", () =>
    Effect.gen(function* () {
      const { backend, file } = yield* withTable
      yield* backend.backup(file("backups/a..b.db"))
      assert.strictEqual(NodeFs.statSync(file("backups/a..b.db")).mode & 0o777, 0o600)
      const copy = yield* Sqlite.make({ path: file("backups/a..b.db"), readOnly: true })
      assert.deepStrictEqual(yield* copy.query("SELECT id FROM jobs"), [{ id: 1 }])
      assert.strictEqual((yield* failureOf(backend.backup(file("backups/a..b.db"))))._tag, "InvalidInput")
    })
  )
})
