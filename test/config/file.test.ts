import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import { assert, describe, it } from "@effect/vitest"
import * as Arbitrary from "effect/Arbitrary"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import schemaOnDisk from "../../config.schema.json" with { type: "json" }
import * as HubConfigFile from "../../src/layers/config/HubConfigFile.js"
import * as HubConfig from "../../src/services/HubConfig.js"
import { parse, primary, refusal, type Variables, withVariables } from "./support.js"

const fromEnv = (variables: Variables) =>
  HubConfigFile.fromEnv.pipe(withVariables(variables), Effect.provide(Path.layer))

describe("a configuration file", () => {
  it.effect("says the same in YAML, TOML and JSON", () =>
    Effect.gen(function* () {
      const yaml = yield* parse("database:\n  hub:\n    sqlite:\n      path: a.db\n      busy_timeout: 2s\n")
      const toml = yield* parse('[database.hub.sqlite]\npath = "a.db"\nbusy_timeout = 2000\n', {}, "toml")
      const json = yield* parse('{"database":{"hub":{"sqlite":{"path":"a.db","busy_timeout":"2s"}}}}', {}, "json")
      assert.deepInclude(yaml.primary, { path: "/etc/hub/a.db", busyTimeout: 2000 })
      assert.deepStrictEqual(toml, yaml)
      assert.deepStrictEqual(json, yaml)
    })
  )

  it.effect("that cannot be parsed fails with the line and never quotes the text", () =>
    Effect.gen(function* () {
      const cases = [
        ["yaml", "database:\n  hub:\n   password: 'hunter2\n"],
        ["yaml", "database:\n  path: a\n  path: hunter2\n"],
        ["yaml", "database: [hunter2"],
        ["yaml", "database: {}\n---\ndatabase: { path: hunter2 }\n"],
        ["toml", 'a = 1\npassword = "hunter2\n'],
        ["json", '{\n  "password": "hunter2",,\n}'],
        ["json", "{\n  'password': 'hunter2' 3\n}"]
      ] as const
      for (const [format, text] of cases) {
        const error = yield* refusal(text, {}, format)
        assert.match(error.message, /at line \d+, column \d+/, text)
        assert.notInclude(JSON.stringify(error), "hunter2")
      }
      assert.include((yield* refusal("a: 1", {}, "json")).message, "not valid JSON")
    })
  )

  it.effect("that is a bomb of aliases is refused", () =>
    Effect.gen(function* () {
      const levels = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(10)}]`)
      const error = yield* refusal(["a0: &a0 [x]", ...levels, "database: {}"].join("\n"))
      assert.include(error.message, "aliases")
    })
  )

  it.effect("with a misspelt key fails with the nearest one", () =>
    Effect.gen(function* () {
      const cases = [
        ["database: { hub: { sqlite: { jornal_mode: WAL } } }", "database.hub.sqlite.jornal_mode", "journal_mode?"],
        ["database: { hub: { sqlite: { busyTimeout: 1 } } }", "database.hub.sqlite.busyTimeout", "busy_timeout?"],
        ["database: { hub: { sqlite: { foreing_keys: } } }", "database.hub.sqlite.foreing_keys", "foreign_keys?"],
        ["database: { hub: { postgres: {} } }", "database.hub.postgres", "postgresql?"],
        ["database: { hbu: {} }", "database.hbu", "hub?"],
        ["databse: {}", "databse", "database?"],
        [
          "database: { hub: { connections: { a: { type: mysql, hots: b } } } }",
          "database.hub.connections.a.hots",
          "host?"
        ],
        [
          "database: { hub: { sqlite: { zzzzzzzzz: 1 } } }",
          "database.hub.sqlite.zzzzzzzzz",
          "allowed: path, journal_mode"
        ],
        ["sqlite: {}", "database", "missing"]
      ] as const
      for (const [text, key, hint] of cases) {
        const error = yield* refusal(text)
        assert.strictEqual(error.key, key)
        assert.include(error.message, hint)
      }
    })
  )

  it.effect("reports all its problems at once", () =>
    Effect.gen(function* () {
      const error = yield* refusal(
        "database: { hub: { sqlite: { busy_timeout: -1, foreign_key: 3 }, mysql: { port: 0 } } }"
      )
      assert.strictEqual(error.message.split("\n").length, 3)
    })
  )

  it.effect("never shows the value that it refuses", () =>
    Effect.gen(function* () {
      const cases = [
        "backend: hunter2",
        "postgresql: hunter2",
        "postgresql: [hunter2]",
        "postgresql: { password: { a: hunter2 } }",
        "postgresql: { password: 'hunter2${' }",
        "postgresql: { port: hunter2 }",
        "postgresql: { url: 'hunter2' }",
        "postgresql: { url: 'postgres://u:hunter2@h:port/d' }",
        "postgresql: { url: 'postgres://u:hunter2%@h/d' }",
        "postgresql: { url: 'postgres://u:hunter2@h/d?options=hunter2' }",
        "postgresql: { url: 'postgres://u:hunter2@h/d', password: hunter2 }",
        "postgresql: { supabase_url: hunter2 }",
        "connections: { a: hunter2 }",
        "connections: { a: { type: hunter2 } }"
      ]
      for (const section of cases) {
        const error = yield* refusal(`database: { hub: { ${section} } }`)
        assert.notInclude(JSON.stringify(error), "hunter2", section)
      }
    })
  )

  it.effect("keeps a relative certificate path and its databases beside itself", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        "database: { hub: { backend: postgresql, postgresql: { database: d, user: u, ssl_ca_file: ca.pem } } }"
      )
      assert.deepInclude(config.primary, { sslCaFile: "/etc/hub/ca.pem" })
    })
  )

  it.effect("is found in the working directory in a fixed order, read by its extension, and refused without one", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const folder = yield* fs.makeTempDirectoryScoped()
      const write = (name: string, text: string) => fs.writeFileString(path.join(folder, name), text)
      assert.isTrue(Option.isNone(yield* HubConfigFile.find(folder)))
      yield* write("db-hub.json", "{}")
      yield* write("db-hub.toml", '[database]\npath = "t.db"\n')
      const found = Option.getOrThrow(yield* HubConfigFile.find(folder))
      assert.strictEqual(path.basename(found), "db-hub.toml")
      const config = yield* HubConfigFile.load(found)
      assert.deepInclude(config.primary, { path: path.join(folder, "t.db") })
      assert.deepStrictEqual(yield* HubConfigFile.resolve(found), config)
      const missing = yield* Effect.flip(HubConfigFile.load(path.join(folder, "none.yaml")))
      assert.include(missing.message, "NotFound")
      yield* write("db-hub.ini", "")
      const other = yield* Effect.flip(HubConfigFile.load(path.join(folder, "db-hub.ini")))
      assert.include(other.message, ".yaml, .yml, .toml, .json")
    }).pipe(Effect.scoped, Effect.provide(NodeContext.layer))
  )
})

describe("a reference to the environment", () => {
  it.effect("may stand inside a value, have a default or a message, and be escaped", () =>
    Effect.gen(function* () {
      const path = (text: string, variables: Variables = {}) =>
        Effect.map(parse(`database: { path: '${text}' }`, variables), ({ primary }) => Reflect.get(primary, "path"))
      assert.strictEqual(yield* path("/${A}/x-${B}.db", { A: "1", B: "2" }), "/1/x-2.db")
      assert.strictEqual(yield* path("/${A:-a b}.db"), "/a b.db")
      assert.strictEqual(yield* path("/$${A}$$$$.db"), "/${A}$$.db")
      assert.strictEqual(yield* path("/a$b$.db"), "/a$b$.db")
      assert.strictEqual(yield* path("${A:-}"), "/etc/hub/data/hub.db")
      const needed = yield* Effect.flip(path("${A:?say where}", { A: "" }))
      assert.include(needed.message, "database.path needs the environment variable A: say where")
      for (const broken of ["${", "${}", "${1A}", "${A", "${A-b}"]) {
        assert.include((yield* Effect.flip(path(broken, { A: "x" }))).message, "broken reference", broken)
      }
    })
  )

  it.effect("may hold a number, a flag or a duration, but text stays text", () =>
    Effect.gen(function* () {
      const text = `
database:
  hub:
    backend: $\{ENGINE}
    postgresql:
      port: $\{PORT}
      database: $\{NUMBER}
      user: u
      password: $\{NUMBER}
      statement_timeout: $\{TIMEOUT}
      lock_timeout: $\{NUMBER}
    connections:
      logs: { type: sqlite, path: logs.db, foreign_keys: "$\{FLAG}" }
`
      const variables = { ENGINE: "postgresql", PORT: "6543", NUMBER: "0123", TIMEOUT: "2m", FLAG: "false" }
      const config = yield* parse(text, variables)
      const postgres = yield* primary(config, "postgresql")
      assert.strictEqual(Redacted.value(postgres.password!), "0123")
      assert.deepInclude(postgres, { port: 6543, database: "0123", statementTimeout: 120_000, lockTimeout: 123 })
      assert.deepInclude(config.connections["logs"], { foreignKeys: false })
      const error = yield* refusal(text, { ...variables, PORT: "6543x" })
      assert.strictEqual(error.key, "database.hub.postgresql.port")
    })
  )

  it.effect("is left alone in a key", () =>
    Effect.gen(function* () {
      const error = yield* refusal("database: { '${KEY}': 1 }", { KEY: "path" })
      assert.strictEqual(error.key, "database.${KEY}")
    })
  )
})

describe("DATABASE_URL", () => {
  it.effect("selects the engine by its scheme", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [string, object]> = [
        ["sqlite:/tmp/a.db", { type: "sqlite", path: "/tmp/a.db" }],
        ["sqlite:///tmp/a.db", { type: "sqlite", path: "/tmp/a.db" }],
        ["sqlite::memory:", { type: "sqlite", path: ":memory:" }],
        ["file:///tmp/a%20%3F.db", { type: "sqlite", path: "/tmp/a ?.db" }],
        ["file://localhost/tmp/a.db", { type: "sqlite", path: "/tmp/a.db" }],
        ["file:./a.db", { type: "sqlite", path: `${process.cwd()}/a.db` }],
        ["postgres://u@h/d", { type: "postgresql", host: "h", port: 5432, database: "d", user: "u" }],
        [
          "postgresql://u@[::1]:6000/d%2Fe?sslmode=disable&application_name=me&connect_timeout=3",
          { host: "::1", port: 6000, database: "d/e", sslMode: "disable", applicationName: "me", connectTimeout: 3000 }
        ],
        ["postgres:///d?host=/run/postgresql&user=u", { host: "/run/postgresql", database: "d", user: "u" }],
        ["mysql://u@h:3307/d", { type: "mysql", host: "h", port: 3307, database: "d", user: "u" }],
        ["mariadb://u@h/d", { type: "mysql", port: 3306 }]
      ]
      for (const [url, expected] of cases) {
        const config = yield* fromEnv({ DATABASE_URL: url })
        assert.deepInclude(config.primary, expected, url)
      }
    })
  )

  it.effect("keeps a password with special characters whole", () =>
    Effect.gen(function* () {
      const config = yield* fromEnv({ DATABASE_URL: "postgres://u:p%40s%3A%2F%20%25@h/d" })
      const { password } = yield* primary(config, "postgresql")
      assert.strictEqual(Redacted.value(password!), "p@s:/ %")
    })
  )

  it.effect("of another scheme, or of nothing, is refused", () =>
    Effect.gen(function* () {
      for (const url of ["redis://hunter2@h", "hunter2", "C:\\hunter2"]) {
        const error = yield* Effect.flip(fromEnv({ DATABASE_URL: url }))
        assert.strictEqual(error.key, "DATABASE_URL")
        assert.include(error.message, "sqlite:, file:, postgres:, postgresql:, mysql:, mariadb:")
        assert.notInclude(JSON.stringify(error), "hunter2")
      }
      for (const url of [
        "sqlite:",
        "file:a.db?mode=ro",
        "postgres://u@h:x/d",
        "postgres://u@h/d?user=v",
        "postgres://h"
      ]) {
        assert.strictEqual((yield* Effect.flip(fromEnv({ DATABASE_URL: url })))._tag, "ConfigError", url)
      }
    })
  )

  it.effect("that is unset leaves the defaults", () =>
    Effect.gen(function* () {
      for (const variables of [{}, { DATABASE_URL: "" }]) {
        const config = yield* fromEnv(variables)
        assert.deepStrictEqual(config, {
          primary: { ...HubConfig.sqliteDefaults, path: `${process.cwd()}/data/hub.db` },
          connections: {},
          embeddings: { type: "hashing", dimension: 384 }
        })
      }
    })
  )
})

describe("the embedding model", () => {
  const section = (keys: string) => `database: { hub: { embeddings: { ${keys} } } }`

  it.effect("is feature hashing unless the configuration names another", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* parse("database: {}")).embeddings, { type: "hashing", dimension: 384 })
      const { embeddings } = yield* parse(
        section("type: openai, url: 'http://localhost:11434/v1', model: nomic-embed-text, dimension: 768, timeout: 2m")
      )
      assert.deepStrictEqual(embeddings, {
        type: "openai",
        url: "http://localhost:11434/v1",
        model: "nomic-embed-text",
        dimension: 768,
        batchSize: 64,
        concurrency: 4,
        timeout: 120_000,
        retries: 4,
        cacheSize: 100_000
      })
    })
  )

  it.effect("keeps its key from the environment, and never prints it", () =>
    Effect.gen(function* () {
      const text = section(`type: openai, model: m, dimension: 2, api_key: "\${KEY}"`)
      const config = yield* parse(text, { KEY: "sk-secret" })
      assert.isTrue(config.embeddings?.type === "openai" && config.embeddings.apiKey !== undefined)
      assert.notInclude(yield* HubConfigFile.print(config), "sk-secret")
      assert.notInclude(JSON.stringify(config), "sk-secret")
    })
  )

  it.effect("is refused with the key that is wrong and what is allowed", () =>
    Effect.gen(function* () {
      for (const [keys, key, problem] of [
        ["type: openai, model: m", "dimension", "is missing"],
        ["type: openai, dimension: 3", "model", "is missing"],
        ["type: openai, model: m, dimension: 0", "dimension", "must be a whole number from 1 to 65535"],
        ["type: openai, model: m, dimension: 3, url: 'http://u:p@host/v1'", "url", "without a user or password"],
        ["type: openai, model: m, dimension: 3, apikey: k", "apikey", "did you mean api_key?"]
      ] as const) {
        const error = yield* refusal(section(keys))
        assert.strictEqual(error.key, `database.hub.embeddings.${key}`)
        assert.include(error.message, problem)
      }
      assert.include((yield* refusal(section("type: ollama"))).message, "one of hashing, openai")
    })
  )
})

describe("Supabase", () => {
  it.effect("is reached through its pooler when the host says so", () =>
    Effect.gen(function* () {
      const text = `
database:
  hub:
    backend: postgresql
    postgresql: { supabase_url: "https://abc.supabase.co/", host: aws-0-eu-west-1.pooler.supabase.com, port: 6543 }
`
      const config = yield* parse(text)
      assert.deepInclude(config.primary, { user: "postgres.abc", database: "postgres", port: 6543 })
      assert.deepStrictEqual(yield* parse(yield* HubConfigFile.print(config)), config)
    })
  )
})

describe("a printed configuration", () => {
  const path = FastCheck.stringMatching(/^\/[a-z$#{}: 'é]{1,20}[a-z]$/)
  const backend = Arbitrary.make(HubConfig.BackendConfig).map((backend) => {
    if (backend.type === "sqlite") return backend
    const { password: _, ...config } = backend
    if (config.type === "mysql") return config
    const { sslCaFile: _file, supabaseAnonKey: _key, supabaseUrl: _url, ...rest } = config
    return rest
  })
  const located = FastCheck.tuple(backend, path).map(([backend, path]) =>
    backend.type === "sqlite" ? { ...backend, path } : backend
  )
  const name = FastCheck.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,20}$/).filter((name) => name !== "primary")

  const embeddings = Arbitrary.make(HubConfig.EmbeddingsConfig).map((config) => {
    if (config.type === "hashing") return config
    const { apiKey: _, ...rest } = config
    return { ...rest, model: `m${rest.model}` }
  })

  it.effect.prop(
    "is read back as the same configuration",
    [
      FastCheck.record({
        primary: located,
        connections: FastCheck.dictionary(name, located, { maxKeys: 3 }),
        embeddings
      })
    ],
    ([config]) =>
      Effect.gen(function* () {
        const again = yield* parse(yield* HubConfigFile.print(config))
        assert.deepStrictEqual(again, { ...config, connections: { ...config.connections } })
      }),
    { fastCheck: { numRuns: 100 } }
  )

  it.effect("uses the keys and the durations of the file", () =>
    Effect.gen(function* () {
      const printed = yield* HubConfigFile.print(HubConfig.defaults)
      assert.include(printed, "journal_mode: WAL")
      assert.include(printed, "busy_timeout: 5s")
    })
  )
})

describe("the JSON Schema for editors", () => {
  it("is the one that was committed; run scripts/write-config-schema.ts after a change", () => {
    assert.deepStrictEqual(JSON.parse(JSON.stringify(HubConfigFile.jsonSchema)), schemaOnDisk)
  })
})
