import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Sqlite } from "effect-db-hub"
import { type DbError, PrimaryUnreachable } from "../../src/errors/index.js"
import { uptime } from "../../src/layers/EventLoop.js"
import * as Coordinator from "../../src/layers/write/Coordinator.js"
import { failureOf, setClock, temporaryFile } from "../support/index.js"

/** A coordinator on a new file, and a write that notes its name in a table when it is done. */
const setup = (options: Partial<Coordinator.CoordinatorOptions> = {}) =>
  Effect.gen(function* () {
    const backend = yield* Sqlite.make({ path: yield* temporaryFile })
    yield* backend.execute("CREATE TABLE done (n INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)")
    const fence = { guard: Effect.void as Effect.Effect<void, DbError> }
    const coordinator = yield* Coordinator.make(
      backend,
      backend.sharing!,
      { capacity: 256, maxGroup: 128, maxGroupMillis: 1_000, lockWait: 1_000, whenLocked: "wait", ...options },
      {
        guard: Effect.suspend(() => fence.guard),
        onCommit: () => {},
        onFenced: Effect.void
      }
    )
    const insert = (name: string) => backend.execute("INSERT INTO done (name) VALUES (?)", [name])
    const submit = <A>(source: string, write: Effect.Effect<A, DbError>, millis = 5_000) =>
      coordinator.submit({ source, operation: "test", deadline: uptime() + millis, write })
    /** Keeps the coordinator at work until it is opened. */
    const gate = yield* Deferred.make<void>()
    const blocked = yield* Deferred.make<void>()
    const block = Effect.fork(
      submit("gate", Effect.zipRight(Deferred.succeed(blocked, undefined), Deferred.await(gate)))
    ).pipe(Effect.tap(() => Deferred.await(blocked)))
    const names = Effect.map(backend.query("SELECT name FROM done ORDER BY n"), (rows) => rows.map(({ name }) => name))
    return { backend, block, coordinator, fence, insert, names, open: Deferred.succeed(gate, undefined), submit }
  })

const untilDepth = (coordinator: Coordinator.Coordinator, depth: number): Effect.Effect<void> =>
  Effect.flatMap(coordinator.metrics, (metrics) =>
    metrics.depth === depth ? Effect.void : Effect.zipRight(Effect.yieldNow(), untilDepth(coordinator, depth))
  )

describe("Coordinator", () => {
  it.scopedLive("a full queue says so at once, and what waits is done", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup({ capacity: 3 })
      yield* block
      const waiting = yield* Effect.forEach(["a", "b", "c"], (name) => Effect.fork(submit("one", insert(name))))
      yield* untilDepth(coordinator, 3)
      const error = yield* failureOf(submit("two", insert("d")))
      assert.deepStrictEqual([error._tag, error.applied, error.retryable], ["WriteOverloaded", "no", true])
      yield* open
      yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(yield* names, ["a", "b", "c"])
      const { completed, overloaded, maxDepth } = yield* coordinator.metrics
      assert.deepStrictEqual([completed, overloaded, maxDepth], [4, 1, 3])
    })
  )

  it.scopedLive("senders take turns, and each keeps its order", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const waiting = yield* Effect.forEach(["a1", "a2", "a3", "b1", "c1", "b2"], (name) =>
        Effect.fork(submit(name[0]!, insert(name)))
      )
      yield* untilDepth(coordinator, 6)
      yield* open
      yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(yield* names, ["a1", "b1", "c1", "a2", "b2", "a3"])
    })
  )

  it.scopedLive("a write that has all the time in the world waits for its turn", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const waiting = yield* Effect.forEach([Number.POSITIVE_INFINITY, 30 * 24 * 3_600_000], (millis) =>
        Effect.fork(submit("one", insert("patient"), millis))
      )
      yield* untilDepth(coordinator, 2)
      // Timers that are due have fired by then.
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
      yield* open
      yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(yield* names, ["patient", "patient"])
    })
  )

  it.scopedLive("a wall clock that is set ahead takes no write its time", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const waiting = yield* Effect.fork(submit("one", insert("a")))
      yield* untilDepth(coordinator, 1)
      yield* setClock(3_600_000)
      yield* open
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(yield* names, ["a"])
    })
  )

  it.scopedLive("a write whose time has passed, or whose sender has gone, is not begun", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const late = yield* Effect.fork(failureOf(submit("one", insert("late"), 30)))
      const gone = yield* Effect.fork(submit("one", insert("gone")))
      const kept = yield* Effect.fork(submit("one", insert("kept")))
      yield* untilDepth(coordinator, 3)
      yield* Fiber.interrupt(gone)
      const error = yield* Fiber.join(late)
      assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
      yield* open
      yield* Fiber.join(kept)
      assert.deepStrictEqual(yield* names, ["kept"])
      assert.strictEqual((yield* coordinator.metrics).dropped, 2)
    })
  )

  it.scopedLive("a write whose time passed while the one before it kept the event loop is not begun", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      // No timer fires between two writes of a commit.
      const slow = Effect.sync(() => {
        const end = performance.now() + 1_200
        while (performance.now() < end);
      })
      const first = yield* Effect.fork(submit("one", Effect.zipRight(slow, insert("first"))))
      const late = yield* Effect.fork(failureOf(submit("two", insert("late"), 1_000)))
      yield* untilDepth(coordinator, 2)
      yield* open
      yield* Fiber.join(first)
      const error = yield* Fiber.join(late)
      assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
      assert.deepStrictEqual(yield* names, ["first"])
    })
  )

  it.scopedLive("writes that wait are one commit, and one that fails is undone alone", () =>
    Effect.gen(function* () {
      const { backend, block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const fails = Effect.zipRight(insert("undone"), backend.execute("INSERT INTO done (name) VALUES (NULL)"))
      const waiting = yield* Effect.forEach([insert("a"), fails, insert("b")], (write) =>
        Effect.fork(Effect.either(submit("one", write)))
      )
      yield* untilDepth(coordinator, 3)
      yield* open
      const ends = yield* Effect.forEach(waiting, Fiber.join)
      assert.deepStrictEqual(
        ends.map((end) => (end._tag === "Left" ? end.left._tag : "done")),
        ["done", "DbConstraint", "done"]
      )
      assert.deepStrictEqual(yield* names, ["a", "b"])
      const { failed, groups, maxGroup } = yield* coordinator.metrics
      // The one that held them up was alone in its commit.
      assert.deepStrictEqual([failed, groups, maxGroup], [1, 2, 3])
    })
  )

  it.scopedLive("a write that outlasts its time is undone, and the next goes on", () =>
    Effect.gen(function* () {
      const { insert, names, submit } = yield* setup()
      const error = yield* failureOf(submit("one", Effect.zipRight(insert("slow"), Effect.never), 50))
      assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
      yield* submit("one", insert("next"))
      assert.deepStrictEqual(yield* names, ["next"])
    })
  )

  it.scopedLive(
    "a write that outlasts its time and cannot be interrupted is undone, and those beside it are done",
    () =>
      Effect.gen(function* () {
        const { block, coordinator, insert, names, open, submit } = yield* setup()
        yield* block
        const before = yield* Effect.fork(submit("one", insert("before")))
        const stuck = Effect.zipRight(insert("stuck"), Effect.uninterruptible(Effect.never))
        const stays = yield* Effect.fork(failureOf(submit("two", stuck, 1_000)))
        const after = yield* Effect.fork(submit("three", insert("after")))
        yield* untilDepth(coordinator, 3)
        yield* open
        yield* Effect.forEach([before, after], Fiber.join)
        const error = yield* Fiber.join(stays)
        assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
        assert.deepStrictEqual(yield* names, ["before", "after"])
      })
  )

  it.scopedLive("what is fenced off does none of its writes", () =>
    Effect.gen(function* () {
      const { fence, insert, names, submit } = yield* setup()
      fence.guard = Effect.fail(new PrimaryUnreachable({ operation: "fence", message: "another epoch" }))
      const error = yield* failureOf(submit("one", insert("a")))
      assert.deepStrictEqual([error._tag, error.applied], ["PrimaryUnreachable", "no"])
      assert.strictEqual((yield* failureOf(submit("one", insert("b"))))._tag, "PrimaryUnreachable")
      assert.deepStrictEqual(yield* names, [])
    })
  )

  it.scopedLive(
    "where a locked file means to write elsewhere, what waits for it fails as busy, and nothing is done",
    () =>
      Effect.gen(function* () {
        const { backend, insert, names, submit } = yield* setup({ whenLocked: "fail", lockWait: 20 })
        const [row] = yield* backend.query("SELECT file FROM pragma_database_list WHERE name = 'main'")
        const foreign = new Database(String(row?.["file"]))
        yield* Effect.addFinalizer(() => Effect.sync(() => foreign.close()))
        foreign.exec("BEGIN IMMEDIATE")
        const errors = yield* Effect.all(
          [failureOf(submit("one", insert("a"))), failureOf(submit("two", insert("b")))],
          {
            concurrency: "unbounded"
          }
        )
        foreign.exec("COMMIT")
        assert.deepStrictEqual(
          errors.map(({ _tag, applied }) => [_tag, applied]),
          [
            ["DbBusy", "no"],
            ["DbBusy", "no"]
          ]
        )
        yield* submit("one", insert("c"))
        assert.deepStrictEqual(yield* names, ["c"])
      })
  )

  it.scopedLive("draining finishes what was taken and refuses what comes", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, names, open, submit } = yield* setup()
      yield* block
      const taken = yield* Effect.fork(submit("one", insert("taken")))
      yield* untilDepth(coordinator, 1)
      const drained = yield* Effect.fork(coordinator.drain("5 seconds"))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* failureOf(submit("one", insert("later"))))._tag, "PrimaryUnreachable")
      yield* open
      yield* Fiber.join(taken)
      yield* Fiber.join(drained)
      assert.deepStrictEqual(yield* names, ["taken"])
    })
  )

  it.scopedLive("what is not done when the time for draining is over is undone, and said to be", () =>
    Effect.gen(function* () {
      for (const stuck of [Effect.never, Effect.uninterruptible(Effect.never)]) {
        const { coordinator, insert, names, submit } = yield* setup()
        const begun = yield* Deferred.make<void>()
        const write = Effect.zipRight(Effect.zipRight(insert("stuck"), Deferred.succeed(begun, undefined)), stuck)
        const stays = yield* Effect.fork(failureOf(submit("one", write, 60_000)))
        yield* Deferred.await(begun)
        const waits = yield* Effect.fork(failureOf(submit("one", insert("waits"), 60_000)))
        yield* untilDepth(coordinator, 1)
        yield* coordinator.drain("20 millis")
        for (const error of [yield* Fiber.join(stays), yield* Fiber.join(waits)]) {
          assert.deepStrictEqual([error._tag, error.applied], ["PrimaryUnreachable", "no"])
        }
        assert.deepStrictEqual(yield* names, [])
      }
    })
  )

  it.scopedLive("a guard that dies fails its writes and ends nothing", () =>
    Effect.gen(function* () {
      const { fence, insert, names, submit } = yield* setup()
      fence.guard = Effect.die("wanted")
      assert.strictEqual((yield* failureOf(submit("one", insert("a")))).applied, "no")
      fence.guard = Effect.void
      yield* submit("one", insert("b"))
      assert.deepStrictEqual(yield* names, ["b"])
    })
  )

  it.scopedLive("a write that its handler makes SQLite roll back takes those of its group along, and says so", () =>
    Effect.gen(function* () {
      const { backend, block, coordinator, insert, names, open, submit } = yield* setup()
      yield* backend.execute("CREATE TABLE one (x INTEGER UNIQUE)")
      yield* backend.execute("INSERT INTO one VALUES (1)")
      yield* block
      const hidden = Effect.ignore(backend.execute("INSERT OR ROLLBACK INTO one VALUES (1)"))
      const waiting = yield* Effect.forEach([insert("a"), Effect.zipRight(insert("b"), hidden), insert("c")], (write) =>
        Effect.fork(failureOf(submit("one", write as Effect.Effect<unknown, DbError>)))
      )
      yield* untilDepth(coordinator, 3)
      yield* open
      for (const fiber of waiting) assert.strictEqual((yield* Fiber.join(fiber)).applied, "no")
      yield* submit("one", insert("d"))
      assert.deepStrictEqual(yield* names, ["d"])
    })
  )

  it.scopedLive("a fiber that outlives its write opens no stream in the transaction of others", () =>
    Effect.gen(function* () {
      const { backend, insert, names, submit } = yield* setup()
      const [late, goOn] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const stream = Effect.zipRight(
        Deferred.await(late),
        failureOf(Stream.runDrain(backend.stream("SELECT * FROM done")))
      )
      const outlives = yield* submit("one", Effect.zipRight(insert("a"), Effect.forkDaemon(stream)))
      const begun = yield* Deferred.make<void>()
      const waits = Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(goOn))
      const other = yield* Effect.fork(submit("two", Effect.zipRight(insert("b"), waits)))
      yield* Deferred.await(begun)
      yield* Deferred.succeed(late, undefined)
      yield* Deferred.succeed(goOn, undefined)
      yield* Fiber.join(other)
      assert.strictEqual((yield* Fiber.join(outlives)).code, "HUB_TRANSACTION_OVER")
      assert.deepStrictEqual(yield* names, ["a", "b"])
    })
  )

  it.scopedLive("of writes that are traced and committed together, each has a span of its own", () =>
    Effect.gen(function* () {
      const { block, coordinator, insert, open, submit } = yield* setup()
      const spans: Array<string> = []
      const native = yield* Effect.tracer
      const tracer = Tracer.make({
        span: (name, parent, ...rest) => {
          const above = Option.getOrUndefined(parent)
          spans.push(`${name} of ${above?._tag === "Span" ? above.name : "nothing"}`)
          return native.span(name, parent, ...rest)
        },
        context: (run) => run()
      })
      yield* block
      const waiting = yield* Effect.forEach(["a", "b"], (name) =>
        Effect.fork(Effect.withTracer(Effect.withSpan(submit("one", insert(name)), name), tracer))
      )
      yield* untilDepth(coordinator, 2)
      yield* open
      yield* Effect.forEach(waiting, Fiber.join)
      assert.includeMembers(spans, ["sql.transaction of a", "sql.transaction of b"])
      assert.strictEqual(spans.filter((span) => span === "sql.execute of sql.transaction").length, 2)
    })
  )
})
