import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { DbConflict, DbError } from "../../src/errors/index.js"
import type { PostgresClient } from "../../src/layers/postgres/PostgresClient.js"
import type { PostgresOptions } from "../../src/layers/postgres/PostgresOptions.js"
import { Json } from "../../src/services/Backend.js"
import { failureOf } from "../support/index.js"
import { client, noServer, outside, serverUrl } from "../support/postgres.js"

const using = (
  options: Partial<PostgresOptions>,
  test: (client: PostgresClient, table: string) => Effect.Effect<void, unknown>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const table = `t_${globalThis.crypto.randomUUID().replaceAll("-", "")}`
      yield* Effect.acquireRelease(outside(serverUrl, `CREATE TABLE ${table} (id BIGINT PRIMARY KEY, note TEXT)`), () =>
        outside(serverUrl, `DROP TABLE IF EXISTS ${table} CASCADE`)
      )
      const connected = yield* client({ applicationName: table, ...options })
      yield* test(connected, table)
    })
  )

/** What the server runs for a program, by its application_name. */
const running = (name: string) =>
  Effect.map(
    outside(
      serverUrl,
      `SELECT pid FROM pg_stat_activity WHERE application_name = '${name}' AND state <> 'idle' AND query LIKE '%pg_sleep%'`
    ),
    (rows) => rows.map((row) => Number(row["pid"]))
  )

const until = <E>(condition: Effect.Effect<boolean, E>) =>
  Effect.repeat(condition, { until: (met) => met, schedule: Schedule.spaced("10 millis") }).pipe(
    Effect.timeout("5 seconds")
  )

const untilRunning = (name: string, count = 1) => until(Effect.map(running(name), (pids) => pids.length >= count))

const kill = (name: string) =>
  outside(
    serverUrl,
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '${name}' AND pid <> pg_backend_pid()`
  )

/** Everything works and nothing is held. */
const isWhole = ({ pool, query }: PostgresClient, size: number) =>
  Effect.gen(function* () {
    const answers = yield* Effect.all(
      Array.from({ length: size }, () => query("SELECT pg_sleep(0.005)")),
      { concurrency: "unbounded" }
    )
    assert.strictEqual(answers.length, size)
    assert.strictEqual(pool.open(), pool.idle())
  })

describe.skipIf(noServer)("PostgresClient", () => {
  describe("interruption", () => {
    it.live("cancels the statement on the server, also when the pool is full", () =>
      using({ maxOpenConns: 3 }, (client, name) =>
        Effect.gen(function* () {
          const fibers = yield* Effect.all(
            Array.from({ length: 3 }, () => Effect.fork(client.query("SELECT pg_sleep(60)")))
          )
          yield* untilRunning(name, 3)
          const started = performance.now()
          yield* Fiber.interruptAll(fibers)
          assert.isBelow(performance.now() - started, 2_000)
          assert.deepStrictEqual(yield* running(name), [])
          yield* isWhole(client, 3)
        })
      )
    )

    it.live("never cancels somebody else's statement", () =>
      using({ maxOpenConns: 2 }, (client) =>
        Effect.gen(function* () {
          const victim = Effect.forEach(Array.from({ length: 150 }), () => client.query("SELECT pg_sleep(0.002)"), {
            discard: true
          })
          const attacker = Effect.forEach(
            Array.from({ length: 150 }),
            (_, n) => Effect.timeoutOption(client.query("SELECT pg_sleep(0.003)"), n % 6),
            { discard: true }
          )
          yield* Effect.all([victim, attacker, victim, attacker], { concurrency: "unbounded" })
          yield* isWhole(client, 2)
        })
      )
    )

    it.live(
      "leaks no place when waits, streams, reservations and transactions are interrupted 1,000 times",
      () =>
        using({ maxOpenConns: 2 }, (client) =>
          Effect.gen(function* () {
            const { sql } = client
            const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
              client.query("SELECT pg_sleep(0.01)"),
              Stream.runDrain(client.stream("SELECT n, pg_sleep(0.001) FROM generate_series(1, 1000) AS n")),
              Effect.scoped(Effect.zipRight(sql.reserve, Effect.never)),
              Effect.scoped(
                Effect.flatMap(sql.reserve, (connection) => connection.execute("SELECT pg_sleep(1)", [], undefined))
              ),
              client.transaction(Effect.zipRight(client.query("SELECT 1"), Effect.never)),
              client.readOnly("SELECT pg_sleep(1)")
            ]
            yield* Effect.forEach(
              Array.from({ length: 1_000 }),
              (_, n) =>
                Effect.ignore(
                  Effect.timeoutOption(attempts[n % attempts.length] as Effect.Effect<unknown, unknown>, n % 4)
                ),
              { concurrency: 20, discard: true }
            )
            yield* isWhole(client, 2)
          })
        ),
      60_000
    )

    it.live("a wait gives up at its timeout, and an interrupted one at once", () =>
      using({ maxOpenConns: 1, acquireTimeout: 200 }, (client) =>
        Effect.gen(function* () {
          const held = yield* Deferred.make<void>()
          const holder = yield* Effect.fork(
            client.transaction(Effect.zipRight(Deferred.succeed(held, undefined), Effect.sleep("1 seconds")))
          )
          yield* Deferred.await(held)
          const started = performance.now()
          const error = yield* failureOf(client.query("SELECT 1"))
          assert.deepStrictEqual([error._tag, error.code, error.retryable], ["DbBusy", "HUB_POOL_BUSY", true])
          assert.isBelow(performance.now() - started, 400)
          const interrupted = performance.now()
          yield* Effect.timeoutOption(client.transaction(Effect.void), "50 millis")
          assert.isBelow(performance.now() - interrupted, 150)
          yield* Fiber.join(holder)
          assert.isAtLeast(client.pool.metrics.waitCount, 2)
          assert.isAtLeast(client.pool.metrics.waitDuration, 200)
        })
      )
    )
  })

  describe("a killed backend", () => {
    it.live("in mid-query: that call fails with a type, the next works", () =>
      using({ maxOpenConns: 1 }, (client, name) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(failureOf(client.query("SELECT pg_sleep(60)")))
          yield* untilRunning(name)
          yield* kill(name)
          const error = yield* Fiber.join(fiber)
          assert.deepStrictEqual([error._tag, error.code, error.applied], ["DbConnection", "57P01", "no"])
          yield* client.query("SELECT 1")
        })
      )
    )

    it.live("in a write: whether it was applied is unknown", () =>
      using({ maxOpenConns: 1 }, (client, name) =>
        Effect.gen(function* () {
          const fiber = yield* Effect.fork(
            failureOf(client.execute(`INSERT INTO ${name} SELECT 1, pg_sleep(60)::text`))
          )
          yield* untilRunning(name)
          yield* kill(name)
          const error = yield* Fiber.join(fiber)
          assert.deepStrictEqual([error._tag, error.applied], ["DbConnection", "unknown"])
          yield* client.query("SELECT 1")
        })
      )
    )

    it.live("in a transaction: it fails with the first error, the next works", () =>
      using({ maxOpenConns: 1 }, (client, name) =>
        Effect.gen(function* () {
          const error = yield* failureOf(
            client.transaction(
              Effect.gen(function* () {
                yield* client.execute(`INSERT INTO ${name} VALUES (1, 'x')`)
                yield* kill(name)
                yield* client.execute(`INSERT INTO ${name} VALUES (2, 'x')`)
              })
            )
          )
          assert.strictEqual(error._tag, "DbConnection")
          assert.deepStrictEqual(yield* client.query(`SELECT id FROM ${name}`), [])
        })
      )
    )

    it.live("while it was idle in the pool: nobody notices", () =>
      using({ maxOpenConns: 2 }, (client, name) =>
        Effect.gen(function* () {
          yield* client.query("SELECT 1")
          yield* kill(name)
          yield* Effect.sleep("50 millis")
          yield* client.query("SELECT 1")
        })
      )
    )

    it.live("during COMMIT: whether it was committed is unknown", () =>
      using({ maxOpenConns: 1 }, (client, name) =>
        Effect.gen(function* () {
          yield* outside(
            serverUrl,
            `CREATE FUNCTION ${name}_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END'`,
            `CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON ${name} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ${name}_slow()`
          )
          const fiber = yield* Effect.fork(
            failureOf(client.transaction(client.execute(`INSERT INTO ${name} VALUES (1, 'x')`)))
          )
          yield* until(
            Effect.map(
              outside(
                serverUrl,
                `SELECT 1 FROM pg_stat_activity WHERE application_name = '${name}' AND query = 'COMMIT' AND state = 'active'`
              ),
              (rows) => rows.length === 1
            )
          )
          yield* kill(name)
          const error = yield* Fiber.join(fiber)
          assert.deepStrictEqual([error._tag, error.applied], ["DbConnection", "unknown"])
          yield* outside(serverUrl, `DROP FUNCTION ${name}_slow CASCADE`)
          yield* client.query("SELECT 1")
        })
      )
    )
  })

  describe("transactions", () => {
    const skewed = (client: PostgresClient, table: string, runs: { count: number }, retryConflicts?: number) => {
      const one = (mine: number, gate: Effect.Effect<void>) =>
        client.transaction(
          Effect.gen(function* () {
            runs.count++
            const [row] = yield* client.query(`SELECT count(*) AS n FROM ${table}`)
            yield* gate
            yield* client.execute(`INSERT INTO ${table} VALUES (?, ?)`, [mine, String(row!["n"])])
          }),
          { isolation: "serializable", ...(retryConflicts === undefined ? {} : { retryConflicts }) }
        )
      return Effect.gen(function* () {
        const [a, b] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        return yield* Effect.all(
          [
            Effect.either(one(1, Effect.zipRight(Deferred.succeed(a, undefined), Deferred.await(b)))),
            Effect.either(one(2, Effect.zipRight(Deferred.succeed(b, undefined), Deferred.await(a))))
          ],
          { concurrency: "unbounded" }
        )
      })
    }

    it.live("a serialization failure, at COMMIT too, is a retryable DbConflict", () =>
      using({}, (client, table) =>
        Effect.gen(function* () {
          const outcomes = yield* skewed(client, table, { count: 0 })
          const failures = outcomes.flatMap((outcome) => (outcome._tag === "Left" ? [outcome.left] : []))
          assert.strictEqual(failures.length, 1)
          const [error] = failures as [DbConflict]
          assert.deepStrictEqual(
            [error._tag, error.code, error.retryable, error.applied],
            ["DbConflict", "40001", true, "no"]
          )
        })
      )
    )

    it.live("retryConflicts runs the whole transaction again", () =>
      using({}, (client, table) =>
        Effect.gen(function* () {
          const runs = { count: 0 }
          const outcomes = yield* skewed(client, table, runs, 5)
          assert.deepStrictEqual(
            outcomes.map(({ _tag }) => _tag),
            ["Right", "Right"]
          )
          assert.isAtLeast(runs.count, 3)
          const notes = (yield* client.query(`SELECT note FROM ${table} ORDER BY note`)).map(({ note }) => note)
          assert.deepStrictEqual(notes, ["0", "1"])
        })
      )
    )

    it.live("a deadlock is a retryable DbConflict", () =>
      using({}, (client, table) =>
        Effect.gen(function* () {
          yield* client.execute(`INSERT INTO ${table} VALUES (1, ''), (2, '')`)
          const touch = (id: number) => client.execute(`UPDATE ${table} SET note = 'x' WHERE id = ?`, [id])
          const [one, two] = [yield* Effect.makeLatch(), yield* Effect.makeLatch()]
          const both = (first: number, touched: Effect.Latch, other: Effect.Latch, second: number) =>
            client.transaction(Effect.all([touch(first), touched.open, other.await, touch(second)]))
          const outcomes = yield* Effect.all(
            [Effect.either(both(1, one, two, 2)), Effect.either(both(2, two, one, 1))],
            {
              concurrency: "unbounded"
            }
          )
          const failures = outcomes.flatMap((outcome) => (outcome._tag === "Left" ? [outcome.left] : []))
          assert.deepStrictEqual(
            failures.map(({ code, retryable }) => [code, retryable]),
            [["40P01", true]]
          )
        })
      )
    )

    it.live("a failed statement whose error is caught does not pass for a commit", () =>
      using({}, (client, table) =>
        Effect.gen(function* () {
          const error = yield* failureOf(
            client.transaction(
              Effect.zipRight(
                client.execute(`INSERT INTO ${table} VALUES (1, 'x')`),
                Effect.ignore(client.query("SELEKT"))
              )
            )
          )
          assert.deepStrictEqual([error._tag, error.code], ["DbConflict", "HUB_ROLLED_BACK"])
          assert.deepStrictEqual(yield* client.query(`SELECT id FROM ${table}`), [])
        })
      )
    )

    it.live("statements that begin or end transactions do not escape", () =>
      using({ maxOpenConns: 1 }, (client, table) =>
        Effect.gen(function* () {
          const begun = yield* failureOf(client.execute("BEGIN"))
          assert.strictEqual(begun._tag, "InvalidInput")
          yield* client.execute(`INSERT INTO ${table} VALUES (1, 'kept')`)
          const ended = yield* failureOf(client.transaction(client.execute("COMMIT")))
          assert.deepStrictEqual([ended._tag, ended.code], ["DbConflict", "HUB_TRANSACTION_ENDED"])
          assert.strictEqual((yield* client.query(`SELECT id FROM ${table}`)).length, 1)
        })
      )
    )

    it.live("statements of another client inside a transaction stay outside of it", () =>
      using({}, (one, table) =>
        Effect.scoped(
          Effect.gen(function* () {
            const other = yield* client()
            yield* Effect.ignore(
              one.transaction(
                Effect.zipRight(other.execute(`INSERT INTO ${table} VALUES (1, 'x')`), Effect.fail("undo"))
              )
            )
            assert.strictEqual((yield* one.query(`SELECT id FROM ${table}`)).length, 1)
          })
        )
      )
    )

    it.live("siblings: statements side by side and savepoints in one transaction", () =>
      using({ maxOpenConns: 1 }, (client, table) =>
        Effect.gen(function* () {
          const insert = (id: number) => client.execute(`INSERT INTO ${table} VALUES (?, 'x')`, [id])
          yield* client.transaction(
            Effect.all(
              [
                ...Array.from({ length: 20 }, (_, n) => insert(n)),
                ...Array.from({ length: 20 }, (_, n) =>
                  Effect.ignore(
                    client.transaction(Effect.zipRight(insert(100 + n), n % 2 === 0 ? Effect.void : Effect.fail("no")))
                  )
                )
              ],
              { concurrency: "unbounded" }
            )
          )
          assert.strictEqual((yield* client.query(`SELECT id FROM ${table}`)).length, 30)
        })
      )
    )

    it.live("a fiber that outlives its transaction is refused", () =>
      using({ maxOpenConns: 1 }, (client) =>
        Effect.gen(function* () {
          const fiber = yield* client.transaction(
            Effect.forkDaemon(Effect.zipRight(Effect.sleep("50 millis"), failureOf(client.query("SELECT 1"))))
          )
          const error = yield* Fiber.join(fiber)
          assert.strictEqual(error.code, "HUB_TRANSACTION_OVER")
        })
      )
    )

    it.live("over one connection, reading only, health and streams inside a transaction do not wait for it", () =>
      using({ maxOpenConns: 1, acquireTimeout: 500 }, (client, table) =>
        client.transaction(
          Effect.gen(function* () {
            yield* client.execute(`INSERT INTO ${table} VALUES (1, 'x')`)
            const read = yield* client.readOnly(`SELECT id FROM ${table}`)
            assert.deepStrictEqual(read.rows, [[1]])
            const refused = yield* failureOf(client.readOnly(`SELECT setval('x', 1)`))
            assert.include(["DbQuery", "DbReadOnly"], refused._tag)
            yield* client.execute(`INSERT INTO ${table} VALUES (2, 'y')`)
            const rows = client.stream(`SELECT id FROM ${table} ORDER BY id`)
            const names = yield* Stream.runCollect(
              Stream.mapEffect(rows, ({ id }) => client.query(`SELECT note FROM ${table} WHERE id = ?`, [id as number]))
            )
            assert.strictEqual(Chunk.size(names), 2)
          })
        )
      )
    )
  })

  describe("statements", () => {
    it.live("repeats are prepared once, stay bounded, and survive an altered table", () =>
      using({ maxOpenConns: 1 }, (client, table) =>
        Effect.gen(function* () {
          yield* client.execute(`INSERT INTO ${table} VALUES (1, 'x')`)
          const select = () => client.query(`SELECT * FROM ${table} WHERE id = ?`, [1])
          for (let n = 0; n < 3; n++) yield* select()
          const prepared = yield* client.query(
            `SELECT count(*) AS n FROM pg_prepared_statements WHERE statement LIKE '%${table} WHERE id%'`
          )
          assert.deepStrictEqual(prepared, [{ n: 1 }])
          yield* outside(serverUrl, `ALTER TABLE ${table} ADD COLUMN more TEXT DEFAULT 'y'`)
          assert.deepStrictEqual(yield* select(), [{ id: 1, note: "x", more: "y" }])
          yield* client.execute("DISCARD ALL")
          assert.strictEqual((yield* select()).length, 1)
          for (let n = 0; n < 600; n++) yield* client.query(`SELECT ${n} AS n WHERE 1 = ?`, [1])
          const [all] = yield* client.query("SELECT count(*) AS n FROM pg_prepared_statements")
          assert.isAtMost(Number(all!["n"]), 257)
        })
      )
    )

    it.live("what a failure kept from being prepared is prepared by who needs it next", () =>
      using({ maxOpenConns: 1 }, ({ enqueue, execute, query, transaction }, table) =>
        Effect.gen(function* () {
          yield* execute(`INSERT INTO ${table} VALUES (1, 'x')`)
          const update = execute(`UPDATE ${table} SET note = ? WHERE id = ?`, ["y", 1])
          const repeated = enqueue(`INSERT INTO ${table} VALUES (?, ?)`, [1, "x"])
          // Sent together: the server does not look at what comes after the first that fails.
          assert.strictEqual((yield* failureOf(transaction(Effect.zipRight(repeated, update))))._tag, "DbConflict")
          assert.deepStrictEqual(yield* query("SELECT ?::int[] AS list", [[1]]), [{ list: [1] }])
          assert.strictEqual((yield* transaction(update)).rowsAffected, 1)
        })
      )
    )

    it.live("instants come back to the millisecond, far and infinite ones too", () =>
      using({}, ({ query }) =>
        Effect.gen(function* () {
          const finite = [
            "2026-01-31 23:59:59.123456+00",
            "2026-01-31 23:59:59.1+00",
            "2026-01-31 23:59:59+00",
            "1969-12-31 23:59:59.999999+00",
            "0101-01-01 00:00:00+00",
            "0044-01-01 00:00:00+00",
            "0044-03-15 12:00:00+00 BC",
            "12026-01-01 00:00:00+00"
          ]
          const rows = yield* query(
            "SELECT at, trunc(extract(epoch FROM at) * 1000)::float8 AS millis FROM unnest(?::timestamptz[]) AS at",
            [finite]
          )
          for (const { at, millis } of rows) assert.closeTo((at as Date).getTime(), Number(millis), 1)
          assert.deepStrictEqual(
            yield* query("SELECT '-infinity'::timestamptz AS past, 'infinity'::timestamp AS future"),
            [{ past: Number.NEGATIVE_INFINITY, future: Number.POSITIVE_INFINITY }]
          )
        })
      )
    )

    it.live("values of every kind come back as they went in", () =>
      using({}, (client) =>
        Effect.gen(function* () {
          const table = "kinds"
          const row = {
            big: 2n ** 62n,
            small: 42,
            amount: "12345678901234567890.0000000001",
            raw: new Uint8Array([0, 1, 128, 255]),
            list: [1, "two", [3], { four: null }],
            numbers: [1, 2, 3],
            words: ['a"b', "c\\d", "e,f", "NULL", "{}"],
            bigs: [1, 2n ** 60n],
            moment: new Date("2026-02-03T04:05:06.789Z"),
            old: new Date("0033-04-03T12:00:00.000Z"),
            far: new Date("+012026-01-01T00:00:00.000Z"),
            day: "2026-02-03",
            span: "1 day 02:03:04.5",
            yes: true,
            ratio: 0.1,
            tiny: -5e-324,
            scalar: "text",
            nothing: null
          }
          yield* client.transaction(
            Effect.gen(function* () {
              yield* client.execute(
                `CREATE TEMP TABLE ${table} (big int8, small int8, amount numeric, raw bytea, list jsonb, numbers int[], words text[], bigs int8[], moment timestamptz, old timestamptz, far timestamptz, day date, span interval, yes boolean, ratio float8, tiny float8, scalar json, nothing text) ON COMMIT DROP`
              )
              const values = { ...row, scalar: new Json(row.scalar) }
              const names = Object.keys(row)
              yield* client.execute(
                `INSERT INTO ${table} (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
                Object.values(values)
              )
              const [read] = yield* client.query(`SELECT ${names.join(", ")} FROM ${table}`)
              assert.deepStrictEqual(read, row)
              const found = yield* client.query(`SELECT small FROM ${table} WHERE small = ANY (?::int8[])`, [[41, 42]])
              assert.deepStrictEqual(found, [{ small: 42 }])
              yield* client.execute(`UPDATE ${table} SET moment = ?`, ["2026-02-03T04:05:06.789123Z"])
              const [precise] = yield* client.query(`SELECT moment::text AS text FROM ${table}`)
              assert.deepStrictEqual(precise, { text: "2026-02-03 04:05:06.789123+00" })
              const { sql } = client
              assert.deepStrictEqual(yield* sql`SELECT ${[1, "x"]}::jsonb AS list`, [{ list: [1, "x"] }])
            })
          )
        })
      )
    )

    it.live("a U+0000, an invalid Date and a class are refused by position", () =>
      using({}, (client) =>
        Effect.gen(function* () {
          for (const value of ["a\0b", new Date(Number.NaN), /x/]) {
            const error = yield* failureOf(client.query("SELECT ?::text, ?::text", ["ok", value as never]))
            assert.deepStrictEqual([error._tag, (error as { field?: string }).field], ["InvalidInput", "params[1]"])
          }
        })
      )
    )

    it.live("what is refused names the backend", () =>
      using({ name: "reports" }, (client) =>
        Effect.gen(function* () {
          const calls: ReadonlyArray<Effect.Effect<unknown, DbError>> = [
            client.query("SELECT ?", []),
            client.query("SELECT ?", [Number.NaN]),
            client.query("SELECT ?::int[]", [[Number.NaN]]),
            client.query(" "),
            client.execute("BEGIN"),
            client.readOnly("SELECT 1", { maxRows: 0 })
          ]
          for (const refused of calls) {
            const error = yield* failureOf(refused)
            assert.deepStrictEqual([error._tag, error.backend], ["InvalidInput", "reports"])
          }
        })
      )
    )

    it.live(
      "1,000,000 rows are streamed in bounded memory",
      () =>
        using({ maxOpenConns: 1 }, (client) =>
          Effect.gen(function* () {
            const before = process.memoryUsage().rss
            let most = 0
            const rows = client.stream("SELECT n, repeat('x', 100) AS pad FROM generate_series(1, 1000000) AS n")
            const count = yield* Stream.runFold(Stream.chunks(rows), 0, (sum, chunk) => {
              most = Math.max(most, process.memoryUsage().rss)
              return sum + Chunk.size(chunk)
            })
            assert.strictEqual(count, 1_000_000)
            assert.isBelow((most - before) / 2 ** 20, 150)
            yield* isWhole(client, 1)
          })
        ),
      120_000
    )

    it.live("readOnly refuses what writes on any way, and leaves no lock behind", () =>
      using({ maxOpenConns: 1 }, (client, table) =>
        Effect.gen(function* () {
          yield* client.execute(`INSERT INTO ${table} VALUES (1, 'x')`)
          for (const sql of [
            `WITH gone AS (DELETE FROM ${table} RETURNING id) SELECT * FROM gone`,
            `EXPLAIN ANALYZE DELETE FROM ${table}`,
            `SELECT set_config('transaction_read_only', 'off', true), 1`,
            `SELECT * INTO ${table}_2 FROM ${table}`,
            `SELECT * FROM ${table} FOR UPDATE`,
            `COPY ${table} TO STDOUT`,
            "COMMIT"
          ]) {
            const error = yield* failureOf(client.readOnly(sql))
            assert.include(["DbReadOnly", "DbQuery", "InvalidInput"], error._tag, sql)
          }
          yield* client.readOnly("SELECT pg_advisory_lock(42), set_config('application_name', 'changed', false)")
          const locks = yield* client.query(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
          )
          assert.deepStrictEqual(locks, [])
          assert.deepStrictEqual(yield* client.query("SELECT current_setting('application_name') AS name"), [
            { name: table }
          ])
          assert.deepStrictEqual((yield* client.readOnly("SHOW server_encoding")).rows, [["UTF8"]])
        })
      )
    )
  })

  describe("errors by SQLSTATE", () => {
    const cases: ReadonlyArray<readonly [string, DbError["_tag"], string]> = [
      ["SELEKT 1", "DbQuery", "42601"],
      ["SELECT * FROM nowhere_at_all", "DbQuery", "42P01"],
      ["SELECT pg_sleep(10)", "DbTimeout", "57014"],
      ["DO $$ BEGIN RAISE insufficient_privilege; END $$", "DbQuery", "42501"],
      ["DO $$ BEGIN RAISE too_many_connections; END $$", "DbConnection", "53300"],
      ["DO $$ BEGIN RAISE disk_full; END $$", "DbFull", "53100"],
      ["DO $$ BEGIN RAISE SQLSTATE 'ZZ999'; END $$", "DbQuery", "ZZ999"],
      ["SELECT 'secret'::int", "DbConstraint", "22P02"]
    ]
    for (const [sql, tag, code] of cases) {
      it.live(`${code} is ${tag}`, () =>
        using({ statementTimeout: 200 }, (client) =>
          Effect.gen(function* () {
            const error = yield* failureOf(client.query(sql))
            assert.deepStrictEqual([error._tag, error.code], [tag, code])
            assert.notInclude(JSON.stringify(error), "secret")
          })
        )
      )
    }

    it.live("55P03 is DbLocked, 25006 is DbReadOnly", () =>
      using({}, (one, table) =>
        Effect.scoped(
          Effect.gen(function* () {
            yield* one.execute(`INSERT INTO ${table} VALUES (1, 'x')`)
            const [impatient, reader] = [yield* client({ lockTimeout: 100 }), yield* client({ readOnly: true })]
            const update = `UPDATE ${table} SET note = 'y'`
            const locked = yield* one.transaction(
              Effect.zipRight(one.execute(update), failureOf(impatient.execute(update)))
            )
            assert.deepStrictEqual([locked._tag, locked.code, locked.retryable], ["DbLocked", "55P03", true])
            const refused = yield* failureOf(reader.execute(update))
            assert.deepStrictEqual([refused._tag, refused.code], ["DbReadOnly", "25006"])
          })
        )
      )
    )
  })

  describe("the pool", () => {
    it.live("closes what idles too long, what is too old, and what idles in too great number", () =>
      using({ maxOpenConns: 4, maxIdleConns: 2, connMaxIdleTime: 100, connMaxLifetime: 0 }, (client) =>
        Effect.gen(function* () {
          const sleep = client.query("SELECT pg_sleep(0.05)")
          yield* Effect.all([sleep, sleep, sleep, sleep], { concurrency: "unbounded" })
          const closed = (count: number) => until(Effect.sync(() => client.pool.metrics.idleClosed >= count))
          yield* closed(2)
          yield* closed(4)
          assert.strictEqual(client.pool.open(), 0)
        })
      )
    )

    it.live("replaces connections after their lifetime", () =>
      using({ maxOpenConns: 1, connMaxLifetime: 100 }, (client) =>
        Effect.gen(function* () {
          const pid = Effect.map(client.query("SELECT pg_backend_pid() AS pid"), ([row]) => row!["pid"])
          const before = yield* pid
          yield* Effect.sleep("200 millis")
          assert.notStrictEqual(yield* pid, before)
          assert.strictEqual(client.pool.metrics.lifetimeClosed, 1)
        })
      )
    )

    it.live("fails with a type once it is closed, and lets what runs come to its end", () =>
      Effect.gen(function* () {
        const [slow, closed] = yield* Effect.scoped(
          Effect.gen(function* () {
            const connected = yield* client()
            const slow = yield* Effect.forkDaemon(connected.query("SELECT pg_sleep(0.2)"))
            yield* Effect.sleep("50 millis")
            return [slow, connected] as const
          })
        )
        assert.strictEqual((yield* Fiber.join(slow)).length, 1)
        assert.strictEqual((yield* failureOf(closed.query("SELECT 1"))).code, "HUB_CLOSED")
      })
    )
  })
})
