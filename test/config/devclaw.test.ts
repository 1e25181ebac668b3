import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as HubConfigFile from "../../src/layers/config/HubConfigFile.js"
import { parse, primary, refusal } from "./support.js"

const full = `
# $\{IN_A_COMMENT} and ERROR: in a comment
name: "DevClaw"
instructions: |
  Say ERROR: when $\{SOMETHING_UNSET} fails.
api:
  api_key: "$\{DEVCLAW_API_KEY}"
memory:
  type: "file"
  path: "./data/memory.db"
database:
  hub:
    backend: "postgresql"  # sqlite | postgresql
    sqlite:
      path: "./data/devclaw.db"
      journal_mode: "WAL"
      busy_timeout: 5000
      foreign_keys: true
    postgresql:
      host: "db.example.com"
      port: 5433
      database: "devclaw"
      user: "devclaw"
      password: "$\{POSTGRES_PASSWORD}"
      ssl_mode: "verify-full"

      # Connection pooling
      max_open_conns: 20
      max_idle_conns: 8
      conn_max_lifetime: "1h30m"
      conn_max_idle_time: "90s"

      supabase_url: ""
      supabase_anon_key:

      # Vector search (pgvector)
      vector:
        enabled: yes
        dimensions: 768
        provider: "native"
        index_type: "ivfflat"  # hnsw | ivfflat
        ivf_lists: 200
        hnsw_m: 24
    mysql:
      host: "mysql.example.com"
      port: 3307
      database: "old"
      user: "reader"
      password: "$\{MYSQL_PASSWORD:-}"
      max_open_conns: 5
      max_idle_conns: 5
      conn_max_lifetime: "10m"
    connections:
      reports:
        type: "mysql"
        host: "mysql.example.com"
        database: "reports"
        user: "reader"
        max_open_conns: 4
      scratch:
        type: "sqlite"
        path: "scratch.db"
        journal_mode: "memory"
    memory:
      backend: "sqlite"
      path: "./data/notes.db"
      use_primary: false
`

describe("a DevClaw file", () => {
  it.effect("is read in full, as its users wrote it, and every key has its effect", () =>
    Effect.gen(function* () {
      const config = yield* parse(full, { POSTGRES_PASSWORD: "s3cret" })
      const postgres = yield* primary(config, "postgresql")
      const { password, ...rest } = postgres
      assert.strictEqual(password && Redacted.value(password), "s3cret")
      assert.deepStrictEqual(rest, {
        type: "postgresql",
        host: "db.example.com",
        port: 5433,
        database: "devclaw",
        user: "devclaw",
        sslMode: "verify-full",
        maxOpenConns: 20,
        maxIdleConns: 8,
        connMaxLifetime: 5_400_000,
        connMaxIdleTime: 90_000,
        connectTimeout: 10_000,
        acquireTimeout: 10_000,
        statementTimeout: 0,
        lockTimeout: 0,
        idleInTransactionSessionTimeout: 0,
        applicationName: "effect-db-hub",
        pooler: "none",
        readOnly: false,
        vector: {
          enabled: true,
          dimensions: 768,
          provider: "native",
          indexType: "ivfflat",
          indexAfter: 10_000,
          ivfLists: 200,
          hnswM: 24,
          hnswEfConstruction: 64,
          hnswEfSearch: 100
        }
      })
      assert.deepStrictEqual(Object.keys(config.connections).sort(), ["memory", "reports", "scratch"])
      assert.deepInclude(config.connections["memory"], { type: "sqlite", path: "/etc/hub/data/notes.db" })
      assert.deepInclude(config.connections["scratch"], { journalMode: "MEMORY", path: "/etc/hub/scratch.db" })
      assert.deepInclude(config.connections["reports"], { type: "mysql", port: 3306, maxOpenConns: 4, maxIdleConns: 4 })
    })
  )

  it.effect("of a Supabase user needs no more than the project's URL and a password", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        `
database:
  hub:
    backend: "postgresql"
    postgresql:
      supabase_url: "$\{SUPABASE_URL}"
      password: "$\{SUPABASE_DB_PASSWORD}"
      vector:
        enabled: true
`,
        { SUPABASE_URL: "https://abcdefghijklmnopqrst.supabase.co", SUPABASE_DB_PASSWORD: "x" }
      )
      assert.deepInclude(config.primary, {
        host: "db.abcdefghijklmnopqrst.supabase.co",
        port: 5432,
        database: "postgres",
        user: "postgres"
      })
    })
  )
})

describe("what went wrong in DevClaw", () => {
  it.effect("foreign_keys: false was lost", () =>
    Effect.gen(function* () {
      const off = yield* parse("database: { hub: { sqlite: { foreign_keys: false } } }")
      assert.deepInclude(off.primary, { foreignKeys: false })
      const on = yield* parse("database: { hub: { sqlite: {} } }")
      assert.deepInclude(on.primary, { foreignKeys: true })
    })
  )

  it.effect("conn_max_idle_time was lost", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        "database: { hub: { backend: postgresql, postgresql: { database: a, user: b, conn_max_idle_time: 7s } } }"
      )
      assert.deepInclude(config.primary, { connMaxIdleTime: 7000 })
    })
  )

  it.effect("the legacy database.path was ignored", () =>
    Effect.gen(function* () {
      const config = yield* parse("database: { path: ./data/old.db }")
      assert.deepInclude(config.primary, { type: "sqlite", path: "/etc/hub/data/old.db" })
      const both = yield* parse("database: { path: ./data/a.db, hub: { sqlite: { path: data/a.db } } }")
      assert.deepInclude(both.primary, { path: "/etc/hub/data/a.db" })
      const error = yield* refusal("database: { path: ./data/a.db, hub: { sqlite: { path: ./data/b.db } } }")
      assert.strictEqual(error.key, "database.path")
      assert.include(error.message, "contradicts database.hub.sqlite.path")
    })
  )

  it.effect("an unset variable was kept literally and became the password", () =>
    Effect.gen(function* () {
      const error = yield* refusal("database: { hub: { postgresql: { password: '${PG_PASSWORD}' } } }")
      assert.strictEqual(error._tag, "ConfigError")
      assert.strictEqual(error.key, "database.hub.postgresql.password")
      assert.include(error.message, "PG_PASSWORD")
      const bare = yield* refusal("database: { hub: { postgresql: { password: '$PG_PASSWORD' } } }")
      assert.include(bare.message, "${PG_PASSWORD}")
    })
  )

  it.effect("a variable could inject YAML structure", () =>
    Effect.gen(function* () {
      const nasty = 'x"\n    backend: mysql\n  # {[*&!'
      const config = yield* parse(
        "database: { hub: { backend: postgresql, postgresql: { database: '${DB}', user: u, password: '${DB}' } } }",
        { DB: nasty }
      )
      const postgres = yield* primary(config, "postgresql")
      assert.strictEqual(postgres.database, nasty)
      assert.strictEqual(Redacted.value(postgres.password!), nasty)
    })
  )

  it.effect("a variable's text was expanded once more", () =>
    Effect.gen(function* () {
      const config = yield* parse("database: { path: '${A}' }", { A: "/x/${B}", B: "no" })
      assert.deepInclude(config.primary, { path: "/x/${B}" })
    })
  )

  it.effect("any text with ERROR: in it made the file fail", () =>
    Effect.gen(function* () {
      const config = yield* parse('note: "ERROR: all is well"\ndatabase: { path: "/data/ERROR: 1.db" }')
      assert.deepInclude(config.primary, { path: "/data/ERROR: 1.db" })
    })
  )

  it.effect("references in comments and in other sections were expanded", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        "# ${NOT_SET:?needed}\napi: { key: '${NOT_SET}' }\ndatabase:\n  path: /a.db # ${NO}\n"
      )
      assert.deepInclude(config.primary, { path: "/a.db" })
    })
  )

  it.effect("a default was not used for an empty variable", () =>
    Effect.gen(function* () {
      const text = "database: { path: '${DB:-/default.db}' }"
      for (const variables of [{}, { DB: "" }]) {
        assert.deepInclude((yield* parse(text, variables)).primary, { path: "/default.db" })
      }
      assert.deepInclude((yield* parse(text, { DB: "/set.db" })).primary, { path: "/set.db" })
    })
  )

  it.effect("the password was written back in clear", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        `
database:
  hub:
    backend: postgresql
    postgresql: { url: "postgres://u:hunter2-url@h/d", supabase_anon_key: hunter2-anon }
    connections: { other: { type: mysql, database: d, user: u, password: hunter2-mysql } }
`
      )
      const printed = yield* HubConfigFile.print(config)
      for (const text of [printed, JSON.stringify(config), String(config), `${Object.values(config.primary)}`]) {
        assert.notInclude(text, "hunter2")
      }
      assert.strictEqual(printed.match(/<redacted>/g)?.length, 3)
      const again = yield* refusal(printed)
      assert.strictEqual(again.key, "database.hub.postgresql.password")
      assert.include(again.message, "placeholder")
    })
  )

  it.effect("connections were never read", () =>
    Effect.gen(function* () {
      const config = yield* parse(
        "database: { hub: { connections: { a: { type: sqlite, path: a.db }, b: { type: sqlite, path: ':memory:' } } } }"
      )
      assert.deepInclude(config.connections["a"], { path: "/etc/hub/a.db" })
      assert.deepInclude(config.connections["b"], { path: ":memory:" })
    })
  )

  it.effect("the memory section was never read", () =>
    Effect.gen(function* () {
      const own = yield* parse("database: { hub: { memory: { backend: sqlite } } }")
      assert.deepInclude(own.connections["memory"], { type: "sqlite", path: "/etc/hub/data/memory.db" })
      for (const text of ["database: {}", "database: { hub: { memory: { use_primary: true } } }"]) {
        assert.deepStrictEqual((yield* parse(text)).connections, {})
      }
    })
  )

  it.effect("the database path was not relative to the file", () =>
    Effect.gen(function* () {
      assert.deepInclude((yield* parse("")).primary, { path: "/etc/hub/data/hub.db" })
      assert.deepInclude((yield* parse("database: { path: ../x.db }")).primary, { path: "/etc/x.db" })
    })
  )

  it.effect("a Supabase URL that is none fell back to localhost", () =>
    Effect.gen(function* () {
      const urls = [
        "abc.supabase.co",
        "https://db.example.com",
        "https://abc.supabase.co:5432",
        "http://localhost:54321"
      ]
      for (const url of urls) {
        const error = yield* refusal(
          `database: { hub: { backend: postgresql, postgresql: { supabase_url: "${url}", password: x } } }`
        )
        assert.strictEqual(error.key, "database.hub.postgresql.supabase_url", url)
        assert.include(error.message, "https://REF.supabase.co")
      }
    })
  )

  it.effect("nothing was validated, above all not in the section of another engine", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [section: string, key: string, allowed: string]> = [
        ["sqlite: { journal_mode: WALL }", "sqlite.journal_mode", "WAL, DELETE, TRUNCATE, PERSIST, MEMORY"],
        ["sqlite: { journal_mode: 'WAL&_txlock=exclusive' }", "sqlite.journal_mode", "WAL"],
        ["sqlite: { busy_timeout: -1 }", "sqlite.busy_timeout", "from 0 to 2147483647"],
        ["sqlite: { busy_timeout: 0.5 }", "sqlite.busy_timeout", "from 0 to 2147483647"],
        ["sqlite: { busy_timeout: soon }", "sqlite.busy_timeout", "duration"],
        ["sqlite: { foreign_keys: 1 }", "sqlite.foreign_keys", "true or false"],
        ["sqlite: { vector_memory: 12 }", "sqlite.vector_memory", "from 1048576"],
        ["sqlite: yes", "sqlite", "section"],
        ["sqlite: { path: ':memory:', read_only: true }", "sqlite.read_only", "must be false"],
        ["postgresql: { port: 70000 }", "postgresql.port", "from 1 to 65535"],
        ["postgresql: { port: '5432' }", "postgresql.port", "from 1 to 65535"],
        ["postgresql: { ssl_mode: verify }", "postgresql.ssl_mode", "disable, prefer, require, verify-ca, verify-full"],
        ["postgresql: { conn_max_lifetime: 30 minutes }", "postgresql.conn_max_lifetime", "30m"],
        ["postgresql: { vector: { dimensions: 0 } }", "postgresql.vector.dimensions", "from 1 to 16000"],
        ["postgresql: { vector: { index_type: flat } }", "postgresql.vector.index_type", "hnsw, ivfflat"],
        ["postgresql: { vector: { provider: memory } }", "postgresql.vector.provider", "native: pgvector"],
        ["postgresql: { vector: { enabled: no } }", "postgresql.vector.enabled", "must be true"],
        ["postgresql: { vector: { hnsw_m: 64 } }", "postgresql.vector.hnsw_ef_construction", "at least twice"],
        ["postgresql: { max_open_conns: 3, max_idle_conns: 4 }", "postgresql.max_idle_conns", "max_open_conns (3)"],
        ["postgresql: { url: 'postgres://h/d', host: h }", "postgresql.host", "contradicts url"],
        ["postgresql: { url: 'mysql://h/d' }", "postgresql.url", "another engine"],
        [
          "postgresql: { supabase_url: 'https://abc.supabase.co', host: elsewhere }",
          "postgresql.host",
          "db.abc.supabase.co"
        ],
        ["mysql: { max_open_conns: 0 }", "mysql.max_open_conns", "from 1 to 10000"],
        ["mysql: { password: 12345 }", "mysql.password", "quotes"],
        ["backend: oracle", "backend", "sqlite, postgresql, mysql"],
        ["backend: postgresql", "postgresql.database", "is missing"],
        ["connections: { x: { path: a } }", "connections.x", "sqlite, postgresql, mysql"],
        ["connections: { x: { type: mysql, database: d } }", "connections.x.user", "is missing"],
        ["connections: { primary: { type: sqlite } }", "connections.primary", "reserved"],
        ["connections: { 'a b': { type: sqlite } }", "connections.a b", "letters"],
        ["connections: { memory: { type: sqlite } }, memory: { path: m.db }", "memory", "contradicts"],
        ["memory: { use_primary: true, path: m.db }", "memory.path", "contradicts"],
        ["memory: { use_primary: true, backend: mysql }", "memory.backend", "contradicts"],
        ["memory: { backend: postgresql }", "memory.backend", "must be sqlite"]
      ]
      for (const [section, key, allowed] of cases) {
        const error = yield* refusal(`database: { hub: { ${section} } }`)
        assert.strictEqual(error.key, `database.hub.${key}`, section)
        assert.include(error.message, allowed, section)
      }
    })
  )
})
