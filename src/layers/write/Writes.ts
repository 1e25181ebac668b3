/**
 * What every channel does with an operation: check it, run it once, remember its result, announce the change.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import type * as Rpc from "@effect/rpc/Rpc"
import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DbCorrupt, type DbError, InvalidInput } from "../../errors/index.js"
import { type BackendShape, Json } from "../../services/Backend.js"
import type { AnyOperation, Change, WriteChannel, Written } from "../../services/WriteChannel.js"

/** How often the feed looks for what other processes wrote; its own writes wake it at once. */
const pollInterval = "100 millis"

/** Changes read at once. */
const feedPage = 500

/** Results as they are kept beside their keys and as they travel. */
interface StoredResults<A> {
  readonly encode: (result: A) => string
  readonly decode: (stored: unknown) => Effect.Effect<A, DbCorrupt>
}

const storedResults = <A, I>(success: Schema.Schema<A, I>, unreadable: () => DbCorrupt): StoredResults<A> => {
  const schema = Schema.parseJson(Schema.Struct({ result: Schema.optional(success) }))
  const encode = Schema.encodeSync(schema)
  const decode = Schema.decodeUnknownEither(schema)
  return {
    encode: (result) => encode({ result }),
    decode: (stored) => Either.mapBoth(decode(stored), { onLeft: unreadable, onRight: ({ result }) => result as A })
  }
}

/** A place in the feed: writer, then id. */
type Place = readonly [writer: number, id: number]

/** Other processes write in real time, also where a program runs under a test's clock. */
const realClock = Clock.make()

const wake = (woken: Queue.Dequeue<void>): Effect.Effect<void> =>
  Effect.withClock(Effect.race(Queue.take(woken), Effect.sleep(pollInterval)), realClock)

/** Equal for equal payloads, in whatever order the keys of their objects came. */
const hashOf = (payload: unknown): string => {
  const text = JSON.stringify(payload, (_key, value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).toSorted(([one], [other]) => (one < other ? -1 : 1)))
      : value
  )
  return NodeCrypto.createHash("sha256").update(text).digest("hex")
}

/** What was expected, without what was there: the message of a schema ends in the actual value. */
const expected = (message: string): string => message.replace(/, actual [\s\S]*$/, "")

const invalid = (backend: string, operation: string) => (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const field = issue?.path.join(".") || "payload"
  const allowed = expected(issue?.message ?? "")
  return new InvalidInput({ backend, operation, field, allowed, message: `${field} is not valid; allowed: ${allowed}` })
}

/**
 * An operation with its handler.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreparedWrite<R extends AnyOperation> {
  readonly tag: string
  /** The payload if it is valid, else `InvalidInput`. */
  readonly check: (input: unknown) => Effect.Effect<Rpc.Payload<R>, InvalidInput>
  /** As it travels. */
  readonly encode: (payload: Rpc.Payload<R>) => unknown
  readonly decode: (encoded: unknown) => Effect.Effect<Rpc.Payload<R>, InvalidInput>
  readonly encodeResult: (result: Rpc.Success<R>) => string
  readonly decodeResult: (stored: unknown) => Effect.Effect<Rpc.Success<R>, DbCorrupt>
  /** The statements of the write, for a transaction: with a key, those of the first write under it. */
  readonly write: (payload: Rpc.Payload<R>, key: string | undefined) => Effect.Effect<Rpc.Success<R>, DbError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Writes extends Pick<WriteChannel["Type"], "changes" | "latest"> {
  readonly prepare: <R extends AnyOperation>(
    operation: R,
    handler: (payload: Rpc.Payload<R>) => Effect.Effect<Written<Rpc.Success<R>>, DbError>
  ) => PreparedWrite<R>
  /** Says that something was committed, so that the feeds of this process look at once. */
  readonly committed: Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: BackendShape): Effect.Effect<Writes> =>
  Effect.gen(function* () {
    const { dialect, name } = backend
    /** Wakes the feeds of this process. */
    const committed = yield* PubSub.sliding<void>(1)

    const insertKey = dialect.insertIfAbsent(
      "db_hub_writes",
      ["idempotency_key", "operation", "payload_hash", "created_at"],
      ["idempotency_key"]
    )

    /** Runs the write unless one with the same key has been committed; its result is then that one's. */
    const once = <A>(
      tag: string,
      key: string,
      payloadHash: string,
      results: StoredResults<A>,
      write: Effect.Effect<A, DbError>
    ): Effect.Effect<A, DbError> =>
      Effect.gen(function* () {
        const { rowsAffected } = yield* backend.execute(insertKey, [key, tag, payloadHash, new Date()])
        if (rowsAffected === 1) {
          const result = yield* write
          const stored = results.encode(result)
          yield* backend.enqueue("UPDATE db_hub_writes SET result = ? WHERE idempotency_key = ?", [stored, key])
          return result
        }
        const [row] = yield* backend.query(
          "SELECT operation, payload_hash, result FROM db_hub_writes WHERE idempotency_key = ?",
          [key]
        )
        if (row?.["operation"] !== tag || row["payload_hash"] !== payloadHash) {
          const allowed = "a key that was never used with another operation or payload"
          return yield* Effect.fail(
            new InvalidInput({
              backend: name,
              operation: tag,
              field: "idempotency key",
              allowed,
              message: `The idempotency key stands for another write; allowed: ${allowed}`
            })
          )
        }
        return yield* results.decode(row["result"])
      })

    const announce = (tag: string, { ids }: Written<unknown>) =>
      ids.length === 0
        ? Effect.void
        : backend.enqueue("INSERT INTO db_hub_changes (store, operation, ids, created_at) VALUES (?, ?, ?, ?)", [
            tag.slice(0, tag.indexOf(".")),
            tag.slice(tag.indexOf(".") + 1),
            new Json(ids),
            new Date()
          ])

    /** The settled changes after a place in the feed, a page at most. */
    const page = ([writer, id]: Place): Effect.Effect<ReadonlyArray<readonly [Place, Change]>, DbError> =>
      Effect.map(
        backend.query(
          `SELECT id, writer, store, operation, ids, created_at FROM db_hub_changes
           WHERE (writer > ? OR (writer = ? AND id > ?)) AND ${dialect.writerOrder.settled}
           ORDER BY writer, id LIMIT ${feedPage}`,
          [writer, writer, id]
        ),
        (rows) =>
          rows.map((row) => {
            const place: Place = [Number(row["writer"]), Number(row["id"])]
            const change: Change = {
              cursor: place.join(":"),
              store: String(row["store"]),
              operation: String(row["operation"]),
              ids: row["ids"] as ReadonlyArray<string>,
              at: row["created_at"] as Date
            }
            return [place, change] as const
          })
      )

    const now: Effect.Effect<Place, DbError> = Effect.map(
      backend.query(
        `SELECT writer, id FROM db_hub_changes WHERE ${dialect.writerOrder.settled} ORDER BY writer DESC, id DESC LIMIT 1`
      ),
      ([row]): Place => (row === undefined ? [0, 0] : [Number(row["writer"]), Number(row["id"])])
    )

    const parsePlace = (cursor: string): Effect.Effect<Place, InvalidInput> => {
      const parts = /^(\d{1,16}):(\d{1,16})$/.exec(cursor)
      const allowed = "the cursor of a change"
      return parts === null
        ? Effect.fail(
            new InvalidInput({
              backend: name,
              operation: "WriteChannel.changes",
              field: "after",
              allowed,
              message: `after is no place in the feed; allowed: ${allowed}`
            })
          )
        : Effect.succeed([Number(parts[1]), Number(parts[2])])
    }

    const changes = (after?: string): Stream.Stream<Change, DbError> =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const woken = yield* PubSub.subscribe(committed)
          let place = yield* after === undefined ? now : parsePlace(after)
          const next: Effect.Effect<Chunk.Chunk<Change>, DbError> = Effect.flatMap(
            Effect.suspend(() => page(place)),
            (found) => {
              const last = found.at(-1)
              if (last === undefined) return Effect.zipRight(wake(woken), next)
              place = last[0]
              return Effect.succeed(Chunk.unsafeFromArray(found.map(([, change]) => change)))
            }
          )
          return Stream.repeatEffectChunk(next)
        })
      )

    return {
      changes,
      latest: Effect.map(now, (place) => place.join(":")),
      committed: Effect.asVoid(PubSub.publish(committed, undefined)),
      prepare: <R extends AnyOperation>(
        operation: R,
        handler: (payload: Rpc.Payload<R>) => Effect.Effect<Written<Rpc.Success<R>>, DbError>
      ): PreparedWrite<R> => {
        type Payload = Rpc.Payload<R>
        type Result = Rpc.Success<R>
        const tag = operation._tag
        const payloadSchema = operation.payloadSchema as Schema.Schema<Payload, unknown>
        const success = operation.successSchema as Schema.Schema<Result, unknown>
        const validate = Schema.validateEither(payloadSchema)
        const decode = Schema.decodeUnknownEither(payloadSchema)
        const encode = Schema.encodeSync(payloadSchema)
        const results = storedResults(success, () => unreadableResult(name, tag))
        return {
          tag,
          encode,
          check: (input) => Either.mapLeft(validate(input), invalid(name, tag)),
          decode: (encoded) => Either.mapLeft(decode(encoded), invalid(name, tag)),
          encodeResult: results.encode,
          decodeResult: results.decode,
          write: (payload, key) => {
            const write = Effect.flatMap(handler(payload), (done) => Effect.as(announce(tag, done), done.result))
            if (key === undefined) return write
            return Effect.suspend(() => once(tag, key, hashOf(encode(payload)), results, write))
          }
        }
      }
    }
  })

const unreadableResult = (backend: string, operation: string): DbCorrupt =>
  new DbCorrupt({
    backend,
    operation,
    applied: "yes",
    message: "The write was applied, but its stored result cannot be read"
  })
