import * as NodeAssert from "node:assert/strict"
import { describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { client, noServer } from "../support/postgres.js"

const select = "SELECT ?::int AS n"

describe.skipIf(noServer)("the first statement of a transaction", () => {
  it.scopedLive("brings the BEGIN with it: before it, the server knows of no transaction", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* client({ maxOpenConns: 1, applicationName: "begins" }), yield* client()]
      const state = other.query("SELECT state FROM pg_stat_activity WHERE application_name = 'begins'")
      const states = yield* one.transaction(
        Effect.gen(function* () {
          const before = yield* state
          yield* one.query(select, [1])
          return [...before, ...(yield* state)].map((row) => row["state"])
        })
      )
      NodeAssert.deepEqual(states, ["idle", "idle in transaction"])
      yield* one.transaction(Effect.void)
    })
  )

  it.scopedLive("is in the transaction, whatever its form, and undone with it", () =>
    Effect.gen(function* () {
      const one = yield* client({ maxOpenConns: 1 })
      yield* one.execute("CREATE TEMPORARY TABLE kept (n INT, list INT[])")
      const insert = "INSERT INTO kept (n) VALUES (?)"
      const forms: Readonly<Record<string, Effect.Effect<unknown, unknown>>> = {
        "not prepared": one.execute("INSERT INTO kept (n) VALUES (1)"),
        "prepared now": one.execute(insert, [1]),
        "prepared before": one.execute(insert, [1]),
        "with a list": one.execute("INSERT INTO kept (list) VALUES (?)", [[1, 2]]),
        nested: one.transaction(one.execute(insert, [1])),
        template: one.sql`INSERT INTO kept (n) VALUES (${1})`,
        streamed: Stream.runDrain(one.stream("INSERT INTO kept (n) VALUES (1) RETURNING n"))
      }
      for (const [form, write] of Object.entries(forms)) {
        yield* Effect.flip(one.transaction(Effect.zipRight(write, Effect.fail("undo"))))
        NodeAssert.deepEqual(yield* one.query("SELECT * FROM kept"), [], form)
        yield* one.transaction(write)
        NodeAssert.equal((yield* one.execute("DELETE FROM kept")).rowsAffected, 1, form)
      }
    })
  )

  it.scopedLive("may fail in any way: the next transaction works, and the same text too", () =>
    Effect.gen(function* () {
      const one = yield* client({ maxOpenConns: 1 })
      yield* one.execute("CREATE TEMPORARY TABLE single (n INT PRIMARY KEY)")
      const insert = one.execute("INSERT INTO single VALUES (?)", [1])
      yield* one.transaction(insert)
      for (let round = 0; round < 3; round++) {
        NodeAssert.equal((yield* Effect.flip(one.transaction(insert)))._tag, "DbConflict")
        NodeAssert.equal((yield* Effect.flip(one.transaction(one.query("SELEC ?", [1]))))._tag, "DbQuery")
        yield* one.transaction(one.query("SELECT pg_sleep(?)", [5])).pipe(Effect.timeout("30 millis"), Effect.flip)
        NodeAssert.deepEqual(yield* one.transaction(one.query(select, [round])), [{ n: round }])
      }
    })
  )

  it.scopedLive("has the isolation that was asked for, also through a cursor", () =>
    Effect.gen(function* () {
      const one = yield* client({ maxOpenConns: 1 })
      const isolation = "SELECT current_setting('transaction_isolation') AS level WHERE 1 = ?"
      for (const read of [
        one.query(isolation, [1]),
        Effect.map(Stream.runCollect(one.stream(isolation, [1])), Chunk.toArray)
      ]) {
        const rows = yield* one.transaction(read, { isolation: "serializable" })
        NodeAssert.deepEqual(rows, [{ level: "serializable" }])
      }
    })
  )
})

describe.skipIf(noServer)("enqueued statements", () => {
  const insert = "INSERT INTO single VALUES (?)"

  it.scopedLive("go with the COMMIT: before it, the server knows of no transaction", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* client({ maxOpenConns: 1, applicationName: "enqueues" }), yield* client()]
      yield* one.execute("CREATE TEMPORARY TABLE single (n INT PRIMARY KEY)")
      const states = yield* one.transaction(
        Effect.zipRight(
          one.enqueue(insert, [1]),
          other.query("SELECT state FROM pg_stat_activity WHERE application_name = 'enqueues'")
        )
      )
      NodeAssert.deepEqual(states, [{ state: "idle" }])
      NodeAssert.deepEqual(yield* one.query("SELECT n FROM single"), [{ n: 1 }])
    })
  )

  it.scopedLive("are cancelled with the COMMIT when their fiber is interrupted, and undone", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* client({ maxOpenConns: 1 }), yield* client({ maxOpenConns: 1 })]
      yield* other.execute("CREATE TABLE IF NOT EXISTS enqueued_single (n INT PRIMARY KEY)")
      const waits = "INSERT INTO enqueued_single VALUES (?)"
      yield* Effect.flip(
        other.transaction(
          Effect.gen(function* () {
            yield* other.execute(waits, [1])
            yield* one.transaction(one.enqueue(waits, [1])).pipe(Effect.timeout("50 millis"), Effect.flip)
            NodeAssert.deepEqual(yield* one.query("SELECT n FROM enqueued_single"), [])
            return yield* Effect.fail("undo")
          })
        )
      )
      yield* one.transaction(one.enqueue(waits, [1]))
      NodeAssert.deepEqual(yield* other.query("SELECT n FROM enqueued_single"), [{ n: 1 }])
      yield* other.execute("DROP TABLE enqueued_single")
    })
  )

  it.scopedLive("keep what is prepared right where one of them fails, again and again", () =>
    Effect.gen(function* () {
      const one = yield* client({ maxOpenConns: 1 })
      yield* one.execute("CREATE TEMPORARY TABLE single (n INT PRIMARY KEY)")
      yield* one.execute(insert, [1])
      for (let round = 2; round < 6; round++) {
        const never = one.enqueue(`INSERT INTO single SELECT ?::int WHERE ${round} > 0`, [round])
        const failing = one.transaction(Effect.zipRight(one.enqueue(insert, [1]), never))
        NodeAssert.equal((yield* Effect.flip(failing))._tag, "DbConflict")
        yield* one.transaction(never)
      }
      NodeAssert.deepEqual(
        yield* one.query("SELECT n FROM single ORDER BY n"),
        [1, 2, 3, 4, 5].map((n) => ({ n }))
      )
    })
  )
})
