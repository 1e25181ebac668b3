/**
 * What an engine without a server gives to processes that share its database: a lock that tells which of them writes
 * for the others, a place where that one says how to reach it, and checkpoints that no write waits for.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as FiberRef from "effect/FiberRef"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { DbError } from "../errors/index.js"

/**
 * How the primary process is reached. Only the owner of the database can read it.
 *
 * @since 0.1.0
 * @category models
 */
export const PrimaryRecord = Schema.Struct({
  instance: Schema.String,
  /** Raised by every new primary; the one with a lower epoch writes no more. */
  epoch: Schema.Int,
  /** The lock that the primary holds. */
  slot: Schema.Int,
  /** Where it listens: the path of a Unix socket or named pipe, or `tcp://127.0.0.1:PORT`. */
  socket: Schema.String,
  /** What a request has to show. */
  secret: Schema.String,
  protocol: Schema.Int
})

/**
 * @since 0.1.0
 * @category models
 */
export type PrimaryRecord = typeof PrimaryRecord.Type

/**
 * A transaction that was begun, for statements that run in a fiber of their own.
 *
 * @since 0.1.0
 * @category models
 */
export interface BegunTransaction {
  /** What `Sharing.transaction` is to be in that fiber. */
  readonly transaction: unknown
  /** Commits, or undoes what failed: to be run once, and not interrupted. Most often done already when it returns. */
  readonly end: <A, E>(exit: Exit.Exit<A, E>) => Effect.Effect<A, E | DbError>
}

/**
 * What processes that share a database know of each other.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sharing {
  /** The transaction of this backend that a fiber is in; undefined where it is in none. */
  readonly transaction: FiberRef.FiberRef<unknown>
  /** Whether a transaction of this process is under way. */
  readonly isWriting: () => boolean
  /**
   * Begins a transaction if that needs no waiting, neither for one of this process nor for the lock of the file;
   * undefined otherwise. Its commit waits so many milliseconds for readers, where the engine has it wait for them.
   */
  readonly beginNow: (busyTimeout: number) => BegunTransaction | undefined
  /**
   * Begins a savepoint in such a transaction, for the statements of one of several writes that it commits together:
   * `DbLocked` where the transaction is over, `DbConflict` where a statement has ended it, `DbConnection` where the
   * database was closed. One has ended before the next begins.
   */
  readonly savepoint: (transaction: unknown) => Exit.Exit<BegunTransaction, DbError>
  /** How many locks there are: a primary that hangs still holds its own, and the next one takes another. */
  readonly slots: number
  /** Takes a lock until the scope closes or the process dies, whatever of the two comes first; false if it is held. */
  readonly tryLock: (slot: number) => Effect.Effect<boolean, DbError, Scope.Scope>
  /**
   * What the last primary published about itself; undefined if none has, or if the files belong to another database;
   * `DbCorrupt` if it cannot be read.
   */
  readonly read: Effect.Effect<PrimaryRecord | undefined, DbError>
  /** Publishes a record unless one of a later epoch is there; what cannot be read is written anew. */
  readonly publish: (record: PrimaryRecord) => Effect.Effect<void, DbError>
  /**
   * Until the scope closes, the writes of this process leave checkpoints to the primary, unless the log of the database
   * has become long all the same.
   */
  readonly deferCheckpoints: Effect.Effect<void, never, Scope.Scope>
  /** Makes the checkpoints for all who write, beside the event loop, until the scope closes; what fails is logged once. */
  readonly runCheckpoints: Effect.Effect<void, never, Scope.Scope>
}
