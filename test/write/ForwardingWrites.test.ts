import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { Sqlite } from "effect-db-hub"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { Backend } from "../../src/services/Backend.js"
import { operation, WriteChannel } from "../../src/services/WriteChannel.js"
import { failureOf, temporaryFile } from "../support/index.js"

const Append = operation("Test.append", { payload: { n: Schema.Int } })

/** A channel on a handle of its own, as another process would have it. */
const open = (path: string, options: ForwardingWrites.ForwardingOptions = {}) =>
  Effect.gen(function* () {
    const backend = yield* Sqlite.make({ path })
    yield* backend.execute("CREATE TABLE IF NOT EXISTS list (at INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL)")
    const services = yield* Layer.build(Layer.provide(ForwardingWrites.layer(options), Layer.succeed(Backend, backend)))
    const channel = Context.get(services, WriteChannel)
    const handleAppend = () =>
      channel.handle(Append, ({ n }) =>
        Effect.as(backend.execute("INSERT INTO list (n) VALUES (?)", [n]), { result: undefined, ids: [String(n)] })
      )
    const numbers = Effect.map(backend.query("SELECT n FROM list ORDER BY at"), (rows) =>
      rows.map(({ n }) => Number(n))
    )
    return { backend, handleAppend, numbers }
  })

const soon = Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(500))

/** The first process of a file, once it is its primary. */
const openPrimary = (path: string) =>
  Effect.tap(open(path), ({ backend }) => Effect.retry(ForwardingWrites.probePrimary(backend), soon))

const until = <A>(effect: Effect.Effect<A, unknown>, isSo: (value: A) => boolean) =>
  Effect.retry(
    Effect.filterOrFail(effect, isSo, () => "not yet"),
    soon
  )

describe("ForwardingWrites", () => {
  it.scopedLive("an operation that the primary does not have is told by its name, and nothing is done", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* openPrimary(path)
      const { handleAppend, numbers } = yield* open(path, { strategy: "forward-always" })
      const error = yield* failureOf(handleAppend()({ n: 1 }))
      assert.deepStrictEqual([error._tag, error.operation, error.applied], ["UnknownOperation", "Test.append", "no"])
      assert.deepStrictEqual(yield* numbers, [])
    })
  )

  it.scopedLive("idempotency keys are forgotten after their time, and not before", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      const insert =
        "INSERT INTO db_hub_writes (idempotency_key, operation, payload_hash, created_at) VALUES (?, ?, ?, ?)"
      const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000)
      yield* backend.execute(insert, ["old", "Test.append", "", daysAgo(8)])
      yield* backend.execute(insert, ["young", "Test.append", "", daysAgo(6)])
      yield* open(path)
      const keys = Effect.map(backend.query("SELECT idempotency_key FROM db_hub_writes"), (rows) =>
        rows.map((row) => row["idempotency_key"])
      )
      assert.deepStrictEqual(yield* until(keys, (left) => left.length < 2), ["young"])
    })
  )

  it.scopedLive("the socket of a primary that was killed is taken away, and no folder of somebody else", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      const folders = ["effect-db-hub-", "somebody-"].map((prefix) =>
        NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), prefix))
      )
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const folder of folders) NodeFs.rmSync(folder, { recursive: true, force: true })
        })
      )
      const { sharing } = backend
      for (const folder of folders) {
        const socket = NodePath.join(folder, "primary.sock")
        const epoch = (yield* sharing!.read)?.epoch ?? 0
        yield* sharing!.publish({ instance: "dead", epoch: epoch + 1, slot: 0, socket, secret: "", protocol: 1 })
        yield* backend.execute("UPDATE db_hub_primary SET epoch = ?", [epoch + 1])
        yield* Effect.scoped(openPrimary(path))
      }
      assert.deepStrictEqual(folders.map(NodeFs.existsSync), [false, true])
    })
  )

  it.scopedLive("a write that was given up does not come after a later one of its sender", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* openPrimary(path)
      primary.handleAppend()
      const { handleAppend, numbers } = yield* open(path, { localWait: "2 millis", contention: "10 millis" })
      const append = handleAppend()
      const foreign = new Database(path, { timeout: 5_000 })
      yield* Effect.addFinalizer(() => Effect.sync(() => foreign.close()))
      const hold = Effect.acquireUseRelease(
        Effect.sync(() => foreign.exec("BEGIN IMMEDIATE")),
        () => Effect.sleep("15 millis"),
        () => Effect.sync(() => foreign.exec("COMMIT"))
      )
      const holding = yield* Effect.fork(Effect.forever(Effect.zipRight(hold, Effect.sleep("5 millis"))))
      let givenUp = 0
      for (let n = 0; n < 100; n++) {
        const done = yield* Effect.timeoutOption(append({ n }), "8 millis")
        if (Option.isNone(done)) givenUp++
      }
      yield* Fiber.interrupt(holding)
      yield* append({ n: 100 })
      const found = yield* numbers
      assert.isAbove(givenUp, 0)
      assert.deepStrictEqual(
        found,
        found.toSorted((a, b) => a - b)
      )
      assert.strictEqual(new Set(found).size, found.length)
    })
  )
})
