import { Socket } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Pg from "pg"
import { vi } from "vitest"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import type { PostgresOptions } from "../../src/layers/postgres/PostgresOptions.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { HubShape } from "../../src/services/Hub.js"
import type { ToolName } from "../../src/tools/Declarations.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { childrenOf, failureOf, temporaryFolder } from "../support/index.js"
import { inDatabase, noServer, optionsFor, outside, serverUrl, temporaryDatabase } from "../support/postgres.js"

const caller = { name: "tester", session: "s1" }
const everything = { groups: ["read", "write", "admin"], writes: "plan" } as const

const toolsOver = (hub: Parameters<typeof Toolkit.make>[0], options: Toolkit.ToolkitOptions) =>
  Effect.gen(function* () {
    const kit = yield* Toolkit.make(hub, { callsPerSecond: { db_hub_raw: 1000 }, ...options })
    const ok = (name: ToolName, args: unknown) =>
      Effect.map(kit.call(name, args, caller), (answer) => {
        if (!answer.ok) throw new Error(JSON.stringify(answer.error))
        return answer.value
      })
    const failed = (name: ToolName, args: unknown) =>
      Effect.map(kit.call(name, args, caller), (answer) => {
        if (answer.ok) throw new Error(`answered ${answer.text}`)
        return answer.error
      })
    const plan = (statement: string) =>
      Effect.map(ok("db_hub_execute", { statement }), ({ plan }) => plan as Record<string, unknown>)
    /** By its plan and code, where plans are on. */
    const run = (name: "db_hub_execute" | "db_hub_raw", sql: string) => {
      const args = name === "db_hub_raw" ? { query: sql } : { statement: sql }
      return Effect.flatMap(ok(name, args), ({ code }) =>
        code === undefined ? Effect.void : Effect.asVoid(ok(name, { ...args, code }))
      )
    }
    return { failed, hub, kit, ok, plan, run }
  })

const settings = (path: string) => ({ type: "sqlite", path })

const opened = (options: Toolkit.ToolkitOptions = {}, path = (folder: string) => `${folder}/hub.db`) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const hub = yield* HubMake.make({ primary: settings(path(folder)), factories })
    yield* hub.exec("CREATE TABLE parents (id INTEGER PRIMARY KEY, x)")
    yield* hub.exec("CREATE TABLE children (id INTEGER PRIMARY KEY, parent REFERENCES parents ON DELETE CASCADE)")
    yield* hub.exec("INSERT INTO parents (id) VALUES (1), (2)")
    yield* hub.exec("INSERT INTO children (parent) VALUES (1), (1), (1), (2)")
    return { folder, ...(yield* toolsOver(hub, { ...everything, ...options })) }
  })

const inAll = (n: number) =>
  `It changes ${n} rows in all, with those of triggers, foreign keys and statements within it.`

describe("a plan", { timeout: 60_000 }, () => {
  for (const [where, path] of [
    ["in a file", (folder: string) => `${folder}/hub.db`],
    ["in memory", () => ":memory:"]
  ] as const) {
    it.scopedLive(`tells of rows that a foreign key or a trigger changes, ${where}`, () =>
      Effect.gen(function* () {
        const { hub, plan } = yield* opened({}, path)
        assert.deepStrictEqual(yield* plan("DELETE FROM parents WHERE id = 1"), {
          rows_affected: 1,
          tables: { parents: 1 },
          warnings: [inAll(4)]
        })
        assert.deepStrictEqual((yield* plan("DELETE FROM children WHERE id = 1"))["warnings"], [])
        const dropped = yield* plan("DROP TABLE children")
        assert.deepStrictEqual(dropped["warnings"], ["It changes the schema.", "The table goes with all of its rows."])
        yield* hub.exec("CREATE TRIGGER t AFTER UPDATE ON parents BEGIN DELETE FROM children; END")
        assert.deepStrictEqual((yield* plan("UPDATE parents SET x = 1 WHERE id = 2"))["warnings"], [inAll(5)])
        assert.lengthOf(yield* hub.query("SELECT * FROM children"), 4)
      })
    )
  }

  it.scopedLive("of a statement that no transaction undoes does nothing at all", () =>
    Effect.gen(function* () {
      const { folder, hub, ok } = yield* opened()
      for (const query of [
        "PRAGMA query_only = 1",
        "PRAGMA user_version = 7",
        `ATTACH '${folder}/hub.db' AS other`,
        "VACUUM"
      ]) {
        const planned = yield* ok("db_hub_raw", { query })
        assert.deepStrictEqual(
          planned["plan"],
          { rows_affected: 0, tables: {}, warnings: ["It was not tried: what it does, no transaction undoes."] },
          query
        )
        assert.isString(planned["code"])
      }
      yield* hub.exec("INSERT INTO parents (id) VALUES (3)")
      assert.deepStrictEqual(yield* hub.query("PRAGMA user_version"), [{ user_version: 0 }])
      assert.isFalse((yield* hub.query("PRAGMA database_list")).some(({ name }) => name === "other"))
    })
  )
})

describe("what raw runs", { timeout: 60_000 }, () => {
  it.scopedLive("sets nothing on the connections of the hub, and nothing for who comes next", () =>
    Effect.gen(function* () {
      const { failed, folder, hub, ok, run } = yield* opened()
      for (const sql of [
        "PRAGMA query_only = 1",
        "PRAGMA foreign_keys = OFF",
        "PRAGMA locking_mode = EXCLUSIVE",
        `ATTACH '${folder}/hub.db' AS other`,
        "CREATE TEMP TABLE parents (id)",
        "CREATE TEMP TRIGGER t AFTER INSERT ON main.parents BEGIN DELETE FROM main.children; END",
        "PRAGMA user_version = 7",
        "VACUUM"
      ]) {
        yield* run("db_hub_raw", sql)
      }
      yield* run("db_hub_execute", "INSERT INTO parents (id) VALUES (3)")
      yield* hub.exec("INSERT INTO parents (id) VALUES (4)")
      assert.lengthOf(yield* hub.query("SELECT * FROM parents"), 4)
      assert.lengthOf(yield* hub.query("SELECT * FROM children"), 4)
      assert.isFalse((yield* hub.query("PRAGMA database_list")).some(({ name }) => name === "other"))
      assert.deepStrictEqual((yield* ok("db_hub_raw", { query: "PRAGMA user_version" }))["rows"], [[7]])
      for (const query of ["BEGIN", "COMMIT", "SAVEPOINT a"]) {
        const { code } = yield* ok("db_hub_raw", { query })
        assert.strictEqual((yield* failed("db_hub_raw", { query, code })).type, "InvalidInput", query)
      }
    })
  )

  it.scopedLive("is stopped at its deadline also outside of a transaction, and the next write works", () =>
    Effect.gen(function* () {
      const { failed, hub, run } = yield* opened({ writes: "direct", reading: { deadline: "400 millis" } })
      const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"
      // The read door knows this pragma not to be one that tells.
      const error = yield* failed("db_hub_raw", { query: `SELECT (${endless}) FROM pragma_cache_size` })
      assert.strictEqual(error.type, "DbTimeout")
      assert.include(error.message, "look whether it was done")
      yield* run("db_hub_execute", "INSERT INTO parents (id) VALUES (3)")
      assert.lengthOf(yield* hub.query("SELECT * FROM parents"), 3)
    })
  )

  it.scopedLive("is not run where nothing can stop it, because the door cannot be opened", () =>
    Effect.gen(function* () {
      const { failed, hub } = yield* opened({ writes: "direct", reading: { role: "reader" } })
      const error = yield* failed("db_hub_execute", { statement: "DELETE FROM children" })
      assert.deepStrictEqual([error.type, error.message.slice(0, 19)], ["DbUnsupported", "SQLite has no roles"])
      assert.lengthOf(yield* hub.query("SELECT * FROM children"), 4)
    })
  )

  it.scopedLive("changes no definitions where only rows may change", () =>
    Effect.gen(function* () {
      const { failed, hub, run } = yield* opened({ dmlOnly: true })
      for (const query of ["DROP TABLE children", "PRAGMA user_version = 7", "VACUUM"]) {
        assert.strictEqual((yield* failed("db_hub_raw", { query })).type, "DbReadOnly", query)
      }
      yield* run("db_hub_raw", "DELETE FROM children WHERE id = 1")
      assert.lengthOf(yield* hub.query("SELECT * FROM children"), 3)
    })
  )
})

/** Calls `act`, with the pipe to it, when a process that writes for agents is told that it may commit. */
const atCommit = (act: (pipe: Socket) => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { write } = Socket.prototype
      return vi.spyOn(Socket.prototype, "write").mockImplementation(function (this: Socket, ...args: Array<unknown>) {
        if (Buffer.isBuffer(args[0]) && args[0].length < 100 && args[0].includes("mayCommit")) act(this)
        return Reflect.apply(write, this, args) as boolean
      })
    }),
    (spy) => Effect.sync(() => spy.mockRestore())
  )

describe("a process that is killed while it commits", { timeout: 120_000 }, () => {
  const place = Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const path = `${folder}/hub.db`
    const backend = yield* Sqlite.make({ path, migrate: false, synchronous: "FULL" })
    yield* backend.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    const door = yield* backend.agentSql({ deadline: "1 second" })
    const before = new Set(childrenOf(process.pid))
    yield* door.execute!("INSERT INTO t (id) VALUES (0)")
    const [writer] = childrenOf(process.pid).filter((pid) => !before.has(pid))
    const found = Effect.map(backend.query("SELECT count(*) AS n FROM t WHERE id > 0"), ([row]) => Number(row!["n"]))
    const sound = Effect.gen(function* () {
      assert.deepStrictEqual(yield* backend.query("PRAGMA integrity_check"), [{ integrity_check: "ok" }])
      const next = door.execute!("INSERT INTO t (id) VALUES (-1)")
      // It may meet the process that is killed just now, and then has done nothing.
      const { rowsAffected } = yield* Effect.retry(next, { times: 1, while: ({ applied }) => applied === "no" })
      assert.strictEqual(rowsAffected, 1)
      yield* backend.execute("DELETE FROM t WHERE id <> 0")
    })
    const kill = () => void process.kill(writer!, "SIGKILL")
    return { door, found, sound, kill }
  })
  const insert = "INSERT INTO t (id) VALUES (1), (2)"

  it.scopedLive("before it could, has done nothing, and nobody claims to know", () =>
    Effect.gen(function* () {
      const { door, found, kill, sound } = yield* place
      const error = yield* Effect.scoped(Effect.zipRight(atCommit(kill), failureOf(door.execute!(insert))))
      assert.deepStrictEqual([error._tag, error.applied, error.retryable], ["DbConnection", "unknown", false])
      assert.strictEqual(yield* found, 0)
      yield* sound
    })
  )

  it.scopedLive("after it did, has done all of it, and nobody claims to know", () =>
    Effect.gen(function* () {
      const { door, found, sound } = yield* place
      // Its answer is not heard, and so it is killed.
      const deaf = atCommit((pipe) => void pipe.pause())
      const error = yield* Effect.scoped(Effect.zipRight(deaf, failureOf(door.execute!(insert))))
      assert.deepStrictEqual([error._tag, error.applied, error.retryable], ["DbTimeout", "unknown", false])
      assert.strictEqual(yield* found, 2)
      yield* sound
    })
  )

  it.scopedLive("at any moment of it, has done all or nothing, and what is told is true", () =>
    Effect.gen(function* () {
      const rows = 20
      const told: Record<string, number> = {}
      for (let round = 0; round < 8; round++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { door, found, kill, sound } = yield* place
            const large = `INSERT INTO t (x) SELECT zeroblob(500000) FROM json_each('[${Array(rows).fill(0)}]')`
            const kills = atCommit(() =>
              process.nextTick(() => {
                for (const begun = performance.now(); performance.now() - begun < round / 4; );
                kill()
              })
            )
            const exit = yield* Effect.scoped(Effect.zipRight(kills, Effect.either(door.execute!(large))))
            const outcome = Either.isRight(exit) ? "yes" : exit.left.applied
            told[outcome] = (told[outcome] ?? 0) + 1
            const there = yield* found
            assert.include(outcome === "yes" ? [rows] : outcome === "no" ? [0] : [0, rows], there, outcome)
            yield* sound
          })
        )
      }
      console.log(`killed ${JSON.stringify(told)}`)
    })
  )
})

describe.skipIf(noServer)("a write on PostgreSQL", { timeout: 60_000 }, () => {
  it.scopedLive("is one of rows alone where only rows may change, also behind a WITH", () =>
    Effect.gen(function* () {
      const { failed, hub, ok } = yield* served({ dmlOnly: true, writes: "direct" })
      for (const statement of [
        "WITH x AS (SELECT 1 AS y) SELECT * INTO evil FROM x",
        "WITH x AS (DELETE FROM children RETURNING 1 AS y) SELECT * INTO evil FROM x",
        "WITH insert AS (SELECT 1 AS insert) SELECT insert INTO evil FROM insert",
        "WITH RECURSIVE a (delete) AS NOT MATERIALIZED (SELECT 1), b AS (SELECT 2) SELECT delete INTO evil FROM a",
        "WITH x AS (SELECT 1) SELECT pg_backend_pid()",
        "CREATE OR REPLACE VIEW evil AS SELECT 1"
      ]) {
        assert.strictEqual((yield* failed("db_hub_execute", { statement })).type, "DbReadOnly", statement)
      }
      assert.deepStrictEqual(yield* hub.query("SELECT to_regclass('evil') AS evil"), [{ evil: null }])
      const moved = "WITH x AS (DELETE FROM children WHERE parent = 2 RETURNING *) SELECT count(*)::int AS n FROM x"
      assert.deepInclude(yield* ok("db_hub_execute", { statement: moved }), { rows: [[1]] })
      const added = 'WITH RECURSIVE "x" (n) AS (SELECT 3), y AS MATERIALIZED (TABLE x) INSERT INTO parents TABLE y'
      assert.deepInclude(yield* ok("db_hub_execute", { statement: added }), { rows_affected: 1 })
    })
  )

  const served = (options: Toolkit.ToolkitOptions, server: Partial<PostgresOptions> = {}) =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const hub = yield* HubMake.make({
        primary: { type: "pg" },
        factories: { pg: (name) => Postgres.make({ ...optionsFor(database), name, migrate: false, ...server }) }
      })
      yield* hub.exec("CREATE TABLE parents (id int PRIMARY KEY)")
      yield* hub.exec("CREATE TABLE children (parent int REFERENCES parents ON DELETE CASCADE)")
      yield* hub.exec("INSERT INTO parents VALUES (1), (2)")
      yield* hub.exec("INSERT INTO children VALUES (1), (1), (2)")
      const url = inDatabase(serverUrl, database)
      return { url, ...(yield* toolsOver(hub, { ...everything, ...options })) }
    })

  it.scopedLive("is planned with the rows of every table that it changes, also from within", () =>
    Effect.gen(function* () {
      const { hub, plan } = yield* served({})
      assert.deepStrictEqual(yield* plan("DELETE FROM parents WHERE id = 1"), {
        rows_affected: 1,
        tables: { parents: 1, children: 2 },
        warnings: [inAll(3)]
      })
      assert.deepStrictEqual(yield* plan("WITH gone AS (DELETE FROM children RETURNING 1) SELECT count(*) FROM gone"), {
        rows_affected: 0,
        tables: { children: 3 },
        warnings: ["It has no WHERE: it changes every row.", inAll(3)]
      })
      assert.deepStrictEqual(yield* plan("UPDATE children SET parent = 2 WHERE parent = 1"), {
        rows_affected: 2,
        tables: { children: 2 },
        warnings: []
      })
      assert.lengthOf(yield* hub.query("SELECT * FROM children"), 3)
    })
  )

  it.scopedLive("sets nothing on the connections of the hub", () =>
    Effect.gen(function* () {
      const { hub, run } = yield* served({ writes: "direct" })
      for (const sql of [
        "SET search_path = nowhere",
        "CREATE TEMP TABLE parents (id int)",
        "SELECT set_config('search_path', 'nowhere', false)",
        "SELECT pg_advisory_lock(7)",
        "INSERT INTO children SELECT 1 WHERE set_config('search_path', 'nowhere', false) = 'nowhere'"
      ]) {
        yield* run("db_hub_raw", sql)
      }
      const reads = Array.from({ length: 5 }, () => hub.query("SELECT id FROM parents"))
      for (const rows of yield* Effect.all(reads, { concurrency: 5 })) assert.lengthOf(rows, 2)
      assert.lengthOf(yield* hub.query("SELECT * FROM children"), 4)
      const locks =
        "SELECT l.pid FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory'"
      assert.deepStrictEqual(yield* hub.query(locks), [])
    })
  )

  /** How many connections the server has for the database, this one aside. */
  const connections = (url: string) =>
    Effect.map(
      outside(
        url,
        "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
      ),
      ([row]) => Number(row?.["n"])
    )

  const busy = (hub: HubShape) => Effect.map(hub.primary.health.status, ({ inUse }) => inUse)

  it.scopedLive(
    "has its connection closed before it is answered; of fifty at once two have one, the others in turn",
    () =>
      Effect.gen(function* () {
        const { hub, kit, ok, url } = yield* served({ writes: "direct" })
        yield* hub.exec("CREATE TABLE seen (n int)")
        yield* ok("db_hub_query", { query: "SELECT 1" })
        const before = yield* connections(url)
        const statement = `INSERT INTO seen SELECT count(*) - ${before} FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'`
        const all = Array.from({ length: 50 }, () => kit.call("db_hub_execute", { statement }, caller))
        for (const answer of yield* Effect.all(all, { concurrency: "unbounded" })) assert.isTrue(answer.ok)
        assert.strictEqual(yield* connections(url), before)
        const [seen] = yield* hub.query("SELECT count(*) AS calls, max(n) AS most FROM seen")
        assert.deepStrictEqual(seen, { calls: 50, most: 2 })
        const { inUse, maxOpenConns, waitCount } = yield* hub.primary.health.status
        assert.deepStrictEqual({ inUse, maxOpenConns, waitCount }, { inUse: 0, maxOpenConns: 29, waitCount: 48 })
      })
  )

  it.scopedLive(
    "has its connection closed also when it fails, is stopped or is given up, and is counted until then",
    () =>
      Effect.gen(function* () {
        const { failed, hub, kit, ok, url } = yield* served({ writes: "direct", reading: { deadline: "1 second" } })
        yield* ok("db_hub_query", { query: "SELECT 1" })
        const before = yield* connections(url)
        yield* failed("db_hub_execute", { statement: "INSERT INTO children VALUES (7)" })
        assert.strictEqual(yield* connections(url), before)
        const endless = { statement: "UPDATE children SET parent = 1 WHERE pg_sleep(60) IS NOT NULL" }
        assert.strictEqual((yield* failed("db_hub_execute", endless)).type, "DbTimeout")
        assert.strictEqual(yield* connections(url), before)
        const given = yield* Effect.fork(kit.call("db_hub_execute", endless, caller))
        const asleep = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
        yield* Effect.repeat(outside(url, asleep), { until: ({ length }) => length === 1 })
        assert.strictEqual(yield* busy(hub), 1)
        yield* Fiber.interrupt(given)
        assert.strictEqual(yield* connections(url), before)
        assert.strictEqual(yield* busy(hub), 0)
      })
  )

  it.scopedLive("ends with the hub, and none begins after it", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { failed, hub, ok } = yield* Scope.extend(served({ writes: "direct" }), scope)
      const one = "UPDATE children SET parent = 1 WHERE parent = 2"
      yield* ok("db_hub_execute", { statement: one })
      const running = yield* Effect.fork(failed("db_hub_execute", { statement: `${one} OR pg_sleep(60) IS NOT NULL` }))
      yield* Effect.repeat(busy(hub), { until: (count) => count === 1 })
      const { dedicated } = hub.primary
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(running)).type, "DbConnection")
      assert.strictEqual((yield* failureOf(dedicated!.execute(one))).code, "HUB_CLOSED")
    })
  )

  it.scopedLive("that waits too long for one of the two connections is refused", () =>
    Effect.gen(function* () {
      const { hub, kit, failed } = yield* served({ writes: "direct" }, { acquireTimeout: 200 })
      const long = { statement: "UPDATE children SET parent = 1 WHERE pg_sleep(60) IS NOT NULL" }
      for (let n = 0; n < 2; n++) yield* Effect.fork(kit.call("db_hub_execute", long, caller))
      yield* Effect.repeat(busy(hub), { until: (count) => count === 2 })
      const error = yield* failed("db_hub_execute", { statement: "INSERT INTO children VALUES (1)" })
      assert.deepStrictEqual(error, {
        type: "DbBusy",
        message: "All 2 connections were in use for 200 ms: do less at once",
        retryable: true
      })
    })
  )

  it.scopedLive("makes tables and views, but no function, also in place of another", () =>
    Effect.gen(function* () {
      const { failed, run } = yield* served({ writes: "direct" })
      yield* run("db_hub_execute", "CREATE OR REPLACE VIEW everybody AS SELECT id FROM parents")
      for (const statement of [
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE RULE r AS ON INSERT TO parents DO INSTEAD NOTHING"
      ]) {
        assert.strictEqual((yield* failed("db_hub_execute", { statement })).type, "DbReadOnly", statement)
      }
    })
  )

  it.scopedLive("is planned with what its schema checks at the end of a transaction", () =>
    Effect.gen(function* () {
      const { failed, hub } = yield* served({})
      yield* hub.exec("ALTER TABLE children ALTER CONSTRAINT children_parent_fkey DEFERRABLE INITIALLY DEFERRED")
      const error = yield* failed("db_hub_execute", { statement: "INSERT INTO children VALUES (7)" })
      assert.strictEqual(error.type, "DbConstraint")
    })
  )

  for (const writes of ["plan", "direct"] as const) {
    it.scopedLive(`that puts its work off to its COMMIT is stopped at its deadline, too (${writes})`, () =>
      Effect.gen(function* () {
        const { failed, hub } = yield* served({ writes, reading: { deadline: "500 millis" } })
        yield* hub.exec(
          "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'"
        )
        yield* hub.exec(
          "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON children DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()"
        )
        const error = yield* failed("db_hub_execute", { statement: "INSERT INTO children VALUES (1)" })
        assert.strictEqual(error.type, "DbTimeout")
        assert.lengthOf(yield* hub.query("SELECT * FROM children"), 3)
      })
    )
  }

  for (const writes of ["plan", "direct"] as const) {
    it.scopedLive(`whose answer is too large for this process is cut off and undone (${writes})`, () =>
      Effect.gen(function* () {
        const { failed, hub } = yield* served({ writes })
        const statement = "UPDATE children SET parent = 1 RETURNING repeat('x', 30 * 1024 * 1024)"
        const error = yield* failed("db_hub_execute", { statement })
        assert.strictEqual(error.type, "DbQuery")
        assert.include(error.message, "more than 64 MiB")
        assert.lengthOf(yield* hub.query("SELECT * FROM children WHERE parent = 2"), 1)
      })
    )
  }

  for (const writes of ["plan", "direct"] as const) {
    it.scopedLive(`that waits for a lock, or never ends, is stopped at its deadline and undone (${writes})`, () =>
      Effect.gen(function* () {
        const { failed, hub, run, url } = yield* served({ writes, reading: { deadline: "500 millis" } })
        const held = yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const client = new Pg.Client({ connectionString: url })
            await client.connect()
            await client.query("BEGIN; UPDATE parents SET id = id")
            return client
          }),
          (client) => Effect.promise(() => client.end())
        )
        for (const statement of [
          "UPDATE parents SET id = id + 10",
          "ALTER TABLE parents ADD COLUMN x int",
          "UPDATE children SET parent = 1 WHERE pg_sleep(60) IS NOT NULL"
        ]) {
          const error = yield* failed("db_hub_execute", { statement })
          assert.strictEqual(error.type, "DbTimeout", statement)
          assert.include(error.message, "was stopped after 500 ms")
        }
        const active =
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
        assert.deepStrictEqual(yield* outside(url, active), [{ n: 0 }])
        yield* Effect.promise(() => held.query("ROLLBACK"))
        assert.deepStrictEqual(yield* hub.query("SELECT * FROM parents ORDER BY id"), [{ id: 1 }, { id: 2 }])
        yield* run("db_hub_execute", "UPDATE parents SET id = 3 WHERE id = 2 AND false")
      })
    )
  }
})
