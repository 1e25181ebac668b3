import * as StockClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { SqliteClient } from "../../src/layers/sqlite/SqliteClient.js"
import { failureOf, fileClient } from "../support/index.js"

const two = Effect.gen(function* () {
  const [a, b] = [yield* fileClient(), yield* fileClient()]
  yield* a.execute("INSERT INTO t (x) VALUES ('a')")
  yield* b.execute("INSERT INTO t (x) VALUES ('b')")
  return { a, b }
})

const everyWay = (client: SqliteClient) =>
  Effect.all({
    query: client.query("SELECT x FROM t"),
    template: client.sql<{ x: string }>`SELECT x FROM t`,
    stream: Effect.map(Stream.runCollect(client.stream("SELECT x FROM t")), (rows) => Array.from(rows)),
    templateStream: Effect.map(Stream.runCollect(client.sql`SELECT x FROM t`.stream), (rows) => Array.from(rows)),
    readOnly: Effect.map(client.readOnly("SELECT x FROM t"), ({ rows }) => rows.map(([x]) => ({ x }))),
    transaction: client.transaction(client.query("SELECT x FROM t")),
    withTransaction: client.sql.withTransaction(client.sql`SELECT x FROM t`),
    returning: Effect.map(client.execute("UPDATE t SET x = x RETURNING x"), ({ rows }) => rows)
  })

const reads = (value: string) => ({
  query: [{ x: value }],
  template: [{ x: value }],
  stream: [{ x: value }],
  templateStream: [{ x: value }],
  readOnly: [{ x: value }],
  transaction: [{ x: value }],
  withTransaction: [{ x: value }],
  returning: [{ x: value }]
})

describe("two clients", () => {
  it.scoped("never run a statement on each other's database, whichever transactions are open", () =>
    Effect.gen(function* () {
      const { a, b } = yield* two
      assert.deepStrictEqual(yield* a.transaction(everyWay(b)), reads("b"))
      assert.deepStrictEqual(yield* a.sql.withTransaction(everyWay(b)), reads("b"))
      assert.deepStrictEqual(yield* a.transaction(b.transaction(everyWay(a))), reads("a"))
      assert.deepStrictEqual(yield* a.transaction(b.transaction(everyWay(b))), reads("b"))
      assert.isFalse(yield* a.transaction(b.inTransaction))
      assert.isTrue(yield* a.transaction(a.inTransaction))
    })
  )

  it.scoped("commit and roll back apart", () =>
    Effect.gen(function* () {
      const { a, b } = yield* two
      yield* Effect.ignore(
        a.transaction(
          Effect.gen(function* () {
            yield* a.execute("INSERT INTO t (x) VALUES ('lost')")
            yield* b.transaction(b.execute("INSERT INTO t (x) VALUES ('kept')"))
            return yield* Effect.fail("no")
          })
        )
      )
      assert.deepStrictEqual(yield* a.query("SELECT x FROM t"), [{ x: "a" }])
      assert.deepStrictEqual(yield* b.query("SELECT x FROM t"), [{ x: "b" }, { x: "kept" }])
    })
  )
})

describe("a transaction of a stock client around ours", () => {
  const refuse = Effect.dieMessage("a statement went to the other client's connection")
  const other = {
    execute: () => refuse,
    executeRaw: () => refuse,
    executeStream: () => Stream.fromEffect(refuse),
    executeValues: () => refuse,
    executeUnprepared: () => refuse
  }

  it.scoped("captures none of our statements, and none of ours captures it", () =>
    Effect.gen(function* () {
      const { a } = yield* two
      const within = Effect.provideService(StockClient.TransactionConnection, [other, 0])
      assert.deepStrictEqual(yield* within(everyWay(a)), reads("a"))
      assert.deepStrictEqual(yield* within(a.transaction(everyWay(a))), reads("a"))
      yield* within(failureOf(a.transaction(Effect.zipRight(a.execute("DELETE FROM t"), Effect.fail("no")))))
      assert.deepStrictEqual(yield* a.query("SELECT x FROM t"), [{ x: "a" }])
      const leaked = yield* a.sql.withTransaction(Effect.serviceOption(StockClient.TransactionConnection))
      assert.strictEqual(leaked._tag, "None")
    })
  )
})
