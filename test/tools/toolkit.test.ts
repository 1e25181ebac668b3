import * as NodeFs from "node:fs"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { later } from "../../src/conformance/Case.js"
import { DbConnection } from "../../src/errors/index.js"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import { jsonSchemaOf, namesOf, resultSchemaOf, type ToolName, tools } from "../../src/tools/Declarations.js"
import type * as Searching from "../../src/tools/Searching.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { temporaryFolder } from "../support/index.js"
import { noServer, optionsFor, temporaryDatabase } from "../support/postgres.js"

const caller = { name: "tester", session: "s1" }
const everything = { groups: ["read", "write", "admin"], writes: "plan" } as const

const opened = (options: Toolkit.ToolkitOptions = {}) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const settings = (name: string) => ({ type: "sqlite", path: `${folder}/${name}.db` })
    const hub = yield* HubMake.make({
      primary: settings("hub"),
      connections: { logs: settings("logs") },
      factories
    })
    yield* hub.exec("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
    yield* hub.exec("INSERT INTO notes (body) VALUES ('a'), ('b'), ('postgres://ada:hunter2@db/x')")
    const kit = yield* Toolkit.make(hub, { backupFolder: `${folder}/backups`, ...options })
    const ok = (name: ToolName, args: unknown, from = caller) =>
      Effect.map(kit.call(name, args, from), (answer) => {
        if (!answer.ok) throw new Error(JSON.stringify(answer.error))
        return answer.value
      })
    const failed = (name: string, args: unknown, from = caller) =>
      Effect.map(kit.call(name, args, from), (answer) => {
        if (answer.ok) throw new Error(`answered ${JSON.stringify(answer.value)}`)
        return answer.error
      })
    return { folder, hub, kit, ok, failed }
  })

describe("the tools", { timeout: 60_000 }, () => {
  it.scopedLive("only those that read are there unless more was asked for", () =>
    Effect.gen(function* () {
      const { failed, kit } = yield* opened()
      assert.deepStrictEqual(kit.names, [
        "db_hub_status",
        "db_hub_query",
        "db_hub_schema",
        "db_hub_backends",
        "db_hub_search"
      ])
      for (const name of ["db_hub_execute", "db_hub_raw", "db_hub_backup", "db_hub_migrate", "rm"]) {
        assert.strictEqual((yield* failed(name, { statement: "DELETE FROM notes" })).type, "InvalidInput")
      }
      assert.isFalse((yield* opened({ groups: ["read", "write"] })).kit.names.includes("db_hub_execute"))
    })
  )

  it.scopedLive("a query answers with columns once, limits that are honoured in every form, and no passwords", () =>
    Effect.gen(function* () {
      const { failed, ok } = yield* opened()
      const all = yield* ok("db_hub_query", { query: "SELECT * FROM notes WHERE id >= ?", params: [1] })
      const large = "SELECT count(*) FROM notes WHERE id < ? AND id < ?"
      assert.deepStrictEqual((yield* ok("db_hub_query", { query: large, params: ["9007199254740993", 1e20] })).rows, [
        [all.row_count]
      ])
      assert.deepStrictEqual(all, {
        columns: ["id", "body"],
        rows: [
          [1, "a"],
          [2, "b"],
          [3, "postgres://ada:***@db/x"]
        ],
        row_count: 3,
        truncated: false,
        reason: null
      })
      for (const max_rows of [2, 2.0, "2", "2.0", " 2 "]) {
        const some = yield* ok("db_hub_query", { query: "SELECT * FROM notes", max_rows })
        assert.deepStrictEqual([some["row_count"], some["truncated"], some["reason"]], [2, true, "more than 2 rows"])
      }
      for (const args of [
        {},
        { query: 5 },
        { query: "SELECT 1", max_rows: 0 },
        { query: "SELECT 1", max_rows: "x" },
        { query: "SELECT 1", limit: 3 },
        "SELECT 1",
        null,
        [1]
      ]) {
        assert.strictEqual((yield* failed("db_hub_query", args)).type, "InvalidInput", JSON.stringify(args))
      }
      const absent = yield* failed("db_hub_query", { query: "SELECT * FROM nots" })
      assert.deepStrictEqual(absent.hint, "db_hub_schema lists tables and columns")
      assert.strictEqual((yield* failed("db_hub_query", { query: "DELETE FROM notes" })).type, "DbReadOnly")
      assert.strictEqual((yield* failed("db_hub_query", { query: "SELECT 1", backend: "lgs" })).type, "NotFound")
    })
  )

  it.scopedLive("what is wrong with an argument is told under its own name, and unknown ones are refused", () =>
    Effect.gen(function* () {
      const kept = Effect.succeed({ id: "1", duplicate: false })
      const none = Effect.succeed({ results: [], failed: [] })
      const store = { store: () => kept, search: () => none } as unknown as Searching.Memories["store"]
      const { kit } = yield* opened({
        ...everything,
        callsPerSecond: { db_hub_raw: 1000 },
        memories: { store, user: "ada" }
      })
      const right: Readonly<Record<string, unknown>> = {
        query: "SELECT 1",
        statement: "UPDATE notes SET body = 'x' WHERE id = 9",
        content: "x"
      }
      const wrong = [1e10, -1, 1.5, "", " ", "x".repeat(200_001), "SELECT 1; SELECT 2", null, true, [], [{}], {}, "%"]
      for (const name of namesOf(["read", "write", "admin"])) {
        const { properties, required = [] } = jsonSchemaOf(name) as Readonly<Record<string, object>>
        const own = Object.keys(properties!)
        const base = Object.fromEntries((required as ReadonlyArray<string>).map((key) => [key, right[key]]))
        for (const [key, value] of own.flatMap((key) => wrong.map((value) => [key, value] as const))) {
          if (name === "db_hub_backup" && key !== "output") continue
          const answer = yield* kit.call(name, { ...base, [key]: value }, caller)
          if (answer.ok || answer.error.type !== "InvalidInput") continue
          const told = `${name} ${key}: ${answer.error.message.slice(0, 200)}`
          // Others speak of the text as a whole.
          const [field] = /^[a-z]\w*/.exec(answer.error.message) ?? []
          if (field !== undefined) assert.include(own, field, told)
        }
        const answer = yield* kit.call(name, { ...base, nothing: 1 }, caller)
        assert.isFalse(answer.ok, name)
        if (!answer.ok) {
          const allowed = own.length === 0 ? "none" : own.join(", ")
          assert.strictEqual(answer.error.message, `nothing is no argument of this tool; allowed: ${allowed}`)
        }
      }
      const many = yield* kit.call("db_hub_query", { query: "SELECT 1", max_rows: 1e10 }, caller)
      assert.include(JSON.stringify(many), "max_rows is not valid; allowed: integer from 1 to 1073741824")
    })
  )

  it.scopedLive("arguments that are nested or long without end are refused, and hold nobody up", () =>
    Effect.gen(function* () {
      const { failed } = yield* opened(everything)
      const nested = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`)
      const query = "SELECT 1"
      for (const args of [{ query, params: [nested] }, { query, backend: nested }, nested, { query, more: nested }]) {
        const { message, type } = yield* failed("db_hub_query", args)
        assert.deepStrictEqual([type, message], ["InvalidInput", "arguments are nested too deep; allowed: 100 levels"])
      }
      const long = "://*a".repeat(1_600_000)
      for (const [name, args] of [
        ["db_hub_execute", { statement: long }],
        ["db_hub_raw", { query: long }],
        ["db_hub_query", { query: long }]
      ] as const) {
        assert.match(
          (yield* failed(name, args)).message,
          /^(query|statement) is too long; allowed: at most 100000/,
          name
        )
      }
    })
  )

  it.scopedLive("the schema of many tables is cut like other answers, and can be asked for in parts", () =>
    Effect.gen(function* () {
      const { failed, hub, ok } = yield* opened({ reading: { maxBytes: 5_000 } })
      const columns = Array.from({ length: 20 }, (_, i) => `column_${i} TEXT`).join(", ")
      for (let n = 10; n < 60; n++) yield* hub.exec(`CREATE TABLE t${n}_part (${columns})`)
      const all = yield* ok("db_hub_schema", {})
      assert.isAtMost(JSON.stringify(all["tables"]).length, 5_000)
      assert.isTrue(all["truncated"])
      assert.match(
        String(all["reason"]),
        /^more than 5000 bytes: \d+ of 51 tables are shown; ask by table, \* stands for any part of a name$/
      )
      const some = yield* ok("db_hub_schema", { table: "t1*_p*" })
      assert.deepInclude(some, { truncated: false, reason: null })
      assert.lengthOf(some["tables"] as Array<unknown>, 10)
      for (const table of ["t1*x*", "*nothing", "db_hub_*x"]) {
        assert.strictEqual((yield* failed("db_hub_schema", { table })).type, "NotFound", table)
      }
      yield* failed("db_hub_schema", { table: "x".repeat(10_000_000) })
      yield* failed("db_hub_schema", { table: "*t".repeat(1_000_000) })
    })
  )

  it.scopedLive("status, schema and backends tell what there is, of the backends allowed", () =>
    Effect.gen(function* () {
      const { failed, ok } = yield* opened({ backends: ["primary"] })
      const status = yield* ok("db_hub_status", {})
      assert.lengthOf(status["backends"] as Array<unknown>, 1)
      const [primary] = (yield* ok("db_hub_status", { backend: "primary" }))["backends"] as [{ healthy: boolean }]
      assert.isTrue(primary.healthy)
      const listed = yield* ok("db_hub_schema", {})
      assert.deepStrictEqual(listed["tables"], [
        { name: "notes", kind: "table", columns: ["id INTEGER PK", "body TEXT"], row_estimate: 3 }
      ])
      const [detail] = (yield* ok("db_hub_schema", { table: "notes", detail: true }))["tables"] as [{ indexes: [] }]
      assert.deepStrictEqual(detail.indexes, [])
      const missing = yield* failed("db_hub_schema", { table: "note" })
      assert.include(missing.message, "notes")
      assert.lengthOf((yield* ok("db_hub_backends", {}))["backends"] as Array<unknown>, 1)
      assert.strictEqual((yield* failed("db_hub_query", { query: "SELECT 1", backend: "logs" })).type, "NotFound")
    })
  )

  it.scopedLive("where the primary may not be used, another backend is the usual one", () =>
    Effect.gen(function* () {
      const { hub, failed, ok } = yield* opened({ backends: ["logs"] })
      yield* (yield* hub.get("logs")).execute("CREATE TABLE lines (text TEXT)")
      assert.deepStrictEqual((yield* ok("db_hub_query", { query: "SELECT count(*) FROM lines" }))["rows"], [[0]])
      assert.strictEqual((yield* failed("db_hub_query", { query: "SELECT 1", backend: "primary" })).type, "NotFound")
      const roles = yield* opened({ reading: { role: "reader" } })
      assert.strictEqual((yield* roles.failed("db_hub_query", { query: "SELECT 1" })).type, "DbUnsupported")
    })
  )

  it.scopedLive("a write is planned, changes nothing, and runs once by its code for exactly the same call", () =>
    Effect.gen(function* () {
      const { failed, hub, ok } = yield* opened(everything)
      const bodies = Effect.map(hub.query("SELECT body FROM notes ORDER BY id LIMIT 2"), (rows) =>
        rows.map((row) => row["body"])
      )
      const args = { statement: "UPDATE notes SET body = ?", params: ["c"] }
      const planned = yield* ok("db_hub_execute", args)
      assert.deepStrictEqual(planned["plan"], {
        rows_affected: 3,
        tables: { notes: 3 },
        warnings: ["It has no WHERE: it changes every row."]
      })
      assert.deepStrictEqual(yield* bodies, ["a", "b"])
      const code = () => Effect.map(ok("db_hub_execute", args), (plan) => plan["code"])
      const others: ReadonlyArray<readonly [object, typeof caller]> = [
        [{ ...args, params: ["d"] }, caller],
        [{ ...args, statement: "UPDATE notes SET body = ? " }, caller],
        [{ ...args, backend: "logs" }, caller],
        [args, { ...caller, session: "s2" }]
      ]
      for (const [other, from] of others) {
        const stolen = yield* code()
        assert.strictEqual((yield* failed("db_hub_execute", { ...other, code: stolen }, from)).type, "InvalidInput")
        assert.strictEqual((yield* failed("db_hub_execute", { ...args, code: stolen })).type, "InvalidInput")
      }
      assert.deepStrictEqual(yield* bodies, ["a", "b"])
      const old = yield* code()
      assert.strictEqual((yield* later(600_001)(failed("db_hub_execute", { ...args, code: old }))).type, "InvalidInput")
      const good = planned["code"]
      const done = yield* ok("db_hub_execute", { ...args, code: good })
      assert.deepStrictEqual([done["rows_affected"], done["success"]], [3, true])
      assert.deepStrictEqual(yield* bodies, ["c", "c"])
      assert.strictEqual((yield* failed("db_hub_execute", { ...args, code: good })).type, "InvalidInput")
      const dropped = yield* ok("db_hub_execute", { statement: "DROP TABLE notes" })
      assert.deepStrictEqual((dropped["plan"] as { warnings: unknown }).warnings, [
        "It changes the schema.",
        "The table goes with all of its rows."
      ])
      assert.deepStrictEqual(yield* bodies, ["c", "c"])
    })
  )

  it.scopedLive("what is neither data nor definition is refused, and definitions where only data may change", () =>
    Effect.gen(function* () {
      const { failed, folder, hub, ok } = yield* opened(everything)
      for (const statement of [
        "PRAGMA writable_schema = 1",
        `ATTACH '${folder}/x.db' AS x`,
        `VACUUM INTO '${folder}/x.db'`,
        "BEGIN",
        "COMMIT",
        "SELECT 1",
        "EXPLAIN DELETE FROM notes"
      ]) {
        assert.strictEqual((yield* failed("db_hub_execute", { statement })).type, "DbReadOnly", statement)
      }
      const two = { statement: "DELETE FROM notes WHERE id = 1; DELETE FROM notes" }
      assert.strictEqual((yield* failed("db_hub_execute", two)).type, "InvalidInput")
      assert.lengthOf(yield* hub.query("SELECT * FROM notes"), 3)
      const returned = yield* ok("db_hub_execute", { statement: "DELETE FROM notes WHERE id = 1 RETURNING body" })
      assert.deepStrictEqual(Object.keys(returned), ["plan", "code", "message"])
      const rows = yield* opened({ ...everything, dmlOnly: true, writes: "direct" })
      assert.strictEqual((yield* rows.failed("db_hub_execute", { statement: "DROP TABLE notes" })).type, "DbReadOnly")
      const gone = yield* rows.ok("db_hub_execute", { statement: "DELETE FROM notes WHERE id = 1 RETURNING body" })
      assert.deepStrictEqual([gone["rows"], gone["rows_affected"]], [[["a"]], 1])
    })
  )

  const endless =
    "INSERT INTO notes (body) WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 60000000) SELECT n FROM c"

  for (const writes of ["plan", "direct"] as const) {
    it.scopedLive(
      `a write (${writes}) that never ends is stopped at its deadline, alone, and the next one works`,
      () =>
        Effect.gen(function* () {
          const { failed, hub, ok } = yield* opened({
            groups: ["read", "write"],
            writes,
            reading: { deadline: "700 millis" }
          })
          const insert = { statement: "INSERT INTO notes (body) VALUES (?)", params: ["one more"] }
          const run = Effect.gen(function* () {
            const first = yield* ok("db_hub_execute", insert)
            return writes === "direct" ? first : yield* ok("db_hub_execute", { ...insert, code: first["code"] })
          })
          // The process that writes takes its time to start.
          yield* run
          const [before] = yield* hub.query("SELECT count(*) AS n FROM notes")
          const delay = monitorEventLoopDelay({ resolution: 5 })
          const started = performance.now()
          delay.enable()
          const error = yield* failed("db_hub_execute", { statement: endless })
          delay.disable()
          const taken = performance.now() - started
          assert.strictEqual(error.type, "DbTimeout")
          assert.isBelow(taken, 1_500)
          assert.isBelow(delay.max / 1e6, 300)
          assert.deepStrictEqual(yield* hub.query("SELECT count(*) AS n FROM notes"), [before!])
          const done = yield* run
          assert.deepStrictEqual([done["rows_affected"], done["last_insert_id"]], [1, Number(before!["n"]) + 1])
        }),
      // A machine that is busy may be late.
      { retry: 5 }
    )
  }

  it.scopedLive("a write whose caller goes away is stopped, and changes nothing", () =>
    Effect.gen(function* () {
      const { hub, kit, ok } = yield* opened({ groups: ["read", "write"], writes: "direct" })
      const insert = { statement: "INSERT INTO notes (id, body) VALUES (?, 'x')" }
      yield* ok("db_hub_execute", { ...insert, params: [100] })
      const writing = yield* Effect.fork(kit.call("db_hub_execute", { statement: endless }, caller))
      // Whoever writes next waits until the one before is gone.
      const next = yield* Effect.fork(ok("db_hub_execute", { ...insert, params: [101] }))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(writing)
      assert.strictEqual((yield* Fiber.join(next))["rows_affected"], 1)
      assert.deepStrictEqual(yield* hub.query("SELECT count(*) AS n FROM notes"), [{ n: 5 }])
    })
  )

  it.scopedLive("raw reads, or plans what writes, at most ten times a second in each session", () =>
    Effect.gen(function* () {
      const { kit, ok } = yield* opened(everything)
      const read = yield* ok("db_hub_raw", { query: "SELECT count(*) AS n FROM notes" })
      assert.deepStrictEqual([read["type"], read["rows"]], ["query", [[3]]])
      const planned = yield* ok("db_hub_raw", { query: "DELETE FROM notes" })
      assert.strictEqual(planned["type"], "exec")
      assert.isString(planned["code"])
      const burst = { name: "burst", session: "burst" }
      const slow = yield* opened({ callsPerSecond: { db_hub_query: 0.001 } })
      yield* slow.ok("db_hub_query", { query: "SELECT 1" })
      assert.strictEqual((yield* slow.failed("db_hub_query", { query: "SELECT 1" })).type, "DbBusy")
      yield* slow.ok("db_hub_schema", {})
      const answers = yield* Effect.all(
        Array.from({ length: 30 }, () => kit.call("db_hub_raw", { query: "PRAGMA user_version" }, burst)),
        { concurrency: 30 }
      )
      const refused = answers.flatMap((answer) => (answer.ok ? [] : [answer.error]))
      assert.isAtLeast(refused.length, 15)
      assert.isAtMost(refused.length, 20)
      for (const error of refused) assert.deepStrictEqual([error.type, error.retryable], ["DbBusy", true])
      yield* ok("db_hub_raw", { query: "SELECT 1" }, { name: "other", session: "other" })
    })
  )

  it.scopedLive("backups go below their folder only, and never over another; migrate honours its target", () =>
    Effect.gen(function* () {
      const { failed, folder, hub, ok } = yield* opened(everything)
      const made = yield* ok("db_hub_backup", { output: "a..b'.db" })
      assert.isTrue(NodeFs.existsSync(`${folder}/backups/a..b'.db`))
      assert.strictEqual(made["success"], true)
      NodeFs.symlinkSync(folder, `${folder}/backups/link`)
      for (const output of ["a..b'.db", "/tmp/evil.db", "../evil.db", "link/evil.db", "", "x/../../evil.db"]) {
        assert.strictEqual((yield* failed("db_hub_backup", { output })).type, "InvalidInput", output)
      }
      const dry = yield* ok("db_hub_migrate", { target: "1", dry_run: true })
      assert.strictEqual(dry["needs_migration"], true)
      const dropping = yield* failed("db_hub_migrate", { target: 1 })
      assert.strictEqual(dropping.type, "DbReadOnly")
      assert.include(dropping.message, "the audit log too")
      yield* hub.query("SELECT * FROM db_hub_audit")
      yield* hub.primary.migrator.migrate({ target: 1 })
      assert.strictEqual((yield* ok("db_hub_migrate", { target: "2" }))["current_version"], 2)
    })
  )

  it.scopedLive("passwords are hidden in whatever form a text has them, and nothing else is", () =>
    Effect.gen(function* () {
      const { ok } = yield* opened()
      const texts = [
        ["postgres://ada:p@ss@db/x", "postgres://ada:***@db/x"],
        ["password=hunter2 host=db", "password=*** host=db"],
        ["ALTER ROLE ada ENCRYPTED PASSWORD 'it''s'", "ALTER ROLE ada ENCRYPTED PASSWORD ***"],
        ["OPTIONS (user 'ada', password 'hunter2')", "OPTIONS (user 'ada', password ***)"],
        ["{SCRAM-SHA-256$4096:36Ly+Q==$Aq6V/A=:0Z0i/4=,x}", "{SCRAM-SHA-256$***,x}"],
        ['{"at":"http://h:80","to":"ada@h"}', '{"at":"http://h:80","to":"ada@h"}'],
        ["http://h:80?to=ada@h", "http://h:80?to=ada@h"],
        ["the password is 'known'", "the password is 'known'"]
      ] as const
      for (const [text, shown] of texts) {
        const { rows } = yield* ok("db_hub_query", { query: "SELECT ?", params: [text] })
        assert.deepStrictEqual(rows, [[shown]])
      }
    })
  )

  it.scopedLive("each call is recorded, allowed or refused, without a value of it", () =>
    Effect.gen(function* () {
      const records: Array<Toolkit.AuditRecord> = []
      const { kit } = yield* opened({ audit: (some) => Effect.sync(() => void records.push(...some)) })
      yield* kit.call("db_hub_query", { query: "SELECT 'hunter2'", params: [] }, caller)
      yield* kit.call("db_hub_query", { query: "DELETE FROM notes WHERE body = 'hunter2'" }, caller)
      yield* kit.call("hunter2", { hunter2: "hunter2" }, caller)
      assert.deepStrictEqual(
        records.map(({ allowed, caller, tool }) => [tool, caller, allowed]),
        [
          ["db_hub_query", "tester", true],
          ["db_hub_query", "tester", false],
          ["unknown", "tester", false]
        ]
      )
      assert.match(records[0]!.resultSummary, /^ok, 1 rows, \d+ ms$/)
      assert.notInclude(JSON.stringify(records), "hunter2")
    })
  )

  it.scopedLive("a read that could not be recorded fails the next call, and one that is refused fails at once", () =>
    Effect.gen(function* () {
      const full = new DbConnection({ operation: "audit", message: "The disk is full", retryable: true })
      let failing = true
      const { kit } = yield* opened({ audit: () => (failing ? Effect.fail(full) : Effect.void) })
      const read = kit.call("db_hub_query", { query: "SELECT 1" }, caller)
      const readAudit = kit.call("db_hub_query", { query: "SELECT count(*) FROM db_hub_audit" }, caller)
      assert.isTrue((yield* read).ok)
      assert.match(JSON.stringify(yield* readAudit), /disk is full/)
      const refused = yield* kit.call("db_hub_query", { query: "DELETE FROM notes" }, caller)
      assert.match(JSON.stringify(refused), /disk is full/)
      failing = false
      assert.isTrue((yield* readAudit).ok)
    })
  )

  it.scopedLive("a call whose caller goes away is recorded, and what it did is", () =>
    Effect.gen(function* () {
      const records: Array<Toolkit.AuditRecord> = []
      const entered = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { hub, kit } = yield* opened({
        groups: ["read", "write"],
        writes: "direct",
        audit: (some) =>
          Effect.gen(function* () {
            if (some.some(({ tool }) => tool === "db_hub_execute")) {
              yield* Deferred.succeed(entered, undefined)
              yield* Deferred.await(go)
            }
            records.push(...some)
          })
      })
      const gone = yield* Effect.fork(kit.call("db_hub_query", { query: endless.replace(/^.*?WITH/, "WITH") }, caller))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(gone)
      // It has written, and goes away while that is recorded.
      const written = yield* Effect.fork(kit.call("db_hub_execute", { statement: "DELETE FROM notes" }, caller))
      yield* Deferred.await(entered)
      const leaving = yield* Effect.fork(Fiber.interrupt(written))
      yield* Effect.yieldNow()
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(leaving)
      assert.lengthOf(yield* hub.query("SELECT * FROM notes"), 0)
      assert.deepStrictEqual(
        records.map(({ resultSummary, tool }) => [tool, resultSummary.split(",")[0]]),
        [
          ["db_hub_query", "cancelled"],
          ["db_hub_execute", "ok"]
        ]
      )
    })
  )

  it.scopedLive("who reads the log waits for the calls that are being recorded", () =>
    Effect.gen(function* () {
      const entered = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { kit } = yield* opened({
        reading: { concurrency: 1 },
        audit: () => Effect.zipRight(Deferred.succeed(entered, undefined), Deferred.await(go))
      })
      const read = (query: string) => kit.call("db_hub_query", { query }, caller)
      yield* Effect.addFinalizer(() => Deferred.succeed(go, undefined))
      yield* read("SELECT 1")
      yield* Deferred.await(entered)
      const reading = yield* Effect.fork(read("SELECT 'db_hub_audit'"))
      // Asked later, answered before.
      for (const query of ["SELECT 2", "SELECT 3", "SELECT 4"]) yield* read(query)
      assert.isTrue(Option.isNone(yield* Fiber.poll(reading)))
      yield* Deferred.succeed(go, undefined)
      assert.isTrue((yield* Fiber.join(reading)).ok)
    })
  )

  it.scoped("calls that are not recorded when the tools close are told to the log of the program", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make(({ message }) => void logged.push(String(message)))
      yield* Effect.gen(function* () {
        const full = new DbConnection({ operation: "audit", message: "The disk is full" })
        const { kit } = yield* opened({ audit: () => Effect.fail(full) })
        yield* kit.call("db_hub_query", { query: "SELECT 1" }, caller)
      }).pipe(Effect.scoped, Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
      assert.match(logged.join(), /not in the audit log: The disk is full/)
    })
  )

  it.scopedLive("a wrong argument is named, with what is allowed", () =>
    Effect.gen(function* () {
      const { failed } = yield* opened(everything)
      const message = (name: string, args: unknown) => Effect.map(failed(name, args), ({ message }) => message)
      for (const [name, args, says] of [
        ["db_hub_query", {}, "query is missing; allowed: string"],
        ["db_hub_query", { query: "SELECT 1", max_rows: 0 }, "max_rows is not valid; allowed: integer from 1"],
        ["db_hub_query", { query: "SELECT 1", limit: 3 }, "limit is no argument of this tool; allowed: query, params"],
        ["db_hub_query", { query: "SELECT ?", params: [1, 2 ** 53] }, "params[1] is an integer beyond 2^53"],
        ["db_hub_execute", { statement: "DELETE FROM notes WHERE id = ?", params: [-(2 ** 60)] }, "allowed: text"],
        ["db_hub_query", "SELECT 1", "arguments are no object; allowed: query, params"],
        ["db_hub_query", { query: " " }, "query is empty"],
        ["db_hub_execute", { statement: "" }, "statement is empty"],
        ["db_hub_search", { query: "x", mode: "fast" }, "mode is not valid; allowed: text, vector, hybrid"]
      ] as const) {
        assert.include(yield* message(name, args), says)
      }
      assert.isUndefined((yield* failed("db_hub_search", { query: "x", in: ["nowhere"] })).hint)
    })
  )

  it.scopedLive("calls that read are recorded together, in their order, by the time the tools close", () =>
    Effect.gen(function* () {
      const batches: Array<ReadonlyArray<Toolkit.AuditRecord>> = []
      const scope = yield* Scope.make()
      const { kit } = yield* Scope.extend(
        opened({ audit: (records) => Effect.sync(() => void batches.push(records)) }),
        scope
      )
      const from = (n: number) => ({ ...caller, name: String(n) })
      for (let n = 0; n < 300; n++) yield* kit.call("db_hub_query", { query: "SELECT 1" }, from(n))
      // What may have changed something is recorded when it is answered.
      yield* kit.call("db_hub_query", { query: "DELETE FROM notes" }, from(300))
      assert.lengthOf(batches.flat(), 301)
      yield* kit.call("db_hub_query", { query: "SELECT 1" }, from(301))
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(
        batches.flat().map(({ caller }) => Number(caller)),
        Array.from({ length: 302 }, (_, n) => n)
      )
      assert.isBelow(batches.length, 100)
    })
  )

  it("what a client is told costs less than 2,500 tokens, and less than 1,200 for those that read", () => {
    const cost = (names: ReadonlyArray<ToolName>) =>
      names
        .map((name) => {
          const { description, hints } = tools[name]
          const definition = {
            name,
            description,
            inputSchema: jsonSchemaOf(name),
            outputSchema: resultSchemaOf(name),
            annotations: hints
          }
          return JSON.stringify(definition).length / 4
        })
        .reduce((sum, tokens) => sum + tokens, 0)
    const all = cost(namesOf(["read", "write", "admin"]))
    const read = cost(namesOf(["read"]))
    console.log(`tools/list, characters / 4: all ${Math.ceil(all)}, read ${Math.ceil(read)}`)
    assert.isBelow(all, 2500)
    assert.isBelow(read, 1200)
    for (const name of namesOf(["read", "write", "admin"])) {
      const schemas = [jsonSchemaOf(name), resultSchemaOf(name)]
      for (const schema of schemas) assert.strictEqual(schema["type"], "object", name)
      // Not every client follows references.
      assert.notInclude(JSON.stringify(schemas), "$", name)
    }
  })
})

describe.skipIf(noServer)("the tools on PostgreSQL", { timeout: 60_000 }, () => {
  it.scopedLive("read, plan and write", () =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const hub = yield* HubMake.make({
        primary: { type: "pg" },
        factories: { pg: (name) => Postgres.make({ ...optionsFor(database), name, migrate: false }) }
      })
      yield* hub.exec("CREATE TABLE notes (id int)")
      const kit = yield* Toolkit.make(hub, everything)
      const ok = (name: ToolName, args: unknown) =>
        Effect.map(kit.call(name, args, caller), (answer) => {
          if (!answer.ok) throw new Error(JSON.stringify(answer.error))
          return answer.value
        })
      const args = { statement: "INSERT INTO notes VALUES (?), (?)", params: [1, 2] }
      const planned = yield* ok("db_hub_execute", args)
      assert.deepStrictEqual((planned["plan"] as { tables: unknown }).tables, { notes: 2 })
      assert.deepStrictEqual((yield* ok("db_hub_query", { query: "SELECT * FROM notes" }))["rows"], [])
      yield* ok("db_hub_execute", { ...args, code: planned["code"] })
      assert.deepStrictEqual((yield* ok("db_hub_raw", { query: "TABLE notes" }))["rows"], [[1], [2]])
    })
  )
})

describe.skipIf(noServer)("the tools over PostgreSQL", { timeout: 60_000 }, () => {
  it.scopedLive("the schema on PostgreSQL shows tables of every schema under names that work", () =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const hub = yield* HubMake.make({
        primary: { type: "pg" },
        factories: { pg: (name) => Postgres.make({ ...optionsFor(database), name }) }
      })
      yield* hub.exec("CREATE TABLE notes (id int PRIMARY KEY)")
      yield* hub.exec("CREATE SCHEMA hr")
      yield* hub.exec("CREATE TABLE hr.staff (id int PRIMARY KEY, note int REFERENCES notes)")
      yield* hub.exec("CREATE TABLE hr.notes (id int, boss int REFERENCES hr.staff)")
      yield* hub.exec("CREATE TABLE hr.db_hub_kept (id int)")
      const kit = yield* Toolkit.make(hub)
      const schema = (args: object) =>
        Effect.map(kit.call("db_hub_schema", args, caller), (answer) => {
          if (!answer.ok) return answer.error.message
          const { schemas, tables } = answer.value as unknown as {
            readonly schemas?: ReadonlyArray<string>
            readonly tables: ReadonlyArray<{ readonly name: string; readonly references?: ReadonlyArray<string> }>
          }
          return [schemas, tables.map(({ name, references }) => [name, ...(references ?? [])].join(" "))]
        })
      const own = ["hr.notes boss -> hr.staff", "hr.staff note -> notes"]
      assert.deepStrictEqual(yield* schema({}), [
        ["public", "hr"],
        ["notes", ...own]
      ])
      assert.deepStrictEqual(yield* schema({ table: "hr.*" }), [undefined, own])
      assert.deepStrictEqual(yield* schema({ table: "hr.staff" }), [undefined, own.slice(1)])
      assert.deepStrictEqual(yield* schema({ table: "public.notes" }), [undefined, ["notes"]])
      assert.deepStrictEqual(yield* schema({ table: "notes" }), [undefined, ["notes"]])
      assert.strictEqual(yield* schema({ table: "staf" }), "There is no such table; did you mean hr.staff?")
      const read = yield* kit.call("db_hub_query", { query: "SELECT * FROM hr.staff" }, caller)
      assert.isTrue(read.ok)
    })
  )
})
