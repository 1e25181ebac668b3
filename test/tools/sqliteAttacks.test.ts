import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { temporaryFolder } from "../support/index.js"
import { attacks, heavy, reads } from "./corpus.js"
import { fuzzing, statements, unchangedBy } from "./fuzz.js"

const schema = `
CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT);
CREATE INDEX notes_body ON notes (body);
INSERT INTO notes VALUES (1, 'alpha'), (2, 'beta'), (3, NULL);
CREATE TABLE "odd table" ("select" TEXT, x INT REFERENCES notes (id));
INSERT INTO "odd table" VALUES ('s', 1);
CREATE TABLE embeddings (vector BLOB);
INSERT INTO embeddings VALUES (x'0000803f');
CREATE VIEW seen AS SELECT * FROM notes;
CREATE VIRTUAL TABLE search USING fts5(body);
INSERT INTO search (rowid, body) VALUES (1, 'alpha beta'), (2, 'gamma');
PRAGMA user_version = 7;
PRAGMA application_id = 8;
`

const pragmas = [
  "user_version",
  "application_id",
  "schema_version",
  "journal_mode",
  "page_size",
  "auto_vacuum",
  "encoding"
]

/** A database, the door to it, and a hash of all of it: every table, setting and file around it. */
const opened = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  NodeFs.writeFileSync(`${folder}/secret.txt`, "secret")
  const other = new Database(`${folder}/other.db`)
  other.exec("CREATE TABLE secrets (x); INSERT INTO secrets VALUES ('secret')")
  other.close()
  const backend = yield* Sqlite.make({ path: `${folder}/hub.db`, migrate: false })
  const db = new Database(`${folder}/hub.db`)
  yield* Effect.addFinalizer(() => Effect.sync(() => db.close()))
  db.exec(schema)
  const tables = db.prepare<[], string>("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
  const readAll = ["sqlite_schema", ...tables].map((name) => db.prepare(`SELECT * FROM "${name}"`).raw(true))
  const names = () => NodeFs.readdirSync(folder).filter((file) => !file.endsWith("-shm"))
  /**
   * The times at which each file was last changed, which nobody can set (ctime) and which move with every write, with
   * every file that comes or goes, and with every change of permissions; and SQLite's own count of commits.
   */
  const marks = () =>
    JSON.stringify([
      db.pragma("data_version", { simple: true }),
      ...["", ...names()].map((file) => {
        const { ctimeNs, ino, mode, mtimeNs, size } = NodeFs.statSync(`${folder}/${file}`, { bigint: true })
        // Whoever opens the write-ahead log as root makes it the property of the database's owner once more.
        const changed = file.endsWith("-wal") ? mtimeNs : ctimeNs
        return [file, ...[changed, ino, mode, size].map(String)]
      })
    ])
  const hash = () => {
    const sum = NodeCrypto.createHash("sha1")
    sum.update(JSON.stringify(readAll.map((statement) => statement.all())))
    sum.update(JSON.stringify(pragmas.map((name) => db.pragma(name))))
    for (const file of NodeFs.readdirSync(folder).sort()) {
      sum.update(file)
      // The index of the write-ahead log holds the marks of readers.
      if (!file.endsWith("-shm")) sum.update(NodeFs.readFileSync(`${folder}/${file}`))
    }
    return sum.digest("hex")
  }
  const look = Effect.sync(() => `${marks()} ${hash()}`)
  // A clock of file times moves in steps of milliseconds: from here on, what is written gets a later time than these.
  const watch = `${yield* temporaryFolder}/clock`
  do NodeFs.writeFileSync(watch, "")
  while (names().some((file) => NodeFs.statSync(`${folder}/${file}`).ctimeMs >= NodeFs.statSync(watch).ctimeMs))
  return { backend, folder, hash, look, door: yield* backend.agentSql({ deadline: "2 seconds", concurrency: 4 }) }
})

describe("the read door of SQLite", { timeout: 1_200_000 }, () => {
  it.scopedLive(`${attacks.sqlite.length} attacks are refused or harmless`, () =>
    Effect.gen(function* () {
      assert.isAtLeast(attacks.sqlite.length, 400)
      const { door, folder, hash } = yield* opened
      const before = hash()
      const accepted: Array<string> = []
      for (const attack of attacks.sqlite) {
        const result = yield* Effect.either(door.query(attack.replaceAll("FOLDER", folder)))
        if (Either.isRight(result)) accepted.push(attack)
        assert.strictEqual(hash(), before, attack)
        assert.notInclude(JSON.stringify(result), "secret", attack)
      }
      assert.deepStrictEqual(accepted, [])
    })
  )

  it.scopedLive("what would take all memory or time, or reach out through a view, ends without an answer", () =>
    Effect.gen(function* () {
      const { backend, door, hash } = yield* opened
      yield* backend.execute("CREATE VIEW extending AS SELECT load_extension('evil')")
      const before = hash()
      for (const sql of heavy.sqlite) {
        assert.isTrue(Either.isLeft(yield* Effect.either(door.query(sql))), sql)
        assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]], sql)
      }
      assert.strictEqual(hash(), before)
    })
  )

  it.scopedLive(`${reads.sqlite.length} reads work`, () =>
    Effect.gen(function* () {
      const { door, hash } = yield* opened
      const before = hash()
      const failed: Array<string> = []
      for (const sql of reads.sqlite) {
        const result = yield* Effect.either(door.query(sql))
        if (Either.isLeft(result)) failed.push(`${sql}: ${result.left.message}`)
      }
      assert.deepStrictEqual(failed, [])
      assert.strictEqual(hash(), before)
    })
  )

  it.scopedLive("no statement made of pieces of others changes anything", () =>
    Effect.gen(function* () {
      const { count, seed } = fuzzing()
      console.log(`fuzz sqlite: DB_HUB_SEED=${seed} DB_HUB_FUZZ=${count}`)
      const { backend, door, folder, look } = yield* opened
      const corpus = { reads: reads.sqlite, attacks: attacks.sqlite.map((sql) => sql.replaceAll("FOLDER", folder)) }
      const accepted = yield* unchangedBy(statements(count, seed, corpus), door.query, look)
      console.log(`fuzz sqlite: ${accepted} of ${count} were reads`)
      assert.isAbove(accepted, 0)
      // What is done and undone is seen, too.
      const still = yield* look
      yield* backend.execute("UPDATE notes SET body = 'beta ' WHERE id = 2")
      yield* backend.execute("UPDATE notes SET body = 'beta' WHERE id = 2")
      assert.notStrictEqual(yield* look, still)
      const file = yield* look
      NodeFs.writeFileSync(`${folder}/secret.txt`, "secret")
      assert.notStrictEqual(yield* look, file)
    })
  )
})
