import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as Pglite from "../../src/layers/postgres/Pglite.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import type { HubShape } from "../../src/services/Hub.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { temporaryFolder } from "../support/index.js"
import { noServer, optionsFor, temporaryDatabase } from "../support/postgres.js"

const caller = { name: "tester", session: "s1" }

const toolsOver = (hub: HubShape, writes: "plan" | "direct") =>
  Effect.gen(function* () {
    const audited: Array<Toolkit.AuditRecord> = []
    const kit = yield* Toolkit.make(hub, {
      groups: ["read", "write", "admin"],
      writes,
      callsPerSecond: { db_hub_raw: 1000 },
      audit: (records) => Effect.sync(() => void audited.push(...records))
    })
    const call = (name: string, args: unknown) => kit.call(name, args, caller)
    /** Through both tools, and as far as they go by plan and code. */
    const attempt = (sql: string) =>
      Effect.gen(function* () {
        const answers: Array<Toolkit.ToolAnswer> = []
        for (const [name, args] of [
          ["db_hub_execute", { statement: sql }],
          ["db_hub_raw", { query: sql }]
        ] as const) {
          const first = yield* call(name, args)
          const code = first.ok ? first.value["code"] : undefined
          answers.push(code === undefined ? first : yield* call(name, { ...args, code }))
        }
        return answers
      })
    return { attempt, audited, call }
  })

const refused = (answer: Toolkit.ToolAnswer) => !answer.ok && answer.error.type === "DbReadOnly"

/** What an agent may not do, whatever else refuses it; `raw` is let through by one of the two tools alone. */
const both = [
  "DELETE FROM db_hub_audit",
  "DELETE FROM db_hub_audit WHERE id = '1'",
  "UPDATE db_hub_audit SET tool = 'x'",
  "INSERT INTO db_hub_primary (id, epoch, instance) VALUES (2, 0, 'x')",
  "WITH x AS (SELECT '1' AS id) DELETE FROM db_hub_audit WHERE id IN (SELECT id FROM x)",
  'DELETE FROM "db_hub_audit"',
  "/* notes */ DELETE FROM DB_HUB_AUDIT",
  "INSERT INTO db_hub_writes SELECT * FROM db_hub_writes WHERE 1 = 0",
  "UPDATE db_hub_primary SET epoch = epoch + 1",
  "DELETE FROM db_hub_secrets",
  "DELETE FROM db_hub_migrations",
  "DROP TABLE db_hub_session_scores",
  "ALTER TABLE db_hub_audit RENAME TO gone",
  "ALTER TABLE db_hub_audit ADD COLUMN evil TEXT",
  "ALTER TABLE notes RENAME TO db_hub_evil",
  "CREATE TABLE db_hub_evil (x INT)",
  "CREATE INDEX evil ON db_hub_audit (tool)",
  "CREATE UNIQUE INDEX evil ON db_hub_audit (tool)",
  "CREATE VIEW db_hub_evil AS SELECT 1",
  "DROP INDEX db_hub_audit_by_tool",
  "DELETE FROM parents WHERE id = 1",
  "INSERT INTO triggering (x) VALUES (1)",
  "DELETE FROM seen",
  "CREATE TABLE evil (a TEXT REFERENCES db_hub_audit (id) ON DELETE RESTRICT)",
  // The other way round: nothing is written where nobody looks.
  "DELETE FROM db_hub_audit WHERE 1 = 0"
]

const sqliteOnly = [
  "REPLACE INTO db_hub_primary (id, epoch, instance) VALUES (1, 99, 'x')",
  "DELETE FROM main.[db_hub_audit]",
  "DELETE FROM `db_hub_audit`",
  "UPDATE sqlite_sequence SET seq = 9223372036854775807",
  "DELETE FROM sqlite_sequence WHERE name = 'db_hub_' || 'audit'",
  "INSERT INTO db_hub_texts_99 VALUES (1, 'x')",
  "CREATE TRIGGER evil AFTER INSERT ON db_hub_audit BEGIN DELETE FROM notes; END",
  "CREATE TRIGGER evil AFTER INSERT ON notes BEGIN DELETE FROM db_hub_audit; END",
  "CREATE TRIGGER evil AFTER INSERT ON notes BEGIN UPDATE sqlite_sequence SET seq = 1; END",
  "CREATE TEMP TRIGGER evil AFTER INSERT ON main.notes BEGIN DELETE FROM main.db_hub_audit; END",
  "CREATE TEMP TABLE db_hub_audit (x)",
  "ALTER TABLE notes ADD COLUMN evil REFERENCES db_hub_audit (id)",
  "CREATE VIRTUAL TABLE db_hub_evil USING fts5(x)"
]

const postgresOnly = [
  "DROP TABLE db_hub_audit CASCADE",
  "TRUNCATE db_hub_writes",
  "TRUNCATE parents CASCADE",
  "MERGE INTO db_hub_audit a USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE",
  "WITH gone AS (DELETE FROM db_hub_audit RETURNING 1) SELECT count(*) FROM gone",
  "WITH gone AS (DELETE FROM db_hub_audit RETURNING 1) INSERT INTO notes (x) SELECT 1 FROM gone",
  'DELETE FROM U&"\\0064b_hub_audit"',
  "INSERT INTO notes (x) SELECT wipe()",
  "INSERT INTO notes (x) SELECT wipe() WHERE set_config('search_path', 'shadow, pg_catalog', false) IS NOT NULL",
  "CREATE TABLE evil () INHERITS (db_hub_audit)",
  "CREATE TABLE shadow.db_hub_audit (x int)",
  "ALTER TABLE notes ADD FOREIGN KEY (y) REFERENCES db_hub_audit (id)",
  "CREATE TRIGGER evil AFTER INSERT ON db_hub_audit EXECUTE FUNCTION wiping()",
  "ALTER TABLE db_hub_audit ENABLE ROW LEVEL SECURITY",
  "ALTER TABLE db_hub_audit SET SCHEMA shadow",
  "ALTER SCHEMA public RENAME TO elsewhere",
  "DROP SCHEMA public CASCADE",
  "ALTER SEQUENCE db_hub_writers RESTART WITH 1",
  "INSERT INTO notes (x) SELECT setval('db_hub_writers', 1)",
  "INSERT INTO notes (x) SELECT setval(('db_' || 'hub_writers')::regclass, 1)",
  "INSERT INTO notes (x) SELECT pg_catalog.\"setval\"('public.db_hub_writers'::regclass, 1)",
  "INSERT INTO notes (x) SELECT U&\"set\\0076al\"('db_' || 'hub_writers', 1)",
  "INSERT INTO notes (x) SELECT u&\"set!0076al\" UESCAPE '!' ('db_' || 'hub_writers', 1)",
  "INSERT INTO notes (x) SELECT setval(U&'\\0064b_hub_writers', 1)",
  "INSERT INTO notes (x) SELECT setval /* */ (E'\\144b_hub_writers', 1)",
  "INSERT INTO notes (x) SELECT nextval('db_hub_writers')"
]

/** Through `db_hub_raw` alone. */
const postgresRaw = [
  "DO $$ BEGIN DELETE FROM db_hub_audit; END $$",
  "DO $$ BEGIN EXECUTE 'DELETE FROM db_' || 'hub_audit'; END $$",
  "CALL wiped()",
  "SELECT wipe()",
  "EXPLAIN ANALYZE DELETE FROM db_hub_audit",
  "REVOKE INSERT ON db_hub_audit FROM CURRENT_USER",
  "GRANT ALL ON db_hub_audit TO PUBLIC",
  "LOCK TABLE db_hub_audit",
  "COMMENT ON TABLE db_hub_audit IS 'x'",
  "CREATE RULE evil AS ON INSERT TO db_hub_audit DO INSTEAD NOTHING",
  "CREATE POLICY evil ON db_hub_audit USING (false)",
  "CREATE OR REPLACE FUNCTION db_hub_writer() RETURNS BIGINT LANGUAGE sql AS 'SELECT 1::bigint'",
  "DROP FUNCTION db_hub_writer() CASCADE",
  "CREATE UNIQUE INDEX CONCURRENTLY evil ON db_hub_audit ((1))",
  'DROP INDEX CONCURRENTLY U&"\\0064b_hub_audit_by_tool"',
  "VACUUM db_hub_audit",
  "SELECT setval('db_hub_writers', 1)"
]

const fine = [
  "INSERT INTO notes (x) VALUES (1)",
  "INSERT INTO notes (x) SELECT count(*) FROM db_hub_audit",
  "UPDATE notes SET x = 2 WHERE x = 1",
  "DELETE FROM notes WHERE x IN (SELECT count(*) FROM db_hub_audit)",
  "CREATE TABLE copied AS SELECT * FROM db_hub_audit",
  "CREATE VIEW reading AS SELECT tool FROM db_hub_audit",
  "CREATE INDEX notes_x ON notes (x)",
  "ALTER TABLE copied RENAME TO moved",
  "DROP TABLE moved",
  "INSERT INTO tracked (a) SELECT max(id) FROM db_hub_audit"
]

const sqliteFine = [
  "CREATE TRIGGER counting AFTER INSERT ON notes BEGIN UPDATE notes SET x = 3 WHERE x = 4; END",
  "INSERT INTO words VALUES ('db_hub_audit')",
  "DELETE FROM words",
  "UPDATE sqlite_sequence SET seq = 7 WHERE name = 'notes'",
  "CREATE VIRTUAL TABLE evil USING fts5(x)"
]

const postgresFine = ["INSERT INTO notes (x) SELECT setval('notes_id_seq', 7)", "TRUNCATE notes"]

const prepare = (hub: HubShape, own: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    for (const sql of own) yield* hub.exec(sql)
    yield* hub.exec(
      "INSERT INTO db_hub_audit (id, tool, caller, level, allowed, argument_summary, result_summary, created_at) " +
        "VALUES ('1', 'kept', 'c', 'read', ?, '', '', ?)",
      [true, new Date(0)]
    )
  })

const trail = (hub: HubShape) =>
  Effect.all([hub.query("SELECT * FROM db_hub_audit ORDER BY id"), hub.query("SELECT * FROM db_hub_primary")])

const definitions = (hub: HubShape) =>
  Effect.map(hub.primary.schema({ internal: true }), (tables) =>
    tables.filter(({ name }) => name.includes("db_hub_")).map(({ rowEstimate: _, sizeBytes: __, ...info }) => info)
  )

const sqliteTables = [
  "CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
  "INSERT INTO notes (x) VALUES (0)",
  "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
  "INSERT INTO parents VALUES (1)",
  "CREATE TABLE db_hub_children (parent REFERENCES parents ON DELETE CASCADE)",
  "INSERT INTO db_hub_children VALUES (1)",
  "CREATE TABLE triggering (x)",
  "CREATE TRIGGER t AFTER INSERT ON triggering BEGIN DELETE FROM db_hub_audit; END",
  "CREATE VIEW seen AS SELECT * FROM db_hub_audit",
  "CREATE TRIGGER v INSTEAD OF DELETE ON seen BEGIN DELETE FROM db_hub_audit; END",
  "CREATE VIRTUAL TABLE db_hub_texts_99 USING fts5(key, body)",
  "CREATE VIRTUAL TABLE words USING fts5(body)",
  "CREATE TABLE tracked (a TEXT REFERENCES db_hub_audit (id))"
]

const postgresTables = [
  "CREATE TABLE notes (id bigserial PRIMARY KEY, x bigint, y text)",
  "INSERT INTO notes (x) VALUES (0)",
  "CREATE TABLE parents (id int PRIMARY KEY)",
  "INSERT INTO parents VALUES (1)",
  "CREATE TABLE db_hub_children (parent int REFERENCES parents ON DELETE CASCADE)",
  "INSERT INTO db_hub_children VALUES (1)",
  "CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.db_hub_audit; RETURN 1; END'",
  "CREATE PROCEDURE wiped() LANGUAGE sql AS 'DELETE FROM public.db_hub_audit'",
  "CREATE FUNCTION wiping() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM public.db_hub_audit; RETURN NEW; END'",
  "CREATE TABLE triggering (x int)",
  "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON triggering DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wiping()",
  "CREATE VIEW seen AS SELECT * FROM db_hub_audit",
  "CREATE TABLE tracked (a text REFERENCES db_hub_audit (id))",
  // What an agent might have laid out for the guard to fall into.
  "CREATE SCHEMA shadow",
  "CREATE VIEW shadow.pg_locks AS SELECT * FROM pg_catalog.pg_locks WHERE false",
  "CREATE FUNCTION shadow.never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT false'",
  "CREATE OPERATOR shadow.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = shadow.never)"
]

interface Place {
  readonly where: string
  readonly skip: boolean
  readonly hub: Effect.Effect<HubShape, unknown, import("effect/Scope").Scope>
  readonly own: ReadonlyArray<string>
  readonly attacks: ReadonlyArray<string>
  readonly rawAttacks: ReadonlyArray<string>
  readonly fine: ReadonlyArray<string>
}

const sqlite = (where: string, settings: (folder: string) => Readonly<Record<string, unknown>>): Place => ({
  where,
  skip: false,
  hub: Effect.flatMap(temporaryFolder, (folder) =>
    HubMake.make({ primary: { type: "sqlite", ...settings(folder) } as never, factories })
  ),
  own: sqliteTables,
  attacks: [...both, ...sqliteOnly],
  rawAttacks: [],
  fine: [...fine, ...sqliteFine]
})

const postgres = { own: postgresTables, attacks: [...both, ...postgresOnly], rawAttacks: postgresRaw }

const places: ReadonlyArray<Place> = [
  sqlite("SQLite", (folder) => ({ path: `${folder}/hub.db` })),
  sqlite("SQLite without a write-ahead log", (folder) => ({ path: `${folder}/hub.db`, journalMode: "DELETE" })),
  sqlite("SQLite in memory", () => ({ path: ":memory:" })),
  {
    where: "PostgreSQL",
    skip: noServer,
    hub: Effect.flatMap(temporaryDatabase, (database) =>
      HubMake.make({
        primary: { type: "pg" },
        factories: { pg: (name) => Postgres.make({ ...optionsFor(database), name }) }
      })
    ),
    ...postgres,
    fine: [...fine, ...postgresFine]
  },
  {
    where: "PGlite",
    skip: false,
    hub: HubMake.make({ primary: { type: "pg" }, factories: { pg: (name) => Pglite.make({ name }) } }),
    ...postgres,
    fine: [...fine, ...postgresFine]
  }
]

for (const { attacks, fine, hub: make, own, rawAttacks, skip, where } of places) {
  describe.skipIf(skip)(`the hub's own tables on ${where}`, { timeout: 300_000 }, () => {
    for (const writes of ["direct", "plan"] as const) {
      it.scopedLive(`are read by agents, and not changed, by writes that are ${writes}`, () =>
        Effect.gen(function* () {
          const hub = yield* make
          yield* prepare(hub, own)
          const { attempt, audited, call } = yield* toolsOver(hub, writes)
          const [before, defined] = [yield* trail(hub), yield* definitions(hub)]
          const wrong: Array<string> = []
          for (const sql of attacks) {
            for (const answer of yield* attempt(sql)) {
              if (!refused(answer)) wrong.push(`${sql}: ${JSON.stringify(answer)}`)
              const after = yield* trail(hub)
              assert.deepStrictEqual(after, before, sql)
            }
          }
          for (const sql of rawAttacks) {
            const [, answer] = yield* attempt(sql)
            if (!refused(answer!)) wrong.push(`${sql}: ${JSON.stringify(answer)}`)
            assert.deepStrictEqual(yield* trail(hub), before, sql)
          }
          assert.deepStrictEqual(wrong, [])
          assert.deepStrictEqual(yield* definitions(hub), defined)
          const last = audited.at(-1)!
          assert.deepStrictEqual([last.allowed, last.resultSummary.split(",")[0]], [false, "DbReadOnly HUB_OWN_TABLES"])

          const failed: Array<string> = []
          for (const statement of fine) {
            const first = yield* call("db_hub_execute", { statement })
            const code = first.ok ? first.value["code"] : undefined
            const answer = code === undefined ? first : yield* call("db_hub_execute", { statement, code })
            if (!answer.ok) failed.push(`${statement}: ${answer.error.message}`)
          }
          assert.deepStrictEqual(failed, [])
          const read = yield* call("db_hub_query", { query: "SELECT tool FROM db_hub_audit" })
          assert.deepInclude(read, { ok: true })
        })
      )
    }
  })
}
