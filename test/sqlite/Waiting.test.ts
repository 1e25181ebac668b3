import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Lane from "../../src/layers/Lane.js"
import type { SqliteClient } from "../../src/layers/sqlite/SqliteClient.js"
import {
  elapsed,
  failureOf,
  fileClient,
  openClient,
  otherProcess,
  temporaryFile,
  ticksDuring
} from "../support/index.js"

const insert = (client: SqliteClient, id: number) => client.execute("INSERT INTO t (id) VALUES (?)", [id])
const count = (client: SqliteClient) =>
  Effect.map(client.query("SELECT count(*) AS n FROM t"), (rows) => Number(rows[0]?.["n"]))

/** Holds the lane in another fiber until the effect that it answers is run. */
const holdLane = (client: SqliteClient) =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    const finish = yield* Deferred.make<void>()
    const fiber = yield* Effect.fork(
      client.transaction(Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(finish)))
    )
    yield* Deferred.await(begun)
    return Effect.zipRight(Deferred.succeed(finish, undefined), Fiber.join(fiber))
  })

const timesOut = <A, E, R>(name: string, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    let outcome: Option.Option<unknown> = Option.none()
    const took = yield* elapsed(
      Effect.map(Effect.timeoutOption(effect, 50), (result) => {
        outcome = result
      })
    )
    yield* Effect.logDebug(`${name}: a timeout of 50 ms took ${took.toFixed(0)} ms`)
    assert.isTrue(Option.isNone(outcome), `${name} did not wait`)
    assert.isBelow(took, 200, name)
  })

describe("waiting for the lane", () => {
  it.scopedLive("ends with Effect.timeout, in a transaction, a statement, a stream and a reservation", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const release = yield* holdLane(client)
      yield* timesOut("transaction", client.transaction(insert(client, 1)))
      yield* timesOut("execute", insert(client, 2))
      yield* timesOut("template", client.sql`INSERT INTO t (id) VALUES (3)`)
      yield* timesOut("stream", Stream.runDrain(client.stream("INSERT INTO t (id) VALUES (4) RETURNING id")))
      yield* timesOut("reserve", Effect.scoped(client.sql.reserve))
      yield* release
      assert.strictEqual(yield* count(client), 0)
      yield* insert(client, 5)
      assert.isFalse(client.lane.isHeld())
    })
  )

  it.scopedLive("ends with DbBusy at the budget, of the options and of the transaction", () =>
    Effect.gen(function* () {
      const client = yield* fileClient({ busyTimeout: 60 })
      const release = yield* holdLane(client)
      for (const waiting of [insert(client, 1), client.transaction(Effect.void)]) {
        const error = yield* failureOf<unknown, { readonly _tag: string; readonly code?: string }, never>(waiting)
        assert.strictEqual(error.code, "HUB_LANE_BUSY")
        assert.strictEqual(error._tag, "DbBusy")
      }
      const own = yield* elapsed(failureOf(client.transaction(Effect.void, { busyTimeout: "1 millis" })))
      assert.isBelow(own, 50)
      yield* release
    })
  )

  it.scopedLive("may be without end", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const release = yield* holdLane(client)
      const waiting = yield* Effect.fork(
        client.transaction(Effect.succeed("got it"), { busyTimeout: Duration.infinity })
      )
      yield* Effect.sleep(30)
      yield* release
      assert.strictEqual(yield* Fiber.join(waiting), "got it")
    })
  )

  it.scopedLive("leaves nothing behind when it is interrupted 1,000 times, at any moment", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      let entered = 0
      let inside = 0
      const visit = client.transaction(
        Effect.acquireUseRelease(
          Effect.sync(() => {
            entered++
            assert.strictEqual(++inside, 1)
          }),
          () => Effect.yieldNow(),
          () => Effect.sync(() => inside--)
        )
      )
      let seed = 42
      const random = (below: number) => {
        seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
        return Math.floor(seed / 65_536) % below
      }
      for (let round = 0; round < 50; round++) {
        const release = yield* holdLane(client)
        const fibers = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.fork(visit))
        yield* Effect.yieldNow()
        const early = fibers.filter(() => random(3) === 0)
        yield* Fiber.interruptAll(early)
        // The rest is interrupted while the lane goes from hand to hand.
        const handing = yield* Effect.fork(release)
        for (let i = random(6); i > 0; i--) yield* Effect.yieldNow()
        yield* Effect.forEach(fibers, (fiber) => (random(2) === 0 ? Fiber.interruptFork(fiber) : Effect.void))
        yield* Fiber.join(handing)
        for (const exit of yield* Effect.forEach(fibers, Fiber.await)) {
          assert.isTrue(Exit.isSuccess(exit) || Exit.isInterrupted(exit))
        }
        assert.isFalse(client.lane.isHeld(), `round ${round}`)
        assert.isFalse(client.writer.inTransaction, `round ${round}`)
      }
      assert.isAbove(entered, 50)
      yield* insert(client, 1)
    })
  )

  it.live("hands the lane on when the next in line is interrupted exactly at the hand-over", () =>
    Effect.gen(function* () {
      const context = { backend: "test", operation: "test" }
      const lane = Lane.make()
      const finish = yield* Deferred.make<void>()
      const first = yield* Effect.fork(lane.hold(context, 1000, Deferred.await(finish)))
      yield* Effect.yieldNow()
      let secondRan = false
      const second = yield* Effect.fork(
        lane.hold(
          context,
          1000,
          Effect.sync(() => {
            secondRan = true
          })
        )
      )
      const third = yield* Effect.fork(lane.hold(context, 1000, Effect.succeed("third")))
      yield* Effect.yieldNow()
      // The release and the interruption reach the second fiber before it runs again.
      first.addObserver(() => second.unsafeInterruptAsFork(second.id()))
      Deferred.unsafeDone(finish, Effect.void)
      assert.strictEqual(yield* Fiber.join(third), "third")
      yield* Fiber.await(second)
      yield* Fiber.await(first)
      assert.isFalse(lane.isHeld())
      assert.isFalse(secondRan && lane.isHeld())
    })
  )
})

describe("waiting for another process", () => {
  it.scopedLive("blocks no timer for two seconds, then writes; reads go on meanwhile", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      yield* otherProcess(client.options.path, "hold", 2000)
      assert.strictEqual(yield* count(client), 0)
      const [ticks, took] = yield* ticksDuring(elapsed(insert(client, 1)))
      // Some 200 on an idle machine, none at all if the wait blocked the loop.
      assert.isAtLeast(ticks, 50)
      assert.isAbove(took, 1500)
      assert.deepStrictEqual(yield* client.query("SELECT id FROM t ORDER BY id"), [{ id: 1 }, { id: 1000 }])
    })
  )

  it.scopedLive("ends with DbBusy at the budget and with Effect.timeout, and nothing stays behind", () =>
    Effect.gen(function* () {
      const client = yield* fileClient({ busyTimeout: 100 })
      const patient = yield* openClient({ path: client.options.path })
      yield* otherProcess(client.options.path, "hold", 1500)
      yield* timesOut("transaction", patient.transaction(insert(patient, 1)))
      yield* timesOut("execute", insert(patient, 1))
      assert.isFalse(patient.lane.isHeld())
      for (const waiting of [insert(client, 1), client.transaction(Effect.void)]) {
        const error = yield* failureOf<unknown, { readonly _tag: string; readonly code?: string }, never>(waiting)
        assert.strictEqual(error._tag, "DbBusy")
        assert.strictEqual(error.code, "SQLITE_BUSY")
      }
      yield* insert(patient, 2)
      assert.deepStrictEqual(yield* client.query("SELECT id FROM t ORDER BY id"), [{ id: 2 }, { id: 1000 }])
    })
  )

  it.scopedLive("is interruptible also while a file is opened, and leaks no handle", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const options = { path, journalMode: "DELETE" } as const
      yield* Effect.scoped(
        Effect.flatMap(openClient(options), (client) => client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)"))
      )
      yield* otherProcess(path, "hold", 1000)
      yield* timesOut("opening", Effect.scoped(openClient(options)))
      const client = yield* openClient(options)
      assert.strictEqual(yield* count(client), 1)
    })
  )

  it.scopedLive("reads wait for the file lock where the journal mode makes them", () =>
    Effect.gen(function* () {
      const client = yield* fileClient({ journalMode: "DELETE" })
      assert.strictEqual(yield* count(client), 0)
      yield* otherProcess(client.options.path, "hold", 400)
      const [ticks, rows] = yield* ticksDuring(count(client))
      assert.strictEqual(rows, 1)
      assert.isAbove(ticks, 10)
    })
  )
})

describe("the event loop", () => {
  const loops: ReadonlyArray<readonly [string, (client: SqliteClient) => Effect.Effect<unknown, unknown>]> = [
    ["queries", (client) => Effect.repeatN(client.query("SELECT 1 AS n"), 29_999)],
    ["templates", (client) => Effect.repeatN(client.sql`SELECT 1 AS n`, 29_999)],
    ["reads of one transaction", (client) => client.transaction(Effect.repeatN(client.query("SELECT 1 AS n"), 29_999))]
  ]
  for (const [name, loop] of loops) {
    it.scopedLive(`turns during 30,000 ${name} in a loop`, () =>
      Effect.gen(function* () {
        const client = yield* fileClient()
        let turns = 0
        const other = yield* Effect.fork(
          Effect.forever(
            Effect.zipRight(
              Effect.sync(() => turns++),
              Effect.sleep(1)
            )
          )
        )
        const [ticks, took] = yield* ticksDuring(elapsed(loop(client)))
        yield* Fiber.interrupt(other)
        assert.isAtLeast(ticks, Math.min(10, Math.floor(took / 40)))
        assert.isAtLeast(ticks, 3)
        assert.isAtLeast(turns, 3)
      })
    )
  }

  it.scopedLive("turns during a loop on a reserved connection", () =>
    Effect.gen(function* () {
      const client = yield* fileClient()
      const [ticks] = yield* ticksDuring(
        Effect.scoped(
          Effect.flatMap(client.sql.reserve, (reserved) =>
            Effect.repeatN(reserved.execute("SELECT 1", [], undefined), 29_999)
          )
        )
      )
      assert.isAtLeast(ticks, 3)
    })
  )
})
