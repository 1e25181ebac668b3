import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { temporaryFolder } from "../support/index.js"
import * as Postgres from "../support/postgres.js"
import { cli, document } from "./support.js"

describe.skipIf(Postgres.noServer || Postgres.noPooler)("on PostgreSQL", () => {
  const ways = [
    ["a server", Postgres.serverUrl, "none"],
    ["PgBouncer in transaction mode", Postgres.poolerUrl, "transaction"]
  ] as const
  for (const [way, url, pooler] of ways) {
    it.scopedLive(`${way}: a database is made, filled, read and examined`, () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const database = yield* Postgres.temporaryDatabase
        const config = `${folder}/db-hub.json`
        const postgresql = { url: Postgres.inDatabase(url, database), pooler, ssl_mode: "disable" }
        NodeFs.writeFileSync(config, JSON.stringify({ database: { hub: { backend: "postgresql", postgresql } } }))
        NodeFs.mkdirSync(`${folder}/notes`)
        NodeFs.writeFileSync(`${folder}/notes/a.md`, "# Backups\n\nBackups run every night.\n")
        const hub = (...args: ReadonlyArray<string>) => cli([...args, "--config", config])
        for (const args of [
          ["migrate"],
          ["execute", "CREATE TABLE notes (id INT PRIMARY KEY, done BOOLEAN)"],
          ["execute", "INSERT INTO notes VALUES (?, ?)", "--param", "1", "--param", "true"],
          ["ingest", `${folder}/notes`],
          ["status"],
          ["backends"],
          ["schema", "notes"],
          ["migrate", "--dry-run"],
          ["vector", "collections"],
          ["doctor"]
        ]) {
          const { code, err, out } = yield* hub(...args)
          assert.strictEqual(code, 0, `${args.join(" ")}: ${out}${err}`)
        }
        assert.deepStrictEqual(document(yield* hub("query", "SELECT * FROM notes", "--json")).rows, [
          { id: 1, done: true }
        ])
        assert.include((yield* hub("search", "nightly backups")).out, "a.md:1")
      })
    )
  }
})
