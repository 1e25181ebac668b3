import * as NodeFs from "node:fs"
import * as NodeNet from "node:net"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Sqlite } from "effect-db-hub"
import { DbBusy, DbConstraint, type DbError, UnknownOperation, WriteOverloaded } from "../../src/errors/index.js"
import { uptime } from "../../src/layers/EventLoop.js"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import * as Wire from "../../src/layers/write/WriteWire.js"
import { Backend, type BackendShape } from "../../src/services/Backend.js"
import { operation, WriteChannel, withWriteTimeout } from "../../src/services/WriteChannel.js"
import {
  failureOf,
  lockSeenByOthers,
  otherProcess,
  setClock,
  temporaryFile,
  temporaryFolder,
  ticksDuring
} from "../support/index.js"

const Append = operation("Test.append", { payload: { n: Schema.Int } })

/** Notes the length of its text, and answers with one of another length. */
const Text = operation("Test.text", { payload: { text: Schema.String, answer: Schema.Int }, success: Schema.String })

/** A channel on a handle of its own, as another process would have it; `first` runs in its writes before all else. */
const open = (
  path: string,
  options: ForwardingWrites.ForwardingOptions = {},
  first: (n: number) => Effect.Effect<void> = () => Effect.void,
  journalMode: "WAL" | "DELETE" = "WAL",
  seen: (backend: BackendShape) => BackendShape = (backend) => backend
) =>
  Effect.gen(function* () {
    const backend = seen(yield* Sqlite.make({ path, journalMode }))
    yield* backend.execute("CREATE TABLE IF NOT EXISTS list (at INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER NOT NULL)")
    const services = yield* Layer.build(Layer.provide(ForwardingWrites.layer(options), Layer.succeed(Backend, backend)))
    const channel = Context.get(services, WriteChannel)
    const handleAppend = () =>
      channel.handle(Append, ({ n }) =>
        Effect.as(Effect.zipRight(first(n), backend.execute("INSERT INTO list (n) VALUES (?)", [n])), {
          result: undefined,
          ids: [String(n)]
        })
      )
    const handleText = () =>
      channel.handle(Text, ({ answer, text }) =>
        Effect.as(backend.execute("INSERT INTO list (n) VALUES (?)", [text.length]), {
          result: "x".repeat(answer),
          ids: []
        })
      )
    const numbers = Effect.map(backend.query("SELECT n FROM list ORDER BY at"), (rows) =>
      rows.map(({ n }) => Number(n))
    )
    return { backend, channel, handleAppend, handleText, numbers }
  })

/** Where this process makes temporary files, until the scope closes. */
const setTemporary = (folder: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = process.env["TMPDIR"]
      process.env["TMPDIR"] = folder
      return before
    }),
    (before) =>
      Effect.sync(() => {
        if (before === undefined) delete process.env["TMPDIR"]
        else process.env["TMPDIR"] = before
      })
  )

const soon = Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(500))

/** The first process of a file, once it is its primary. */
const openPrimary = (path: string, first?: (n: number) => Effect.Effect<void>) =>
  Effect.tap(open(path, {}, first), ({ backend }) => Effect.retry(ForwardingWrites.probePrimary(backend), soon))

const until = <A>(effect: Effect.Effect<A, unknown>, isSo: (value: A) => boolean) =>
  Effect.retry(
    Effect.filterOrFail(effect, isSo, () => "not yet"),
    soon
  )

/** A primary that answers forwarded writes as the test says, from a scope of its own. */
const servePrimary = (
  backend: BackendShape,
  epoch: number,
  forward: (write: Wire.ForwardedWrite) => Effect.Effect<string, DbError>,
  protocol = Wire.protocol
) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    const handlers = { forward, status: Effect.never, stepDown: Effect.void }
    const socket = yield* Scope.extend(Wire.serve("secret", handlers), scope)
    const record = { instance: `test ${epoch}`, epoch, slot: 0, socket, secret: "secret", protocol }
    yield* backend.sharing!.publish(record)
    return Scope.close(scope, Exit.void)
  })

/** A primary that was stopped: it is connected with, and says nothing. */
const publishSilent = (backend: BackendShape) =>
  Effect.gen(function* () {
    const socket = NodePath.join(yield* temporaryFolder, "primary.sock")
    yield* Effect.acquireRelease(
      Effect.async<() => void>((resume) => {
        const connections = new Set<NodeNet.Socket>()
        const server = NodeNet.createServer((connection) => connections.add(connection))
        const close = () => {
          server.close()
          for (const connection of connections) connection.destroy()
        }
        server.listen(socket, () => resume(Effect.succeed(close)))
      }),
      (close) => Effect.sync(close)
    )
    yield* backend.sharing!.publish({
      instance: "silent",
      epoch: 1,
      slot: 0,
      socket,
      secret: "",
      protocol: Wire.protocol
    })
  })

/** Characters that fit into no message. */
const large = 33 * 1024 * 1024

/** As a container sees it that has the database with others, and a folder for temporary files of its own. */
const inContainer = (backend: BackendShape): BackendShape => {
  const sharing = backend.sharing!
  const own = new Set<string>()
  return {
    ...backend,
    sharing: {
      ...sharing,
      read: Effect.map(sharing.read, (record) =>
        record === undefined || own.has(record.socket) ? record : { ...record, socket: `/none${record.socket}` }
      ),
      publish: (record) => {
        own.add(record.socket)
        return sharing.publish(record)
      }
    }
  }
}

describe("ForwardingWrites", () => {
  it.scopedLive("a write whose first answer was lost is unknown, whatever refuses it when it is sent again", () =>
    Effect.gen(function* () {
      const context = { operation: "Test.append", message: "refused" }
      const refusals = [
        [new UnknownOperation(context), "UnknownOperation"],
        [new DbConstraint({ ...context, reason: "check" }), "DbConstraint"],
        [new WriteOverloaded(context), "WriteTimeout"],
        [new DbBusy(context), "WriteTimeout"]
      ] as const
      for (const [refusal, tag] of refusals) {
        const path = yield* temporaryFile
        const backend = yield* Sqlite.make({ path })
        assert.isTrue(yield* backend.sharing!.tryLock(0))
        const arrived = yield* Deferred.make<void>()
        const kill = yield* servePrimary(backend, 1, () =>
          Effect.zipRight(Deferred.succeed(arrived, undefined), Effect.never)
        )
        const { handleAppend } = yield* open(path, { strategy: "forward-always", timeout: "1 second" })
        const sent = yield* Effect.fork(failureOf(handleAppend()({ n: 1 })))
        yield* Deferred.await(arrived)
        yield* servePrimary(backend, 2, () => Effect.fail(refusal))
        yield* kill
        const error = yield* Fiber.join(sent)
        assert.deepStrictEqual([error._tag, error.applied], [tag, "unknown"])
      }
    })
  )

  it.scopedLive("a handler that dies in the primary is an error of its write alone, which is not sent again", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      let runs = 0
      const gate = yield* Deferred.make<void>()
      const begun = yield* Deferred.make<void>()
      const primary = yield* openPrimary(path, (n) => {
        runs++
        if (n === 1) return Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
        return n === 2 ? Effect.die(new Error("a fault of the handler")) : Effect.void
      })
      primary.handleAppend()
      const { handleAppend, numbers } = yield* open(path, { strategy: "forward-always" })
      const append = handleAppend()
      const other = yield* Effect.fork(append({ n: 1 }))
      yield* Deferred.await(begun)
      const dies = yield* Effect.fork(failureOf(append({ n: 2 })))
      yield* Deferred.succeed(gate, undefined)
      const error = yield* Fiber.join(dies)
      assert.deepStrictEqual([error._tag, error.code, error.applied], ["DbQuery", "HUB_HANDLER_DIED", "no"])
      yield* Fiber.join(other)
      assert.deepStrictEqual([yield* numbers, runs], [[1], 2])
    })
  )

  it.scopedLive(
    "a channel that ends finishes the writes that wait here, and says of later ones that they were not done",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const scope = yield* Scope.make()
        const gates = [yield* Deferred.make<void>(), yield* Deferred.make<void>()] as const
        const begun = [yield* Deferred.make<void>(), yield* Deferred.make<void>()] as const
        const { backend } = yield* open(path, { strategy: "local-only" })
        const channel = yield* Scope.extend(
          open(path, { localWait: "5 seconds" }, (n) =>
            n > 1
              ? Effect.void
              : Effect.zipRight(Deferred.succeed(begun[n as 0 | 1], undefined), Deferred.await(gates[n as 0 | 1]))
          ),
          scope
        )
        const append = channel.handleAppend()
        const first = yield* Effect.fork(append({ n: 0 }))
        yield* Deferred.await(begun[0])
        // The second waits for the first, the third for the commit that the second is in.
        const second = yield* Effect.fork(append({ n: 1 }))
        yield* Effect.yieldNow()
        yield* Deferred.succeed(gates[0], undefined)
        yield* Deferred.await(begun[1])
        const third = yield* Effect.fork(append({ n: 2 }))
        yield* Effect.yieldNow()
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* Effect.yieldNow()
        yield* Deferred.succeed(gates[1], undefined)
        yield* Effect.forEach([first, second, third], Fiber.join)
        yield* Fiber.join(closing)
        const numbers = Effect.map(backend.query("SELECT n FROM list ORDER BY at"), (rows) => rows.map(({ n }) => n))
        assert.deepStrictEqual(yield* numbers, [0, 1, 2])
        const error = yield* failureOf(append({ n: 3 }))
        assert.strictEqual(error.applied, "no")
      })
  )

  it.scopedLive("a dead primary's socket that cannot be taken away keeps nobody from its place", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      const socket = NodePath.join(NodeOs.tmpdir(), `effect-db-hub-${"x".repeat(300)}`, "primary.sock")
      yield* backend.sharing!.publish({
        instance: "dead",
        epoch: 1,
        slot: 0,
        socket,
        secret: "",
        protocol: Wire.protocol
      })
      yield* backend.execute("UPDATE db_hub_primary SET epoch = 1")
      const { numbers, handleAppend } = yield* openPrimary(path)
      yield* handleAppend()({ n: 1 })
      assert.deepStrictEqual(yield* numbers, [1])
    })
  )

  it.scopedLive("a primary does no write that was meant for another epoch, and one of its own", () =>
    Effect.gen(function* () {
      const { backend, handleAppend, numbers } = yield* openPrimary(yield* temporaryFile)
      handleAppend()
      const record = yield* Effect.map(backend.sharing!.read, Option.fromNullable)
      const { epoch } = yield* ForwardingWrites.probePrimary(backend)
      const { forward } = yield* Wire.connect(Option.getOrThrow(record))
      const write = { operation: "Test.append", source: "test", deadline: uptime() + 5_000 }
      for (const other of [epoch - 1, epoch + 1]) {
        const error = yield* Effect.flip(forward({ ...write, payload: { n: other }, key: `${other}`, epoch: other }))
        assert.deepInclude(error, { _tag: "PrimaryUnreachable", code: "HUB_OTHER_EPOCH", applied: "no" })
      }
      yield* forward({ ...write, payload: { n: 7 }, key: "own", epoch })
      assert.deepStrictEqual(yield* numbers, [7])
    })
  )

  it.scopedLive(
    "a file whose contents went back, as when a backup is restored over it, has a primary that is found",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const backend = yield* Sqlite.make({ path })
        const socket = NodePath.join(NodeOs.tmpdir(), "effect-db-hub-gone", "primary.sock")
        yield* backend.sharing!.publish({
          instance: "gone",
          epoch: 7,
          slot: 0,
          socket,
          secret: "",
          protocol: Wire.protocol
        })
        const primary = yield* openPrimary(path)
        const { epoch, instance } = yield* ForwardingWrites.probePrimary(primary.backend)
        assert.deepStrictEqual(yield* backend.query("SELECT epoch, instance FROM db_hub_primary"), [
          { epoch, instance }
        ])
        assert.isAbove(epoch, 7)
      })
  )

  it.scopedLive("a wall clock that is set back gives no write more time", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      assert.isTrue(yield* backend.sharing!.tryLock(0))
      const { handleAppend } = yield* open(path, { strategy: "forward-always", timeout: "500 millis" })
      const waits = yield* Effect.fork(failureOf(handleAppend()({ n: 1 })))
      yield* Effect.yieldNow()
      yield* setClock(-3_600_000)
      const error = yield* Effect.timeout(Fiber.join(waits), "5 seconds")
      assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
    })
  )

  it.scopedLive(
    "a handler that never ends is undone when its time is over, also in this process, and others write on",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        for (const stuck of [Effect.never, Effect.uninterruptible(Effect.never)]) {
          const { handleAppend, numbers } = yield* open(path, {}, (n) => (n === 1 ? stuck : Effect.void))
          const append = handleAppend()
          const stays = yield* Effect.fork(failureOf(withWriteTimeout("300 millis")(append({ n: 1 }))))
          yield* Effect.yieldNow()
          yield* append({ n: 2 })
          const error = yield* Fiber.join(stays)
          assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
          assert.notInclude(yield* numbers, 1)
        }
      })
  )

  it.scopedLive("a write waits no longer for the lock than it has time", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { handleAppend, numbers } = yield* open(path, { localWait: "30 seconds" })
      yield* otherProcess(path, "hold", 20_000)
      const error = yield* Effect.timeout(
        failureOf(withWriteTimeout("50 millis")(handleAppend()({ n: 1 }))),
        "10 seconds"
      )
      assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
      assert.deepStrictEqual(yield* numbers, [])
    })
  )

  it.scopedLive("without a WAL, too, writes wait for a reader as long as they have time, here and at the primary", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* open(path, {}, undefined, "DELETE")
      yield* Effect.retry(ForwardingWrites.probePrimary(primary.backend), soon)
      const other = yield* open(path, { strategy: "forward-always" }, undefined, "DELETE")
      const appends = [primary.handleAppend(), other.handleAppend()]
      const foreign = new Database(path, { readonly: true })
      yield* Effect.addFinalizer(() => Effect.sync(() => foreign.close()))
      foreign.exec("BEGIN")
      foreign.prepare("SELECT * FROM list").all()
      const writing = yield* Effect.fork(Effect.forEach(appends, (append, n) => append({ n }), { concurrency: 2 }))
      // Longer than a commit waits for the readers of the file.
      yield* Effect.sleep("1500 millis")
      foreign.exec("COMMIT")
      yield* Fiber.join(writing)
      assert.sameMembers(yield* other.numbers, [0, 1])
    })
  )

  it.scopedLive(
    "a primary of another version of the program keeps its place; writes are done here, or told as not done",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const backend = yield* Sqlite.make({ path })
        assert.isTrue(yield* backend.sharing!.tryLock(0))
        const next = Wire.protocol + 1
        yield* servePrimary(backend, 7, () => Effect.die("another language"), next)
        const options = { deadAfter: "10 millis", timeout: "2 seconds" } as const
        const forwards = yield* open(path, { ...options, strategy: "forward-always" })
        const error = yield* failureOf(forwards.handleAppend()({ n: 1 }))
        assert.deepStrictEqual([error._tag, error.applied], ["WriteTimeout", "no"])
        const here = yield* open(path, { ...options, localWait: "1 millis" })
        yield* otherProcess(path, "exec", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
        yield* otherProcess(path, "hold", 100)
        yield* here.handleAppend()({ n: 2 })
        assert.deepStrictEqual(yield* here.numbers, [2])
        assert.deepInclude(yield* backend.sharing!.read, { epoch: 7, protocol: next })
        const probed = yield* failureOf(ForwardingWrites.probePrimary(backend))
        assert.deepStrictEqual([probed._tag, probed.code], ["DbUnsupported", "HUB_OTHER_PROTOCOL"])
      })
  )

  it.scopedLive(
    "what keeps a process from being the primary is told once; a folder that is too deep for a socket does not",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        yield* setTemporary(NodePath.join(folder, "d".repeat(90)))
        yield* Effect.scoped(openPrimary(NodePath.join(folder, "deep.db")))
        yield* setTemporary("/none")
        const said: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel.label} ${String(message)}`))
        const logged = Effect.provide(Logger.replace(Logger.defaultLogger, logger))
        yield* logged(open(NodePath.join(folder, "none.db")))
        // Time for some elections.
        yield* Effect.sleep("1 second")
        assert.lengthOf(said, 1)
        assert.match(said[0]!, /^WARN No primary of primary: .*TMPDIR/)
      })
  )

  it.scopedLive("a write that has all the time in the world is done by the primary, too", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* openPrimary(path)
      primary.handleAppend()
      const { handleAppend, numbers } = yield* open(path, { strategy: "forward-always" })
      yield* withWriteTimeout(Number.POSITIVE_INFINITY)(handleAppend()({ n: 1 })).pipe(Effect.timeout("5 seconds"))
      assert.deepStrictEqual(yield* numbers, [1])
    })
  )

  it.scopedLive("a channel that comes later in the process of the primary leaves it its lock", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* openPrimary(path)
      assert.strictEqual(yield* lockSeenByOthers(`${path}-primary-lock0`), "held")
      const { sharing } = yield* Sqlite.make({ path })
      assert.isFalse(yield* sharing!.tryLock(0))
      assert.strictEqual(yield* lockSeenByOthers(`${path}-primary-lock0`), "held")
    })
  )

  it.scopedLive("a failure names what was asked of the primary", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: yield* temporaryFile })
      const errors = yield* Effect.all([
        failureOf(ForwardingWrites.probePrimary(backend)),
        failureOf(ForwardingWrites.stepDown(backend))
      ])
      assert.deepStrictEqual(
        errors.map(({ operation }) => operation),
        ["primary.status", "primary.stepDown"]
      )
    })
  )

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

  it.scopedLive("of many that find the primary hanging, one takes its place, and the others leave it to it", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      assert.isTrue(yield* backend.sharing!.tryLock(0))
      // Its status never comes.
      yield* servePrimary(backend, 1, () => Effect.never)
      yield* Effect.forEach(Array.from({ length: 12 }), () => open(path, { deadAfter: "2 seconds" }))
      yield* Effect.retry(ForwardingWrites.probePrimary(backend), soon)
      // Time for whoever judged the old one to come forward, too.
      yield* Effect.sleep("1500 millis")
      assert.strictEqual((yield* ForwardingWrites.probePrimary(backend)).epoch, 2)
    })
  )

  it.scopedLive("a write that came while the primary hung is done as soon as another takes its place", () =>
    Effect.gen(function* () {
      for (const next of ["this process", "another"]) {
        const path = yield* temporaryFile
        const backend = yield* Sqlite.make({ path })
        assert.isTrue(yield* backend.sharing!.tryLock(0))
        yield* publishSilent(backend)
        const { handleAppend, numbers } = yield* open(path, {
          strategy: "forward-always",
          deadAfter: next === "another" ? "60 seconds" : "500 millis",
          // Less than the first answer on a connection is waited for.
          timeout: "2900 millis"
        })
        const append = handleAppend()
        if (next === "another") (yield* open(path, { deadAfter: "500 millis" })).handleAppend()
        yield* Effect.forEach([1, 2, 3], (n) => append({ n }), { concurrency: "unbounded" })
        assert.sameMembers(yield* numbers, [1, 2, 3])
      }
    })
  )

  it.scopedLive(
    "a write or a result that is too large for a message is refused with its size, and disturbs no other",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const gate = yield* Deferred.make<void>()
        const begun = yield* Deferred.make<void>()
        const primary = yield* openPrimary(path, () =>
          Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
        )
        primary.handleAppend()
        primary.handleText()
        const { handleAppend, handleText, numbers } = yield* open(path, {
          strategy: "forward-always",
          timeout: "20 seconds"
        })
        const other = yield* Effect.fork(handleAppend()({ n: 1 }))
        yield* Deferred.await(begun)
        const write = handleText()
        const payload = yield* failureOf(write({ text: "x".repeat(large), answer: 0 }))
        assert.deepInclude(payload, { _tag: "InvalidInput", field: "payload", applied: "no", operation: "Test.text" })
        assert.match(payload.message, /has 346\d{5} characters.*at most 334\d{5} characters/)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(other)
        const result = yield* failureOf(write({ text: "", answer: large }))
        assert.deepInclude(result, { _tag: "InvalidInput", field: "result", applied: "no" })
        assert.deepStrictEqual(yield* numbers, [1])
        const fits = large - 2 * 1024 * 1024
        assert.lengthOf(yield* write({ text: "x".repeat(fits), answer: fits }), fits)
      })
  )

  it.scopedLive("where the lock can be had in time, a write that is too large for a message is done here", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* openPrimary(path)
      primary.handleText()
      const { backend, handleText, numbers } = yield* open(path, { localWait: "1 millis", timeout: "20 seconds" })
      const write = handleText()
      yield* backend.execute("CREATE TABLE t (id INTEGER)")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* otherProcess(path, "hold", 20_000)
          const refused = yield* failureOf(withWriteTimeout("3 seconds")(write({ text: "x".repeat(large), answer: 0 })))
          assert.deepInclude(refused, { _tag: "InvalidInput", field: "payload", applied: "no" })
        })
      )
      yield* otherProcess(path, "hold", 500)
      yield* write({ text: "x".repeat(large), answer: 0 })
      yield* otherProcess(path, "hold", 500)
      yield* write({ text: "", answer: large })
      assert.deepStrictEqual(yield* numbers, [large, 0])
    })
  )

  it.scopedLive(
    "a record of the primary that was damaged is written anew, by the next primary or the one there is",
    () =>
      Effect.gen(function* () {
        const damages: ReadonlyArray<(file: string) => void> = [
          (file) => NodeFs.writeFileSync(file, "no record ".repeat(1_000)),
          (file) => NodeFs.truncateSync(file, 5_000),
          (file) => NodeFs.rmSync(file),
          (file) => {
            const db = new Database(file)
            db.exec("UPDATE record SET epoch = 1000, record = 'no record'")
            db.close()
          }
        ]
        for (const damage of damages) {
          const path = yield* temporaryFile
          yield* Effect.scoped(openPrimary(path))
          damage(`${path}-primary`)
          const primary = yield* openPrimary(path)
          primary.handleAppend()
          const { backend, handleAppend, numbers } = yield* open(path, { strategy: "forward-always" })
          yield* handleAppend()({ n: 1 })
          const { epoch } = yield* ForwardingWrites.probePrimary(backend)
          damage(`${path}-primary`)
          const late = yield* open(path, { strategy: "forward-always" })
          yield* late.handleAppend()({ n: 2 })
          assert.strictEqual((yield* ForwardingWrites.probePrimary(backend)).epoch, epoch)
          assert.deepStrictEqual(yield* numbers, [1, 2])
        }
      })
  )

  it.scopedLive("what stands in the place of the record is told with what to do, and writes are done here", () =>
    Effect.gen(function* () {
      const told = /^A file beside the database \(hub\.db-primary\) cannot be opened .*owner and mode/
      const path = yield* temporaryFile
      NodeFs.mkdirSync(`${path}-primary`)
      const said: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => void said.push(`${logLevel.label} ${String(message)}`))
      const logged = Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      const forwards = yield* logged(open(path, { strategy: "forward-always" }))
      const error = yield* failureOf(forwards.handleAppend()({ n: 1 }))
      assert.deepStrictEqual([error._tag, error.applied], ["DbConnection", "no"])
      assert.match(error.message, told)
      const here = yield* open(path, { localWait: "1 millis" })
      yield* here.backend.execute("CREATE TABLE t (id INTEGER)")
      yield* otherProcess(path, "hold", 500)
      yield* here.handleAppend()({ n: 2 })
      assert.deepStrictEqual(yield* here.numbers, [2])
      assert.lengthOf(said, 1)
      assert.match(said[0]!.replace("WARN No primary of primary: ", ""), told)
    })
  )

  it.scopedLive("a record that another user has made for himself alone is told with what to do", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { sharing } = yield* Sqlite.make({ path })
      NodeFs.writeFileSync(`${path}-primary`, "", { mode: 0 })
      NodeFs.chmodSync(NodePath.dirname(path), 0o755)
      // The superuser may open everything.
      const mayAll = process.geteuid?.() === 0
      if (mayAll) process.seteuid?.(65_534)
      const error = yield* Effect.ensuring(
        failureOf(sharing!.read),
        Effect.sync(() => {
          if (mayAll) process.seteuid?.(0)
        })
      )
      assert.strictEqual(error._tag, "DbConnection")
      assert.match(error.message, /\(hub\.db-primary\) cannot be opened .*owner and mode/)
    })
  )

  it.scopedLive(
    "processes that cannot reach each other take the place from each other; what they are told of a write is so",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const strategies = ["forward-always", "forward-always", "local-first"] as const
        const options = { deadAfter: "500 millis", timeout: "1 second", localWait: "1 millis" } as const
        const told = new Map<number, string>()
        const channels = yield* Effect.forEach(strategies, (strategy) =>
          open(path, { ...options, strategy }, undefined, "WAL", inContainer)
        )
        const epoch = Effect.map(channels[0]!.backend.query("SELECT epoch FROM db_hub_primary"), ([row]) =>
          Number(row!["epoch"])
        )
        let isOver = false
        const writing = yield* Effect.fork(
          Effect.forEach(
            channels,
            ({ handleAppend }, channel) => {
              const append = handleAppend()
              let n = channel
              return Effect.whileLoop({
                while: () => !isOver,
                body: () => {
                  n += channels.length
                  return Effect.map(
                    Effect.zipLeft(Effect.either(append({ n })), Effect.sleep("5 millis")),
                    (done) => [n, done] as const
                  )
                },
                step: ([n, done]) =>
                  told.set(n, done._tag === "Right" ? "done" : `${done.left._tag} ${done.left.applied}`)
              })
            },
            { concurrency: "unbounded" }
          )
        )
        yield* until(epoch, (last) => last >= 4)
        isOver = true
        yield* Fiber.join(writing)
        const found = yield* channels[0]!.numbers
        const there = new Set(found)
        assert.strictEqual(there.size, found.length)
        for (const [n, what] of told) {
          assert.include(["done", "WriteTimeout no", "WriteTimeout unknown"], what)
          if (!what.endsWith("unknown")) assert.strictEqual(there.has(n), what === "done", `${n}: ${what}`)
        }
      })
  )

  it.scopedLive("a damaged file beside the database is not taken for the database", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const backend = yield* Sqlite.make({ path })
      NodeFs.writeFileSync(`${path}-primary`, "no database ".repeat(100))
      const error = yield* failureOf(ForwardingWrites.probePrimary(backend))
      assert.strictEqual(error._tag, "DbCorrupt")
      assert.match(error.message, /beside the database .*-primary/)
    })
  )

  it.scopedLive("a primary whose epoch has passed does no more writes under it", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* openPrimary(path)
      primary.handleAppend()
      const { backend, handleAppend, numbers } = yield* open(path, { strategy: "forward-always" })
      yield* backend.execute("UPDATE db_hub_primary SET epoch = 99")
      yield* handleAppend()({ n: 1 })
      assert.isAbove((yield* ForwardingWrites.probePrimary(backend)).epoch, 99)
      assert.deepStrictEqual(yield* numbers, [1])
    })
  )

  it.scopedLive("very many old keys are forgotten while the event loop runs on", () =>
    Effect.gen(function* () {
      const { backend, channel } = yield* open(yield* temporaryFile, { strategy: "local-only" })
      const count = 50_000
      yield* backend.execute(
        `WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ${count})
         INSERT INTO db_hub_writes (idempotency_key, operation, payload_hash, created_at)
         SELECT hex(randomblob(16)), 'Test.append', '', ? FROM n`,
        [new Date(0)]
      )
      const [ticks, { keys }] = yield* ticksDuring(channel.prune({ olderThan: "7 days" }))
      assert.strictEqual(keys, count)
      assert.isAbove(ticks, 10)
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
        yield* sharing!.publish({
          instance: "dead",
          epoch: epoch + 1,
          slot: 0,
          socket,
          secret: "",
          protocol: Wire.protocol
        })
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

  it.scopedLive("once a write that was sent is done, the next ones are done here again", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const primary = yield* openPrimary(path)
      primary.handleAppend()
      const { handleAppend, numbers } = yield* open(path, { localWait: "2 millis", contention: "1 minute" })
      const append = handleAppend()
      const accepted = Effect.map(ForwardingWrites.probePrimary(primary.backend), (status) => status.accepted)
      const foreign = new Database(path, { timeout: 5_000 })
      yield* Effect.addFinalizer(() => Effect.sync(() => foreign.close()))
      foreign.exec("BEGIN IMMEDIATE")
      const sent = yield* Effect.fork(append({ n: 1 }))
      yield* until(accepted, (count) => count === 1)
      foreign.exec("COMMIT")
      yield* Fiber.join(sent)
      for (const n of [2, 3, 4]) yield* append({ n })
      assert.deepStrictEqual(yield* numbers, [1, 2, 3, 4])
      assert.strictEqual(yield* accepted, 1)
    })
  )

  it.scopedLive("a write that is interrupted while its handler waits is undone, and keeps nothing from the next", () =>
    Effect.gen(function* () {
      for (const stuck of [Effect.never, Effect.uninterruptible(Effect.never)]) {
        const path = yield* temporaryFile
        const { backend, handleAppend, numbers } = yield* open(path, {}, (n) => (n === 1 ? stuck : Effect.void))
        const append = handleAppend()
        const waiting = yield* Effect.fork(append({ n: 1 }))
        yield* until(Effect.sync(backend.sharing!.isWriting), (isWriting) => isWriting)
        yield* Fiber.interrupt(waiting)
        yield* append({ n: 2 })
        assert.deepStrictEqual(yield* numbers, [2])
      }
    })
  )
})
