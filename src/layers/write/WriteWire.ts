/**
 * How a write travels from one process to the one that writes for it: RPC over a Unix socket.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { Socket } from "@effect/platform/Socket"
import { SocketServer } from "@effect/platform/SocketServer"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import * as Rpc from "@effect/rpc/Rpc"
import * as RpcClient from "@effect/rpc/RpcClient"
import * as RpcGroup from "@effect/rpc/RpcGroup"
import * as RpcMiddleware from "@effect/rpc/RpcMiddleware"
import * as RpcSerialization from "@effect/rpc/RpcSerialization"
import * as RpcServer from "@effect/rpc/RpcServer"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { DbConnection, DbError, PrimaryUnreachable } from "../../errors/index.js"
import type { PrimaryRecord } from "../../services/Sharing.js"

/**
 * Raised whenever an older process could misread a newer one.
 *
 * @since 0.1.0
 * @category constants
 */
export const protocol = 1

/** Bytes of one frame, at most: a write carries a document, not a disk. */
const maxFrame = 32 * 1024 * 1024

/** Shows that the sender may read the database: the secret stands in a file that only its owner can read. */
class Authorized extends RpcMiddleware.Tag<Authorized>()("effect-db-hub/Authorized", { failure: DbError }) {}

/**
 * @since 0.1.0
 * @category models
 */
export class PrimaryStatus extends Schema.Class<PrimaryStatus>("effect-db-hub/PrimaryStatus")({
  instance: Schema.String,
  epoch: Schema.Int,
  pid: Schema.Int,
  accepted: Schema.Int,
  completed: Schema.Int,
  failed: Schema.Int,
  dropped: Schema.Int,
  overloaded: Schema.Int,
  depth: Schema.Int,
  maxDepth: Schema.Int,
  groups: Schema.Int,
  maxGroup: Schema.Int
}) {}

/**
 * A write as it travels. The operations themselves differ from program to program, so the primary looks its handler up
 * and decodes the payload by the operation's own schema.
 *
 * @since 0.1.0
 * @category operations
 */
const Forward = Rpc.make("Forward", {
  payload: {
    operation: Schema.String,
    payload: Schema.Unknown,
    key: Schema.String,
    source: Schema.String,
    epoch: Schema.Int,
    /** The wall clock of this machine, in milliseconds. */
    deadline: Schema.Number
  },
  success: Schema.String,
  error: DbError
})

const Status = Rpc.make("Status", { success: PrimaryStatus, error: DbError })

const StepDown = Rpc.make("StepDown", { error: DbError })

const WireGroup = RpcGroup.make(Forward, Status, StepDown).middleware(Authorized)

/**
 * @since 0.1.0
 * @category models
 */
export type ForwardedWrite = Rpc.Payload<typeof Forward>

/**
 * @since 0.1.0
 * @category models
 */
export interface WireHandlers {
  readonly forward: (write: ForwardedWrite) => Effect.Effect<string, DbError>
  readonly status: Effect.Effect<PrimaryStatus, DbError>
  readonly stepDown: Effect.Effect<void>
}

const ndjson = RpcSerialization.makeNdjson({ maxBufferSize: maxFrame })

/** NDJSON whose characters may lie across two chunks, whose frames are objects, and whose large frames are read once. */
const serialization = Layer.succeed(
  RpcSerialization.RpcSerialization,
  RpcSerialization.RpcSerialization.of({
    ...ndjson,
    unsafeMake: () => {
      const parser = ndjson.unsafeMake()
      const decoder = new TextDecoder()
      let pieces: Array<string> = []
      let size = 0
      return {
        encode: parser.encode,
        decode: (data) => {
          const text = typeof data === "string" ? data : decoder.decode(data, { stream: true })
          pieces.push(text)
          size += text.length
          if (!text.includes("\n") && size <= maxFrame) return []
          const whole = pieces.join("")
          pieces = []
          size = 0
          const frames = parser.decode(whole)
          if (frames.every((frame) => typeof frame === "object" && frame !== null)) return frames
          throw new TypeError("a frame is no object")
        }
      }
    }
  })
)

/** What is written in one turn of the event loop is one system call, and wakes the other process once. */
const gathered = (socket: Socket): Socket => ({
  ...socket,
  writer: Effect.gen(function* () {
    const write = yield* socket.writer
    let waiting = ""
    const flush = () => {
      const text = waiting
      waiting = ""
      // A connection that broke ends its reader, which tells everyone who waits for an answer.
      if (text !== "") Effect.runFork(Effect.ignore(write(text)))
    }
    // Nobody waits for it here: a connection that was never made would be waited for without end.
    yield* Effect.addFinalizer(() => Effect.sync(flush))
    return (chunk) =>
      Effect.suspend(() => {
        if (typeof chunk !== "string") {
          flush()
          return write(chunk)
        }
        if (waiting === "") setImmediate(flush)
        waiting += chunk
        return Effect.void
      })
  })
})

const folderPrefix = "effect-db-hub-"

/** A folder that only this user can enter, with a name short enough for a socket's path. */
const privateFolder = Effect.acquireRelease(
  Effect.try({
    try: () => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), folderPrefix)),
    catch: () => listenFailed
  }),
  (folder) => Effect.sync(() => NodeFs.rmSync(folder, { recursive: true, force: true }))
)

const listenFailed = new DbConnection({
  operation: "primary.listen",
  code: "HUB_SOCKET",
  message: "No socket can be made in the folder for temporary files: check TMPDIR and its permissions"
})

/**
 * Takes away the socket of a primary that was killed.
 *
 * @since 0.1.0
 * @category server
 */
export const removeSocket = (socket: string): Effect.Effect<void> =>
  Effect.sync(() => {
    const folder = NodePath.dirname(socket)
    if (NodePath.basename(folder).startsWith(folderPrefix)) NodeFs.rmSync(folder, { recursive: true, force: true })
  })

const sameSecret = (given: string | undefined, secret: string): boolean => {
  const [a, b] = [Buffer.from(given ?? ""), Buffer.from(secret)]
  return a.length === b.length && NodeCrypto.timingSafeEqual(a, b)
}

/**
 * Listens until the scope closes; gives the path of the socket.
 *
 * @since 0.1.0
 * @category server
 */
export const serve = (secret: string, handlers: WireHandlers): Effect.Effect<string, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = NodePath.join(yield* privateFolder, "primary.sock")
    const socketServer = yield* Effect.mapError(NodeSocketServer.make({ path }), () => listenFailed)
    yield* Effect.try({ try: () => NodeFs.chmodSync(path, 0o600), catch: () => listenFailed })
    const authorized = Layer.succeed(Authorized, ({ headers }) =>
      sameSecret(headers["authorization"], secret)
        ? Effect.void
        : Effect.fail(
            new PrimaryUnreachable({
              operation: "primary.authorize",
              code: "HUB_WRONG_SECRET",
              message: "The primary does not know this secret; nothing was done: read the primary's record again"
            })
          )
    )
    yield* Layer.build(
      RpcServer.layer(WireGroup, { disableFatalDefects: true, spanPrefix: "effect-db-hub.primary" }).pipe(
        Layer.provide(
          WireGroup.toLayer({
            Forward: handlers.forward,
            Status: () => handlers.status,
            StepDown: () => handlers.stepDown
          })
        ),
        Layer.provide(authorized),
        Layer.provide(RpcServer.layerProtocolSocketServer),
        Layer.provide(
          Layer.succeed(SocketServer, {
            ...socketServer,
            run: (handler) => socketServer.run((socket) => handler(gathered(socket)))
          })
        ),
        Layer.provide(serialization)
      )
    )
    // What was answered in this turn goes out before the connections are closed.
    yield* Effect.addFinalizer(() =>
      Effect.async<void>((resume) => {
        setImmediate(() => resume(Effect.void))
      })
    )
    return path
  })

/**
 * @since 0.1.0
 * @category models
 */
export interface PrimaryClient {
  readonly record: PrimaryRecord
  /** `PrimaryUnreachable` with `applied: "unknown"` if the connection broke. */
  readonly forward: (write: ForwardedWrite) => Effect.Effect<string, DbError>
  readonly status: Effect.Effect<PrimaryStatus, DbError>
  readonly stepDown: Effect.Effect<void, DbError>
}

const lost = (operation: string) =>
  new PrimaryUnreachable({
    operation,
    code: "HUB_CONNECTION_LOST",
    applied: "unknown",
    message:
      "The connection to the primary process broke: the same write under the same idempotency key is safe to send"
  })

/**
 * One connection to a primary, until the scope closes. What it answers is decoded; everything else is a lost answer.
 *
 * @since 0.1.0
 * @category client
 */
export const connect = (record: PrimaryRecord): Effect.Effect<PrimaryClient, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const socket = yield* NodeSocket.makeNet({ path: record.socket, openTimeout: "2 seconds" })
    const services = yield* Layer.build(
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(Layer.succeed(Socket, gathered(socket))),
        Layer.provide(serialization)
      )
    )
    const client = yield* Effect.provide(RpcClient.make(WireGroup, { spanPrefix: "effect-db-hub.forward" }), services)
    const call = <A, E>(operation: string, request: Effect.Effect<A, E>): Effect.Effect<A, DbError> =>
      request.pipe(
        RpcClient.withHeaders({ authorization: record.secret }),
        // A connection that is let go interrupts what was asked over it, and that is a lost answer too.
        Effect.catchAllCause((cause) => {
          const error = Cause.failureOption(cause)
          return Effect.fail(Option.isSome(error) && Schema.is(DbError)(error.value) ? error.value : lost(operation))
        })
      )
    return {
      record,
      forward: (write: ForwardedWrite) => call(write.operation, client.Forward(write)),
      status: call("primary.status", client.Status()),
      stepDown: call("primary.stepDown", client.StepDown())
    }
  }).pipe(Effect.mapError((error) => (Schema.is(DbError)(error) ? error : lost("primary.connect"))))
