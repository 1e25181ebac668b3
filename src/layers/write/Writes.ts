/**
 * What every channel does with an operation: check it, run it once, remember its result, announce the change.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import type * as Rpc from "@effect/rpc/Rpc"
import * as Chunk from "effect/Chunk"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import * as Stream from "effect/Stream"
import { DbCorrupt, type DbError, type InvalidInput, invalidInput, NotFound } from "../../errors/index.js"
import { type BackendShape, Json, type Row } from "../../services/Backend.js"
import type { AnyOperation, Change, WriteChannel, Written } from "../../services/WriteChannel.js"
import * as Check from "../Check.js"
import { pause, realClock } from "../EventLoop.js"
import { deletePage } from "../sql/DeletePage.js"

/** How often the feed looks for what other processes wrote; its own writes wake it at once. */
const pollInterval = "100 millis"

const insertChange = "INSERT INTO db_hub_changes (store, operation, ids, created_at) VALUES (?, ?, ?, ?)"

const deleteKeys = deletePage("db_hub_writes", "idempotency_key", "created_at < ?", "created_at")

/** Changes read at once. */
const feedPage = 500

/** Most payloads and results are as they travel: then there is nothing to encode. */
const encodeOf = <A, I>(schema: Schema.Schema<A, I>): ((value: A) => I) =>
  SchemaAST.encodedAST(schema.ast) === schema.ast ? (value) => value as unknown as I : Schema.encodeSync(schema)

/** Results as they are kept beside their keys and as they travel. */
interface StoredResults<A> {
  readonly encode: (result: A) => string
  readonly decode: (stored: unknown) => Effect.Effect<A, DbCorrupt>
}

const storedResults = <A, I>(success: Schema.Schema<A, I>, unreadable: () => DbCorrupt): StoredResults<A> => {
  const encode = encodeOf(success)
  const decode = Schema.decodeUnknownEither(Schema.parseJson(Schema.Struct({ result: Schema.optional(success) })))
  return {
    encode: (result) => JSON.stringify({ result: encode(result) }),
    decode: (stored) => Either.mapBoth(decode(stored), { onLeft: unreadable, onRight: ({ result }) => result as A })
  }
}

const setResult = "UPDATE db_hub_writes SET result = ? WHERE idempotency_key = ?"

const findKey = "SELECT operation, payload_hash, result FROM db_hub_writes WHERE idempotency_key = ?"

/** A place in the feed: writer, then id. */
type Place = readonly [writer: number, id: number]

const wake = (woken: Queue.Dequeue<void>): Effect.Effect<void> =>
  Effect.withClock(Effect.race(Queue.take(woken), Effect.sleep(pollInterval)), realClock)

const inOrder = (value: unknown): unknown => {
  if (typeof value !== "object" || value === null || "toJSON" in value) return value
  if (Array.isArray(value)) return value.map(inOrder)
  const object = value as Readonly<Record<string, unknown>>
  return Object.fromEntries(
    Object.keys(object)
      .sort()
      .map((key) => [key, inOrder(object[key])])
  )
}

/** Equal for equal payloads, in whatever order the keys of their objects came. */
const hashOf = (payload: unknown): string =>
  NodeCrypto.createHash("sha256")
    .update(JSON.stringify(inOrder(payload)))
    .digest("hex")

/** What was expected, without what was there: the message of a schema ends in the actual value. */
const expected = (message: string): string =>
  message.replace(/, actual [\s\S]*$/, "").replaceAll("DateFromSelf", "a valid Date")

const invalid = (backend: string, operation: string) => (error: ParseResult.ParseError) => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  const field = issue?.path.join(".") || "payload"
  const allowed = expected(issue?.message ?? "")
  return invalidInput({ backend, operation }, field, "is not valid", allowed)
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
  readonly check: (input: unknown) => Either.Either<Rpc.Payload<R>, InvalidInput>
  /** As it travels. */
  readonly encode: (payload: Rpc.Payload<R>) => unknown
  readonly decode: (encoded: unknown) => Effect.Effect<Rpc.Payload<R>, InvalidInput>
  readonly encodeResult: (result: Rpc.Success<R>) => string
  readonly decodeResult: (stored: unknown) => Effect.Effect<Rpc.Success<R>, DbCorrupt>
  /**
   * The statements of the write, for a transaction: with a key, those of the first write under it. They run without that
   * key in their context: it stands for this write, not for those that its handler does as parts of it.
   */
  readonly write: (payload: Rpc.Payload<R>, key: string | undefined) => Effect.Effect<Rpc.Success<R>, DbError>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Writes extends Pick<WriteChannel["Type"], "changes" | "latest" | "prune"> {
  readonly prepare: <R extends AnyOperation>(
    operation: R,
    handler: (payload: Rpc.Payload<R>) => Effect.Effect<Written<Rpc.Success<R>>, DbError>
  ) => PreparedWrite<R>
  /** Prunes a minute after the start, and every hour; keeps no process alive by itself. */
  readonly pruneNowAndThen: (olderThan: Duration.DurationInput) => Effect.Effect<never>
  /** Says that something was committed, so that the feeds of this process look at once. */
  readonly committed: () => void
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: BackendShape): Effect.Effect<Writes> =>
  Effect.sync(() => {
    const { dialect, name } = backend
    /** What wakes the feeds of this process: one that is told while it looks will look once more. */
    const feeds = new Set<Queue.Queue<void>>()
    const subscribe = Effect.acquireRelease(
      Effect.tap(Queue.sliding<void>(1), (woken) => Effect.sync(() => feeds.add(woken))),
      (woken) => Effect.sync(() => feeds.delete(woken))
    )

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
      Effect.flatMap(backend.execute(insertKey, [key, tag, payloadHash, new Date()]), ({ rowsAffected }) =>
        rowsAffected === 1
          ? Effect.flatMap(write, (result) =>
              Effect.as(backend.enqueue(setResult, [results.encode(result), key]), result)
            )
          : earlier(tag, key, payloadHash, results)
      )

    /** The result of the write that was committed under a key, if it was the same write. */
    const earlier = <A>(tag: string, key: string, payloadHash: string, results: StoredResults<A>) =>
      Effect.flatMap(backend.query(findKey, [key]), ([row]): Effect.Effect<A, DbError> => {
        if (row?.["operation"] === tag && row["payload_hash"] === payloadHash) return results.decode(row["result"])
        const allowed = "a key that was never used with another operation or payload"
        return Effect.fail(
          invalidInput({ backend: name, operation: tag }, "idempotency key", "stands for another write", allowed)
        )
      })

    const announce = (store: string, operation: string, ids: ReadonlyArray<string>) =>
      ids.length === 0 ? Effect.void : backend.enqueue(insertChange, [store, operation, new Json(ids), new Date()])

    const { settled } = dialect.writerOrder

    /** What is settled, as a condition and its parameter: asked for before the changes are. */
    const untilSettled: Effect.Effect<readonly [condition: string, ...params: ReadonlyArray<number>], DbError> =
      settled === undefined
        ? Effect.succeed(["1 = 1"])
        : Effect.map(backend.query(settled), ([row]) => ["writer <= ?", Number(row?.["settled"])])

    const placeOf = (row: Row): Place => [Number(row["writer"]), Number(row["id"])]

    const changeColumns = "id, writer, store, operation, ids, created_at"

    /**
     * The settled changes after a place in the feed, a page at most: the rest of its writer's, then those of later
     * writers, since an index serves each and not both.
     */
    const page = ([writer, id]: Place): Effect.Effect<ReadonlyArray<readonly [Place, Change]>, DbError> =>
      Effect.gen(function* () {
        const [condition, ...until] = yield* untilSettled
        const rest = yield* backend.query(
          `SELECT ${changeColumns} FROM db_hub_changes WHERE writer = ? AND id > ? ORDER BY id LIMIT ${feedPage}`,
          [writer, id]
        )
        const later = yield* backend.query(
          `SELECT ${changeColumns} FROM db_hub_changes WHERE writer > ? AND ${condition}
           ORDER BY writer, id LIMIT ${feedPage}`,
          [writer, ...until]
        )
        return rest.concat(later.slice(0, feedPage - rest.length)).map((row) => {
          const place = placeOf(row)
          const change: Change = {
            cursor: place.join(":"),
            store: String(row["store"]),
            operation: String(row["operation"]),
            ids: row["ids"] as ReadonlyArray<string>,
            at: row["created_at"] as Date
          }
          return [place, change] as const
        })
      })

    /** The place up to which changes were forgotten. */
    const forgotten: Effect.Effect<Place, DbError> = Effect.map(
      backend.query("SELECT writer, change_id AS id FROM db_hub_forgotten_changes WHERE feed = 1"),
      ([row]) => (row === undefined ? [0, 0] : placeOf(row))
    )

    const now: Effect.Effect<Place, DbError> = Effect.gen(function* () {
      const [condition, ...until] = yield* untilSettled
      const [row] = yield* backend.query(
        `SELECT writer, id FROM db_hub_changes WHERE ${condition} ORDER BY writer DESC, id DESC LIMIT 1`,
        until
      )
      return row === undefined ? yield* forgotten : placeOf(row)
    })

    /** Fails where changes after a place were forgotten. */
    const remembered = ([writer, id]: Place): Effect.Effect<void, DbError> =>
      Effect.flatMap(forgotten, ([lastWriter, lastId]) =>
        lastWriter < writer || (lastWriter === writer && lastId <= id) ? Effect.void : Effect.fail(tooOld(name))
      )

    const forgetPlace = dialect.upsert("db_hub_forgotten_changes", ["feed", "writer", "change_id"], ["feed"])

    /** Forgets the oldest changes made before a time, a page of them at most: how many. */
    const forgetPage = (before: Date): Effect.Effect<number, DbError> =>
      backend.transaction(
        Effect.gen(function* () {
          const [condition, ...until] = yield* untilSettled
          const rows = yield* backend.query(
            `SELECT id, writer, created_at FROM db_hub_changes WHERE ${condition}
             ORDER BY writer, id LIMIT ${feedPage}${dialect.forUpdate}`,
            until
          )
          const young = rows.findIndex((row) => (row["created_at"] as Date) >= before)
          const old = young === -1 ? rows : rows.slice(0, young)
          const last = old.at(-1)
          if (last === undefined) return 0
          const [writer, id] = placeOf(last)
          yield* backend.enqueue(forgetPlace, [1, writer, id])
          yield* backend.enqueue("DELETE FROM db_hub_changes WHERE (writer, id) <= (?, ?)", [writer, id])
          return old.length
        })
      )

    /** The same for keys: in one statement they would keep all else waiting, for seconds if there are many. */
    const forgetKeys = (before: Date): Effect.Effect<number, DbError> =>
      Effect.map(backend.execute(deleteKeys, [before, feedPage]), ({ rowsAffected }) => rowsAffected)

    const prune: Writes["prune"] = ({ olderThan }) =>
      Effect.gen(function* () {
        const millis = Duration.toMillis(olderThan)
        // There is no date before which an endless time began.
        if (millis === Number.POSITIVE_INFINITY) return { changes: 0, keys: 0 }
        const before = new Date(Date.now() - millis)
        let [changes, keys] = [0, 0]
        for (let gone = feedPage; gone === feedPage; changes += gone) gone = yield* forgetPage(before)
        for (let gone = feedPage; gone === feedPage; keys += gone) gone = yield* forgetKeys(before)
        return { changes, keys }
      })

    const parsePlace = (cursor: string): Effect.Effect<Place, InvalidInput> => {
      const parts = /^(\d{1,16}):(\d{1,16})$/.exec(cursor)
      const allowed = "the cursor of a change"
      return parts === null
        ? Effect.fail(
            invalidInput(
              { backend: name, operation: "WriteChannel.changes" },
              "after",
              "is no place in the feed",
              allowed
            )
          )
        : Effect.succeed([Number(parts[1]), Number(parts[2])])
    }

    const changes = (after?: string): Stream.Stream<Change, DbError> =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const woken = yield* subscribe
          let place = yield* after === undefined ? now : parsePlace(after)
          yield* remembered(place)
          const next: Effect.Effect<Chunk.Chunk<Change>, DbError> = Effect.flatMap(
            Effect.suspend(() => page(place)),
            (found) => {
              const last = found.at(-1)
              if (last === undefined) return Effect.zipRight(wake(woken), next)
              const from = place
              place = last[0]
              const changes = Chunk.unsafeFromArray(found.map(([, change]) => change))
              return Effect.as(remembered(from), changes)
            }
          )
          return Stream.repeatEffectChunk(next)
        })
      )

    const pruneNowAndThen: Writes["pruneNowAndThen"] = (olderThan) =>
      Effect.zipRight(
        pause(60_000, { idle: true }),
        Effect.forever(Effect.zipRight(Effect.ignoreLogged(prune({ olderThan })), pause(3_600_000, { idle: true })))
      )

    return {
      changes,
      prune,
      pruneNowAndThen,
      latest: Effect.map(now, (place) => place.join(":")),
      committed: () => {
        for (const woken of feeds) woken.unsafeOffer(undefined)
      },
      prepare: <R extends AnyOperation>(
        operation: R,
        handler: (payload: Rpc.Payload<R>) => Effect.Effect<Written<Rpc.Success<R>>, DbError>
      ): PreparedWrite<R> => {
        type Payload = Rpc.Payload<R>
        type Result = Rpc.Success<R>
        const tag = operation._tag
        const [store, change] = [tag.slice(0, tag.indexOf(".")), tag.slice(tag.indexOf(".") + 1)]
        const payloadSchema = operation.payloadSchema as Schema.Schema<Payload, unknown>
        const success = operation.successSchema as Schema.Schema<Result, unknown>
        const isPayload = Check.make(payloadSchema)
        const withoutUndefined = Check.withoutUndefined(payloadSchema)
        const validate = Schema.validateEither(payloadSchema)
        const decode = Schema.decodeUnknownEither(payloadSchema)
        const encode = encodeOf(payloadSchema)
        const results = storedResults(success, () => unreadableResult(name, tag))
        return {
          tag,
          encode,
          // Most payloads are as they should be, and telling so is far cheaper than telling what is wrong.
          check: (input) =>
            isPayload(input)
              ? Either.right(input)
              : Either.mapLeft(validate(withoutUndefined(input)), invalid(name, tag)),
          decode: (encoded) => Either.mapLeft(decode(encoded), invalid(name, tag)),
          encodeResult: results.encode,
          decodeResult: results.decode,
          write: (payload, key) => {
            const write = Effect.flatMap(handler(payload), (done) =>
              Effect.as(announce(store, change, done.ids), done.result)
            )
            if (key === undefined) return write
            return Effect.suspend(() => once(tag, key, hashOf(encode(payload)), results, write))
          }
        }
      }
    }
  })

const tooOld = (backend: string): NotFound =>
  new NotFound({
    backend,
    operation: "WriteChannel.changes",
    entity: "change",
    message: "Changes after that place were forgotten: read what you need anew, and go on from `latest`"
  })

const unreadableResult = (backend: string, operation: string): DbCorrupt =>
  new DbCorrupt({
    backend,
    operation,
    applied: "yes",
    message: "The write was applied, but its stored result cannot be read"
  })
