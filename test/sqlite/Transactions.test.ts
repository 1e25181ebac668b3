import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { SqliteClient } from "../../src/layers/sqlite/SqliteClient.js"
import { failureOf, fileClient, openClient, temporaryFile } from "../support/index.js"

const insert = (client: SqliteClient, id: number) => client.execute("INSERT INTO t (id) VALUES (?)", [id])
const ids = (client: SqliteClient) =>
  Effect.map(client.query("SELECT id FROM t ORDER BY id"), (rows) => rows.map((row) => row["id"]))

/** A transaction that has begun in another fiber, and what lets it go on. */
const openTransaction = (client: SqliteClient, id: number) =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const finish = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(
      client.transaction(
        insert(client, id).pipe(
          Effect.zipRight(Deferred.succeed(begun, undefined)),
          Effect.zipRight(Deferred.await(finish))
        )
      )
    )
    yield* Deferred.await(begun)
    return { fiber, finish: Effect.zipRight(Deferred.succeed(finish, undefined), Fiber.join(fiber)) }
  })

describe("transactions", () => {
  it.scoped("take the write lock when they begin, before any write", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const one = yield* openClient({ path })
      const two = yield* openClient({ path, busyTimeout: 0 })
      yield* one.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      const error = yield* one.transaction(failureOf(insert(two, 1)))
      assert.strictEqual(error._tag, "DbBusy")
    })
  )

  it.scoped("commit on success and roll back on failure, defect and interruption", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* client.transaction(insert(client, 1))
      assert.strictEqual(
        yield* failureOf(client.transaction(Effect.zipRight(insert(client, 2), Effect.fail("no")))),
        "no"
      )
      const defect = yield* Effect.exit(client.transaction(Effect.zipRight(insert(client, 3), Effect.die("bug"))))
      assert.isTrue(Exit.isFailure(defect) && Cause.isDie(defect.cause))
      const { fiber } = yield* openTransaction(client, 4)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* ids(client), [1])
      assert.isFalse(client.lane.isHeld())
    })
  )

  it.scoped("let other fibers read without waiting, and hide what is not committed", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* insert(client, 1)
      const { finish } = yield* openTransaction(client, 2)
      assert.deepStrictEqual(yield* ids(client), [1])
      assert.deepStrictEqual(
        (yield* client.readOnly("SELECT id FROM t")).rows.map((row) => row[0]),
        [1]
      )
      assert.deepStrictEqual(Array.from(yield* Stream.runCollect(client.stream("SELECT id FROM t"))), [{ id: 1 }])
      assert.strictEqual(client.lane.metrics.waitCount, 0)
      yield* finish
      assert.deepStrictEqual(yield* ids(client), [1, 2])
    })
  )

  it.scoped("let others read also a text that failed before its table was there", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const client = yield* openClient({ path, busyTimeout: 50 })
      assert.strictEqual((yield* failureOf(ids(client)))._tag, "DbQuery")
      yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      const { finish } = yield* openTransaction(client, 1)
      assert.deepStrictEqual(yield* ids(client), [])
      yield* finish
    })
  )

  for (const path of ["file", ":memory:"]) {
    it.scoped(`read their own writes through every way of reading (${path})`, () =>
      Effect.gen(function* () {
        const client = yield* path === "file" ? fileClient() : openClient({ path })
        yield* client.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, x)")
        yield* client.transaction(
          Effect.gen(function* () {
            yield* insert(client, 1)
            assert.deepStrictEqual(yield* ids(client), [1])
            assert.deepStrictEqual(yield* client.sql`SELECT id FROM t`, [{ id: 1 }])
            assert.deepStrictEqual((yield* client.readOnly("SELECT id FROM t")).rows, [[1]])
            assert.deepStrictEqual(Array.from(yield* Stream.runCollect(client.stream("SELECT id FROM t"))), [{ id: 1 }])
            assert.strictEqual((yield* failureOf(client.readOnly("DELETE FROM t RETURNING id")))._tag, "DbReadOnly")
            yield* insert(client, 2)
          })
        )
        assert.deepStrictEqual(yield* ids(client), [1, 2])
      })
    )
  }

  it.scoped("keep a plain write of another fiber out of themselves", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const { fiber } = yield* openTransaction(client, 1)
      const plain = yield* Effect.fork(insert(client, 2))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(fiber)
      yield* Fiber.join(plain)
      assert.deepStrictEqual(yield* ids(client), [2])
    })
  )

  it.scoped("report a failed COMMIT as a typed error and leave the lane usable", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* client.execute("CREATE TABLE child (t INTEGER REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)")
      const error = yield* failureOf(client.transaction(client.execute("INSERT INTO child VALUES (7)")))
      assert.strictEqual(error._tag, "DbConstraint")
      assert.strictEqual(error.operation, "transaction.commit")
      assert.isFalse(client.writer.inTransaction)
      yield* client.transaction(insert(client, 1))
      assert.deepStrictEqual(yield* client.query("SELECT * FROM child"), [])
    })
  )

  it.scoped("keep the error at which SQLite rolled back by itself", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* insert(client, 1)
      const orRollback = client.execute("INSERT OR ROLLBACK INTO t (id) VALUES (1)")
      const error = yield* failureOf(client.transaction(Effect.zipRight(insert(client, 2), orRollback)))
      assert.strictEqual(error._tag, "DbConflict")
      assert.strictEqual(error.code, "SQLITE_CONSTRAINT_PRIMARYKEY")
      assert.deepStrictEqual(yield* ids(client), [1])
    })
  )

  it.scoped("do not commit, nor write on, after a rollback that the body swallowed", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* insert(client, 1)
      const error = yield* failureOf(
        client.transaction(
          Effect.gen(function* () {
            yield* insert(client, 2)
            yield* Effect.ignore(client.execute("INSERT OR ROLLBACK INTO t (id) VALUES (1)"))
            assert.strictEqual((yield* failureOf(insert(client, 3)))._tag, "DbConflict")
            assert.strictEqual((yield* failureOf(client.transaction(insert(client, 4))))._tag, "DbConflict")
          })
        )
      )
      assert.strictEqual(error.code, "SQLITE_CONSTRAINT_PRIMARYKEY")
      assert.deepStrictEqual(yield* ids(client), [1])
    })
  )

  for (const text of [
    "BEGIN",
    "begin immediate",
    "/* c */ COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT x",
    "RELEASE hub_1",
    ";COMMIT"
  ]) {
    it.scoped(`refuse \`${text}\` as a statement, inside and outside`, () =>
      Effect.gen(function* () {
        const client = yield* fileClient()
        assert.strictEqual((yield* failureOf(client.query(text)))._tag, "InvalidInput")
        assert.strictEqual((yield* failureOf(client.execute(text)))._tag, "InvalidInput")
        assert.strictEqual((yield* failureOf(client.sql.unsafe(text))).cause instanceof Error, true)
        assert.isFalse(client.writer.inTransaction)
        yield* client.transaction(
          Effect.zipRight(insert(client, 1), client.transaction(Effect.flip(client.execute(text))))
        )
        assert.deepStrictEqual(yield* ids(client), [1])
      })
    )
  }

  it.scoped("refuse a fiber that outlives them", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const go = yield* Deferred.make<void>()
      const orphan = yield* client.transaction(
        Effect.forkDaemon(Effect.zipRight(Deferred.await(go), failureOf(insert(client, 9))))
      )
      const { finish } = yield* openTransaction(client, 1)
      yield* Deferred.succeed(go, undefined)
      const error = yield* Fiber.join(orphan)
      assert.strictEqual(error._tag, "DbLocked")
      assert.strictEqual(error.code, "HUB_TRANSACTION_OVER")
      yield* finish
      assert.deepStrictEqual(yield* ids(client), [1])
    })
  )

  it.scoped("do not commit the unfinished savepoint of a fiber that outlives them", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const [half, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const nested = client.transaction(
        insert(client, 7).pipe(
          Effect.zipRight(Deferred.succeed(half, undefined)),
          Effect.zipRight(Deferred.await(go)),
          Effect.zipRight(insert(client, 8))
        )
      )
      const orphan = yield* client.transaction(
        insert(client, 1).pipe(
          Effect.zipRight(Effect.forkDaemon(failureOf(nested))),
          Effect.tap(() => Deferred.await(half))
        )
      )
      assert.deepStrictEqual(yield* ids(client), [1])
      // Another transaction, with a savepoint of the same name, is open when the orphan goes on and fails.
      yield* client.transaction(
        client.transaction(
          Effect.gen(function* () {
            yield* insert(client, 2)
            yield* Deferred.succeed(go, undefined)
            assert.strictEqual((yield* Fiber.join(orphan)).code, "HUB_TRANSACTION_OVER")
          })
        )
      )
      assert.deepStrictEqual(yield* ids(client), [1, 2])
    })
  )

  it.scoped("open no savepoint for a fiber that outlived them in somebody else's transaction", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const go = yield* Deferred.make<void>()
      const orphan = yield* client.transaction(
        Effect.forkDaemon(Effect.zipRight(Deferred.await(go), failureOf(client.transaction(insert(client, 9)))))
      )
      yield* client.transaction(
        client.transaction(
          Effect.gen(function* () {
            yield* insert(client, 1)
            yield* Deferred.succeed(go, undefined)
            assert.strictEqual((yield* Fiber.join(orphan)).code, "HUB_TRANSACTION_OVER")
          })
        )
      )
      assert.deepStrictEqual(yield* ids(client), [1])
    })
  )

  it.scoped("roll back although a forked stream of them is still being read", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      for (let id = 1; id <= 5; id++) yield* insert(client, id)
      const seen = yield* Deferred.make<void>()
      const outcomes = yield* Effect.forEach([false, true], (fails) =>
        Effect.gen(function* () {
          let stream: Fiber.Fiber<unknown, unknown> | undefined
          yield* Effect.exit(
            client.transaction(
              Effect.gen(function* () {
                yield* insert(client, fails ? 100 : 50)
                stream = yield* Effect.forkDaemon(
                  Stream.runForEach(
                    Stream.rechunk(
                      client.stream("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"),
                      1
                    ),
                    () => Deferred.succeed(seen, undefined)
                  )
                )
                yield* Deferred.await(seen)
                if (fails) return yield* Effect.fail("no")
              })
            )
          )
          assert.isFalse(client.writer.inTransaction)
          return yield* failureOf(Fiber.join(stream!))
        })
      )
      for (const outcome of outcomes) assert.propertyVal(outcome, "code", "HUB_TRANSACTION_OVER")
      yield* insert(client, 6)
      assert.deepStrictEqual(yield* ids(client), [1, 2, 3, 4, 5, 6, 50])
    })
  )
})

describe("the writing connection", () => {
  it.scoped("never writes into a transaction that somebody left open on it", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      client.writer.exec("BEGIN; INSERT INTO t (id) VALUES (9)")
      yield* insert(client, 1)
      client.writer.exec("BEGIN; INSERT INTO t (id) VALUES (9)")
      yield* client.transaction(insert(client, 2))
      assert.deepStrictEqual(yield* ids(client), [1, 2])
    })
  )
})

describe("temporary tables", () => {
  it.scoped("hide the tables whose names they take, until they are gone", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* insert(client, 1)
      assert.deepStrictEqual(yield* ids(client), [1])
      yield* client.execute("CREATE TEMP TABLE T (id)")
      yield* insert(client, 2)
      assert.deepStrictEqual(yield* ids(client), [2])
      assert.deepStrictEqual(yield* client.query('SELECT id FROM "t"'), [{ id: 2 }])
      assert.deepStrictEqual(Array.from(yield* Stream.runCollect(client.stream("SELECT id FROM [t]"))), [{ id: 2 }])
      assert.deepStrictEqual(yield* client.query("SELECT id FROM main.t"), [{ id: 1 }])
      yield* Effect.ignore(client.transaction(Effect.zipRight(client.execute("DROP TABLE t"), Effect.fail("no"))))
      assert.deepStrictEqual(yield* ids(client), [2])
      yield* client.execute("DROP TABLE temp.t")
      assert.deepStrictEqual(yield* ids(client), [1])
    })
  )
})

describe("savepoints", () => {
  for (const failing of [0, 1]) {
    it.scoped(`of siblings in parallel stand apart when number ${failing + 1} fails`, () =>
      Effect.gen(function* () {
        const client = yield* fileClient()
        const sibling = (n: number) =>
          client.transaction(
            Effect.gen(function* () {
              yield* insert(client, n)
              for (let i = 0; i < 5; i++) yield* Effect.yieldNow()
              if (n === failing) return yield* Effect.fail("no")
            })
          )
        yield* client.transaction(
          Effect.all([Effect.either(sibling(0)), Effect.either(sibling(1))], { concurrency: "unbounded" })
        )
        assert.deepStrictEqual(yield* ids(client), [1 - failing])
      })
    )
  }

  it.scoped("do not take a sibling's plain statement down with them", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const open = yield* Deferred.make<void>()
      yield* client.transaction(
        Effect.all(
          [
            Effect.either(
              client.transaction(
                Effect.gen(function* () {
                  yield* insert(client, 1)
                  yield* Deferred.succeed(open, undefined)
                  for (let i = 0; i < 20; i++) yield* Effect.yieldNow()
                  return yield* Effect.fail("no")
                })
              )
            ),
            Effect.zipRight(Deferred.await(open), insert(client, 2))
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.deepStrictEqual(yield* ids(client), [2])
    })
  )

  it.scoped("nest, and undo only what they hold", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const level = (depth: number): Effect.Effect<void, unknown> =>
        client.transaction(
          Effect.gen(function* () {
            yield* insert(client, depth)
            if (depth < 6) yield* Effect.either(level(depth + 1))
            if (depth === 4) return yield* Effect.fail("no")
          })
        )
      yield* level(0)
      assert.deepStrictEqual(yield* ids(client), [0, 1, 2, 3])
    })
  )

  it.scoped("undo their writes although the transaction around them reads a stream", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      for (let id = 1; id <= 3; id++) yield* insert(client, id)
      const [wrote, reading] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const [, streamed] = yield* client.transaction(
        Effect.all(
          [
            Effect.either(
              client.transaction(
                insert(client, 9).pipe(
                  Effect.zipRight(Deferred.succeed(wrote, undefined)),
                  Effect.zipRight(Deferred.await(reading)),
                  Effect.zipRight(Effect.fail("no"))
                )
              )
            ),
            Deferred.await(wrote).pipe(
              Effect.zipRight(
                failureOf(
                  Stream.runForEach(
                    client.stream("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"),
                    () => Deferred.succeed(reading, undefined)
                  )
                )
              )
            )
          ],
          { concurrency: "unbounded" }
        )
      )
      assert.strictEqual(streamed.code, "HUB_STREAM_CUT")
      assert.deepStrictEqual(yield* ids(client), [1, 2, 3])
    })
  )

  for (const [what, ended] of [
    ["failed", Exit.fail("wanted")],
    ["has unfinished savepoints", Exit.void]
  ] as const) {
    it.scopedLive(`a savepoint that ${what} and cannot be undone is not committed with the rest`, () =>
      Effect.gen(function* () {
        const client = yield* fileClient()
        const outer = client.beginNow(1_000)!
        const savepoint = yield* client.savepoint(outer.transaction)
        client.writer.exec("INSERT INTO t (id) VALUES (1)")
        yield* client.savepoint(savepoint.transaction)
        // SQLite undoes nothing while a statement is being read.
        const reading = client.writer.prepare("SELECT 1 UNION SELECT 2").iterate()
        reading.next()
        const exit = yield* Effect.exit(savepoint.end(ended))
        assert.isTrue(Exit.isFailure(exit))
        if (Exit.isFailure(ended)) assert.deepStrictEqual(exit, ended)
        reading.return?.()
        assert.isTrue(Exit.isFailure(yield* Effect.exit(outer.end(Exit.void))))
        assert.isFalse(client.lane.isHeld())
        yield* insert(client, 2)
        assert.deepStrictEqual(yield* ids(client), [2])
      })
    )
  }
})

describe("reserve", () => {
  it.scoped("refuses the fiber that holds it already, instead of a deadlock", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* client.sql.reserve
          const again = yield* failureOf(Effect.scoped(client.sql.reserve))
          assert.propertyVal(again.cause, "code", "HUB_REENTRANT")
          assert.strictEqual((yield* failureOf(client.transaction(Effect.void)))._tag, "DbLocked")
          assert.strictEqual((yield* failureOf(insert(client, 1)))._tag, "DbLocked")
        })
      )
      yield* insert(client, 1)
    })
  )

  it.scoped("rolls back what its scope leaves open, and works no longer after it", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const connection = yield* Effect.scoped(
        Effect.gen(function* () {
          const reserved = yield* client.sql.reserve
          yield* reserved.executeUnprepared("BEGIN", [], undefined)
          yield* reserved.execute("INSERT INTO t (id) VALUES (?)", [1], undefined)
          return reserved
        })
      )
      assert.deepStrictEqual(yield* ids(client), [])
      const late = yield* failureOf(connection.execute("INSERT INTO t (id) VALUES (2)", [], undefined))
      assert.propertyVal(late.cause, "code", "HUB_RESERVE_OVER")
    })
  )

  it.scoped("rolls back although a forked stream of it is still being read", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const seen = yield* Deferred.make<void>()
      const stream = yield* Effect.scoped(
        Effect.gen(function* () {
          const reserved = yield* client.sql.reserve
          yield* reserved.executeUnprepared("BEGIN", [], undefined)
          const fiber = yield* Effect.forkDaemon(
            Stream.runForEach(
              reserved.executeStream(
                "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c",
                [],
                undefined
              ),
              () => Deferred.succeed(seen, undefined)
            )
          )
          yield* Deferred.await(seen)
          return fiber
        })
      )
      assert.isFalse(client.writer.inTransaction)
      assert.propertyVal((yield* failureOf(Fiber.join(stream))).cause, "code", "HUB_RESERVE_OVER")
      yield* client.transaction(insert(client, 1))
    })
  )

  it.scoped("inside a transaction is the transaction", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* Effect.ignore(
        client.transaction(
          Effect.scoped(
            Effect.gen(function* () {
              const reserved = yield* client.sql.reserve
              yield* reserved.execute("INSERT INTO t (id) VALUES (1)", [], undefined)
              return yield* Effect.fail("no")
            })
          )
        )
      )
      assert.deepStrictEqual(yield* ids(client), [])
    })
  )
})

describe("closing", () => {
  it.scoped("waits for a running transaction, which may finish; later use fails with DbConnection", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(openClient({ path }), scope)
      yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
      const [begun, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const running = yield* Effect.fork(
        client.transaction(
          insert(client, 1).pipe(
            Effect.zipRight(Deferred.succeed(begun, undefined)),
            Effect.zipRight(Deferred.await(go)),
            Effect.zipRight(client.transaction(insert(client, 2)))
          )
        )
      )
      yield* Deferred.await(begun)
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* failureOf(ids(client)))._tag, "DbConnection")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(running)
      yield* Fiber.join(closing)
      assert.strictEqual(client.openHandles(), 0)
      for (const late of [
        ids(client),
        insert(client, 3),
        client.transaction(Effect.void),
        client.readOnly("SELECT 1"),
        Stream.runDrain(client.stream("SELECT 1"))
      ]) {
        assert.strictEqual((yield* failureOf<unknown, { readonly _tag: string }, never>(late))._tag, "DbConnection")
      }
      const again = yield* openClient({ path })
      assert.deepStrictEqual(yield* ids(again), [1, 2])
    })
  )
})
