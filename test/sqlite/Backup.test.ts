import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { failureOf, temporaryFolder, ticksDuring } from "../support/index.js"

const filled = (path: string, rows: number) =>
  Effect.gen(function* () {
    const backend = yield* Sqlite.make({ path })
    yield* backend.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT)")
    yield* backend.execute(
      "INSERT INTO t (a) WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT hex(randomblob(100)) FROM n",
      [rows]
    )
    return backend
  })

describe("backup of SQLite", () => {
  it.scoped("is one file of its own, readable by its owner alone, with every row", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 5_000)
      const file = NodePath.join(folder, "backups", "it's one.db")
      const seen: Array<number> = []
      const result = yield* backend.backup(file, { onProgress: ({ done, total }) => seen.push(done / total) })
      assert.strictEqual(result.sizeBytes, NodeFs.statSync(file).size)
      assert.strictEqual(NodeFs.statSync(file).mode & 0o777, 0o600)
      assert.deepStrictEqual(NodeFs.readdirSync(NodePath.dirname(file)), ["it's one.db"])
      assert.isAbove(seen.length, 1)
      assert.deepStrictEqual(
        seen.toSorted((a, b) => a - b),
        seen
      )
      const copy = yield* Sqlite.make({ path: file, readOnly: true })
      assert.deepStrictEqual(yield* copy.query("SELECT count(*) AS n FROM t"), [{ n: 5_000 }])
    })
  )

  it.scoped("never overwrites a file", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 10)
      const file = NodePath.join(folder, "taken.db")
      NodeFs.writeFileSync(file, "mine")
      assert.strictEqual((yield* failureOf(backend.backup(file)))._tag, "InvalidInput")
      assert.strictEqual(NodeFs.readFileSync(file, "utf8"), "mine")
      assert.deepStrictEqual(
        NodeFs.readdirSync(folder).filter((name) => name.includes("partial")),
        []
      )
    })
  )

  it.scoped("of two to one name at once makes one", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 100)
      const file = NodePath.join(folder, "out", "b.db")
      const both = yield* Effect.all([backend.backup(file), backend.backup(file)].map(Effect.either), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(both.map((one) => (one._tag === "Right" ? "made" : one.left._tag)).sort(), [
        "InvalidInput",
        "made"
      ])
      assert.deepStrictEqual(NodeFs.readdirSync(NodePath.dirname(file)), ["b.db"])
      const copy = yield* Sqlite.make({ path: file, readOnly: true })
      assert.deepStrictEqual(yield* copy.query("SELECT count(*) AS n FROM t"), [{ n: 100 }])
    })
  )

  it.scoped("under a path that is a file says that it cannot be written", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 1)
      const error = yield* failureOf(backend.backup(NodePath.join(folder, "hub.db", "b.db")))
      assert.strictEqual(error._tag, "DbConnection")
    })
  )

  it.scoped("saves a database in memory to a file", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(":memory:", 100)
      const file = NodePath.join(folder, "memory.db")
      yield* backend.backup(file)
      const copy = yield* Sqlite.make({ path: file, readOnly: true })
      assert.deepStrictEqual(yield* copy.query("SELECT count(*) AS n FROM t"), [{ n: 100 }])
    })
  )

  it.scoped("is refused inside a transaction, which would wait for itself", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 10)
      const error = yield* failureOf(backend.transaction(backend.backup(NodePath.join(folder, "b.db"))))
      assert.strictEqual(error._tag, "DbLocked")
    })
  )

  it.scopedLive("goes on beside writers and holds nobody up, and is consistent", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 50_000)
      yield* backend.execute("CREATE TABLE pair (a INTEGER, b INTEGER)")
      const writing = yield* Effect.fork(
        Effect.forever(
          backend.transaction(
            Effect.zipRight(
              backend.execute("INSERT INTO pair VALUES (1, 0)"),
              Effect.zipRight(Effect.sleep(1), backend.execute("INSERT INTO pair VALUES (0, 1)"))
            )
          )
        )
      )
      const file = NodePath.join(folder, "live.db")
      const [ticks] = yield* ticksDuring(backend.backup(file))
      yield* Fiber.interrupt(writing)
      assert.isAbove(ticks, 0)
      const copy = yield* Sqlite.make({ path: file, readOnly: true })
      assert.deepStrictEqual(yield* copy.query("SELECT count(*) AS n FROM t"), [{ n: 50_000 }])
      assert.deepStrictEqual(yield* copy.query("SELECT coalesce(sum(a) - sum(b), 0) AS torn FROM pair"), [{ torn: 0 }])
    })
  )

  it.scopedLive("leaves the event loop free while the copy is checked", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 50_000)
      let turns = 0
      let running = true
      const turn = () => {
        turns++
        if (running) setImmediate(turn)
      }
      turn()
      let copied = 0
      yield* backend.backup(NodePath.join(folder, "b.db"), { onProgress: () => (copied = turns) })
      running = false
      assert.isAbove(turns - copied, 100)
    })
  )

  it.scoped("of a damaged database fails, and leaves no copy", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = NodePath.join(folder, "hub.db")
      yield* Effect.scoped(filled(path, 5_000))
      const bytes = NodeFs.readFileSync(path)
      bytes.fill(0xff, bytes.length - 8_192)
      NodeFs.writeFileSync(path, bytes)
      const backend = yield* Sqlite.make({ path, migrate: false })
      const error = yield* failureOf(backend.backup(NodePath.join(folder, "out", "b.db")))
      assert.deepStrictEqual([error._tag, error.code], ["DbCorrupt", "HUB_INTEGRITY_CHECK"])
      assert.deepStrictEqual(NodeFs.readdirSync(NodePath.join(folder, "out")), [])
    })
  )

  it.scoped("takes away what a copy has left whose process was killed, and nothing else", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 10)
      const out = NodePath.join(folder, "out")
      NodeFs.mkdirSync(out)
      const dayBefore = Date.now() / 1000 - 2 * 86_400
      const made = (name: string, at: number) => {
        NodeFs.writeFileSync(NodePath.join(out, name), "x")
        NodeFs.utimesSync(NodePath.join(out, name), at, at)
        return name
      }
      const id = "7996fda8-1aff-4884-a580-f4b8e79f3230"
      made(`.old.db.${id}.partial`, dayBefore)
      made(`.old.db.${id}.partial-journal`, dayBefore)
      const kept = [
        made(`.running.db.${id}.partial`, Date.now() / 1000),
        made(".mine.partial", dayBefore),
        made("old.db", dayBefore)
      ]
      yield* backend.backup(NodePath.join(out, "b.db"))
      assert.deepStrictEqual(NodeFs.readdirSync(out).sort(), [...kept, "b.db"].sort())
    })
  )

  it.scopedLive("leaves nothing behind when it is interrupted", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const backend = yield* filled(NodePath.join(folder, "hub.db"), 50_000)
      const target = NodePath.join(folder, "out")
      const fiber = yield* Effect.fork(backend.backup(NodePath.join(target, "b.db")))
      yield* Effect.sleep(5)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(NodeFs.readdirSync(target), [])
      yield* backend.execute("INSERT INTO t (a) VALUES ('still writable')")
    })
  )
})
