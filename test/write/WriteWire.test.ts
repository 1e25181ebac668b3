import * as NodeFs from "node:fs"
import * as NodeNet from "node:net"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { DbConflict, type DbError } from "../../src/errors/index.js"
import { uptime } from "../../src/layers/EventLoop.js"
import * as Endpoint from "../../src/layers/write/WriteEndpoint.js"
import * as Wire from "../../src/layers/write/WriteWire.js"
import { failureOf } from "../support/index.js"

const status = new Wire.PrimaryStatus({
  instance: "one",
  epoch: 1,
  pid: 1,
  accepted: 0,
  completed: 0,
  failed: 0,
  dropped: 0,
  overloaded: 0,
  depth: 0,
  maxDepth: 0,
  groups: 0,
  maxGroup: 0
})

const write = (payload: unknown): Wire.ForwardedWrite => ({
  operation: "Test.echo",
  payload,
  key: "k",
  source: "s",
  epoch: 1,
  deadline: uptime() + 5_000
})

const setup = (
  forward: (write: Wire.ForwardedWrite) => Effect.Effect<string, DbError>,
  transport?: Endpoint.Transport
) =>
  Effect.gen(function* () {
    const handlers = { forward, status: Effect.succeed(status), stepDown: Effect.void }
    const secret = "what only the owner can read"
    const socket = yield* Wire.serve(secret, handlers, transport)
    const record = { instance: "one", epoch: 1, slot: 0, socket, secret, protocol: Wire.protocol }
    return { socket, record, client: yield* Wire.connect(record) }
  })

const echo = ({ payload }: Wire.ForwardedWrite) => Effect.succeed(JSON.stringify(payload))

/** Writes bytes on a connection of its own and waits until it is answered or closed. */
const send = (socket: string, ...chunks: ReadonlyArray<string | Buffer>) =>
  Effect.async<string>((resume) => {
    const connection = NodeNet.connect(Endpoint.connectOptions(socket))
    const done = (answer: unknown) => {
      connection.destroy()
      resume(Effect.succeed(String(answer)))
    }
    connection.on("error", done).on("close", done).on("data", done)
    for (const chunk of chunks) connection.write(chunk)
  })

describe("the wire of forwarded writes", () => {
  it.scopedLive("only its owner can reach the socket", () =>
    Effect.gen(function* () {
      const { socket } = yield* setup(echo)
      assert.strictEqual(NodeFs.statSync(socket).mode & 0o777, 0o600)
      assert.strictEqual(NodeFs.statSync(NodePath.dirname(socket)).mode & 0o777, 0o700)
    })
  )

  it.scopedLive("garbage and frames without end harm only their own connection", () =>
    Effect.gen(function* () {
      const { client, socket } = yield* setup(echo)
      yield* client.status
      yield* send(socket, "not json\n")
      yield* send(socket, "null\n")
      yield* send(socket, '{"_tag":"Request","id":"1","tag":"Nothing","payload":{},"headers":[]}\n')
      yield* send(socket, Buffer.from([0xff, 0xfe, 0x00, 0x0a]))
      yield* send(socket, ...Array.from({ length: 40 }, () => Buffer.alloc(1024 * 1024, 0x61)))
      assert.strictEqual(yield* client.forward(write({ a: 1 })), '{"a":1}')
    })
  )

  it.scopedLive("a request without the secret is refused, and nothing is done", () =>
    Effect.gen(function* () {
      let calls = 0
      const { socket } = yield* setup(() => Effect.sync(() => String(calls++)))
      const request = { _tag: "Request", id: "1", tag: "Forward", payload: write({}) }
      for (const headers of [[], [["authorization", "guess"]]]) {
        assert.include(yield* send(socket, `${JSON.stringify({ ...request, headers })}\n`), "HUB_WRONG_SECRET")
      }
      assert.strictEqual(calls, 0)
    })
  )

  it.scopedLive("the primary of another database, or a stranger at its address, is not taken for ours", () =>
    Effect.gen(function* () {
      let calls = 0
      const { record } = yield* setup(() => Effect.sync(() => String(calls++)))
      const error = yield* failureOf(Wire.connect({ ...record, secret: "of another database" }))
      assert.deepStrictEqual(
        [error._tag, error.applied, error.code],
        ["PrimaryUnreachable", "no", "HUB_FOREIGN_PRIMARY"]
      )
      assert.strictEqual(calls, 0)
      const heard: Array<string> = []
      const stranger = yield* Effect.acquireRelease(
        Effect.async<NodeNet.Server>((resume) => {
          const server = NodeNet.createServer((connection) => {
            connection
              .on("error", () => {})
              .on("data", (data) => {
                heard.push(String(data))
                connection.end("HTTP/1.1 400 Bad Request\r\n\r\n")
              })
          })
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = stranger.address() as NodeNet.AddressInfo
      const refused = yield* failureOf(Wire.connect({ ...record, socket: `tcp://127.0.0.1:${port}` }))
      assert.strictEqual(refused._tag, "PrimaryUnreachable")
      assert.isNotEmpty(heard)
      assert.notInclude(heard.join(), record.secret)
    })
  )

  it.scopedLive("over TCP on the loopback it is the same", () =>
    Effect.gen(function* () {
      const { client, record, socket } = yield* setup(echo, "tcp")
      assert.match(socket, /^tcp:\/\/127\.0\.0\.1:\d+$/)
      yield* send(socket, "not json\n")
      assert.strictEqual(yield* client.forward(write({ a: 1 })), '{"a":1}')
      const error = yield* failureOf(Wire.connect({ ...record, secret: "guess" }))
      assert.strictEqual(error.code, "HUB_FOREIGN_PRIMARY")
    })
  )

  it("on Windows the socket is a named pipe", () => {
    const pipe = Endpoint.socketPath("win32", "C:\\Temp", "ab12")
    assert.strictEqual(pipe, "\\\\.\\pipe\\effect-db-hub-ab12")
    assert.deepStrictEqual(Endpoint.connectOptions(pipe), { path: pipe })
    assert.strictEqual(Endpoint.socketPath("linux", "/tmp", "ab12"), "/tmp/effect-db-hub-ab12/primary.sock")
    assert.deepStrictEqual(Endpoint.connectOptions("tcp://127.0.0.1:80"), { host: "127.0.0.1", port: 80 })
    assert.deepStrictEqual(Endpoint.connectOptions("tcp://example.com:80"), { path: "tcp://example.com:80" })
  })

  it("a folder that is too deep for the path of a socket is passed over", () => {
    const id = "0123456789ab"
    const fits = `/${"d".repeat(62)}`
    assert.strictEqual(Buffer.byteLength(Endpoint.socketPath("linux", fits, id)), 103)
    for (const folder of [`${fits}d`, `/${"ü".repeat(50)}`]) {
      assert.strictEqual(Endpoint.socketPath("linux", folder, id), `/tmp/effect-db-hub-${id}/primary.sock`)
    }
  })

  it.scopedLive("text of any script arrives as it was, also across the chunks of the socket", () =>
    Effect.gen(function* () {
      const { client } = yield* setup(echo)
      const text = "Zürich 東京 🦀 ".repeat(40_000)
      assert.strictEqual(yield* client.forward(write(text)), JSON.stringify(text))
    })
  )

  it.scopedLive("an error arrives with its type and its fields", () =>
    Effect.gen(function* () {
      const conflict = new DbConflict({
        operation: "Test.echo",
        reason: "unique",
        constraint: "t.id",
        message: "taken"
      })
      const { client } = yield* setup(() => Effect.fail(conflict))
      const error = yield* failureOf(client.forward(write({})))
      assert.instanceOf(error, DbConflict)
      assert.deepStrictEqual(error, conflict)
    })
  )

  it.scopedLive(
    "a write that was only interrupted in the primary is unknown, so that it is sent again; one that died is not",
    () =>
      Effect.gen(function* () {
        const { client } = yield* setup(({ key }) => (key === "k" ? Effect.interrupt : Effect.die("a defect")))
        const interrupted = yield* failureOf(client.forward(write({})))
        assert.deepStrictEqual([interrupted._tag, interrupted.applied], ["PrimaryUnreachable", "unknown"])
        const died = yield* failureOf(client.forward({ ...write({}), key: "other" }))
        assert.strictEqual(died.code, "HUB_HANDLER_DIED")
      })
  )

  it.scopedLive("an answer that a broken connection swallowed is unknown, and slow writes hold up no status", () =>
    Effect.gen(function* () {
      const { client, record } = yield* setup(() => Effect.never)
      const asked = yield* Effect.fork(failureOf(client.forward(write({}))))
      yield* client.status
      yield* failureOf(
        Effect.scoped(Effect.flatMap(Wire.connect({ ...record, socket: `${record.socket}x` }), (c) => c.status))
      )
      const lost = yield* Effect.scoped(
        Effect.gen(function* () {
          const other = yield* Wire.connect(record)
          const fiber = yield* Effect.fork(failureOf(other.forward(write({}))))
          yield* other.status
          return fiber
        })
      )
      const error = yield* lost
      assert.deepStrictEqual([error._tag, error.applied], ["PrimaryUnreachable", "unknown"])
      assert.isNull(asked.unsafePoll())
    })
  )
})
