/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Backend, Json } from "../services/Backend.js"
import { StatementBatch } from "../services/StatementBatch.js"
import { WriteChannel, withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/** A table of a name of its own. */
const table = Effect.gen(function* () {
  const backend = yield* Backend
  const name = (yield* fresh("batch")).replaceAll("-", "_")
  const { types } = backend.dialect
  yield* backend.execute(`CREATE TABLE ${name} (
    id ${types.integer} PRIMARY KEY, label ${types.text}, at ${types.timestamp}, data ${types.json}, raw ${types.bytes}
  )`)
  const labels = Effect.map(backend.query(`SELECT label FROM ${name} ORDER BY id`), (rows) =>
    rows.map(({ label }) => label)
  )
  return { name, labels, insert: `INSERT INTO ${name} (id, label) VALUES (?, ?)` }
})

/**
 * @since 0.1.0
 * @category suites
 */
export const statementBatchSuite: Suite = {
  "statements take parameters of every kind and give their rows, in one transaction": Effect.gen(function* () {
    const batch = yield* StatementBatch
    const { labels, name } = yield* table
    const [at, raw] = [new Date("2026-02-03T04:05:06.789Z"), new Uint8Array([0, 1, 255])]
    const insert = `INSERT INTO ${name} (id, label, at, data, raw) VALUES (?, ?, ?, ?, ?) RETURNING id, label, at, data, raw`
    const [first, second, third] = yield* batch.execute({
      statements: [
        { sql: insert, params: [2n ** 53n + 1n, "a", at, { $date: "no date" }, raw] },
        { sql: insert, params: [1, null, null, new Json("text"), null] },
        { sql: `UPDATE ${name} SET label = ?`, params: ["b"] }
      ]
    })
    yield* equal(first?.rows, [{ id: 2n ** 53n + 1n, label: "a", at, data: { $date: "no date" }, raw }])
    yield* equal(second?.rows, [{ id: 1, label: null, at: null, data: "text", raw: null }])
    yield* equal([third?.rowsAffected, third?.rows], [2, []])
    yield* equal(yield* labels, ["b", "b"])
  }),

  "a statement that fails undoes those before it": Effect.gen(function* () {
    const batch = yield* StatementBatch
    const { insert, labels } = yield* table
    const add = { sql: insert, params: [1, "a"] }
    yield* failsWith("DbConflict", batch.execute({ statements: [add, add] }))
    yield* failsWith("DbQuery", batch.execute({ statements: [add, { sql: "INSERT INTO nowhere VALUES (1)" }] }))
    yield* equal(yield* labels, [])
  }),

  "no statement begins or ends a transaction": Effect.gen(function* () {
    const batch = yield* StatementBatch
    const { insert, labels } = yield* table
    for (const sql of ["BEGIN", "COMMIT", "/* c */ end", "-- c\nROLLBACK", "SAVEPOINT s"]) {
      const statements = [{ sql: insert, params: [1, "a"] }, { sql }] as const
      const error = yield* failsWith("InvalidInput", batch.execute({ statements }))
      yield* equal((error as { field?: string }).field, "statements.1.sql")
      yield* equal(yield* labels, [])
    }
  }),

  "a batch run twice under one key has one effect and one result": Effect.gen(function* () {
    const batch = yield* StatementBatch
    const { insert, labels } = yield* table
    const key = yield* fresh("key")
    const write = withIdempotencyKey(key)(
      batch.execute({ statements: [{ sql: `${insert} RETURNING id`, params: [1, "a"] }] })
    )
    const first = yield* write
    yield* equal(yield* write, first)
    yield* equal(yield* labels, ["a"])
    const other = batch.execute({ statements: [{ sql: insert, params: [2, "b"] }] })
    yield* failsWith("InvalidInput", withIdempotencyKey(key)(other))
  }),

  "what cannot be bound is refused by its place, and so is a batch without statements": Effect.gen(function* () {
    const batch = yield* StatementBatch
    const { insert, labels } = yield* table
    const good = { sql: insert, params: [1, "a"] }
    const refused = (params: ReadonlyArray<never>) =>
      failsWith("InvalidInput", batch.execute({ statements: [good, { sql: insert, params }] }))
    for (const value of [Number.NaN, new Date(Number.NaN), 2n ** 63n, Symbol("s"), undefined]) {
      const error = yield* refused([2 as never, value as never])
      yield* equal((error as { field?: string }).field, "statements.1.params.1")
    }
    yield* failsWith("InvalidInput", batch.execute({ statements: [] as never }))
    yield* equal(yield* labels, [])
  }),

  "the change feed has the ids that the caller names": Effect.gen(function* () {
    const [batch, channel] = [yield* StatementBatch, yield* WriteChannel]
    const { insert } = yield* table
    const id = yield* fresh("id")
    const after = yield* channel.latest
    const told = yield* Effect.fork(
      Stream.runHead(Stream.filter(channel.changes(after), ({ ids }) => ids.includes(id)))
    )
    yield* batch.execute({ statements: [{ sql: insert, params: [1, "a"] }], ids: [id] })
    const { ids, operation, store } = yield* Effect.flatten(Fiber.join(told))
    yield* equal([store, operation, ids], ["StatementBatch", "execute", [id]])
  })
}
