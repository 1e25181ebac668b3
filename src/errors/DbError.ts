/**
 * The one family of errors that every backend of the hub fails with.
 *
 * Each error survives a wire (`Schema.TaggedError`), says whether the operation was applied, whether sending it again
 * is safe, and what to do. None carries a value that a user bound or a secret.
 *
 * @since 0.1.0
 */
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"

/**
 * Whether the failed operation changed the database: `no` (nothing was written), `yes` (it was written, what came after
 * failed), or `unknown` (the answer was lost on the way).
 *
 * @since 0.1.0
 * @category models
 */
export const Applied = Schema.Literal("no", "unknown", "yes")

/**
 * @since 0.1.0
 * @category models
 */
export type Applied = typeof Applied.Type

const optionalString = Schema.optionalWith(Schema.String, { exact: true })

/** The fields that every error of the family has; `retryable` and `applied` default by class. */
const common = (defaults: { readonly retryable: boolean; readonly applied?: Applied }) => ({
  /** What went wrong and what to do about it. */
  message: Schema.String,
  /** The name of the backend, as in the hub. */
  backend: Schema.optionalWith(Schema.String, { default: () => "primary" }),
  /** The operation that failed, such as `query`, `transaction.commit` or `VectorStore.search`. */
  operation: Schema.String,
  /** The engine's own code (`SQLITE_BUSY`, a SQLSTATE) or the hub's (`HUB_…`). */
  code: optionalString,
  /** Whether the same operation may succeed if it is sent again unchanged. */
  retryable: Schema.optionalWith(Schema.Boolean, { default: () => defaults.retryable }),
  applied: Schema.optionalWith(Applied, { default: () => defaults.applied ?? ("no" as const) })
})

/**
 * Somebody else held the write lock for the whole waiting budget.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbBusy extends Schema.TaggedError<DbBusy>("effect-db-hub/DbBusy")("DbBusy", common({ retryable: true })) {}

/**
 * A lock inside the same process or transaction stands in the way, such as a table read by an open stream.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbLocked extends Schema.TaggedError<DbLocked>("effect-db-hub/DbLocked")(
  "DbLocked",
  common({ retryable: true })
) {}

/**
 * The operation ran past its time limit and was stopped.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbTimeout extends Schema.TaggedError<DbTimeout>("effect-db-hub/DbTimeout")(
  "DbTimeout",
  common({ retryable: true })
) {}

/**
 * Another row, transaction or version won: a duplicate key, a serialization failure, or a compare-and-set that found
 * another value.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbConflict extends Schema.TaggedError<DbConflict>("effect-db-hub/DbConflict")("DbConflict", {
  ...common({ retryable: false }),
  reason: Schema.Literal("unique", "serialization", "compare-and-set"),
  /** The constraint, or the columns it covers, if the engine names them. */
  constraint: optionalString
}) {}

/**
 * A rule of the schema refused the row.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbConstraint extends Schema.TaggedError<DbConstraint>("effect-db-hub/DbConstraint")("DbConstraint", {
  ...common({ retryable: false }),
  reason: Schema.Literal("foreign-key", "check", "not-null", "type", "trigger"),
  constraint: optionalString
}) {}

/**
 * The database cannot be reached or opened, or the connection is closed.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbConnection extends Schema.TaggedError<DbConnection>("effect-db-hub/DbConnection")(
  "DbConnection",
  common({ retryable: false })
) {}

/**
 * The engine refused the statement: syntax, a missing table, or a code that no table of ours knows.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbQuery extends Schema.TaggedError<DbQuery>("effect-db-hub/DbQuery")(
  "DbQuery",
  common({ retryable: false })
) {}

/**
 * A write reached a place that only reads.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbReadOnly extends Schema.TaggedError<DbReadOnly>("effect-db-hub/DbReadOnly")(
  "DbReadOnly",
  common({ retryable: false })
) {}

/**
 * The file, a page or a stored value cannot be read as what it should be.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbCorrupt extends Schema.TaggedError<DbCorrupt>("effect-db-hub/DbCorrupt")(
  "DbCorrupt",
  common({ retryable: false })
) {}

/**
 * No space is left for the database.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbFull extends Schema.TaggedError<DbFull>("effect-db-hub/DbFull")(
  "DbFull",
  common({ retryable: false })
) {}

/**
 * The engine, or this build of the hub, cannot do what was asked.
 *
 * @since 0.1.0
 * @category errors
 */
export class DbUnsupported extends Schema.TaggedError<DbUnsupported>("effect-db-hub/DbUnsupported")(
  "DbUnsupported",
  common({ retryable: false })
) {}

/**
 * What was named does not exist, or not for this owner.
 *
 * @since 0.1.0
 * @category errors
 */
export class NotFound extends Schema.TaggedError<NotFound>("effect-db-hub/NotFound")("NotFound", {
  ...common({ retryable: false }),
  /** The kind of thing: `backend`, `collection`, `table` … */
  entity: Schema.String
}) {}

/**
 * The caller's input was refused before anything was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class InvalidInput extends Schema.TaggedError<InvalidInput>("effect-db-hub/InvalidInput")("InvalidInput", {
  ...common({ retryable: false }),
  /** The path of the offending field, such as `k` or `records[3].vector`. */
  field: Schema.String,
  /** What would have been accepted. */
  allowed: Schema.String
}) {}

/**
 * A vector has another number of dimensions than its collection.
 *
 * @since 0.1.0
 * @category errors
 */
export class DimensionMismatch extends Schema.TaggedError<DimensionMismatch>("effect-db-hub/DimensionMismatch")(
  "DimensionMismatch",
  {
    ...common({ retryable: false }),
    collection: Schema.String,
    expected: Schema.Number,
    actual: Schema.Number
  }
) {}

/**
 * The vectors of a collection are of another embedding model than the one at hand: they cannot be compared.
 *
 * @since 0.1.0
 * @category errors
 */
export class ModelMismatch extends Schema.TaggedError<ModelMismatch>("effect-db-hub/ModelMismatch")("ModelMismatch", {
  ...common({ retryable: false }),
  collection: Schema.String,
  /** The model that the collection records. */
  expected: Schema.String,
  /** The model at hand. */
  actual: Schema.String
}) {}

/**
 * An embedding model gave no vectors. The text that was to be embedded is not part of the error.
 *
 * @since 0.1.0
 * @category errors
 */
export class EmbeddingError extends Schema.TaggedError<EmbeddingError>("effect-db-hub/EmbeddingError")(
  "EmbeddingError",
  {
    ...common({ retryable: false }),
    /**
     * `rate-limited`, `timeout` and `unavailable` may pass; `refused` (the key, the model's name, a text too long),
     * `bad-answer` (the wrong number of vectors, or no vectors) and `wrong-dimension` do not.
     */
    reason: Schema.Literal("rate-limited", "timeout", "unavailable", "refused", "bad-answer", "wrong-dimension"),
    /** The model that was asked. */
    model: Schema.String,
    /** The HTTP status of the answer. */
    status: Schema.optionalWith(Schema.Number, { exact: true }),
    /** Milliseconds after which the server wants to be asked again. */
    retryAfter: Schema.optionalWith(Schema.Number, { exact: true })
  }
) {}

/**
 * The recorded migrations and the known steps do not fit together, or a step failed.
 *
 * @since 0.1.0
 * @category errors
 */
export class MigrationError extends Schema.TaggedError<MigrationError>("effect-db-hub/MigrationError")(
  "MigrationError",
  {
    ...common({ retryable: false }),
    reason: Schema.Literal("drift", "gap", "unknown-version", "failed", "not-migrated", "irreversible"),
    step: Schema.optionalWith(Schema.Number, { exact: true })
  }
) {}

/**
 * The configuration is unreadable, incomplete or contradicts itself.
 *
 * @since 0.1.0
 * @category errors
 */
export class ConfigError extends Schema.TaggedError<ConfigError>("effect-db-hub/ConfigError")("ConfigError", {
  ...common({ retryable: false }),
  /** The dotted path of the key, such as `database.hub.sqlite.busy_timeout`. */
  key: Schema.String
}) {}

/**
 * A write was not answered within its time. `applied` tells whether it may still have been done: `no` if it never began,
 * `unknown` if it was on its way; sending it again under the same idempotency key is safe in both cases.
 *
 * @since 0.1.0
 * @category errors
 */
export class WriteTimeout extends Schema.TaggedError<WriteTimeout>("effect-db-hub/WriteTimeout")(
  "WriteTimeout",
  common({ retryable: true })
) {}

/**
 * The process that writes for the others could not be reached, or has stopped being that process.
 *
 * @since 0.1.0
 * @category errors
 */
export class PrimaryUnreachable extends Schema.TaggedError<PrimaryUnreachable>("effect-db-hub/PrimaryUnreachable")(
  "PrimaryUnreachable",
  common({ retryable: true })
) {}

/**
 * More writes are waiting than the queue holds; nothing was written.
 *
 * @since 0.1.0
 * @category errors
 */
export class WriteOverloaded extends Schema.TaggedError<WriteOverloaded>("effect-db-hub/WriteOverloaded")(
  "WriteOverloaded",
  common({ retryable: true })
) {}

/**
 * The process that writes for the others has no handler for the operation.
 *
 * @since 0.1.0
 * @category errors
 */
export class UnknownOperation extends Schema.TaggedError<UnknownOperation>("effect-db-hub/UnknownOperation")(
  "UnknownOperation",
  common({ retryable: false })
) {}

/**
 * Every error of the hub, as a schema: encode it to send it over a wire, decode it to get the class back.
 *
 * @since 0.1.0
 * @category errors
 */
export const DbError = Schema.Union(
  DbBusy,
  DbLocked,
  DbTimeout,
  DbConflict,
  DbConstraint,
  DbConnection,
  DbQuery,
  DbReadOnly,
  DbCorrupt,
  DbFull,
  DbUnsupported,
  NotFound,
  InvalidInput,
  DimensionMismatch,
  ModelMismatch,
  EmbeddingError,
  MigrationError,
  ConfigError,
  WriteTimeout,
  PrimaryUnreachable,
  WriteOverloaded,
  UnknownOperation
)

/**
 * @since 0.1.0
 * @category errors
 */
export type DbError = typeof DbError.Type

/**
 * Whether a value is an error of the hub.
 *
 * @since 0.1.0
 * @category guards
 */
export const isDbError: (u: unknown) => u is DbError = Schema.is(DbError)

/**
 * Whether the failed operation may be sent again as it was: the error is transient and nothing was applied.
 *
 * @since 0.1.0
 * @category guards
 */
export const isRetryable = (u: unknown): boolean => isDbError(u) && u.retryable && u.applied === "no"

/**
 * Retries what `isRetryable` allows: 10 ms doubling up to 500 ms, jittered so that many waiters do not march in step,
 * for five seconds in all.
 *
 * @since 0.1.0
 * @category schedules
 */
export const retryPolicy: Schedule.Schedule<unknown, unknown> = Schedule.exponential("10 millis").pipe(
  Schedule.union(Schedule.spaced("500 millis")),
  Schedule.jittered,
  Schedule.intersect(Schedule.recurUpTo("5 seconds")),
  Schedule.whileInput(isRetryable)
)

/**
 * Where an error happened.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorContext {
  /** The name of the backend, as in the hub. */
  readonly backend: string
  readonly operation: string
}

/**
 * An `InvalidInput` that says who refuses which field, why, and what is allowed there. What has no backend leaves it out.
 *
 * @since 0.1.0
 * @category constructors
 */
export const invalidInput = (
  at: Pick<ErrorContext, "operation"> & Partial<ErrorContext>,
  field: string,
  problem: string,
  allowed: string
): InvalidInput => new InvalidInput({ ...at, field, allowed, message: `${field} ${problem}; allowed: ${allowed}` })
