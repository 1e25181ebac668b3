import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { Backend, Hub, HubLayer, SqliteLive } from "../../src/index.js"
import { failureOf, temporaryFolder } from "../support/index.js"

const hubOf = (file: string, environment: ReadonlyArray<readonly [string, string]> = []) =>
  Layer.build(HubLayer.layerFile(file)).pipe(
    Effect.map((services) => Context.get(services, Hub)),
    Effect.withConfigProvider(ConfigProvider.fromMap(new Map(environment)))
  )

const written = (folder: string, name: string, text: string): string => {
  const file = NodePath.join(folder, name)
  NodeFs.writeFileSync(file, text)
  return file
}

const pragma = (backend: Backend["Type"], name: string) =>
  Effect.map(backend.query(`PRAGMA ${name}`), ([row]) => Object.values(row!)[0])

describe("the hub from configuration", () => {
  it.scoped("every key of sqlite has its effect", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = written(
        folder,
        "hub.yaml",
        `database:
  hub:
    backend: sqlite
    sqlite:
      path: \${NAME}.db
      journal_mode: truncate
      busy_timeout: 50ms
      foreign_keys: false
      synchronous: FULL
      journal_size_limit: 12345
`
      )
      const hub = yield* hubOf(file, [["NAME", "from-environment"]])
      assert.isTrue(NodeFs.existsSync(NodePath.join(folder, "from-environment.db")))
      const { primary } = hub
      const seen = yield* primary.transaction(
        Effect.all([
          pragma(primary, "journal_mode"),
          pragma(primary, "foreign_keys"),
          pragma(primary, "synchronous"),
          pragma(primary, "journal_size_limit")
        ])
      )
      assert.deepStrictEqual(seen, ["truncate", 0, 2, 12_345])
      const started = performance.now()
      const busy = yield* Effect.forkScoped(primary.transaction(Effect.never))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* failureOf(primary.execute("CREATE TABLE t (a)")))._tag, "DbBusy")
      assert.isBelow(performance.now() - started, 2_000)
      yield* busy.interruptAsFork(busy.id())
    })
  )

  it.scoped("connections are opened, and memory is a file of its own or the primary", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const own = yield* hubOf(
        written(
          folder,
          "own.json",
          JSON.stringify({
            database: {
              hub: {
                sqlite: { path: "p.db" },
                connections: { logs: { type: "sqlite", path: "l.db" } },
                memory: { path: "m.db" }
              }
            }
          })
        )
      )
      assert.deepStrictEqual([...(yield* own.list)].sort(), ["logs", "memory", "primary"])
      assert.notStrictEqual(yield* own.get("memory"), own.primary)
      assert.deepStrictEqual(
        NodeFs.readdirSync(folder).filter((name) => name.endsWith(".db")),
        ["l.db", "m.db", "p.db"]
      )
      const shared = yield* hubOf(
        written(
          folder,
          "shared.toml",
          '[database.hub.sqlite]\npath = "s.db"\n[database.hub.memory]\nuse_primary = true\n'
        )
      )
      assert.strictEqual(yield* shared.get("memory"), shared.primary)
    })
  )

  it.scopedLive("interrupting a running program closes every backend of its hub", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const file = written(
        folder,
        "hub.json",
        JSON.stringify({
          database: { hub: { sqlite: { path: "p.db" }, connections: { logs: { type: "sqlite", path: "l.db" } } } }
        })
      )
      const running = yield* Deferred.make<readonly [Backend["Type"], Backend["Type"]]>()
      const program = Effect.gen(function* () {
        const hub = yield* Hub
        yield* Deferred.succeed(running, [hub.primary, yield* hub.get("logs")] as const)
        return yield* Effect.never
      })
      const fiber = yield* Effect.fork(Effect.provide(program, HubLayer.layerFile(file)))
      const backends = yield* Deferred.await(running)
      for (const backend of backends) assert.deepStrictEqual(yield* backend.query("SELECT 1 AS one"), [{ one: 1 }])
      yield* Fiber.interrupt(fiber)
      for (const backend of backends) {
        assert.strictEqual((yield* failureOf(backend.query("SELECT 1 AS one")))._tag, "DbConnection")
      }
      assert.deepStrictEqual(
        NodeFs.readdirSync(folder).filter((name) => name.endsWith("-wal")),
        []
      )
    })
  )

  it.scoped("an engine that is planned is DbUnsupported, one that does not exist a ConfigError", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const mysql = written(
        folder,
        "mysql.yaml",
        "database: { hub: { backend: mysql, mysql: { host: localhost, database: d, user: u, password: s3cret } } }"
      )
      assert.strictEqual((yield* failureOf(hubOf(mysql)))._tag, "DbUnsupported")
      const unknown = written(folder, "unknown.yaml", "database: { hub: { backend: mongodb } }")
      const error = yield* failureOf(hubOf(unknown))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, "sqlite")
    })
  )

  it.scoped("the environment alone configures SqliteLive, and bad values are ConfigErrors", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const from = (environment: Record<string, string>) =>
        Layer.build(SqliteLive).pipe(
          Effect.map((services) => Context.get(services, Backend)),
          Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(environment))))
        )
      const path = NodePath.join(folder, "env.db")
      const backend = yield* from({ DB_HUB_SQLITE_PATH: path, DB_HUB_SQLITE_JOURNAL_MODE: "DELETE" })
      assert.strictEqual(yield* pragma(backend, "journal_mode"), "delete")
      const bad = yield* failureOf(from({ DB_HUB_SQLITE_PATH: path, DB_HUB_SQLITE_BUSY_TIMEOUT: "soon" }))
      assert.strictEqual(bad._tag, "ConfigError")
      const range = yield* failureOf(from({ DB_HUB_SQLITE_PATH: path, DB_HUB_SQLITE_BUSY_TIMEOUT: "-1" }))
      assert.strictEqual(range._tag, "InvalidInput")
    })
  )
})
