import * as NodeNet from "node:net"
import * as Path from "@effect/platform/Path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { afterAll, beforeAll } from "vitest"
import {
  type Certificates,
  type LocalPostgres,
  makeCertificates,
  startPostgres,
  startReplica
} from "../../scripts/engines/postgres.mjs"
import type { DbError } from "../../src/errors/index.js"
import * as HubConfigFile from "../../src/layers/config/HubConfigFile.js"
import * as HubLive from "../../src/layers/HubLive.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import type { PostgresOptions } from "../../src/layers/postgres/PostgresOptions.js"
import { Backend } from "../../src/services/Backend.js"
import type { HealthStatus } from "../../src/services/HealthChecker.js"
import { Hub } from "../../src/services/Hub.js"
import { HubConfig } from "../../src/services/HubConfig.js"
import { failureOf } from "../support/index.js"
import {
  client,
  noPooler,
  noServer,
  optionsFor,
  outside,
  poolerUrl,
  serverUrl,
  temporaryDatabase
} from "../support/postgres.js"

const encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

const connecting = (options: Partial<PostgresOptions>, url = serverUrl) =>
  Effect.scoped(
    Effect.flatMap(client(options, url), ({ query }) => Effect.map(query(encrypted), ([row]) => row!["ssl"]))
  )

describe.skipIf(noServer)("a server without TLS", () => {
  it.live("is never reached in the clear with require, and is with prefer", () =>
    Effect.gen(function* () {
      for (const sslMode of ["require", "verify-ca", "verify-full"] as const) {
        const error = yield* failureOf(connecting({ sslMode }))
        assert.deepStrictEqual([error._tag, error.code], ["DbConnection", "HUB_NO_TLS"])
      }
      assert.deepStrictEqual(
        [yield* connecting({ sslMode: "prefer" }), yield* connecting({ sslMode: "disable" })],
        [false, false]
      )
    })
  )

  it.scopedLive("is found out once by connections that are opened at the same time", () =>
    Effect.gen(function* () {
      const { query } = yield* client({ sslMode: "prefer" })
      const rows = yield* Effect.all(
        [1, 2, 3, 4].map(() => query(encrypted)),
        { concurrency: 4 }
      )
      assert.deepStrictEqual(rows, Array(4).fill([{ ssl: false }]))
    })
  )
})

describe.skipIf(noServer)("a server with TLS", () => {
  let files: Certificates
  let server: LocalPostgres
  beforeAll(async () => {
    files = await makeCertificates({ hosts: ["localhost"] })
    server = (await startPostgres({ own: true, tls: { ...files, only: true } })) as LocalPostgres
  })
  afterAll(async () => {
    await server.stop()
    files.remove()
  })

  const at = (host: string) => server.url.replace("127.0.0.1", host)

  it.live("is encrypted, verified as far as asked for, and cancelled over TLS", () =>
    Effect.gen(function* () {
      const ca = { sslCaFile: files.caFile }
      assert.isTrue(yield* connecting({ sslMode: "prefer" }, at("127.0.0.1")))
      assert.isTrue(yield* connecting({ sslMode: "require" }, at("127.0.0.1")))
      assert.isTrue(yield* connecting({ sslMode: "verify-ca", ...ca }, at("127.0.0.1")))
      assert.isTrue(yield* connecting({ sslMode: "verify-full", ...ca }, at("localhost")))
      const unknown = yield* failureOf(connecting({ sslMode: "verify-ca" }, at("localhost")))
      assert.strictEqual(unknown._tag, "DbConnection")
      assert.match(unknown.message, /certificate/)
      const otherName = yield* failureOf(connecting({ sslMode: "verify-full", ...ca }, at("127.0.0.1")))
      assert.strictEqual(otherName.code, "ERR_TLS_CERT_ALTNAME_INVALID")
      assert.strictEqual((yield* failureOf(connecting({ sslMode: "disable" }, at("127.0.0.1"))))._tag, "DbConnection")
      yield* Effect.scoped(
        Effect.gen(function* () {
          const secure = yield* client({ sslMode: "verify-full", ...ca, maxOpenConns: 1 }, at("localhost"))
          const started = performance.now()
          yield* Effect.timeoutOption(secure.query("SELECT pg_sleep(30)"), "100 millis")
          assert.isBelow(performance.now() - started, 2_000)
          yield* secure.query("SELECT 1")
        })
      )
    })
  )

  it.live("is there again after it was killed and restarted", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const connected = yield* client({ sslMode: "require" }, at("127.0.0.1"))
        process.kill(server.pid, "SIGKILL")
        yield* Effect.promise(() => server.restart())
        yield* Effect.retry(connected.query("SELECT 1"), { times: 3 })
      })
    )
  )
})

describe("no server", () => {
  it.live("each way of not being there is a DbConnection that says why", () =>
    Effect.gen(function* () {
      const refused = yield* failureOf(connecting({}, "postgres://u@127.0.0.1:1/d"))
      assert.deepStrictEqual([refused._tag, refused.code, refused.retryable], ["DbConnection", "ECONNREFUSED", true])
      const nowhere = yield* failureOf(connecting({}, "postgres://u@host.invalid/d"))
      assert.strictEqual(nowhere._tag, "DbConnection")
      assert.include(["ENOTFOUND", "EAI_AGAIN"], nowhere.code)
      const silent = NodeNet.createServer(() => {})
      yield* Effect.promise(() => new Promise<void>((done) => silent.listen(0, "127.0.0.1", done)))
      const { port } = silent.address() as NodeNet.AddressInfo
      const started = performance.now()
      const slow = yield* failureOf(connecting({ connectTimeout: 300 }, `postgres://u@127.0.0.1:${port}/d`))
      assert.deepStrictEqual([slow._tag, slow.code], ["DbConnection", "HUB_CONNECT_TIMEOUT"])
      assert.isBelow(performance.now() - started, 2_000)
      silent.close()
    })
  )
})

describe.skipIf(noServer)("users and databases", () => {
  it.live("a wrong password or database is a DbConnection that is not sent again", () =>
    Effect.gen(function* () {
      const wrong = yield* failureOf(connecting({ password: Redacted.make("hunter2") }))
      assert.deepStrictEqual([wrong._tag, wrong.code, wrong.retryable], ["DbConnection", "28P01", false])
      assert.notInclude(JSON.stringify(wrong), "hunter2")
      const missing = yield* failureOf(connecting({ database: "no_such_database" }))
      assert.deepStrictEqual([missing._tag, missing.code], ["DbConnection", "3D000"])
    })
  )

  it.live("a user who may not make the extension is told which right is missing", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const database = yield* temporaryDatabase
        const role = `guest_${database}`
        const inside = Redacted.value(optionsFor(database).url!)
        yield* Effect.acquireRelease(
          outside(inside, `CREATE ROLE ${role} LOGIN PASSWORD 'a b''@"\\'`, `GRANT ALL ON SCHEMA public TO ${role}`),
          () => outside(inside, `DROP OWNED BY ${role}`, `DROP ROLE ${role}`)
        )
        const guest = { ...optionsFor(database), user: role, password: Redacted.make(`a b'@"\\`) }
        const error = yield* failureOf(Postgres.make(guest))
        assert.strictEqual(error._tag, "MigrationError")
        assert.match(error.message, /permission denied to create extension/)
      })
    )
  )

  it.live("the extension is used wherever it lies", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const database = yield* temporaryDatabase
        const options = optionsFor(database)
        yield* outside(Redacted.value(options.url!), "CREATE SCHEMA extensions")
        const backend = yield* Postgres.make(options)
        yield* backend.vector.createCollection("c", { dimension: 3 })
        yield* backend.vector.insert("c", { id: "a", vector: [1, 2, 3] })
        assert.strictEqual((yield* backend.vector.search("c", [1, 2, 3])).length, 1)
        const [row] = yield* backend.query(
          "SELECT extnamespace::regnamespace::text AS schema FROM pg_extension WHERE extname = 'vector'"
        )
        assert.deepStrictEqual(row, { schema: "extensions" })
      })
    )
  )
})

describe.skipIf(noServer)("a replica", () => {
  it.live("reads, refuses writes, and tells its role and lag", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const replica = yield* Effect.acquireRelease(
          Effect.promise(
            async () =>
              (await startReplica({ url: serverUrl }, { settings: { max_connections: 200 } })) as LocalPostgres
          ),
          (replica) => Effect.promise(() => replica.stop())
        )
        const backend = yield* Postgres.make({ url: Redacted.make(replica.url), migrate: false })
        const error = yield* failureOf(backend.execute("CREATE TABLE refused (n INT)"))
        assert.deepStrictEqual([error._tag, error.code], ["DbReadOnly", "25006"])
        const status = yield* backend.health.status
        assert.isTrue(status.healthy)
        assert.strictEqual(status.role, "replica")
        assert.isNumber(status.replicationLag)
        assert.strictEqual(
          (yield* (yield* Postgres.make({ url: Redacted.make(serverUrl), migrate: false })).health.status).role,
          "primary"
        )
      })
    )
  )
})

describe.skipIf(noServer)("health", () => {
  it.live("warns of a pgvector with known faults, and tells the truth about the pool", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const backend = yield* Postgres.make({ ...optionsFor(yield* temporaryDatabase), maxOpenConns: 2 })
        const sleep = backend.query("SELECT pg_sleep(0.05)")
        yield* Effect.all([sleep, sleep, sleep, sleep], { concurrency: "unbounded" })
        const status = yield* backend.health.status
        assert.match(status.vectorVersion!, /^0\.\d+\.\d+$/)
        assert.strictEqual(
          status.vectorVersion === "0.8.0",
          status.warnings.some((text) => text.includes("CVE-2026-3172"))
        )
        const { idle, inUse, maxOpenConns, openConnections, waitCount, waitDuration } = status
        assert.deepStrictEqual(
          { idle, inUse, maxOpenConns, openConnections },
          // Two more are kept for what agents write.
          { idle: 2, inUse: 0, maxOpenConns: 4, openConnections: 2 }
        )
        assert.isAtLeast(waitCount, 2)
        assert.isAtLeast(waitDuration, 50)
      })
    )
  )

  it.live("of a server that is gone is unhealthy with the reason", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const backend = yield* Scope.extend(Postgres.make({ url: Redacted.make(serverUrl), migrate: false }), scope)
      yield* Scope.close(scope, Exit.void)
      const status = yield* backend.health.status
      assert.isFalse(status.healthy)
      assert.match(status.error!, /closed/)
      // Not that there are no tables yet.
      const { currentVersion, needsMigration } = backend.migrator
      assert.strictEqual((yield* failureOf(currentVersion))._tag, "DbConnection")
      assert.strictEqual((yield* failureOf(needsMigration))._tag, "DbConnection")
    })
  )
})

describe.skipIf(noPooler)("PgBouncer in transaction mode", () => {
  it.live("refuses what needs a session, and says why", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const connected = yield* client({ pooler: "transaction" }, poolerUrl)
        for (const sql of [
          "LISTEN news",
          "SET statement_timeout = 5",
          "PREPARE p AS SELECT 1",
          "CREATE TEMP TABLE t (n INT)",
          "SELECT pg_advisory_lock(1)",
          "/* x */ DISCARD ALL"
        ]) {
          const error = yield* failureOf(connected.execute(sql))
          assert.deepStrictEqual([error._tag, error.code], ["DbUnsupported", "HUB_TRANSACTION_POOLER"], sql)
        }
        const reserved = yield* failureOf(Effect.scoped(connected.sql.reserve))
        assert.strictEqual((reserved.cause as { code?: string }).code, "HUB_TRANSACTION_POOLER")
        yield* connected.transaction(
          Effect.zipRight(connected.execute("SET LOCAL statement_timeout = 500"), connected.query("SELECT 1"))
        )
      })
    )
  )

  it.live("what is opened for reading reads, and writes nothing in any way", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const [writer, reader] = [
          yield* client({ pooler: "transaction" }, poolerUrl),
          yield* client({ pooler: "transaction", readOnly: true }, poolerUrl)
        ]
        const table = `read_${globalThis.crypto.randomUUID().replaceAll("-", "")}`
        yield* Effect.acquireRelease(writer.execute(`CREATE TABLE ${table} AS SELECT 1 AS n`), () =>
          Effect.orDie(writer.execute(`DROP TABLE ${table}`))
        )
        const rows = [{ n: 1 }]
        const select = `SELECT n FROM ${table}`
        assert.deepStrictEqual(yield* reader.query(select), rows)
        assert.deepStrictEqual(yield* reader.sql.unsafe(select), rows)
        assert.deepStrictEqual(Array.from(yield* Stream.runCollect(reader.stream(select))), rows)
        assert.deepStrictEqual(yield* reader.transaction(reader.query(select), { isolation: "serializable" }), rows)
        assert.deepStrictEqual((yield* reader.readOnly(select)).rows, [[1]])
        const insert = `INSERT INTO ${table} VALUES (2)`
        for (const write of [
          reader.execute(insert),
          reader.query(`${insert} RETURNING n`),
          reader.enqueue(insert),
          Stream.runDrain(reader.stream(`${insert} RETURNING n`)),
          reader.transaction(reader.execute(insert)),
          reader.transaction(reader.transaction(reader.execute(insert)))
        ]) {
          assert.strictEqual((yield* failureOf<unknown, DbError, never>(write))._tag, "DbReadOnly")
        }
        assert.deepStrictEqual(yield* writer.query(select), rows)
      })
    )
  )

  it.live("is told apart from a server by its refusal of session settings", () =>
    Effect.gen(function* () {
      const error = yield* failureOf(connecting({ statementTimeout: 1_000 }, poolerUrl))
      assert.strictEqual(error._tag, "DbConnection")
      assert.match(error.message, /pooler/)
    })
  )

  it.live("session settings and prepared statements work where they are said to", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const session = yield* client({ pooler: "session", statementTimeout: 200 }, poolerUrl)
        assert.strictEqual((yield* failureOf(session.query("SELECT pg_sleep(5)")))._tag, "DbTimeout")
        const prepared = yield* client({ pooler: "transaction", preparedStatements: true, maxOpenConns: 20 }, poolerUrl)
        const answers = yield* Effect.all(
          Array.from({ length: 200 }, (_, n) => prepared.query("SELECT ?::int AS n", [n])),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(
          answers.map(([row]) => row!["n"]),
          Array.from({ length: 200 }, (_, n) => n)
        )
      })
    )
  )

  it.live("an interruption cancels the right statement", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const connected = yield* client({ pooler: "transaction", maxOpenConns: 4 }, poolerUrl)
        const victim = Effect.forEach(Array.from({ length: 100 }), () => connected.query("SELECT pg_sleep(0.002)"), {
          discard: true
        })
        const attacker = Effect.forEach(
          Array.from({ length: 50 }),
          (_, n) => Effect.timeoutOption(connected.query("SELECT pg_sleep(0.02)"), n % 8),
          { discard: true }
        )
        yield* Effect.all([victim, attacker, victim, attacker], { concurrency: "unbounded" })
      })
    )
  )
})

describe.skipIf(noServer)("configuration", () => {
  it.scopedLive("the environment configures PostgresLive, and a bad value is named and not quoted", () =>
    Effect.gen(function* () {
      const from = (environment: Record<string, string>) =>
        Layer.build(Postgres.PostgresLive).pipe(
          Effect.map((services) => Context.get(services, Backend)),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
        )
      const url = Redacted.value(optionsFor(yield* temporaryDatabase).url!)
      const backend = yield* from({ DB_HUB_POSTGRES_URL: url, DB_HUB_POSTGRES_STATEMENT_TIMEOUT: "1234" })
      assert.deepStrictEqual((yield* backend.readOnly("SHOW statement_timeout")).rows, [["1234ms"]])
      const error = yield* failureOf(from({ DB_HUB_POSTGRES_URL: url, DB_HUB_POSTGRES_PORT: "hunter2" }))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, "DB_HUB_POSTGRES_PORT")
      assert.notInclude(error.message, "hunter2")
    })
  )

  it.scopedLive("a hub opens PostgreSQL by its type", () =>
    Effect.gen(function* () {
      const { hostname, password, pathname, port, username } = new URL(
        Redacted.value(optionsFor(yield* temporaryDatabase).url!)
      )
      const config = yield* Schema.decodeUnknown(HubConfig)({
        primary: {
          type: "postgresql",
          host: hostname,
          port: Number(port),
          database: pathname.slice(1),
          user: username,
          password: decodeURIComponent(password),
          ssl_mode: "disable"
        },
        connections: {}
      })
      const services = yield* Layer.build(HubLive.layer(config))
      const hub = Context.get(services, Hub)
      assert.deepStrictEqual(yield* hub.query("SELECT 1 AS one"), [{ one: 1 }])
      assert.strictEqual(hub.primary.kind, "postgresql")
    })
  )

  /** A hub of a file whose section has these keys. */
  const hubOf = (database: string, keys: string) =>
    HubConfigFile.parse(
      `database: { hub: { backend: postgresql, postgresql: { url: "${Redacted.value(optionsFor(database).url!)}", ${keys} } } }`,
      { format: "yaml" }
    ).pipe(
      Effect.provide(Path.layer),
      Effect.flatMap((config) => Layer.build(HubLive.layer(config))),
      Effect.map((services) => Context.get(services, Hub).primary)
    )

  it.scopedLive("every key of a session has its effect", () =>
    Effect.gen(function* () {
      const keys = {
        application_name: "someone",
        statement_timeout: "11s",
        lock_timeout: "12s",
        idle_in_transaction_session_timeout: "13s"
      }
      const database = yield* temporaryDatabase
      const backend = yield* hubOf(
        database,
        `max_open_conns: 3, max_idle_conns: 1, ${Object.entries(keys)
          .map(([key, value]) => `${key}: ${value}`)
          .join(", ")}`
      )
      for (const [key, value] of Object.entries(keys)) {
        assert.deepStrictEqual((yield* backend.readOnly(`SHOW ${key}`)).rows, [[value]])
      }
      const layer = yield* Postgres.make({ ...optionsFor(database), maxOpenConns: 3 })
      const most = ({ healthy, maxOpenConns }: HealthStatus) => [healthy, maxOpenConns]
      assert.deepStrictEqual(most(yield* backend.health.status), most(yield* layer.health.status))
    })
  )

  it.scopedLive("a wait for the pool, prepared statements and reading alone are as a configuration says", () =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const one = yield* hubOf(database, "max_open_conns: 1, acquire_timeout: 50ms")
      const held = yield* Deferred.make<void>()
      const holding = yield* Effect.fork(
        one.transaction(Effect.zipRight(Deferred.succeed(held, undefined), Effect.never))
      )
      yield* Deferred.await(held)
      assert.strictEqual((yield* failureOf(one.query("SELECT 1")))._tag, "DbBusy")
      yield* Fiber.interrupt(holding)
      const prepared = "SELECT count(*)::int AS n FROM pg_prepared_statements WHERE ?::int = 1"
      const plain = yield* hubOf(database, "max_open_conns: 1, prepared_statements: no")
      for (const _ of [1, 2]) assert.deepStrictEqual(yield* plain.query(prepared, [1]), [{ n: 0 }])
      yield* one.query(prepared, [1])
      assert.isAbove(Number((yield* one.query(prepared, [1]))[0]!["n"]), 0)
      const reading = yield* hubOf(yield* temporaryDatabase, "read_only: yes")
      assert.isFalse(reading.capabilities.writable)
      assert.strictEqual(yield* reading.migrator.currentVersion, 0)
      assert.strictEqual((yield* failureOf(reading.execute("CREATE TABLE t (a INT)")))._tag, "DbReadOnly")
    })
  )

  it.scopedLive(
    "tables lie in the first schema of search_path, and one of the same name elsewhere is not mixed in",
    () =>
      Effect.gen(function* () {
        const database = yield* temporaryDatabase
        yield* outside(
          Redacted.value(optionsFor(database).url!),
          "CREATE SCHEMA app",
          "CREATE TABLE public.twice (wrong INT)"
        )
        const backend = yield* hubOf(database, 'search_path: "app, public"')
        yield* backend.execute("CREATE TABLE app.twice (own INT)")
        const [table] = yield* backend.schema({ table: "twice" })
        assert.deepStrictEqual(
          table!.columns.map(({ name }) => name),
          ["own"]
        )
        const again = yield* hubOf(database, 'search_path: "app, public"')
        assert.isFalse(yield* again.migrator.needsMigration)
        assert.deepStrictEqual(
          yield* backend.query("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'db_hub_%' ORDER BY 1"),
          [{ schemaname: "app" }]
        )
      })
  )

  it.scopedLive("every key of vector has its effect", () =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const built = (keys: string, collection: string) =>
        Effect.gen(function* () {
          const backend = yield* hubOf(database, `vector: { index_after: 500, ${keys} }`)
          yield* backend.vector.createCollection(collection, { dimension: 2 })
          const records = Array.from({ length: 500 }, (_, n) => ({
            id: String(n),
            vector: [Math.cos(n), Math.sin(n)]
          }))
          yield* backend.vector.insertMany(collection, records)
          yield* Effect.repeat(backend.vector.collections, {
            until: (all) => all.find(({ name }) => name === collection)?.index?.state === "ready",
            schedule: Schedule.spaced("50 millis")
          }).pipe(Effect.timeout("60 seconds"))
          const [index] = yield* backend.query(
            "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%collection_id = ' || (SELECT id FROM db_hub_collections WHERE name = ?) || '%' AND indexdef ~ 'hnsw|ivfflat'",
            [collection]
          )
          return { backend, index: String(index?.["indexdef"]) }
        })
      const { backend, index } = yield* built("hnsw_m: 7, hnsw_ef_construction: 33, hnsw_ef_search: 77", "a")
      assert.match(index, /USING hnsw .* WITH \(m='7', ef_construction='33'\)/)
      assert.deepStrictEqual((yield* backend.readOnly("SHOW hnsw.ef_search")).rows, [["77"]])
      assert.match(
        (yield* built("index_type: ivfflat, ivf_lists: 17", "b")).index,
        /USING ivfflat .* WITH \(lists='17'\)/
      )
      // Not set, they are those of a layer.
      const plain = yield* hubOf(database, "max_open_conns: 4")
      const layer = yield* Postgres.make(optionsFor(database))
      const searches = "SHOW hnsw.ef_search"
      assert.deepStrictEqual((yield* plain.readOnly(searches)).rows, (yield* layer.readOnly(searches)).rows)
      assert.match((yield* built("index_type: ivfflat", "c")).index, /lists='10'/)
    })
  )
})
