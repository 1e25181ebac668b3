/**
 * The door through which agents read: SQL written by somebody who may be an adversary.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import {
  type DbError,
  DbReadOnly,
  DbTimeout,
  type ErrorContext,
  type InvalidInput,
  invalidInput
} from "../errors/index.js"
import { type AgentLimits, type AgentRows, defaultLimits, ownTables } from "./AgentRows.js"

/**
 * How the door is opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentSqlOptions extends Partial<AgentLimits> {
  /** How long a statement may run before it is killed; default 10 seconds. */
  readonly deadline?: Duration.DurationInput
  /** Statements that run side by side; others wait. Default 2. */
  readonly concurrency?: number
  /** The role that statements run as, on engines with roles; default that of the connection. */
  readonly role?: string
}

/**
 * The parameters of a statement, and the limits of its answer where they are not the default.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentQuery extends Partial<AgentLimits> {
  /** The values of `?`, of the kinds that `Backend.query` binds. */
  readonly params?: ReadonlyArray<unknown>
}

/**
 * The rows of a statement, as JSON has them.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentResult extends Omit<AgentRows, "notes"> {
  /** Column names in order; a name that occurs twice is told apart as `name_2`. */
  readonly columns: ReadonlyArray<string>
  /** By column: how values are written that JSON has no form for. */
  readonly notes: Readonly<Record<string, string>>
}

/**
 * The doors of one backend: one that reads, and one that writes.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentSqlShape {
  /**
   * Runs one statement that reads; its rows are plain JSON within the limits. Fails with `DbReadOnly` for whatever is
   * not known to read, `DbTimeout` at the deadline, `InvalidInput` for several statements.
   */
  readonly query: (sql: string, options?: AgentQuery) => Effect.Effect<AgentResult, DbError>
  /**
   * Runs one statement that writes, but not the hub's own tables (`DbReadOnly`). Fails with `DbTimeout` at the deadline:
   * nothing is applied, unless it took the commit longer than that again, or it ran alone (`applied` is `unknown` then).
   * Only where `Backend.execute` cannot be stopped: on SQLite, in WAL mode.
   */
  readonly execute?: (
    sql: string,
    options?: { readonly params?: ReadonlyArray<unknown>; readonly how?: AgentWriting }
  ) => Effect.Effect<AgentWrite, DbError>
}

/**
 * How a statement is run that writes: in a transaction of its own that is committed (default) or undone, or without one,
 * on a connection that is closed after it, with what it has set there.
 *
 * @since 0.1.0
 * @category models
 */
export type AgentWriting = "commit" | "undo" | "alone"

/**
 * What a statement did that writes, and the rows of its `RETURNING`.
 *
 * @since 0.1.0
 * @category models
 */
export interface AgentWrite extends AgentResult {
  readonly rowsAffected: number
  /** With those that triggers and foreign keys changed. */
  readonly rowsInAll: number
  /** As text beyond 2^53. */
  readonly lastInsertId: number | string | null
}

/** The longest statement that is looked at, in characters. */
const maxSql = 100_000

/**
 * Why a text is no statement to look at, if it is none: it is empty, or too long to be read while others wait.
 *
 * @since 0.1.0
 * @category validation
 */
export const unreadable = (sql: string, context: ErrorContext): InvalidInput | undefined => {
  if (sql.trim() === "") return invalidInput(context, "sql", "is empty", "one statement")
  return sql.length > maxSql ? invalidInput(context, "sql", "is too long", `at most ${maxSql} characters`) : undefined
}

/**
 * The limits of one query: those asked for, else those of the door, else the defaults.
 *
 * @since 0.1.0
 * @category validation
 */
export const limitsOf = (
  sql: string,
  query: AgentQuery,
  options: AgentSqlOptions,
  backend: string
): Effect.Effect<AgentLimits, DbError> => {
  const limits: AgentLimits = {
    maxRows: query.maxRows ?? options.maxRows ?? defaultLimits.maxRows,
    maxBytes: query.maxBytes ?? options.maxBytes ?? defaultLimits.maxBytes,
    maxCell: query.maxCell ?? options.maxCell ?? defaultLimits.maxCell
  }
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isInteger(value) || value < 1 || value > 2 ** 30) {
      return Effect.fail(
        invalidInput({ operation: "agentSql", backend }, name, "is no limit", "a whole number from 1 to 2^30")
      )
    }
  }
  const refused = unreadable(sql, { operation: "agentSql", backend })
  return refused === undefined ? Effect.succeed(limits) : Effect.fail(refused)
}

/** Milliseconds; timers are set for 24 days at most. */
const longestDeadline = 24 * 24 * 3_600_000

/**
 * How long a statement may run, in milliseconds.
 *
 * @since 0.1.0
 * @category conversions
 */
export const deadlineOf = ({ deadline = "10 seconds" }: Pick<AgentSqlOptions, "deadline">): number =>
  Math.min(longestDeadline, Math.max(1, Math.round(Duration.toMillis(deadline))))

/**
 * What ends a statement at its deadline.
 *
 * @since 0.1.0
 * @category errors
 */
export const deadlineMet = (deadline: number, context: ErrorContext, committing = false): DbTimeout =>
  new DbTimeout({
    ...context,
    code: "HUB_DEADLINE",
    retryable: false,
    applied: committing ? "unknown" : "no",
    message: committing
      ? `It was stopped after ${deadline} ms of being applied: look whether it was done`
      : `The statement was stopped after ${deadline} ms: make it cheaper, with a condition or a smaller join`
  })

/**
 * What a statement is refused with that would change one of the hub's own tables: an agent that could would erase its own
 * trail.
 *
 * @since 0.1.0
 * @category errors
 */
export const ownTableRefused = (name: string, context: ErrorContext): DbReadOnly =>
  new DbReadOnly({
    ...context,
    code: ownTables,
    message: `${name} is the hub's own: agents may read it, but change neither its rows nor its definition`
  })

/**
 * The answer under the names of its columns.
 *
 * @since 0.1.0
 * @category constructors
 */
export const resultOf = (columns: ReadonlyArray<string>, { notes, ...rows }: AgentRows): AgentResult => ({
  columns,
  ...rows,
  notes: Object.fromEntries(Object.entries(notes).map(([index, note]) => [columns[Number(index)] ?? index, note]))
})
