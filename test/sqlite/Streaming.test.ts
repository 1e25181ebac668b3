import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { failureOf, fileClient, ticksDuring } from "../support/index.js"

const numbers = (limit: string) =>
  `WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c ${limit}) SELECT n, 'row ' || n AS text FROM c`

describe("streams", () => {
  it.scopedLive("read 1,000,000 rows in bounded memory while timers tick", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const before = process.memoryUsage().heapUsed
      let [rows, sum, peak] = [0, 0, 0]
      const [ticks] = yield* ticksDuring(
        Stream.runForEachChunk(client.stream(numbers("WHERE n < 1000000")), (chunk) =>
          Effect.sync(() => {
            for (const row of chunk) sum += Number(row["n"])
            rows += chunk.length
            if (rows % 65_536 < 256) peak = Math.max(peak, process.memoryUsage().heapUsed)
          })
        )
      )
      assert.strictEqual(rows, 1_000_000)
      assert.strictEqual(sum, 500_000_500_000)
      assert.isAtLeast(ticks, 10)
      // The rows take well over 100 MB when they are all held at once.
      assert.isBelow(peak - before, 80 * 1024 * 1024)
      assert.strictEqual(client.openHandles(), 2)
    })
  )

  it.scopedLive("end when enough was taken of a result without end, and give their handle back", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const taken = yield* Stream.runCollect(Stream.take(client.stream(numbers("")), 3))
      assert.deepStrictEqual(
        Chunk.toReadonlyArray(taken).map((row) => row["n"]),
        [1, 2, 3]
      )
      const inside = yield* client.transaction(Stream.runCollect(Stream.take(client.stream(numbers("")), 3)))
      assert.strictEqual(inside.length, 3)
      assert.strictEqual(client.openHandles(), 2)
    })
  )

  it.scopedLive("give their handle back when they are interrupted or fail", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const reading = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        Stream.runForEach(client.stream(numbers("")), () => Deferred.succeed(reading, undefined))
      )
      yield* Deferred.await(reading)
      assert.strictEqual(client.openHandles(), 3)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(client.openHandles(), 2)
      yield* failureOf(Stream.runForEach(client.stream(numbers("")), () => Effect.fail("no")))
      const broken = yield* failureOf(
        Stream.runDrain(
          client.stream(
            "SELECT json(CASE WHEN n > 700 THEN '{' ELSE '{}' END) FROM (SELECT value AS n FROM json_each('[1,701]'))"
          )
        )
      )
      assert.strictEqual(broken._tag, "DbQuery")
      assert.strictEqual((yield* failureOf(Stream.runDrain(client.stream("SELECT * FROM nowhere"))))._tag, "DbQuery")
      assert.strictEqual(client.openHandles(), 2)
      assert.strictEqual(client.busyHandles(), 0)
    })
  )

  it.scopedLive("show one snapshot, and may be written beside", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* client.transaction(
        Effect.forEach(Array.from({ length: 600 }), () => client.execute("INSERT INTO t DEFAULT VALUES"))
      )
      let rows = 0
      yield* Stream.runForEach(client.stream("SELECT id FROM t"), () => {
        rows++
        return client.execute("INSERT INTO t DEFAULT VALUES")
      })
      assert.strictEqual(rows, 600)
      assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM t"), [{ n: 1200 }])
    })
  )

  it.scopedLive("of the template run on the same ways, inside and outside of a transaction", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* client.execute("INSERT INTO t (id, x) VALUES (1, 9007199254740993)")
      const read = Effect.map(Stream.runCollect(client.sql`SELECT * FROM t`.stream), Chunk.toReadonlyArray)
      assert.deepStrictEqual(yield* read, [{ id: 1, x: 9_007_199_254_740_993n }])
      assert.deepStrictEqual(yield* client.sql.withTransaction(read), [{ id: 1, x: 9_007_199_254_740_993n }])
      const reserved = yield* Effect.scoped(
        Effect.flatMap(client.sql.reserve, (connection) =>
          Stream.runCollect(connection.executeStream("SELECT id FROM t", [], undefined))
        )
      )
      assert.deepStrictEqual(Chunk.toReadonlyArray(reserved), [{ id: 1 }])
    })
  )

  it.scopedLive("inside a transaction refuse a write with a typed error, and allow it when they have ended", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* client.execute("INSERT INTO t (id) VALUES (1), (2)")
      yield* client.transaction(
        Effect.gen(function* () {
          const error = yield* failureOf(
            Stream.runForEach(client.stream(numbers("")), () => client.execute("DELETE FROM t"))
          )
          assert.strictEqual(error._tag, "DbLocked")
          assert.strictEqual(error.code, "HUB_OPEN_STREAM")
          yield* Stream.runDrain(client.stream("SELECT id FROM t"))
          yield* client.execute("INSERT INTO t (id) VALUES (3)")
        })
      )
      assert.deepStrictEqual(yield* client.query("SELECT id FROM t"), [{ id: 1 }, { id: 2 }, { id: 3 }])
    })
  )

  it.scopedLive("of a statement that writes run once", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const insert = client.stream("INSERT INTO t (x) VALUES ('a'), ('b') RETURNING id")
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(insert)), [{ id: 1 }, { id: 2 }])
      assert.strictEqual((yield* client.transaction(Stream.runCollect(insert))).length, 2)
      assert.deepStrictEqual(yield* client.query("SELECT count(*) AS n FROM t"), [{ n: 4 }])
    })
  )
})
