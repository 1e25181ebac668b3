import * as PersistedQueue from "@effect/experimental/PersistedQueue"
import * as SqlClient from "@effect/sql/SqlClient"
import { SqlError } from "@effect/sql/SqlError"
import * as SqlPersistedQueue from "@effect/sql/SqlPersistedQueue"
import * as SqlSchema from "@effect/sql/SqlSchema"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { isDbError } from "../../src/errors/index.js"
import type { SqliteClient } from "../../src/layers/sqlite/SqliteClient.js"
import { failureOf, fileClient } from "../support/index.js"

describe("SqlPersistedQueue", () => {
  const Job = Schema.Struct({ n: Schema.Number, at: Schema.Date })

  const queueOn = (client: SqliteClient) =>
    PersistedQueue.make({ name: "jobs", schema: Job }).pipe(
      Effect.provide(
        PersistedQueue.layer.pipe(
          Layer.provide(SqlPersistedQueue.layerStore({ pollInterval: 10 })),
          Layer.provide(Layer.succeed(SqlClient.SqlClient, client.sql))
        )
      )
    )

  it.scopedLive("runs on our client: offers once per id, retries what fails, completes what succeeds", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const store = yield* Layer.build(
        PersistedQueue.layer.pipe(
          Layer.provide(SqlPersistedQueue.layerStore({ pollInterval: 10 })),
          Layer.provide(Layer.succeed(SqlClient.SqlClient, client.sql))
        )
      )
      const queue = yield* Effect.provide(PersistedQueue.make({ name: "jobs", schema: Job }), store)
      const at = new Date(0)
      yield* queue.offer({ n: 1, at }, { id: "one" })
      yield* queue.offer({ n: 99, at }, { id: "one" })
      assert.strictEqual(yield* failureOf(queue.take(() => Effect.fail("not yet"))), "not yet")
      const seen = yield* queue.take((job, { attempts }) => Effect.succeed([job.n, job.at, attempts]))
      assert.deepStrictEqual(seen, [1, at, 1])
      yield* Effect.forEach([2, 3, 4, 5], (n) => queue.offer({ n, at }), { concurrency: "unbounded" })
      const taken = yield* Effect.all(
        Array.from({ length: 4 }, () => queue.take((job) => Effect.succeed(job.n))),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        taken.sort((a, b) => a - b),
        [2, 3, 4, 5]
      )
      assert.deepStrictEqual(
        yield* client.query("SELECT count(*) AS n, sum(completed) AS done, max(attempts) AS tries FROM effect_queue"),
        [{ n: 5, done: 5, tries: 2 }]
      )
    })
  )

  it.scopedLive("offers in our transactions are undone with them", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const queue = yield* queueOn(client)
      yield* Effect.ignore(
        client.transaction(Effect.zipRight(queue.offer({ n: 1, at: new Date(0) }), Effect.fail("no")))
      )
      assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM effect_queue"), [{ n: 0 }])
    })
  )
})

describe("the template", () => {
  it.scoped("wraps every error of ours in a SqlError as its cause", () =>
    Effect.gen(function* () {
      const { sql } = yield* fileClient()
      yield* sql`INSERT INTO t ${sql.insert({ id: 1, x: "one" })}`
      const failures = [
        yield* failureOf(sql`INSERT INTO t ${sql.insert({ id: 1 })}`),
        yield* failureOf(sql`SELECT * FROM nowhere`),
        yield* failureOf(sql`SELECT * FROM nowhere`.unprepared),
        yield* failureOf(sql`SELECT * FROM nowhere`.raw),
        yield* failureOf(sql`SELECT * FROM nowhere`.values),
        yield* failureOf(sql.withTransaction(sql`SELECT * FROM nowhere`))
      ]
      for (const error of failures) {
        assert.instanceOf(error, SqlError)
        assert.isTrue(isDbError(error.cause))
        assert.strictEqual(error.message, (error.cause as Error).message)
      }
      assert.propertyVal(failures[0]?.cause, "_tag", "DbConflict")
    })
  )

  it.scoped("in withTransaction passes the body's failures as they are, and wraps those of BEGIN and COMMIT", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const { sql } = client
      assert.strictEqual(yield* failureOf(sql.withTransaction(Effect.fail("mine" as const))), "mine")
      const ours = yield* failureOf(sql.withTransaction(client.query("SELECT * FROM nowhere")))
      assert.strictEqual(ours._tag, "DbQuery")
      yield* sql`CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)`
      const commit = yield* failureOf(sql.withTransaction(sql`INSERT INTO child VALUES (7)`))
      assert.instanceOf(commit, SqlError)
      assert.propertyVal(commit.cause, "_tag", "DbConstraint")
      yield* sql.withTransaction(sql`INSERT INTO t (id) VALUES (1)`)
      yield* Effect.ignore(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO t (id) VALUES (2)`
            yield* Effect.ignore(
              sql.withTransaction(Effect.zipRight(sql`INSERT INTO t (id) VALUES (3)`, Effect.fail("no")))
            )
          })
        )
      )
      assert.deepStrictEqual(yield* sql`SELECT id FROM t`, [{ id: 1 }, { id: 2 }])
    })
  )

  it.scoped("runs every form of statement, and schemas over it", () =>
    Effect.gen(function* () {
      const { sql } = yield* fileClient()
      yield* sql`INSERT INTO t ${sql.insert([
        { id: 1, x: "a" },
        { id: 2, x: "b" }
      ])}`
      assert.deepStrictEqual(yield* sql`SELECT id, x FROM t WHERE ${sql.in("id", [2, 3])}`.values, [[2, "b"]])
      assert.deepStrictEqual(yield* sql`UPDATE t SET ${sql.update({ x: "c" })} WHERE id = 2 RETURNING x`, [{ x: "c" }])
      assert.propertyVal(yield* sql`DELETE FROM t WHERE id = 1`.raw, "changes", 1)
      assert.deepStrictEqual(yield* sql`INSERT INTO t (id) VALUES (9)`, [])
      const find = SqlSchema.single({
        Request: Schema.Number,
        Result: Schema.Struct({ x: Schema.String }),
        execute: (id) => sql`SELECT x FROM t WHERE id = ${id}`
      })
      assert.deepStrictEqual(yield* find(2), { x: "c" })
      const big = sql`SELECT 1 AS one, 9007199254740993 AS big`
      assert.deepStrictEqual(yield* big, [{ one: 1, big: 9_007_199_254_740_993n }])
      assert.deepStrictEqual(yield* Effect.provideService(big, SqlClient.SafeIntegers, true), [
        { one: 1n, big: 9_007_199_254_740_993n }
      ])
      assert.deepStrictEqual(yield* big, [{ one: 1, big: 9_007_199_254_740_993n }])
    })
  )
})
