/** The hub's SQLite against raw better-sqlite3, in one process: WAL, synchronous=NORMAL, one file each. */
import * as NodePath from "node:path"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Sqlite } from "effect-db-hub"
import { compare, temporaryFolder } from "./support.js"

const folder = temporaryFolder()
const scope = Effect.runSync(Scope.make())
const hub = await Effect.runPromise(Scope.extend(Sqlite.make({ path: NodePath.join(folder, "hub.db") }), scope))
const raw = new Database(NodePath.join(folder, "raw.db"))
raw.pragma("journal_mode = WAL")
raw.pragma("synchronous = NORMAL")

const table = "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL, score REAL NOT NULL)"

const fill = `WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
  INSERT INTO item SELECT i, 'item ' || i, i / 7.0 FROM n`
raw.exec(table)
raw.exec(fill)
await Effect.runPromise(Effect.zipRight(hub.execute(table), hub.execute(fill)))

/** A loop inside one fiber, as a program has it. */
const loop =
  (body: (i: number) => Effect.Effect<unknown, unknown>) =>
  (times: number): Promise<void> =>
    Effect.runPromise(
      Effect.asVoid(Effect.iterate(0, { while: (i) => i < times, body: (i) => Effect.as(body(i), i + 1) }))
    )

const select = "SELECT id, name, score FROM item WHERE id = ?"
const prepared = raw.prepare(select)
await compare(
  "point SELECT by primary key, three columns",
  { rounds: 9, times: 30_000 },
  {
    "raw better-sqlite3, prepared .all": (times) => {
      for (let i = 0; i < times; i++) prepared.all((i % 10_000) + 1)
    },
    "hub query": loop((i) => hub.query(select, [(i % 10_000) + 1])),
    "raw better-sqlite3, inside a transaction": (times) => {
      raw.exec("BEGIN")
      for (let i = 0; i < times; i++) prepared.all((i % 10_000) + 1)
      raw.exec("COMMIT")
    },
    "hub query, inside a transaction": (times) =>
      Effect.runPromise(
        hub.transaction(
          Effect.asVoid(
            Effect.iterate(0, {
              while: (i) => i < times,
              body: (i) => Effect.as(hub.query(select, [(i % 10_000) + 1]), i + 1)
            })
          )
        )
      ),
    "sql template": loop((i) => hub.sql`SELECT id, name, score FROM item WHERE id = ${(i % 10_000) + 1}`)
  }
)

const batch = Array.from({ length: 100 }, (_, i) => ({ name: `row ${i}`, score: i / 3 }))
const insertOne = raw.prepare("INSERT INTO item (name, score) VALUES (?, ?)")
const insertBatch = raw.transaction(() => {
  for (const { name, score } of batch) insertOne.run(name, score)
})
const insertMany = `INSERT INTO item (name, score) VALUES ${batch.map(() => "(?, ?)").join(", ")}`
await compare(
  "INSERT of 100 rows, per row",
  { rounds: 9, times: 300, perOperation: 100 },
  {
    "raw better-sqlite3, prepared, one transaction": (times) => {
      for (let i = 0; i < times; i++) insertBatch()
    },
    "hub execute, one statement": loop(() =>
      hub.execute(
        insertMany,
        batch.flatMap(({ name, score }) => [name, score])
      )
    ),
    "sql.insert template": loop(() => hub.sql`INSERT INTO item ${hub.sql.insert(batch)}`)
  }
)

const insertRaw = raw.prepare("INSERT INTO item (name, score) VALUES (?, ?)")
await compare(
  "INSERT of one row, committed",
  { rounds: 9, times: 3_000 },
  {
    "raw better-sqlite3": (times) => {
      for (let i = 0; i < times; i++) insertRaw.run("one", i)
    },
    "hub execute": loop((i) => hub.execute("INSERT INTO item (name, score) VALUES (?, ?)", ["one", i])),
    "hub transaction around it": loop((i) =>
      hub.transaction(hub.execute("INSERT INTO item (name, score) VALUES (?, ?)", ["one", i]))
    )
  }
)

raw.close()
await Effect.runPromise(Scope.close(scope, Exit.void))
