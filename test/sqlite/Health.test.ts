import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { elapsed, failureOf, temporaryFile, temporaryFolder } from "../support/index.js"

describe("health of SQLite", () => {
  it.scoped("tells file size, WAL size and schema version", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: yield* temporaryFile })
      yield* backend.execute("CREATE TABLE t (a TEXT)")
      const status = yield* backend.health.status
      assert.isTrue(status.healthy)
      assert.isAbove((status.fileSize ?? 0) + (status.walSize ?? 0), 4096)
      assert.strictEqual(status.schemaVersion, yield* backend.migrator.currentVersion)
    })
  )

  it.scoped("is unhealthy once the database is closed", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const scope = yield* Scope.make()
      const backend = yield* Scope.extend(Sqlite.make({ path }), scope)
      yield* Scope.close(scope, Exit.void)
      const status = yield* backend.health.status
      assert.isFalse(status.healthy)
      assert.include(status.error, "closed")
      assert.strictEqual(status.openConnections, 0)
      assert.strictEqual((yield* failureOf(backend.health.ping))._tag, "DbConnection")
    })
  )

  it.scoped("is unhealthy when the file was deleted under the open handle", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      NodeFs.rmSync(path)
      const status = yield* backend.health.status
      assert.isFalse(status.healthy)
      assert.include(status.error, "deleted")
    })
  )

  for (const [name, replace] of [
    ["moved away", () => {}],
    ["replaced by a file", (folder: string) => NodeFs.writeFileSync(folder, "")],
    ["replaced by a link to itself", (folder: string) => NodeFs.symlinkSync(folder, folder)]
  ] as const) {
    it.scoped(`is unhealthy when the folder was ${name}`, () =>
      Effect.gen(function* () {
        const folder = NodePath.join(yield* temporaryFolder, "data")
        const backend = yield* Sqlite.make({ path: NodePath.join(folder, "hub.db") })
        NodeFs.renameSync(folder, `${folder}.old`)
        replace(folder)
        const status = yield* backend.health.status
        assert.isFalse(status.healthy)
        assert.include(status.error, "deleted")
        assert.isNull(status.fileSize)
        assert.strictEqual((yield* failureOf(backend.health.ping)).code, "HUB_FILE_GONE")
      })
    )
  }

  it.scopedLive("waits for another process's lock of the whole file, and is unhealthy at the budget", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path, journalMode: "DELETE", busyTimeout: 300 })
      const other = new Database(path)
      yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
      other.exec("BEGIN EXCLUSIVE")
      const checking = yield* Effect.fork(backend.health.status)
      yield* Effect.sleep(50)
      other.exec("COMMIT")
      assert.isTrue((yield* checking).healthy)
      other.exec("BEGIN EXCLUSIVE")
      const spent = yield* elapsed(Effect.map(backend.health.status, ({ healthy }) => assert.isFalse(healthy)))
      assert.isBelow(spent, 500)
    })
  )

  it.scoped("is unhealthy when the file was replaced by another", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      NodeFs.renameSync(path, `${path}.old`)
      NodeFs.copyFileSync(`${path}.old`, path)
      assert.isFalse((yield* backend.health.status).healthy)
    })
  )

  it.scoped("is unhealthy on a damaged page, before a query meets it and after", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* Effect.scoped(
        Effect.gen(function* () {
          const backend = yield* Sqlite.make({ path })
          yield* backend.execute("CREATE TABLE t (a TEXT)")
          yield* backend.execute(
            "INSERT INTO t WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT hex(randomblob(200)) FROM n"
          )
        })
      )
      const damaged = NodeFs.openSync(path, "r+")
      NodeFs.writeSync(damaged, Buffer.alloc(8192, 0xff), 0, 8192, NodeFs.fstatSync(damaged).size - 8192)
      NodeFs.closeSync(damaged)
      const backend = yield* Sqlite.make({ path })
      const before = yield* backend.health.status
      assert.isFalse(before.healthy)
      assert.include(before.error, "damaged")
      assert.strictEqual((yield* failureOf(backend.query("SELECT sum(length(a)) AS n FROM t")))._tag, "DbCorrupt")
      assert.isFalse((yield* backend.health.status).healthy)
    })
  )

  it.scoped("is unhealthy on damage that a read-only statement met in a file too large to be checked each time", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const made = new Database(path)
      made.exec(
        `CREATE TABLE t (a BLOB); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 10000)
         INSERT INTO t SELECT zeroblob(1900) FROM c`
      )
      made.close()
      const damaged = NodeFs.openSync(path, "r+")
      NodeFs.writeSync(damaged, Buffer.alloc(8192, 0xff), 0, 8192, 4096 * 2000)
      NodeFs.closeSync(damaged)
      const backend = yield* Sqlite.make({ path })
      assert.isTrue((yield* backend.health.status).healthy)
      assert.strictEqual((yield* failureOf(backend.readOnly("SELECT sum(length(a)) FROM t")))._tag, "DbCorrupt")
      assert.isFalse((yield* backend.health.status).healthy)
    })
  )

  it.scoped("counts waits for the lane", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: yield* temporaryFile })
      yield* backend.execute("CREATE TABLE t (a INTEGER)")
      const write = (n: number) =>
        backend.transaction(Effect.zipRight(backend.execute("INSERT INTO t VALUES (?)", [n]), Effect.yieldNow()))
      yield* Effect.forEach([1, 2, 3, 4], write, { concurrency: "unbounded" })
      const status = yield* backend.health.status
      assert.strictEqual(status.waitCount, 3)
      assert.isAbove(status.waitDuration, 0)
    })
  )
})
