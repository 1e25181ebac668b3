/**
 * What a client works on: the handle that writes and the lane that leads to it, the handle that reads, and what became
 * of them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, type ErrorContext, fromSqlite } from "../../errors/index.js"
import { makeTurn, type Turn } from "../EventLoop.js"
import * as Lane from "../Lane.js"
import * as Connections from "./SqliteConnection.js"
import * as Open from "./SqliteOpen.js"
import type { ResolvedSqliteOptions } from "./SqliteOptions.js"
import * as Reads from "./SqliteReads.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Handles {
  readonly options: ResolvedSqliteOptions
  readonly writer: Connections.SqliteConnection
  /** The same as `writer` where there is only one. */
  readonly reader: Connections.SqliteConnection
  readonly reads: Reads.Reads
  /** Who holds it has the writer, over many turns of the event loop. */
  readonly lane: Lane.Lane
  readonly turn: Turn
  /** From the moment that closing begins; transactions that have begun may go on for a while. */
  readonly isClosed: () => boolean
  /** The damage that a statement met, if one did. */
  readonly corruption: () => DbError | undefined
  readonly at: (operation: string) => ErrorContext
  readonly toError: (cause: unknown, operation: string) => DbError
  /** Tries for as long as SQLite answers BUSY and the options allow. */
  readonly retryBusy: <A>(operation: string, attempt: () => A) => Effect.Effect<A, DbError>
}

/** How long closing waits for what still runs, in milliseconds. */
const drainBudget = 5_000

/**
 * Opens the handles in the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: ResolvedSqliteOptions): Effect.Effect<Handles, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const at = (operation: string): ErrorContext => ({ backend: options.name, operation })
    const lane = Lane.make()
    const writer = Connections.make(yield* Open.handle(options, options.readOnly))
    // One reader is enough: statements are synchronous, and a stream opens a handle of its own.
    const reader =
      options.path === ":memory:" || options.readOnly ? writer : Connections.make(yield* Open.handle(options, true))
    const turn = makeTurn(() => {
      writer.mistrustColumns()
      reader.mistrustColumns()
    })
    let closed = false
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        closed = true
        return Effect.ignore(lane.hold(at("sqlite.close"), drainBudget, Effect.void))
      })
    )

    let corruption: DbError | undefined
    const toError = (cause: unknown, operation: string): DbError => {
      const error = fromSqlite(cause, at(operation))
      if (error._tag === "DbCorrupt" && error.code?.startsWith("SQLITE_") === true) corruption = error
      return error
    }

    return {
      options,
      writer,
      reader,
      reads: Reads.make(writer, reader),
      lane,
      turn,
      isClosed: () => closed,
      corruption: () => corruption,
      at,
      toError,
      retryBusy: (operation, attempt) =>
        Effect.mapError(Open.retryBusy(options.busyTimeout, at(operation), attempt), (error) =>
          toError(error, operation)
        )
    }
  })
