/**
 * The way every write of a store goes: a declared operation, one transaction, a change event.
 *
 * @since 0.1.0
 */
import * as Rpc from "@effect/rpc/Rpc"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { DbError } from "../errors/index.js"

/**
 * Declares a write: its name (`Store.operation`), the fields of its payload, and its result. Everything has a schema, so
 * the same declaration serves a call in this process and one that is sent to another.
 *
 * @since 0.1.0
 * @category constructors
 */
export const operation = <
  const Tag extends string,
  Fields extends Schema.Struct.Fields,
  Success extends Schema.Schema.AnyNoContext = typeof Schema.Void
>(
  tag: Tag,
  options: { readonly payload: Fields; readonly success?: Success }
): Operation<Tag, Schema.Struct<Fields>, Success> =>
  Rpc.make(tag, {
    payload: options.payload,
    success: (options.success ?? Schema.Void) as Success,
    error: DbError
  }) as Operation<Tag, Schema.Struct<Fields>, Success>

/**
 * A write as it is declared: handled here or by the process that writes for the others, with the same errors.
 *
 * @since 0.1.0
 * @category models
 */
export type Operation<
  Tag extends string,
  Payload extends Schema.Schema.Any,
  Success extends Schema.Schema.Any
> = Rpc.Rpc<Tag, Payload, Success, typeof DbError>

/**
 * Any operation.
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyOperation extends Rpc.Any {
  readonly payloadSchema: Schema.Schema.All
  readonly successSchema: Schema.Schema.Any
}

/**
 * The function of a store that submits an operation.
 *
 * @since 0.1.0
 * @category models
 */
export type Submit<R extends Rpc.Any> = (payload: Rpc.PayloadConstructor<R>) => Effect.Effect<Rpc.Success<R>, DbError>

/**
 * What a handler did: its result, and the ids of what it changed (none = nothing changed, and no event).
 *
 * @since 0.1.0
 * @category models
 */
export interface Written<A> {
  readonly result: A
  readonly ids: ReadonlyArray<string>
}

/**
 * A committed write.
 *
 * @since 0.1.0
 * @category models
 */
export interface Change {
  /** The place in the feed: give it to `changes` to go on after it. */
  readonly cursor: string
  readonly store: string
  readonly operation: string
  readonly ids: ReadonlyArray<string>
  readonly at: Date
}

/**
 * The key of the logical write that is under way; see `withIdempotencyKey`.
 *
 * @since 0.1.0
 * @category references
 */
export class IdempotencyKey extends Context.Reference<IdempotencyKey>()("effect-db-hub/IdempotencyKey", {
  defaultValue: (): string | undefined => undefined
}) {}

/**
 * Runs one write under a key: however often it is run with the same key and payload, it has one effect, and every run
 * has the first one's result. The same key with another payload is `InvalidInput`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withIdempotencyKey =
  (key: string) =>
  <A, E, R>(write: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(write, IdempotencyKey, key)

/**
 * How long a write may take in all, waiting included; see `withWriteTimeout`.
 *
 * @since 0.1.0
 * @category references
 */
export class WriteBudget extends Context.Reference<WriteBudget>()("effect-db-hub/WriteBudget", {
  defaultValue: (): Duration.Duration | undefined => undefined
}) {}

/**
 * Gives the writes of an effect another limit than the channel's (5 seconds where writes are forwarded); after it a
 * write fails with `WriteTimeout`. A channel that does not forward has no limit but the wait for the lock.
 *
 * @since 0.1.0
 * @category combinators
 */
export const withWriteTimeout =
  (timeout: Duration.DurationInput) =>
  <A, E, R>(write: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(write, WriteBudget, Duration.decode(timeout))

/**
 * The way of every write of the stores: checked, done once, and told to those who listen.
 *
 * @since 0.1.0
 * @category tags
 */
export class WriteChannel extends Context.Tag("effect-db-hub/WriteChannel")<
  WriteChannel,
  {
    /**
     * Takes the handler of an operation and gives the function that submits it. The payload is checked first
     * (`InvalidInput`); then the handler's statements, the idempotency key and the change event are one transaction.
     */
    readonly handle: <R extends AnyOperation>(
      operation: R,
      handler: (payload: Rpc.Payload<R>) => Effect.Effect<Written<Rpc.Success<R>>, DbError>
    ) => Submit<R>
    /**
     * Committed writes of every process, each once and in one order for all readers, those after `after` first, then new
     * ones as they come; without `after`, only new ones. Where several may write at once, that is the order in which
     * their transactions first wrote to a store, and one that stays open holds back those that did so after it; other
     * transactions hold back nobody. `NotFound` if changes after `after` were forgotten.
     */
    readonly changes: (after?: string) => Stream.Stream<Change, DbError>
    /** The place in the feed after which all that commits from now on will come; give it to `changes`. */
    readonly latest: Effect.Effect<string, DbError>
    /**
     * Forgets the changes, and the results under idempotency keys, that are older; succeeds with how many. A process that
     * writes does so by itself, every hour, with what is older than 7 days.
     */
    readonly prune: (options: {
      readonly olderThan: Duration.DurationInput
    }) => Effect.Effect<{ readonly changes: number; readonly keys: number }, DbError>
  }
>() {}
