import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashingEmbedder from "../../src/vector/HashingEmbedder.js"
import { temporaryFolder } from "../support/index.js"
import { cli, document, emptyPlace, errorOf, place } from "./support.js"

const write = (folder: string, name: string, text: string) => {
  const file = NodePath.join(folder, name)
  NodeFs.writeFileSync(file, text)
  return file
}

describe("status and backends", () => {
  it.scoped("a backend that does not open is unhealthy with its error, the others are asked all the same", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* place
      write(folder, "a.db", "this is no database, and long enough to be looked at".repeat(50))
      const outcome = yield* hub(["status", "--json"])
      assert.strictEqual(outcome.code, 1)
      const { backends, healthy } = document(outcome)
      assert.isFalse(healthy)
      assert.deepStrictEqual(
        backends.map((backend: { name: string; healthy: boolean }) => [backend.name, backend.healthy]),
        [
          ["primary", true],
          ["archive", false]
        ]
      )
      assert.include(backends[1].error, "not a database")
      assert.containsAllKeys(backends[0], ["version", "latency", "open_connections", "wal_size", "schema_version"])
      const text = yield* hub(["status"])
      assert.match(text.out, /^name .*\n-+ .*\nprimary +sqlite +yes .*\narchive +sqlite +no .*\narchive: SQLite: /)
      assert.strictEqual((yield* hub(["status", "--backend", "primary"])).code, 0)
    })
  )

  it.scoped("backends tells what each can do, and opens nothing for writing", () =>
    Effect.gen(function* () {
      const { database, folder, hub } = yield* place
      const { backends } = document(yield* hub(["backends", "--json"]))
      assert.deepStrictEqual(backends[0], {
        name: "primary",
        type: "sqlite",
        location: database,
        read_only: false,
        opens: true,
        capabilities: { concurrent_reads: true, persistent: true, vector: true, backup: true }
      })
      assert.deepStrictEqual([backends[1].opens, backends[1].capabilities], [false, null])
      assert.include((yield* hub(["backends"])).out, "read, write, vector, backup")
      assert.isFalse(NodeFs.existsSync(NodePath.join(folder, "a.db")))
    })
  )

  it.scoped("an unknown backend is told with what is near", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      for (const args of [
        ["query", "SELECT 1"],
        ["execute", "SELECT 1"],
        ["schema"],
        ["migrate"],
        ["backup"],
        ["restore", "x.db"],
        ["status"],
        ["backends"],
        ["doctor"],
        ["vector", "collections"],
        ["config", "check"],
        ["config", "print"]
      ]) {
        const outcome = yield* hub([...args, "--backend", "archvie"])
        assert.strictEqual(outcome.code, 1, args.join(" "))
        assert.include(outcome.err, "did you mean archive?", args.join(" "))
      }
      assert.include((yield* hub(["schema", "--backend", "zzz"])).err, "it has primary, archive")
      assert.strictEqual((yield* hub(["schema", "--backend", "memory"])).code, 0)
    })
  )
})

describe("schema", () => {
  it.scoped("DevClaw: views, keys, indexes, row counts; any name; a missing table is an error", () =>
    Effect.gen(function* () {
      const { hub, using } = yield* place
      yield* using((backend) =>
        Effect.gen(function* () {
          yield* backend.execute(
            'CREATE TABLE "order" ("a b" TEXT NOT NULL DEFAULT \'x\', "1abc" INTEGER UNIQUE, u REFERENCES users)'
          )
          yield* backend.execute('CREATE VIEW "group" AS SELECT name FROM users')
        })
      )
      const { tables } = document(yield* hub(["schema", "--json"]))
      assert.deepStrictEqual(
        tables.map((table: { name: string; kind: string }) => `${table.kind} ${table.name}`),
        ["view group", "table order", "table users"]
      )
      assert.include((yield* hub(["schema"])).out, "order")
      const [order] = document(yield* hub(["schema", "order", "--json"])).tables
      assert.deepStrictEqual(order.columns[0], {
        name: "a b",
        type: "TEXT",
        nullable: false,
        default: "'x'",
        primary_key: 0
      })
      assert.deepStrictEqual(order.foreign_keys[0].table, "users")
      assert.isTrue(order.indexes[0].unique)
      assert.match((yield* hub(["schema", "order"])).out, /unique index .*\(1abc\)\nforeign key \(u\) references users/)
      const missing = yield* hub(["schema", "userz"])
      assert.deepStrictEqual([missing.code, missing.out], [1, ""])
      assert.include(missing.err, "did you mean users?")
      assert.isAbove(document(yield* hub(["schema", "--internal", "--json"])).tables.length, 3)
    })
  )
})

describe("migrate", () => {
  it.scoped("DevClaw: works on a fresh database, lists its steps, goes to a target", () =>
    Effect.gen(function* () {
      const { database, hub } = yield* emptyPlace
      const plan = document(yield* hub(["migrate", "--dry-run", "--json"]))
      assert.deepStrictEqual([plan.dry_run, plan.current_version, plan.needs_migration], [true, 0, true])
      assert.isTrue(plan.steps[0].sql.some((sql: string) => sql.includes("CREATE TABLE")))
      assert.isFalse(NodeFs.existsSync(database))
      assert.include((yield* hub(["migrate", "--dry-run"])).out, "  + 1 ")
      const run = document(yield* hub(["migrate", "--json"]))
      assert.deepStrictEqual([run.previous_version, run.current_version], [0, plan.steps.length])
      assert.strictEqual(run.applied.length, plan.steps.length)
      assert.include((yield* hub(["migrate"])).out, "nothing to do")
      assert.isFalse(document(yield* hub(["migrate", "--dry-run", "--json"])).needs_migration)
      const down = document(yield* hub(["migrate", "--target", "empty", "--dry-run", "--json"]))
      assert.strictEqual(down.steps[0].direction, "down")
      assert.strictEqual(document(yield* hub(["migrate", "--target=empty", "--json"])).current_version, 0)
      assert.strictEqual(document(yield* hub(["migrate", "--target", "1", "--json"])).current_version, 1)
      for (const target of ["-1", "x", "1.5", "999"]) {
        assert.strictEqual((yield* hub(["migrate", "--target", target])).code, 2, target)
      }
    })
  )
})

describe("backup", () => {
  it.scoped("goes to the backups folder, verified; two in one second both succeed", () =>
    Effect.gen(function* () {
      const { backups, hub } = yield* place
      const outcomes = yield* Effect.all(
        Array.from({ length: 3 }, () => hub(["backup", "--json"])),
        { concurrency: "unbounded" }
      )
      const files = outcomes.map((outcome) => document(outcome).backup_path)
      assert.strictEqual(new Set(files).size, 3)
      for (const file of files) {
        assert.match(file, /[\\/]backups[\\/]hub-\d{8}-\d{6}(-\d+)?\.db$/)
        assert.strictEqual(NodeFs.statSync(file).mode & 0o777, 0o600)
      }
      assert.sameMembers(
        NodeFs.readdirSync(backups).map((name) => NodePath.join(backups, name)),
        files
      )
      const { out } = yield* hub(["backup", "--output", "sub/text.db"])
      assert.match(out, /sub\/text\.db \(.* KiB, verified\)\n$/)
    })
  )

  it.scoped(
    "DevClaw: a relative name stays under the folder, dots in a name are no escape, nothing is overwritten",
    () =>
      Effect.gen(function* () {
        const { backups, database, folder, hub } = yield* place
        assert.strictEqual((yield* hub(["backup", "--output", "a..b.db"])).code, 0)
        const again = yield* hub(["backup", "--output", "a..b.db", "--json"])
        assert.deepStrictEqual([again.code, errorOf(again).field], [2, "file"])
        const before = NodeFs.readFileSync(database)
        for (const output of [
          "../x.db",
          "../hub.db",
          "..",
          ".",
          "",
          "a/../../x.db",
          "sub/",
          NodePath.join(folder, "x.db"),
          "/tmp/x\0.db"
        ]) {
          const outcome = yield* hub(["backup", "--output", output, "--json"])
          assert.deepStrictEqual([outcome.code, errorOf(outcome).field], [2, "output"], output)
        }
        assert.strictEqual((yield* hub(["backup", "--output", database, "--allow-outside"])).code, 2)
        assert.strictEqual((yield* hub(["backup", "--output", "../x.db", "--allow-outside"])).code, 2)
        assert.isTrue(before.equals(NodeFs.readFileSync(database)))
        const outside = NodePath.join(folder, "outside.db")
        assert.strictEqual((yield* hub(["backup", "--output", outside, "--allow-outside"])).code, 0)
        assert.isTrue(NodeFs.existsSync(outside))
        assert.deepStrictEqual(NodeFs.readdirSync(backups), ["a..b.db"])
      })
  )

  it.scoped("links do not lead out of the folder", () =>
    Effect.gen(function* () {
      const { backups, folder, hub } = yield* place
      const outside = NodePath.join(folder, "outside")
      NodeFs.mkdirSync(outside)
      NodeFs.mkdirSync(NodePath.join(backups, "inside"), { recursive: true })
      NodeFs.symlinkSync(outside, NodePath.join(backups, "link"))
      NodeFs.symlinkSync(NodePath.join(folder, "nowhere"), NodePath.join(backups, "dangling"))
      NodeFs.symlinkSync(NodePath.join(outside, "new.db"), NodePath.join(backups, "file.db"))
      NodeFs.symlinkSync("inside", NodePath.join(backups, "good"))
      for (const output of ["link/x.db", "link/deep/er/x.db", "dangling/x.db", "file.db"]) {
        assert.strictEqual((yield* hub(["backup", "--output", output])).code, 2, output)
      }
      assert.strictEqual((yield* hub(["backup", "--output", "good/x.db"])).code, 0)
      assert.deepStrictEqual(NodeFs.readdirSync(outside), [])
      assert.isFalse(NodeFs.existsSync(NodePath.join(folder, "nowhere")))
    })
  )

  it.scoped("progress is shown to who watches, and taken away", () =>
    Effect.gen(function* () {
      const { hub } = yield* place
      const { progress } = yield* hub(["backup"], { watched: true })
      assert.match(progress[0] ?? "", /^backup \[[#.]{30}\] \d+%$/)
      assert.strictEqual(progress.at(-1), "")
    })
  )
})

describe("vector", () => {
  const stocked = Effect.tap(place, ({ using }) =>
    using(({ vector }) =>
      Effect.gen(function* () {
        const embedder = yield* HashingEmbedder.make({ dimension: 64 })
        yield* vector.createCollection("docs", { dimension: 64, model: embedder.model })
        const texts = ["backups are verified", "queries are read only", "vectors are searched exactly"]
        yield* vector.insertMany(
          "docs",
          texts.map((text, i) => ({ id: `d${i}`, vector: embedder.embed(text), text, metadata: { n: i } }))
        )
        yield* vector.createCollection("db_hub_kept", { dimension: 2 })
        yield* vector.createCollection("plain", { dimension: 2, metric: "l2" })
        yield* vector.insert("plain", { id: "p", vector: [1, 2] })
      })
    )
  )

  it.scoped("collections", () =>
    Effect.gen(function* () {
      const { hub } = yield* stocked
      const index = { kind: "none", state: "none", sizeBytes: 0 }
      assert.deepStrictEqual(document(yield* hub(["vector", "collections", "--json"])).collections, [
        { name: "docs", dimension: 64, metric: "cosine", model: "hashing-64", count: 3, index },
        { name: "plain", dimension: 2, metric: "l2", model: null, count: 1, index }
      ])
      const all = document(yield* hub(["vector", "collections", "--internal", "--json"])).collections
      assert.deepStrictEqual(
        all.map(({ name }: { name: string }) => name),
        ["db_hub_kept", "docs", "plain"]
      )
      assert.match((yield* hub(["vector", "collections"])).out, /docs +3 +64 +cosine +hashing-64/)
    })
  )

  it.scoped("search by text, by vector, like a record, filtered", () =>
    Effect.gen(function* () {
      const { hub } = yield* stocked
      const ids = (...args: ReadonlyArray<string>) =>
        Effect.map(hub(["vector", "search", ...args, "--json"]), (outcome) =>
          document(outcome).hits.map(({ id }: { id: string }) => id)
        )
      assert.strictEqual((yield* ids("docs", "verified backup", "--k", "2"))[0], "d0")
      assert.strictEqual((yield* ids("docs", "verified backup", "-k", "2")).length, 2)
      assert.deepStrictEqual(yield* ids("docs", "backup", "--filter", '{"n": {"$gte": 2}}'), ["d2"])
      const neighbours = yield* ids("docs", "--like", "d0", "--k=3")
      assert.sameMembers(neighbours, ["d1", "d2"])
      assert.deepStrictEqual(yield* ids("plain", "[1, 2]"), ["p"])
      const { out } = yield* hub(["vector", "search", "docs", "-", "--k", "1"], { stdin: "verified backup" })
      assert.match(out, /^score +id +text +metadata\n.*\n *0\.\d+ +d0 +backups are verified +\{"n":0\}\n$/)
    })
  )

  it.scoped("what cannot be searched for says what could", () =>
    Effect.gen(function* () {
      const { hub } = yield* stocked
      const refused = (...args: ReadonlyArray<string>) =>
        Effect.map(hub(["vector", "search", ...args, "--json"]), (outcome) => [outcome.code, errorOf(outcome).type])
      const text = yield* hub(["vector", "search", "plain", "some text", "--json"])
      assert.deepStrictEqual([text.code, errorOf(text).field], [2, "QUERY"])
      assert.include(errorOf(text).message, "a JSON array of 2 numbers")
      assert.deepStrictEqual(yield* refused("docs"), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("docs", "text", "--like", "d0"), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("docs", "text", "--k", "0"), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("docs", "text", "--filter", "{"), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("docs", "text", "--filter", '{"n": {"$near": 1}}'), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("plain", '[1, "a"]'), [2, "InvalidInput"])
      assert.deepStrictEqual(yield* refused("plain", "[1]"), [1, "DimensionMismatch"])
      assert.deepStrictEqual(yield* refused("docs", "--like", "gone"), [1, "NotFound"])
      assert.include((yield* hub(["vector", "search", "dosc", "x"])).err, "did you mean docs?")
    })
  )
})

describe("config", () => {
  const secret = "hunter2-very-secret"
  const yaml = `database:
  hub:
    backend: sqlite
    sqlite: { path: here.db }
    connections:
      pg: { type: postgresql, url: "postgres://me:${secret}@db.example:6543/app" }
      my: { type: mysql, database: d, user: u, password: "\${MY_PASSWORD}" }
`

  it.scoped("secrets are printed by no command, valid or not", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const good = write(folder, "good.yaml", yaml)
      const bad = write(folder, "bad.yaml", yaml.replace("user: u", "usr: u").replace("here.db", "'${X'"))
      const variables = { MY_PASSWORD: secret, DATABASE_URL: `postgres://u:${secret}@h:x/d` }
      const commands = [
        ["config", "check"],
        ["config", "print"],
        ["config", "schema"],
        ["status"],
        ["backends"],
        ["doctor"],
        ["query", "SELECT 1", "--backend", "pg"],
        ["doctor", "--backend", "pg"]
      ]
      for (const command of commands) {
        for (const file of [["--config", good], ["--config", bad], []]) {
          for (const json of [[], ["--json"]]) {
            const { err, out } = yield* cli([...command, ...file, ...json], { variables })
            assert.notInclude(out + err, secret, command.join(" "))
          }
        }
      }
      const { out } = yield* cli(["config", "print", "--config", good], { variables })
      assert.include(out, "password: <redacted>")
      const { database } = document(yield* cli(["config", "print", "--config", good, "--json"], { variables }))
      assert.strictEqual(database.hub.connections.pg.port, 6543)
    })
  )

  it.scoped("check tells where the configuration came from, or every problem", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const good = write(folder, "good.yaml", "database: { hub: {} }")
      const valid = yield* cli(["config", "check", "--config", good])
      assert.strictEqual(valid.out, `ok: valid, from ${good}; 1 backend: primary (sqlite)\n`)
      const url = yield* cli(["config", "check", "--json"], { variables: { DATABASE_URL: "sqlite:./x.db" } })
      assert.deepStrictEqual(document(url).source, { kind: "environment", description: "DATABASE_URL" })
      const bad = write(folder, "bad.yaml", "database: { hub: { sqlit: {}, sqlite: { busy_timeout: -1 } } }")
      const refused = yield* cli(["config", "check", "--config", bad])
      assert.strictEqual(refused.code, 1)
      assert.match(refused.err, /^error: .*did you mean sqlite\?\nerror: .*busy_timeout must be .*\nhint: /)
      const json = yield* cli(["config", "check", "--config", bad, "--json"])
      assert.deepStrictEqual([document(json).valid, document(json).problems.length], [false, 2])
      assert.strictEqual(errorOf(json).type, "ConfigError")
      assert.strictEqual((yield* cli(["config", "check", "--config", NodePath.join(folder, "no.yaml")])).code, 1)
    })
  )

  it.effect("schema is the JSON Schema for editors", () =>
    Effect.gen(function* () {
      const schema = document(yield* cli(["config", "schema"]))
      assert.deepStrictEqual(schema, JSON.parse(NodeFs.readFileSync("config.schema.json", "utf8")))
    })
  )
})

describe("doctor", () => {
  type Finding = { readonly name: string; readonly status: string; readonly action?: string }
  const finding = (found: { readonly checks: ReadonlyArray<Finding> }, name: string) =>
    found.checks.find((check) => check.name === name)

  it.scoped("a sound database passes; doubts are warnings with what to do", () =>
    Effect.gen(function* () {
      const { database, hub } = yield* place
      const sound = yield* hub(["doctor", "--json"])
      assert.deepStrictEqual(
        document(sound).checks.filter(({ status }: Finding) => status !== "ok"),
        []
      )
      assert.strictEqual(sound.code, 0)
      NodeFs.chmodSync(database, 0o644)
      yield* hub(["migrate", "--target", "empty"])
      const doubtful = yield* hub(["doctor", "--json"])
      assert.strictEqual(doubtful.code, 0)
      assert.strictEqual(finding(document(doubtful), "file_mode")?.status, "warn")
      assert.include(finding(document(doubtful), "file_mode")?.action, "chmod 600")
      assert.strictEqual(finding(document(doubtful), "migrations")?.status, "warn")
      assert.include((yield* hub(["doctor"])).out, "To do:\nfile_mode: chmod 600")
    })
  )

  it.scoped("broken references, damaged pages, a missing file and a bad configuration fail", () =>
    Effect.gen(function* () {
      const { database, folder, hub, using } = yield* place
      yield* using((backend) =>
        Effect.gen(function* () {
          yield* backend.execute("CREATE TABLE child (u INTEGER REFERENCES users)")
          yield* backend.execute("CREATE TABLE big (t TEXT)")
          yield* backend.execute(
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 500) INSERT INTO big SELECT printf('%.*c', 300, 'x') FROM c"
          )
          yield* backend.execute("CREATE INDEX big_t ON big (t)")
        })
      )
      yield* Effect.scoped(
        Effect.gen(function* () {
          const loose = write(
            folder,
            "loose.json",
            JSON.stringify({ database: { hub: { sqlite: { path: database, foreign_keys: false } } } })
          )
          yield* cli(["execute", "INSERT INTO child VALUES (999)", "--config", loose])
        })
      )
      const broken = yield* hub(["doctor", "--json"])
      assert.strictEqual(broken.code, 1)
      assert.strictEqual(finding(document(broken), "foreign_keys")?.status, "fail")
      assert.strictEqual(finding(document(broken), "integrity")?.status, "ok")

      const bytes = NodeFs.readFileSync(database)
      bytes.fill(0xa5, bytes.length - 3 * 4096, bytes.length - 2 * 4096)
      NodeFs.writeFileSync(database, bytes)
      const damaged = yield* hub(["doctor", "--json"])
      assert.strictEqual(damaged.code, 1)
      assert.strictEqual(finding(document(damaged), "integrity")?.status, "fail")

      const missing = yield* hub(["doctor", "--backend", "archive", "--json"])
      assert.deepStrictEqual([missing.code, finding(document(missing), "file")?.status], [1, "fail"])
      const bad = write(folder, "bad.json", '{"database": {"hub": {"sqlit": {}}}}')
      const misconfigured = yield* cli(["doctor", "--config", bad, "--json"])
      assert.deepStrictEqual([misconfigured.code, finding(document(misconfigured), "config")?.status], [1, "fail"])
    })
  )
})

describe("usage", () => {
  const commands = [
    ["status"],
    ["backends"],
    ["query"],
    ["execute"],
    ["schema"],
    ["migrate"],
    ["backup"],
    ["vector", "collections"],
    ["vector", "search"],
    ["vector", "embed"],
    ["primary", "status"],
    ["primary", "step-down"],
    ["config", "check"],
    ["config", "print"],
    ["config", "schema"],
    ["doctor"]
  ]

  it.effect("every command has help with its options and an example", () =>
    Effect.gen(function* () {
      for (const command of commands) {
        for (const help of ["--help", "-h"]) {
          const { code, out } = yield* cli([...command, help])
          const name = `db-hub ${command.join(" ")}`
          assert.strictEqual(code, 0, name)
          assert.include(out, `USAGE\n\n${name} `, name)
          assert.include(out, `Example: ${name}`, name)
          for (const option of ["--json", "--backend NAME", "--config FILE"]) assert.include(out, option, name)
          assert.notInclude(out, "\u001b", name)
        }
      }
      for (const group of [[], ["--help"], ["vector"], ["primary"], ["config", "--help"]]) {
        const { code, out } = yield* cli(group)
        assert.strictEqual(code, 0)
        assert.include(out, "EXAMPLE")
      }
    })
  )

  it.effect("a wrong command line is exit code 2 and names what is near", () =>
    Effect.gen(function* () {
      for (const [args, said] of [
        [["stauts"], "did you mean status?"],
        [["config", "chek"], "did you mean check?"],
        [["config", "--backend", "x"], "config command comes first"],
        [["--backend", "x", "status"], "command comes first"],
        [["query"], "SQL"],
        [["query", "SELECT", "1"], "1"],
        [["query", "SELECT 1", "--max-row", "1"], "--max-row"],
        [["query", "SELECT 1", "--max-rows", "many"], "--max-rows is no number: many; allowed: a whole number"],
        [["query", "SELECT 1", "--max-rows=many"], "--max-rows is no number: many; allowed: a whole number"],
        [["search", "x", "--mode", "foo"], "--mode is unknown; allowed: text, vector, hybrid"],
        [["search", "x", "--mode=foo", "--syntax", "plain"], "--mode is unknown; allowed: text, vector, hybrid"],
        [["search", "x", "--mode"], "--mode has no value; allowed: text, vector, hybrid"],
        [["search", "x", "--syntax", "foo"], "--syntax is unknown; allowed: plain, advanced"],
        [["query", "SELECT 1", "--backend"], "--backend"],
        [["query", "--wizard"], "terminal"],
        [["execute"], "SQL"]
      ] as const) {
        const { code, err, out } = yield* cli(args)
        assert.deepStrictEqual([code, out], [2, ""], args.join(" "))
        assert.match(err, /^error: .*\nhint: .*--help`\n$/, args.join(" "))
        assert.include(err, said, args.join(" "))
      }
      assert.strictEqual(errorOf(yield* cli(["query", "--json"])).type, "Usage")
    })
  )

  it.scoped("a word after a flag is an argument, not the flag's value", () =>
    Effect.gen(function* () {
      const { hub, using } = yield* place
      yield* using((backend) => backend.execute("CREATE TABLE yes (a)"))
      assert.strictEqual(document(yield* hub(["schema", "--json", "yes"])).tables[0].name, "yes")
    })
  )
})
