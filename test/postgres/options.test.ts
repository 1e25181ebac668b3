import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { InvalidInput } from "../../src/errors/index.js"
import { type PostgresOptions, resolve, supabaseAddress, tlsOf } from "../../src/layers/postgres/PostgresOptions.js"
import { failureOf } from "../support/index.js"

const url = (text: string): PostgresOptions => ({ url: Redacted.make(text) })
const fieldOf = (options: PostgresOptions) =>
  Effect.map(failureOf(resolve(options)), (error) => (error as InvalidInput).field)

describe("PostgresOptions", () => {
  it.effect("have the defaults of the configuration", () =>
    Effect.gen(function* () {
      const options = yield* resolve({ host: "db.example.com", database: "d", user: "u" })
      const { connMaxIdleTime, connMaxLifetime, connectTimeout, maxIdleConns, maxOpenConns, port, sslMode } = options
      assert.deepStrictEqual(
        { connMaxIdleTime, connMaxLifetime, connectTimeout, maxIdleConns, maxOpenConns, port, sslMode },
        {
          connMaxIdleTime: 300_000,
          connMaxLifetime: 1_800_000,
          connectTimeout: 10_000,
          maxIdleConns: 10,
          maxOpenConns: 25,
          port: 5432,
          sslMode: "require"
        }
      )
      assert.strictEqual((yield* resolve({ maxOpenConns: 3 })).maxIdleConns, 3)
      assert.strictEqual((yield* resolve({})).sslMode, "prefer")
    })
  )

  it.effect("come from a URL, or from libpq's keywords, whatever the password holds", () =>
    Effect.gen(function* () {
      const password = `p ä'"@\\%:/?#=`
      const texts = [
        `postgresql://me:${encodeURIComponent(password)}@[::1]:6000/the%20db?sslmode=verify-full&application_name=x&connect_timeout=3`,
        `host=::1 port=6000 dbname='the db' user=me password='${password.replace(/[\\']/g, "\\$&")}' sslmode = verify-full application_name=x connect_timeout=3`
      ]
      for (const text of texts) {
        const options = yield* resolve(url(text))
        assert.deepInclude(options, {
          host: "::1",
          port: 6000,
          database: "the db",
          user: "me",
          sslMode: "verify-full",
          applicationName: "x",
          connectTimeout: 3_000
        })
        assert.strictEqual(Redacted.value(options.password!), password)
        assert.notInclude(JSON.stringify(options), "ä")
      }
    })
  )

  it.effect("are refused by field, and never by quoting a secret", () =>
    Effect.gen(function* () {
      const cases: ReadonlyArray<readonly [PostgresOptions, string]> = [
        [{ port: 70_000 }, "port"],
        [{ maxOpenConns: 0 }, "maxOpenConns"],
        [{ maxOpenConns: 2, maxIdleConns: 3 }, "maxIdleConns"],
        [{ sslMode: "allow" as "prefer" }, "sslMode"],
        [{ statementTimeout: -1 }, "statement_timeout"],
        [{ pooler: "transaction", statementTimeout: 5 }, "statement_timeout"],
        [{ pooler: "transaction", searchPath: "app" }, "search_path"],
        [{ readOnly: true, migrate: true }, "migrate"],
        [{ vector: { m: 50, efConstruction: 60 } }, "vector.efConstruction"],
        [url("postgres://u:hunter2@h:1/d?surprise=1"), "url"],
        [url("host=h password='hunter2"), "url"],
        [url("postgres://u:hunter2@h/d?sslmode=off"), "sslMode"],
        [{ supabase: { url: "https://example.com" } }, "supabase.url"],
        [{ supabase: { url: "https://abc.supabase.co" }, host: "h" }, "supabase"],
        [{ supabase: { url: "https://abc.supabase.co", mode: "session" } }, "supabase.poolerHost"]
      ]
      for (const [options, field] of cases) {
        assert.strictEqual(yield* fieldOf(options), field)
        assert.notInclude(JSON.stringify(yield* failureOf(resolve(options))), "hunter2")
      }
      const missing = yield* failureOf(resolve({ sslCaFile: "/nowhere/ca.pem" }))
      assert.deepStrictEqual([missing._tag, missing.code], ["DbConnection", "ENOENT"])
    })
  )

  it.effect("know where a Supabase project is", () =>
    Effect.gen(function* () {
      const project = "https://abcdef.supabase.co"
      const poolerHost = "aws-0-eu-central-1.pooler.supabase.com"
      assert.deepStrictEqual(yield* supabaseAddress({ url: project }), {
        host: "db.abcdef.supabase.co",
        port: 5432,
        user: "postgres",
        pooler: "none"
      })
      assert.deepStrictEqual(yield* supabaseAddress({ url: project, mode: "session", poolerHost }), {
        host: poolerHost,
        port: 5432,
        user: "postgres.abcdef",
        pooler: "session"
      })
      const options = yield* resolve({ supabase: { url: project, mode: "transaction", poolerHost } })
      assert.deepInclude(options, {
        host: poolerHost,
        port: 6543,
        user: "postgres.abcdef",
        database: "postgres",
        pooler: "transaction",
        preparedStatements: false,
        sslMode: "require"
      })
    })
  )

  it("mean by TLS what libpq means", () => {
    assert.strictEqual(tlsOf({ sslMode: "disable", ca: undefined }), false)
    assert.deepStrictEqual(tlsOf({ sslMode: "require", ca: undefined }), { rejectUnauthorized: false })
    const withCa = tlsOf({ sslMode: "require", ca: "pem" })
    assert.isTrue(withCa !== false && withCa.rejectUnauthorized !== false && withCa.ca === "pem")
    assert.deepStrictEqual(tlsOf({ sslMode: "verify-full", ca: "pem" }), { ca: "pem", rejectUnauthorized: true })
  })
})
