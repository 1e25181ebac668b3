import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Sqlite from "better-sqlite3"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Errors from "../../src/errors/index.js"
import * as SqliteLayer from "../../src/layers/sqlite/Sqlite.js"
import { failureOf, openClient, temporaryFolder } from "../support/index.js"

const context = { backend: "b", operation: "query" }
const sqlite = (code: string, message = "secret words") => new Sqlite.SqliteError(message, code)

describe("the table of SQLite codes", () => {
  const codes: ReadonlyArray<readonly [string, Errors.DbError["_tag"], object?]> = [
    ["SQLITE_BUSY", "DbBusy", { retryable: true, applied: "no" }],
    ["SQLITE_BUSY_RECOVERY", "DbBusy"],
    ["SQLITE_BUSY_TIMEOUT", "DbBusy"],
    ["SQLITE_BUSY_SNAPSHOT", "DbConflict", { reason: "serialization", retryable: true }],
    ["SQLITE_LOCKED", "DbLocked"],
    ["SQLITE_LOCKED_SHAREDCACHE", "DbLocked"],
    ["SQLITE_INTERRUPT", "DbTimeout"],
    ["SQLITE_CONSTRAINT_UNIQUE", "DbConflict", { reason: "unique", retryable: false }],
    ["SQLITE_CONSTRAINT_PRIMARYKEY", "DbConflict", { reason: "unique" }],
    ["SQLITE_CONSTRAINT_ROWID", "DbConflict", { reason: "unique" }],
    ["SQLITE_CONSTRAINT_FOREIGNKEY", "DbConstraint", { reason: "foreign-key" }],
    ["SQLITE_CONSTRAINT_CHECK", "DbConstraint", { reason: "check" }],
    ["SQLITE_CONSTRAINT_NOTNULL", "DbConstraint", { reason: "not-null" }],
    ["SQLITE_CONSTRAINT_DATATYPE", "DbConstraint", { reason: "type" }],
    ["SQLITE_CONSTRAINT_TRIGGER", "DbConstraint", { reason: "trigger" }],
    ["SQLITE_CONSTRAINT_VTAB", "DbConstraint"],
    ["SQLITE_MISMATCH", "DbConstraint", { reason: "type" }],
    ["SQLITE_READONLY", "DbReadOnly"],
    ["SQLITE_READONLY_DBMOVED", "DbReadOnly"],
    ["SQLITE_READONLY_DIRECTORY", "DbReadOnly"],
    ["SQLITE_CORRUPT", "DbCorrupt"],
    ["SQLITE_CORRUPT_VTAB", "DbCorrupt"],
    ["SQLITE_NOTADB", "DbCorrupt"],
    ["SQLITE_FULL", "DbFull"],
    ["SQLITE_CANTOPEN", "DbConnection"],
    ["SQLITE_CANTOPEN_ISDIR", "DbConnection"],
    ["SQLITE_IOERR_WRITE", "DbConnection", { applied: "no" }],
    ["SQLITE_PERM", "DbConnection"],
    ["SQLITE_AUTH", "DbReadOnly"],
    ["SQLITE_TOOBIG", "InvalidInput"],
    ["SQLITE_RANGE", "InvalidInput"],
    ["SQLITE_ERROR", "DbQuery", { retryable: false }],
    ["SQLITE_NOMEM", "DbQuery"],
    ["SQLITE_SOMETHING_NEW", "DbQuery"]
  ]
  for (const [code, tag, fields] of codes) {
    it(`makes ${code} a ${tag}`, () => {
      const error = Errors.fromSqlite(sqlite(code), context)
      assert.strictEqual(error._tag, tag)
      assert.strictEqual(error.code, code)
      assert.strictEqual(error.backend, "b")
      assert.strictEqual(error.operation, "query")
      assert.notInclude(error.message, "secret")
      for (const [name, value] of Object.entries(fields ?? {})) assert.propertyVal(error, name, value)
    })
  }

  it("does not know whether a COMMIT was applied at which the disk failed", () => {
    const error = Errors.fromSqlite(sqlite("SQLITE_IOERR_FSYNC"), { backend: "b", operation: "transaction.commit" })
    assert.strictEqual(error.applied, "unknown")
    assert.isFalse(Errors.isRetryable(error))
  })

  it("a driver without its native part is told as such, with what to do", () => {
    const nativeBinding = "/nowhere/better_sqlite3.node"
    const otherNode = `The module '${nativeBinding}' was compiled against a different Node.js version using NODE_MODULE_VERSION 115.`
    for (const open of [
      () => new Sqlite(":memory:", { nativeBinding }),
      () => {
        throw new Error(`Could not locate the bindings file. Tried:\n → ${nativeBinding}`)
      },
      () => {
        throw Object.assign(new Error(otherNode), { code: "ERR_DLOPEN_FAILED" })
      }
    ]) {
      const error = Effect.runSync(
        Effect.flip(Effect.try({ try: open, catch: (it) => Errors.fromSqlite(it, context) }))
      )
      assert.deepStrictEqual([error._tag, error.code], ["DbUnsupported", "HUB_DRIVER_MISSING"])
      assert.include(error.message, "npm rebuild better-sqlite3")
    }
  })

  it("tells how a database is read in a folder that may not be written", () => {
    const error = Errors.fromSqlite(sqlite("SQLITE_READONLY_DIRECTORY"), context)
    assert.include(error.message, "also to be read: give the right to write there, or read a copy that `db-hub backup`")
  })

  it("names the constraint that SQLite names", () => {
    const error = Errors.fromSqlite(sqlite("SQLITE_CONSTRAINT_UNIQUE", "UNIQUE constraint failed: t.a, t.b"), context)
    assert.propertyVal(error, "constraint", "t.a, t.b")
  })

  it("takes anything that is thrown, and passes errors of the family", () => {
    for (const thrown of [
      undefined,
      null,
      "text",
      5,
      new Error("secret"),
      new TypeError("x"),
      { code: "SQLITE_BUSY" }
    ]) {
      assert.strictEqual(Errors.fromSqlite(thrown, context)._tag, "DbQuery")
    }
    const own = Errors.invalidInput({ operation: "o" }, "f", "p", "a")
    assert.strictEqual(Errors.fromSqlite(own, context), own)
  })
})

describe("errors", () => {
  const base = { message: "m", backend: "b", operation: "o", code: "C", retryable: true, applied: "unknown" } as const
  const all: ReadonlyArray<Errors.DbError> = [
    new Errors.DbBusy(base),
    new Errors.DbLocked(base),
    new Errors.DbTimeout(base),
    new Errors.DbConflict({ ...base, reason: "compare-and-set", constraint: "t.a" }),
    new Errors.DbConstraint({ ...base, reason: "check" }),
    new Errors.DbConnection(base),
    new Errors.DbQuery(base),
    new Errors.DbReadOnly(base),
    new Errors.DbCorrupt(base),
    new Errors.DbFull(base),
    new Errors.DbUnsupported(base),
    new Errors.NotFound({ ...base, entity: "table" }),
    new Errors.InvalidInput({ ...base, field: "k", allowed: "1" }),
    new Errors.DimensionMismatch({ ...base, collection: "c", expected: 1, actual: 2 }),
    new Errors.ModelMismatch({ ...base, collection: "c", expected: "a", actual: "b" }),
    new Errors.EmbeddingError({ ...base, reason: "rate-limited", model: "a", status: 429, retryAfter: 1000 }),
    new Errors.MigrationError({ ...base, reason: "drift", step: 3 }),
    new Errors.ConfigError({ ...base, key: "a.b" }),
    new Errors.WriteTimeout(base),
    new Errors.PrimaryUnreachable(base),
    new Errors.WriteOverloaded(base),
    new Errors.UnknownOperation(base)
  ]

  it.effect("cross a wire and are the same class again, every one", () =>
    Effect.gen(function* () {
      assert.strictEqual(all.length, Errors.DbError.members.length)
      for (const error of all) {
        const json = JSON.stringify(yield* Schema.encode(Errors.DbError)(error))
        const back = yield* Schema.decodeUnknown(Errors.DbError)(JSON.parse(json))
        assert.strictEqual(back.constructor, error.constructor)
        assert.strictEqual(back._tag, error._tag)
        assert.deepStrictEqual(yield* Schema.encode(Errors.DbError)(back), JSON.parse(json))
        assert.strictEqual(back.message, "m")
        assert.isTrue(Errors.isDbError(back))
      }
    })
  )

  it("fill in what is not said", () => {
    const { applied, backend, retryable } = new Errors.DbBusy({ message: "m", operation: "o" })
    assert.deepStrictEqual({ applied, backend, retryable }, { applied: "no", backend: "primary", retryable: true })
  })

  it("may be sent again only when they are transient and nothing was applied", () => {
    assert.isTrue(Errors.isRetryable(new Errors.DbBusy({ message: "m", operation: "o" })))
    assert.isFalse(Errors.isRetryable(new Errors.DbBusy({ message: "m", operation: "o", applied: "unknown" })))
    assert.isFalse(Errors.isRetryable(new Errors.DbQuery({ message: "m", operation: "o" })))
    assert.isFalse(Errors.isRetryable(new Error("DbBusy")))
  })

  it.live("are retried by the policy only when they may be", () =>
    Effect.gen(function* () {
      let tries = 0
      const failing = (error: Errors.DbError) =>
        Effect.retry(
          Effect.suspend(() => {
            tries++
            return tries < 3 ? Effect.fail(error) : Effect.void
          }),
          Errors.retryPolicy.pipe(Schedule.intersect(Schedule.recurs(5)))
        )
      yield* failing(new Errors.DbBusy({ message: "m", operation: "o" }))
      assert.strictEqual(tries, 3)
      tries = 0
      yield* failureOf(failing(new Errors.DbQuery({ message: "m", operation: "o" })))
      assert.strictEqual(tries, 1)
    })
  )
})

describe("no value in an error", () => {
  const setUp = Effect.gen(function* () {
    const client = yield* openClient({ path: ":memory:" })
    yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE, n INTEGER NOT NULL CHECK (n <> 13))")
    yield* client.execute("CREATE TABLE strict_t (n INTEGER) STRICT")
    yield* client.execute("CREATE TABLE child (t INTEGER REFERENCES t (id))")
    return client
  })

  /** Statements that fail, with a value bound or as a literal at `§`. */
  const failing: ReadonlyArray<string> = [
    "INSERT INTO t (u, n) VALUES (§, NULL)",
    "INSERT INTO t (u, n) VALUES (§, 13)",
    "INSERT INTO t (u, n) VALUES (§, 1), (§, 1)",
    "INSERT INTO t (id, n) VALUES (§, 1)",
    "INSERT INTO strict_t VALUES (§)",
    "INSERT INTO child VALUES (§)",
    "SELECT * FROM nowhere WHERE x = §",
    "SELECT missing FROM t WHERE u = §",
    "SELECT § §",
    "SELECT § FROM WHERE §",
    "SELECT (§",
    "SELECT nofunction(§)",
    "SELECT json(§)",
    "SELECT json_extract('{}', §)",
    "SELECT abs(-9223372036854775808), §",
    "SELECT 1 LIMIT §",
    "SELECT * FROM t WHERE u MATCH §",
    "SELECT 'x' LIKE 'y' ESCAPE §",
    "INSERT INTO t VALUES (§)",
    "PRAGMA nothing(§",
    "ATTACH '/nowhere/' || § AS a",
    "SELECT load_extension(§)",
    "SELECT fts5(§)",
    "BEGIN §",
    "SELECT §; SELECT §",
    "VACUUM INTO '/nowhere/' || §",
    "CREATE TABLE §§ (x)"
  ]

  const literal = (value: string | number) =>
    typeof value === "number" ? String(value) : `'${value.replaceAll("'", "''")}'`

  it.scoped("neither one that was bound nor a literal of the statement", () =>
    Effect.gen(function* () {
      const client = yield* setUp
      let failures = 0
      const check = (secret: string, effect: Effect.Effect<unknown, unknown>) =>
        Effect.map(Effect.exit(effect), (exit) => {
          if (Exit.isSuccess(exit)) return
          failures++
          assert.isFalse(Cause.isDie(exit.cause), Cause.pretty(exit.cause))
          const error = Cause.squash(exit.cause) as Error & { readonly cause?: unknown }
          const shown = [
            error.message,
            String(error),
            JSON.stringify(error),
            JSON.stringify(error.cause ?? null),
            Cause.pretty(exit.cause, { renderErrorCause: true })
          ]
          for (const text of shown) assert.notInclude(text, secret)
        })
      const secrets = [
        ...FastCheck.sample(
          FastCheck.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).map(
            (text) => `qZ7${text.replaceAll("\u0000", "")}wX9`
          ),
          15
        ),
        "hunter2hunter2",
        ...FastCheck.sample(FastCheck.integer({ min: 1_000_000_007 }), 5)
      ]
      for (const secret of secrets) {
        const needle = String(secret)
        for (const template of failing) {
          const marks = template.split("§").length - 1
          const bound = template.replaceAll("§", "?")
          const spliced = template.replaceAll("§", () => literal(secret))
          const params = Array.from({ length: marks }, () => secret)
          // A word in the place of a name is a name.
          const texts = template.startsWith("CREATE") ? [] : [[spliced, []] as const]
          for (const [sql, values] of [[bound, params] as const, ...texts]) {
            yield* check(needle, client.query(sql, values))
            yield* check(needle, client.execute(sql, values))
            yield* check(needle, client.transaction(client.query(sql, values)))
            yield* check(needle, client.readOnly(sql, { params: values }))
            yield* check(needle, Stream.runDrain(client.stream(sql, values)))
            yield* check(needle, client.sql.unsafe(sql, values))
          }
        }
        yield* client.execute("DELETE FROM child")
        yield* client.execute("DELETE FROM t")
      }
      yield* client.execute(
        "CREATE TRIGGER guard BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'secret-of-trigger'); END"
      )
      yield* client.execute("INSERT INTO t (n) VALUES (1)")
      yield* check("secret-of-trigger", client.execute("DELETE FROM t"))
      assert.isAbove(failures, 1000)
    })
  )

  it.scoped("yet the names that help stay", () =>
    Effect.gen(function* () {
      const client = yield* setUp
      const messageOf = (sql: string) => Effect.map(failureOf(client.query(sql)), (error) => error.message)
      assert.include(yield* messageOf("SELECT * FROM nowhere"), "nowhere")
      assert.include(yield* messageOf("SELECT missing FROM t"), "missing")
      assert.include(yield* messageOf("SELEC 1"), "SELEC")
      assert.include(yield* messageOf("INSERT INTO t (n) VALUES (NULL)"), "t.n")
    })
  )
})

it.scoped("every error of a backend bears its name", () =>
  Effect.gen(function* () {
    const path = NodePath.join(yield* temporaryFolder, "docs.db")
    const backend = yield* SqliteLayer.make({ path, name: "docs" })
    yield* backend.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    yield* backend.vector.createCollection("c", { dimension: 2 })
    const failing: ReadonlyArray<Effect.Effect<unknown, Errors.DbError, Scope.Scope>> = [
      backend.query("SELECT ?", [undefined as never]),
      backend.query("SELECT ?", [Number.NaN]),
      backend.query("SELECT ?", []),
      backend.query("BEGIN"),
      backend.query("SELEKT"),
      backend.execute("INSERT INTO t VALUES (1), (1)"),
      backend.readOnly("SELECT 1", { maxRows: 0 }),
      backend.readOnly("DELETE FROM t"),
      backend.schema({ table: "missing" }),
      backend.backup(path),
      backend.migrator.migrate({ target: 99 }),
      backend.vector.search("missing", [1, 0]),
      backend.vector.search("c", [1]),
      backend.vector.search("c", [1, 0], { k: 0 }),
      Stream.runDrain(backend.stream("SELECT ?", [undefined as never])),
      SqliteLayer.make({ path: "", name: "docs" })
    ].map(Effect.scoped)
    for (const effect of failing) {
      const error = yield* failureOf(effect)
      assert.strictEqual(error.backend, "docs", error.message)
    }
  })
)
