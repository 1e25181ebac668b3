import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Pg from "pg"
import { startPostgres } from "../../scripts/engines/postgres.mjs"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import { inDatabase, noServer, optionsFor, outside } from "../support/postgres.js"
import { attacks, heavy, reads } from "./corpus.js"
import { fuzzing, statements, unchangedBy } from "./fuzz.js"

const schema = `
CREATE TABLE notes (id int PRIMARY KEY, body text);
CREATE INDEX notes_body ON notes (body);
INSERT INTO notes VALUES (1, 'alpha'), (2, 'beta'), (3, NULL);
CREATE TABLE "odd table" ("select" text, x int REFERENCES notes (id));
INSERT INTO "odd table" VALUES ('s', 1);
CREATE TABLE embeddings (vector real[]);
INSERT INTO embeddings VALUES ('{1, 2}');
CREATE VIEW seen AS SELECT * FROM notes;
CREATE SEQUENCE counter;
CREATE FUNCTION wipe() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM notes; RETURN 1; END';
CREATE SCHEMA hidden;
CREATE FUNCTION hidden.lowered(text) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT $1';
CREATE FUNCTION counting(int, int) RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN PERFORM pg_advisory_lock(98); RETURN 1; END';
CREATE AGGREGATE lower_counted (int) (SFUNC = counting, STYPE = int, INITCOND = '0');
CREATE FUNCTION notes_money(notes) RETURNS money LANGUAGE plpgsql VOLATILE AS 'BEGIN PERFORM pg_advisory_lock(99); RETURN 1; END';
CREATE CAST (notes AS money) WITH FUNCTION notes_money(notes);
CREATE DOMAIN checked AS int CHECK (wipe() = 1);
CREATE DOMAIN telling AS text CHECK (pg_notify('evil', VALUE) IS NULL OR true);
CREATE DOMAIN retelling AS telling;
CREATE TYPE told AS (a retelling, b int);
CREATE DOMAIN locking AS int CHECK (pg_advisory_lock(VALUE) IS NULL OR true);
CREATE DOMAIN peeping AS text CHECK (length(pg_read_file(VALUE)) > 0);
CREATE DOMAIN small AS int CHECK (VALUE < 100);
CREATE FUNCTION retold(retelling) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE VIEW wiped AS SELECT wipe();
CREATE VIEW counted AS SELECT nextval('counter');
CREATE VIEW sleeping AS SELECT pg_sleep(100000)::text AS slept;
CREATE EXTENSION tablefunc;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
`

/** Tables, sequences, definitions, roles, settings, large objects, slots and locks of sessions, as one text. */
const fingerprint = `
SELECT md5(concat_ws('|',
  (SELECT string_agg(notes::text, ',' ORDER BY id) FROM notes),
  (SELECT string_agg(o::text, ',') FROM "odd table" o), (SELECT string_agg(e::text, ',') FROM embeddings e),
  (SELECT (last_value, is_called)::text FROM counter),
  (SELECT string_agg((oid, relname, relkind, relacl)::text, ',' ORDER BY oid) FROM pg_class WHERE oid >= 16384),
  (SELECT string_agg((oid, proname, prosrc)::text, ',' ORDER BY oid) FROM pg_proc WHERE oid >= 16384),
  (SELECT string_agg(nspname, ',' ORDER BY oid) FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%'),
  (SELECT string_agg(extname, ',' ORDER BY oid) FROM pg_extension), (SELECT count(*) FROM pg_description),
  (SELECT string_agg((rolname, rolsuper, rolpassword)::text, ',' ORDER BY oid) FROM pg_authid),
  (SELECT string_agg((setdatabase, setrole, setconfig)::text, ',') FROM pg_db_role_setting),
  (SELECT string_agg(name || setting, ',' ORDER BY name) FROM pg_settings),
  (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_prepared_xacts),
  (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_collation),
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'))) AS hash`

/**
 * What only moves forward, and moves with every change: the number that the next transaction gets which changes rows,
 * definitions, roles, settings of databases or large objects; the times of the folders and files in which the rest is
 * kept; when statistics were reset and settings read. (The end of the write-ahead log moves by the server's own doing.)
 */
const marks = `
SELECT concat_ws('|',
  pg_snapshot_xmax(pg_current_snapshot()), pg_conf_load_time(),
  (SELECT string_agg(modification::text, ',') FROM unnest(ARRAY['.', 'global', 'pg_replslot', 'pg_tblspc',
    'pg_twophase', 'postgresql.conf', 'postgresql.auto.conf', 'pg_hba.conf']) AS name, pg_stat_file(name)),
  (SELECT string_agg(stats_reset::text, ',') FROM pg_stat_database)) AS marks`

/** What the sessions of the door would keep from one statement to the next; what it prepares itself is no SQL. */
const session = `
SELECT (SELECT md5(string_agg(name || setting, ',' ORDER BY name)) FROM pg_settings),
  (SELECT count(*) FROM pg_prepared_statements WHERE from_sql), current_user, session_user, pg_my_temp_schema()`

/** A server of its own: the hash covers roles, settings and locks, which other tests change on theirs. */
let server: Awaited<ReturnType<typeof startPostgres>> | undefined

beforeAll(async () => {
  if (!noServer) server = await startPostgres({ own: true, settings: { autovacuum: "off", checkpoint_timeout: "1h" } })
})

afterAll(async () => {
  if (server !== undefined && server.kind !== "none") await server.stop?.()
})

const opened = Effect.gen(function* () {
  const serverUrl = server === undefined || server.kind === "none" ? "postgres://nowhere" : server.url
  const database = `attacked_${globalThis.crypto.randomUUID().replaceAll("-", "")}`
  yield* outside(serverUrl, `CREATE DATABASE ${database}`)
  const url = inDatabase(serverUrl, database)
  yield* outside(url, ...schema.split(/;\n/).filter((sql) => sql.trim() !== ""))
  const client = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const connected = new Pg.Client({ connectionString: url })
      await connected.connect()
      return connected
    }),
    (connected) => Effect.promise(() => connected.end())
  )
  const backend = yield* Postgres.make({ ...optionsFor(database, serverUrl), migrate: false })
  const hash = Effect.promise(async () => String((await client.query(fingerprint)).rows[0].hash))
  const look = Effect.promise(async () => {
    const [first, second] = [await client.query(marks), await client.query(fingerprint)]
    return `${first.rows[0].marks} ${second.rows[0].hash}`
  })
  const door = yield* backend.agentSql({ deadline: "2 seconds", concurrency: 2 })
  const settings = Effect.map(door.query(session), ({ rows }) => JSON.stringify(rows))
  const lookInside = Effect.map(Effect.all([look, settings, settings], { concurrency: 3 }), (seen) => seen.join(" "))
  return { backend, hash, look: lookInside, door }
})

describe.skipIf(noServer)("the read door of PostgreSQL", { timeout: 1_200_000 }, () => {
  it.scopedLive(`${attacks.postgresql.length} attacks are refused`, () =>
    Effect.gen(function* () {
      assert.isAtLeast(attacks.postgresql.length, 400)
      const { door, hash } = yield* opened
      const before = yield* hash
      const accepted: Array<string> = []
      for (const attack of attacks.postgresql) {
        const result = yield* Effect.either(door.query(attack))
        if (Either.isRight(result)) accepted.push(attack)
        assert.strictEqual(yield* hash, before, attack)
      }
      assert.deepStrictEqual(accepted, [])
    })
  )

  it.scopedLive("what would take all memory or time, or write through a view, ends without an answer", () =>
    Effect.gen(function* () {
      const { door, hash } = yield* opened
      const before = yield* hash
      for (const sql of heavy.postgresql) {
        assert.isTrue(Either.isLeft(yield* Effect.either(door.query(sql))), sql)
        assert.deepStrictEqual((yield* door.query("SELECT 1")).rows, [[1]], sql)
      }
      assert.strictEqual(yield* hash, before)
    })
  )

  it.scopedLive(`${reads.postgresql.length} reads work`, () =>
    Effect.gen(function* () {
      const { door, hash } = yield* opened
      const before = yield* hash
      const failed: Array<string> = []
      for (const sql of reads.postgresql) {
        const result = yield* Effect.either(door.query(sql))
        if (Either.isLeft(result)) failed.push(`${sql}: ${result.left.message}`)
      }
      assert.deepStrictEqual(failed, [])
      assert.strictEqual(yield* hash, before)
    })
  )

  it.scopedLive("no statement made of pieces of others changes anything", () =>
    Effect.gen(function* () {
      const { count, seed } = fuzzing()
      console.log(`fuzz postgresql: DB_HUB_SEED=${seed} DB_HUB_FUZZ=${count}`)
      const { backend, door, hash, look } = yield* opened
      const corpus = { reads: reads.postgresql, attacks: attacks.postgresql }
      const before = yield* hash
      const accepted = yield* unchangedBy(statements(count, seed, corpus), door.query, look)
      console.log(`fuzz postgresql: ${accepted} of ${count} were reads`)
      assert.isAbove(accepted, 0)
      // What is done and undone is seen, too.
      const still = yield* look
      yield* backend.execute("UPDATE notes SET body = 'beta ' WHERE id = 2")
      assert.notStrictEqual(yield* hash, before)
      yield* backend.execute("UPDATE notes SET body = 'beta' WHERE id = 2")
      assert.strictEqual(yield* hash, before)
      assert.notStrictEqual(yield* look, still)
    })
  )
})
