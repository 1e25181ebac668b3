/**
 * The rows of a statement one by one, some per turn of the event loop.
 *
 * @since 0.1.0
 */
import type { Database } from "better-sqlite3"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type DbError, DbLocked, type ErrorContext } from "../../errors/index.js"
import { nextTurn } from "../EventLoop.js"
import * as Connections from "./SqliteConnection.js"
import type { Handles } from "./SqliteHandles.js"
import * as Values from "./SqliteValues.js"

/**
 * Whose end closes a cursor, since SQLite ends no transaction while a statement of it is being read.
 *
 * @since 0.1.0
 * @category models
 */
export interface Owner {
  /** What closes the cursors that are open. */
  readonly cursors: Set<() => void>
  readonly read: <A>(next: () => A) => Effect.Effect<A, DbError>
}

/** Rows read in one turn of the event loop. */
const chunkSize = 256

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ at: atOperation, retryBusy, toError, turn }: Handles) => {
  const at = atOperation("stream")
  const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: (cause) => toError(cause, "stream") })
  const unowned: Owner = { cursors: new Set(), read: attempt }

  return (
    db: Database,
    sql: string,
    values: ReadonlyArray<unknown>,
    decode: boolean,
    owner: Owner = unowned
  ): Stream.Stream<Record<string, unknown>, DbError> =>
    Stream.unwrapScoped(
      Effect.gen(function* () {
        const prepared = yield* retryBusy("stream", () => Connections.prepareFresh(db, sql))
        const rows = yield* Effect.acquireRelease(
          owner.read(() => prepared.statement.safeIntegers(true).iterate(...values)),
          (iterator) => Effect.sync(() => iterator.return?.())
        )
        let cut = false
        const close = () => {
          cut = true
          rows.return?.()
        }
        owner.cursors.add(close)
        yield* Effect.addFinalizer(() => Effect.sync(() => owner.cursors.delete(close)))
        const next = (): Array<Record<string, unknown>> => {
          const chunk: Array<Record<string, unknown>> = []
          if (cut) throw cutByRollback(at)
          do {
            const { done, value } = rows.next()
            if (done === true) break
            if (!prepared.described) Connections.describe(prepared)
            for (const column of prepared.columns) value[column] = Values.fromDriver(value[column])
            if (decode) prepared.decode?.(value, at)
            chunk.push(value)
          } while (chunk.length < chunkSize && !turn.isOver())
          return chunk
        }
        return Stream.repeatEffectChunkOption(
          Effect.zipRight(
            nextTurn,
            Effect.flatMap(Effect.mapError(owner.read(next), Option.some), (chunk) =>
              chunk.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(Chunk.unsafeFromArray(chunk))
            )
          )
        )
      })
    )
}

const cutByRollback = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_STREAM_CUT",
    retryable: false,
    message: "A savepoint was rolled back while this stream of its transaction was being read: read it to its end first"
  })
