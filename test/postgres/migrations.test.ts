import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as SqlMigrator from "../../src/layers/sql/SqlMigrator.js"
import { hubMigrations } from "../../src/migrations/index.js"
import { textPostings } from "../../src/migrations/textPostings.js"
import type { MigrationStep } from "../../src/services/Migrator.js"
import { failureOf } from "../support/index.js"
import { noPooler, noServer, optionsFor, poolerUrl, temporaryDatabase } from "../support/postgres.js"

const steps: ReadonlyArray<MigrationStep> = [
  {
    id: 1,
    name: "table",
    up: () => ["CREATE TABLE big (n INT)", "INSERT INTO big SELECT n FROM generate_series(1, 1000) AS n"],
    down: () => ["DROP TABLE big"]
  },
  {
    id: 2,
    name: "index",
    transaction: false,
    up: () => ["DROP INDEX CONCURRENTLY IF EXISTS big_n", "CREATE UNIQUE INDEX CONCURRENTLY big_n ON big (n)"],
    down: () => ["DROP INDEX CONCURRENTLY IF EXISTS big_n"]
  },
  { id: 3, name: "after", up: () => ["CREATE TABLE after_index (n INT)"], down: () => ["DROP TABLE after_index"] }
]

const opened = (url?: string) =>
  Effect.flatMap(temporaryDatabase, (database) =>
    Postgres.make({ ...optionsFor(database, url), maxOpenConns: 4, pooler: url === undefined ? "none" : "transaction" })
  )

const valid = "SELECT indisvalid AS valid FROM pg_index WHERE indexrelid = to_regclass('big_n')"

describe.skipIf(noServer)("steps outside of a transaction", () => {
  it.scopedLive("run up and down, once each for eight migrators at once", () =>
    Effect.gen(function* () {
      const backend = yield* opened()
      const reports = yield* Effect.all(
        Array.from({ length: 8 }, () => SqlMigrator.make(backend, steps, "app").migrate()),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(reports.flatMap(({ applied }) => applied.map(({ id }) => id)).sort(), [1, 2, 3])
      assert.deepStrictEqual(yield* backend.query(valid), [{ valid: true }])
      yield* SqlMigrator.make(backend, steps, "app").migrate({ target: "empty" })
      assert.deepStrictEqual(yield* backend.query(valid), [])
    })
  )

  it.scopedLive("are begun anew after they were cut short", () =>
    Effect.gen(function* () {
      const backend = yield* opened()
      const migrator = SqlMigrator.make(backend, steps, "app")
      yield* migrator.migrate({ target: 1 })
      yield* backend.execute("INSERT INTO big VALUES (1)")
      const failed = yield* failureOf(migrator.migrate())
      assert.deepStrictEqual([failed._tag, failed.code], ["MigrationError", "23505"])
      assert.deepStrictEqual(yield* backend.query(valid), [{ valid: false }])
      yield* backend.execute("DELETE FROM big WHERE ctid = (SELECT max(ctid) FROM big)")

      const holds = yield* Deferred.make<void>()
      const blocker = yield* Effect.fork(
        backend.transaction(
          backend
            .execute("UPDATE big SET n = n")
            .pipe(Effect.zipRight(Deferred.succeed(holds, undefined)), Effect.zipRight(Effect.never))
        )
      )
      yield* Deferred.await(holds)
      const building = yield* Effect.fork(migrator.migrate())
      yield* Effect.repeat(
        backend.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONC%' AND state = 'active'"),
        {
          until: (rows) => rows.length > 0,
          schedule: Schedule.spaced("10 millis")
        }
      )
      yield* Fiber.interrupt(building)
      yield* Fiber.interrupt(blocker)
      assert.strictEqual(yield* migrator.currentVersion, 1)
      assert.deepStrictEqual(
        (yield* migrator.migrate()).applied.map(({ id }) => id),
        [2, 3]
      )
      assert.deepStrictEqual(yield* backend.query(valid), [{ valid: true }])
    })
  )

  it.scopedLive.skipIf(noPooler)("are refused through a transaction pooler, with the reason", () =>
    Effect.gen(function* () {
      const backend = yield* opened(poolerUrl)
      const error = yield* failureOf(SqlMigrator.make(backend, steps, "app").migrate())
      assert.deepStrictEqual([error._tag, error.code], ["DbUnsupported", "HUB_TRANSACTION_POOLER"])
    })
  )
})

describe.skipIf(noServer)("text collections of an earlier version", () => {
  it.scopedLive("are searched as before once they are migrated, and can go back", () =>
    Effect.gen(function* () {
      const backend = yield* opened()
      const before = hubMigrations.findIndex(({ name }) => name === textPostings.name)
      yield* backend.migrator.migrate({ target: before })
      yield* backend.execute("INSERT INTO db_hub_text_collections (name, language) VALUES ('notes', 'english')")
      const [collection] = yield* backend.query("SELECT id FROM db_hub_text_collections WHERE name = 'notes'")
      const table = `db_hub_texts_${collection?.["id"]}`
      yield* backend.execute(`CREATE TABLE ${table} (
        id TEXT COLLATE "C" PRIMARY KEY, metadata JSONB NOT NULL, text TEXT NOT NULL, terms TSVECTOR NOT NULL,
        length INTEGER NOT NULL
      )`)
      yield* backend.execute(`CREATE INDEX ${table}_terms ON ${table} USING gin (terms)`)
      yield* backend.execute(
        `INSERT INTO ${table} VALUES
          ('tea', '{"n": 1}', 'green tea, green', $$'green':1,3 'tea':2$$, 3), ('sea', '{}', 'sea', $$'sea':1$$, 1)`
      )
      yield* backend.migrator.migrate()
      yield* backend.text.createCollection("fresh")
      yield* backend.text.insertMany("fresh", [
        { id: "tea", text: "green tea, green", metadata: { n: 1 } },
        { id: "sea", text: "sea" }
      ])
      for (const question of ["green", "tea or sea", "nothing"]) {
        assert.deepStrictEqual(
          yield* backend.text.search("notes", question),
          yield* backend.text.search("fresh", question)
        )
      }
      assert.strictEqual((yield* backend.text.search("notes", "green")).length, 1)
      assert.strictEqual(yield* backend.text.delete("notes", ["tea"]), 1)
      assert.deepStrictEqual(yield* backend.text.search("notes", "green"), [])
      yield* backend.migrator.migrate({ target: before })
      assert.deepStrictEqual(yield* backend.query(`SELECT id FROM ${table} WHERE terms @@ 'sea'`), [{ id: "sea" }])
      yield* backend.migrator.migrate({ target: "empty" })
    })
  )
})
