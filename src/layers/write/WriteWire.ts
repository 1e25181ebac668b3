/**
 * How a write travels from one process to the one that writes for it: RPC over a socket.
 *
 * @since 0.1.0
 */
import { constants } from "node:buffer"
import * as NodeCrypto from "node:crypto"
import { Socket } from "@effect/platform/Socket"
import { SocketServer } from "@effect/platform/SocketServer"
import * as NodeSocket from "@effect/platform-node/NodeSocket"
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
import { DbError, DbQuery, InvalidInput, PrimaryUnreachable } from "../../errors/index.js"
import type { PrimaryRecord } from "../../services/Sharing.js"
import { nextTurn } from "../EventLoop.js"
import * as Endpoint from "./WriteEndpoint.js"

/**
 * Raised whenever an older process could misread a newer one.
 *
 * @since 0.1.0
 * @category constants
 */
export const protocol = 2

/** Characters of one frame, at most: a write carries a document, not a disk. */
const maxFrame = 32 * 1024 * 1024

/** What of it may be a payload or a result; the rest is for what travels beside them. */
const maxMessage = maxFrame - 64 * 1024

/** Of what is larger, before anything was done. */
const tooLarge = (operation: string, field: "payload" | "result", size: number) => {
  const allowed = `at most ${maxMessage} characters as JSON`
  return new InvalidInput({
    operation,
    code: "HUB_MESSAGE_TOO_LARGE",
    field,
    allowed,
    message: `The ${field} of this write is too large to travel between processes, and nothing was done: it has ${size} characters as JSON; allowed: ${allowed}`
  })
}

const sizeOf = (value: unknown): number => {
  try {
    return JSON.stringify(value).length
  } catch (cause) {
    if (cause instanceof RangeError) return constants.MAX_STRING_LENGTH
    throw cause
  }
}

/** Escaped, a character of text has six at most. */
const longestEscape = 6

/**
 * Fails with `InvalidInput` (`HUB_MESSAGE_TOO_LARGE`) if a result is too large to be sent back: to be asked while the
 * write can still be undone.
 *
 * @since 0.1.0
 * @category checks
 */
export const resultFits = (operation: string, result: string): Effect.Effect<void, InvalidInput> => {
  if (result.length * longestEscape <= maxMessage) return Effect.void
  const size = sizeOf(result)
  return size <= maxMessage ? Effect.void : Effect.fail(tooLarge(operation, "result", size))
}

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
    /** By the `uptime` of this machine. */
    deadline: Schema.Number
  },
  success: Schema.String,
  error: DbError
})

/**
 * Asked first, and without the secret: the primary shows that it has it too. What answers at the address of a primary
 * that has died may be anybody.
 */
const Hello = Rpc.make("Hello", { payload: { nonce: Schema.String }, success: Schema.String })

const Status = Rpc.make("Status", { success: PrimaryStatus, error: DbError })

const StepDown = Rpc.make("StepDown", { error: DbError })

const WireGroup = RpcGroup.make(Forward, Status, StepDown).middleware(Authorized).merge(RpcGroup.make(Hello))

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

/** What only one who has the secret can answer to a nonce. */
const proofOf = (secret: string, nonce: string): string =>
  NodeCrypto.createHmac("sha256", secret).update(nonce).digest("base64url")

const sameSecret = (given: string | undefined, secret: string): boolean => {
  const [a, b] = [Buffer.from(given ?? ""), Buffer.from(secret)]
  return a.length === b.length && NodeCrypto.timingSafeEqual(a, b)
}

/**
 * A defect of one handler must not look like a connection that broke: that would take every other write with it. One
 * that was only interrupted may look so: nobody knows how far it came, and under its key it is safe to send again.
 */
const handlerDied =
  (operation: string) =>
  (cause: Cause.Cause<DbError>): Effect.Effect<never, DbError> =>
    Option.match(Cause.failureOption(cause), {
      onSome: Effect.fail,
      onNone: () =>
        Cause.isInterruptedOnly(cause)
          ? Effect.fail(lost(operation))
          : Effect.zipRight(
              Effect.logError(`The handler of ${operation} died`, cause),
              Effect.fail(
                new DbQuery({
                  operation,
                  code: "HUB_HANDLER_DIED",
                  message: "The handler of this write died in the primary process, whose log says why"
                })
              )
            )
    })

/**
 * Listens until the scope closes; gives the address.
 *
 * @since 0.1.0
 * @category server
 */
export const serve = (
  secret: string,
  handlers: WireHandlers,
  transport: Endpoint.Transport = "socket"
): Effect.Effect<string, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const { address, server: socketServer } = yield* Endpoint.listen(transport)
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
            Forward: (write) => Effect.catchAllCause(handlers.forward(write), handlerDied(write.operation)),
            Status: () => handlers.status,
            StepDown: () => handlers.stepDown,
            Hello: ({ nonce }) => Effect.sync(() => proofOf(secret, nonce))
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
    yield* Effect.addFinalizer(() => nextTurn)
    return address
  })

/**
 * @since 0.1.0
 * @category models
 */
export interface PrimaryClient {
  readonly record: PrimaryRecord
  /**
   * `PrimaryUnreachable` with `applied: "unknown"` if the connection broke, `InvalidInput` (`HUB_MESSAGE_TOO_LARGE`) if
   * the payload is too large to be sent.
   */
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

const foreign = new PrimaryUnreachable({
  operation: "primary.connect",
  code: "HUB_FOREIGN_PRIMARY",
  message: "Another program answers at the address of the primary; nothing was sent to it"
})

/** A primary that lives answers the first question at once; longer than who asks for signs of life waits. */
const helloTimeout = "3 seconds"

/**
 * One connection to a primary, until the scope closes. What it answers is decoded; everything else is a lost answer.
 *
 * @since 0.1.0
 * @category client
 */
export const connect = (record: PrimaryRecord): Effect.Effect<PrimaryClient, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const socket = yield* NodeSocket.makeNet({ ...Endpoint.connectOptions(record.socket), openTimeout: "2 seconds" })
    const services = yield* Layer.build(
      RpcClient.layerProtocolSocket().pipe(
        Layer.provide(Layer.succeed(Socket, gathered(socket))),
        Layer.provide(serialization)
      )
    )
    const client = yield* Effect.provide(RpcClient.make(WireGroup, { spanPrefix: "effect-db-hub.forward" }), services)
    const answered = <A, E>(operation: string, request: Effect.Effect<A, E>): Effect.Effect<A, DbError> =>
      request.pipe(
        // A connection that is let go interrupts what was asked over it, and that is a lost answer too.
        Effect.catchAllCause((cause) => {
          const error = Cause.failureOption(cause)
          return Effect.fail(Option.isSome(error) && Schema.is(DbError)(error.value) ? error.value : lost(operation))
        })
      )
    const nonce = NodeCrypto.randomBytes(32).toString("base64url")
    const proof = yield* answered("primary.connect", client.Hello({ nonce })).pipe(
      Effect.timeoutFail({ duration: helloTimeout, onTimeout: () => lost("primary.connect") })
    )
    if (!sameSecret(proof, proofOf(record.secret, nonce))) return yield* Effect.fail(foreign)
    const call = <A, E>(operation: string, request: Effect.Effect<A, E>): Effect.Effect<A, DbError> =>
      answered(operation, RpcClient.withHeaders(request, { authorization: record.secret }))
    return {
      record,
      forward: (write: ForwardedWrite) =>
        Effect.suspend(() => {
          const size = sizeOf(write.payload)
          if (size > maxMessage) return Effect.fail(tooLarge(write.operation, "payload", size))
          return call(write.operation, client.Forward(write))
        }),
      status: call("primary.status", client.Status()),
      stepDown: call("primary.stepDown", client.StepDown())
    }
  }).pipe(Effect.mapError((error) => (Schema.is(DbError)(error) ? error : lost("primary.connect"))))
