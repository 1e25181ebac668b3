import { spawn } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import { document, errorOf, type Place, place } from "./support.js"

const names = ({ using }: Place) =>
  Effect.map(
    using((backend) => backend.query("SELECT name FROM users ORDER BY id")),
    (rows) => rows.map(({ name }) => name)
  )

/** Names in the folder of the database, but for backups and the files of the primary. */
const filesOf = ({ database }: Place) =>
  NodeFs.readdirSync(NodePath.dirname(database)).filter((name) => name !== "backups" && !name.includes("-primary"))

/** A place with a backup of its three users, which were changed since. */
const changed = Effect.gen(function* () {
  const here = yield* place
  const backup: string = document(yield* here.hub(["backup", "--json"])).backup_path
  yield* here.using((backend) => backend.execute("UPDATE users SET name = 'changed'"))
  return { ...here, backup }
})

/** Leaves a log beside the database, as a process that was killed does. */
const writtenAndKilled = (database: string) =>
  Effect.async<void>((resume) => {
    const script = `
      const db = new (require("better-sqlite3"))(process.argv[1])
      db.exec("UPDATE users SET name = 'in the log'")
      process.kill(process.pid, "SIGKILL")`
    spawn(process.execPath, ["-e", script, database], { stdio: "ignore" }).once("exit", () => resume(Effect.void))
  })

describe("restore", () => {
  it.scopedLive("puts a backup in the place of the database, and keeps what was there", () =>
    Effect.gen(function* () {
      const here = yield* changed
      const done = document(yield* here.hub(["restore", here.backup, "--json"]))
      assert.deepInclude(done, { backend: "primary", database: here.database, restored_from: here.backup })
      assert.deepStrictEqual(yield* names(here), ["Ada", "", null])
      assert.strictEqual(NodeFs.statSync(here.database).mode & 0o777, 0o600)
      const kept = new Database(done.kept, { readonly: true })
      assert.deepStrictEqual(kept.prepare("SELECT DISTINCT name FROM users").all(), [{ name: "changed" }])
      kept.close()
      // And back again.
      assert.match((yield* here.hub(["restore", done.kept])).out, /verified\)\nwhat was there is .*\.replaced-\w+\n$/)
      assert.deepStrictEqual(new Set(yield* names(here)), new Set(["changed"]))
      assert.isTrue(NodeFs.existsSync(here.backup))
      assert.isEmpty(filesOf(here).filter((name) => name.includes("restoring")))
    })
  )

  it.scopedLive("the log of a process that was killed is not taken for that of the backup", () =>
    Effect.gen(function* () {
      const here = yield* changed
      yield* writtenAndKilled(here.database)
      assert.isAbove(NodeFs.statSync(`${here.database}-wal`).size, 0)
      const { kept } = document(yield* here.hub(["restore", here.backup, "--json"]))
      assert.deepStrictEqual(yield* names(here), ["Ada", "", null])
      const before = new Database(kept, { readonly: true })
      assert.deepStrictEqual(before.prepare("SELECT DISTINCT name FROM users").all(), [{ name: "in the log" }])
      before.close()
    })
  )

  it.scopedLive("makes a database that is gone, whose log was left", () =>
    Effect.gen(function* () {
      const here = yield* changed
      yield* writtenAndKilled(here.database)
      NodeFs.rmSync(here.database)
      const done = document(yield* here.hub(["restore", here.backup, "--json"]))
      assert.isNull(done.kept)
      assert.deepStrictEqual(yield* names(here), ["Ada", "", null])
      assert.isTrue(filesOf(here).some((name) => /\.replaced-\w+-wal$/.test(name)))
    })
  )

  it.scopedLive("replaces a damaged database, and keeps it as it was", () =>
    Effect.gen(function* () {
      const here = yield* changed
      NodeFs.writeFileSync(here.database, "no database at all".repeat(500))
      const { kept } = document(yield* here.hub(["restore", here.backup, "--json"]))
      assert.deepStrictEqual(yield* names(here), ["Ada", "", null])
      assert.include(NodeFs.readFileSync(kept, "utf8"), "no database at all")
    })
  )

  it.scopedLive("changes nothing while somebody has the database open", () =>
    Effect.gen(function* () {
      const here = yield* changed
      const sqlite = { path: "data/hub.db", busy_timeout: 100 }
      NodeFs.writeFileSync(NodePath.join(here.folder, "db-hub.json"), JSON.stringify({ database: { hub: { sqlite } } }))
      const other = new Database(here.database)
      yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
      assert.strictEqual(other.prepare("SELECT count(*) FROM users").pluck().get(), 3)
      const refused = yield* here.hub(["restore", here.backup, "--json"])
      assert.strictEqual(refused.code, 1)
      assert.deepInclude(errorOf(refused), { type: "DbLocked", code: "HUB_IN_USE" })
      assert.deepStrictEqual(new Set(yield* names(here)), new Set(["changed"]))
      assert.isEmpty(filesOf(here).filter((name) => /restoring|replaced/.test(name)))
    })
  )

  it.scopedLive("what is no sound backup is refused, and the database stays as it is", () =>
    Effect.gen(function* () {
      const here = yield* changed
      const damaged = NodePath.join(here.folder, "damaged.db")
      const pages = NodeFs.readFileSync(here.backup)
      pages.fill(0xff, 4096, 3 * 4096)
      NodeFs.writeFileSync(damaged, pages)
      const text = NodePath.join(here.folder, "text.db")
      NodeFs.writeFileSync(text, "just text".repeat(1000))
      for (const [file, type, code] of [
        [damaged, "DbCorrupt", 1],
        [text, "DbCorrupt", 1],
        [NodePath.join(here.folder, "nowhere.db"), "InvalidInput", 2],
        [here.database, "InvalidInput", 2]
      ] as const) {
        const refused = yield* here.hub(["restore", file, "--json"])
        assert.deepStrictEqual([refused.code, errorOf(refused).type], [code, type], file)
      }
      assert.deepStrictEqual(new Set(yield* names(here)), new Set(["changed"]))
      assert.isEmpty(filesOf(here).filter((name) => /restoring|replaced/.test(name)))
    })
  )
})
