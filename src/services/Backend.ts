/**
 * One database, whatever its engine.
 *
 * @since 0.1.0
 */
import type { SqlClient } from "@effect/sql/SqlClient"
import * as Context from "effect/Context"
import type { DurationInput } from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { DbError } from "../errors/index.js"
import type { AgentSqlOptions, AgentSqlShape } from "./AgentSql.js"
import type { Dialect } from "./Dialect.js"
import type { HealthChecker } from "./HealthChecker.js"
import type { Migrator } from "./Migrator.js"
import type { Progress } from "./Progress.js"
import type { Sharing } from "./Sharing.js"
import type { TextStore } from "./TextStore.js"
import type { VectorStore } from "./VectorStore.js"

/**
 * A JSON value whose text is bound as it is: wrap a top-level string, number, boolean or null that a JSON column should
 * hold. Plain objects and arrays need no wrapping.
 *
 * @since 0.1.0
 * @category models
 */
export class Json {
  constructor(readonly value: unknown) {}
}

/**
 * What may be bound to a `?`: null, strings, finite numbers, bigints within 64 bits, booleans, Dates, bytes, and plain
 * objects or arrays (as JSON).
 *
 * @since 0.1.0
 * @category models
 */
export type SqlValue =
  | null
  | string
  | number
  | bigint
  | boolean
  | Date
  | Uint8Array
  | Json
  | ReadonlyArray<unknown>
  | { readonly [key: string]: unknown }

/**
 * A row, decoded by the declared types of its columns: booleans, Dates, parsed JSON, bytes as `Uint8Array`, integers
 * beyond 2^53 as bigint.
 *
 * @since 0.1.0
 * @category models
 */
export type Row = { readonly [column: string]: unknown }

/**
 * What a statement did.
 *
 * @since 0.1.0
 * @category models
 */
export interface ExecuteResult {
  readonly rowsAffected: number
  /** The row id of the last inserted row on engines that have one; null after anything that is not an insert. */
  readonly lastInsertId: number | bigint | null
  /** The rows of a `RETURNING` clause, else empty. */
  readonly rows: ReadonlyArray<Row>
}

/**
 * The answer of a read-only statement.
 *
 * @since 0.1.0
 * @category models
 */
export interface ReadOnlyResult {
  /** Column names in order; a name that occurs twice is told apart as `name_2`. */
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<ReadonlyArray<unknown>>
  /** True exactly when the statement has more rows than were asked for. */
  readonly truncated: boolean
}

/**
 * A column of a table or view.
 *
 * @since 0.1.0
 * @category models
 */
export interface ColumnInfo {
  readonly name: string
  /** The type as declared; empty if none was. */
  readonly type: string
  readonly nullable: boolean
  /** The default as SQL text, or null. */
  readonly default: string | null
  /** The position in the primary key, counted from 1; 0 = not part of it. */
  readonly primaryKey: number
}

/**
 * An index of a table.
 *
 * @since 0.1.0
 * @category models
 */
export interface IndexInfo {
  readonly name: string
  readonly unique: boolean
  /** Column names; null where the index holds an expression. */
  readonly columns: ReadonlyArray<string | null>
}

/**
 * Columns that refer to those of another table.
 *
 * @since 0.1.0
 * @category models
 */
export interface ForeignKeyInfo {
  readonly columns: ReadonlyArray<string>
  readonly table: string
  /** Null where the key points at the other table's primary key without naming it. */
  readonly references: ReadonlyArray<string | null>
  readonly onDelete: string
  readonly onUpdate: string
}

/**
 * A table or view, and what is defined on it.
 *
 * @since 0.1.0
 * @category models
 */
export interface TableInfo {
  /** With its schema before it where it has to be named so: `schema.table`. */
  readonly name: string
  /** Its schema, on engines that have several. */
  readonly schema?: string
  readonly kind: "table" | "view" | "virtual"
  readonly columns: ReadonlyArray<ColumnInfo>
  readonly indexes: ReadonlyArray<IndexInfo>
  readonly foreignKeys: ReadonlyArray<ForeignKeyInfo>
  /** An estimate that costs no scan; null where the engine has none. */
  readonly rowEstimate: number | null
  /** Bytes on disk, indexes included; null where measuring would cost a scan. */
  readonly sizeBytes: number | null
}

/**
 * What the engine behind a backend can do.
 *
 * @since 0.1.0
 * @category models
 */
export interface Capabilities {
  /** Reads go on while a transaction of somebody else is open. */
  readonly concurrentReads: boolean
  /** Data outlives the process. */
  readonly persistent: boolean
  readonly vector: boolean
  readonly backup: boolean
  readonly writable: boolean
}

/**
 * How a transaction waits, and how far it is kept apart from others.
 *
 * @since 0.1.0
 * @category models
 */
export interface TransactionOptions {
  /** How long to wait for the write lock, or for a connection, before `DbBusy`; default: as the backend is set up. */
  readonly busyTimeout?: DurationInput
  /**
   * How far the transaction is kept apart from others; default `read committed`. An engine may keep it further apart
   * than asked for: on SQLite every transaction is serializable. A nested one has the level of the outermost.
   */
  readonly isolation?: "read committed" | "repeatable read" | "serializable"
  /**
   * How often the whole transaction is run again, at most, when another one was first (a retryable `DbConflict`);
   * default 0. A nested one is never run again alone.
   */
  readonly retryConflicts?: number
  /**
   * Leaves foreign keys alone until the end and checks them there, so that a table which others refer to can be dropped
   * and made anew without their rows; of the outermost transaction. An engine whose DROP TABLE deletes nothing of others
   * needs it not, and does nothing.
   */
  readonly deferReferences?: boolean
}

/**
 * One database: its statements, its transactions, and the services on it.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackendShape {
  /** The name in the hub; `primary` when used alone. */
  readonly name: string
  /** The engine, as configuration names it. */
  readonly kind: string
  readonly dialect: Dialect
  readonly capabilities: Capabilities
  /** The client of `@effect/sql`: templates, `withTransaction`, and whatever in the ecosystem asks for a `SqlClient`. */
  readonly sql: SqlClient
  /** Runs one statement with portable `?` parameters and returns its decoded rows. */
  readonly query: (sql: string, params?: ReadonlyArray<SqlValue>) => Effect.Effect<ReadonlyArray<Row>, DbError>
  /** Runs one statement that writes; waits for the write lock up to `busy_timeout`. */
  readonly execute: (sql: string, params?: ReadonlyArray<SqlValue>) => Effect.Effect<ExecuteResult, DbError>
  /**
   * Runs one statement that writes and whose answer nobody needs. Inside a transaction it may be sent together with what
   * comes next, the COMMIT at the latest; if it fails, that fails, and the transaction with it.
   */
  readonly enqueue: (sql: string, params?: ReadonlyArray<SqlValue>) => Effect.Effect<void, DbError>
  /** Rows one by one in bounded memory, from one snapshot. */
  readonly stream: (sql: string, params?: ReadonlyArray<SqlValue>) => Stream.Stream<Row, DbError>
  /**
   * Runs an effect in one transaction: committed when it succeeds, rolled back when it fails or is interrupted. Nested
   * calls are savepoints. Statements of other backends inside it stay outside of it.
   */
  readonly transaction: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    options?: TransactionOptions
  ) => Effect.Effect<A, E | DbError, R>
  /**
   * Runs an effect while no other process does so in the same database, and without a transaction: for migration steps
   * that cannot be in one. Absent where the one writer makes it needless.
   */
  readonly alone?: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | DbError>
  /**
   * The same for statements of agents: each, and each transaction, has a connection of its own, which is closed before
   * the answer comes, together with whatever was set on it. Two at once; who waits longer than for a connection of the
   * pool fails with `DbBusy`, and an answer of more than 64 MiB with `DbQuery`. Absent where a session is all that there
   * is, or where agents' writes have a process of their own.
   */
  readonly dedicated?: Pick<BackendShape, "query" | "execute" | "transaction">
  /**
   * Runs one reading statement on a handle on which the engine itself refuses writes; anything else is `DbReadOnly`.
   * Never returns more than `maxRows` rows (default 100, at most 2147483646).
   */
  readonly readOnly: (
    sql: string,
    options?: { readonly params?: ReadonlyArray<SqlValue>; readonly maxRows?: number }
  ) => Effect.Effect<ReadOnlyResult, DbError>
  /** Opens the door through which agents read; it is closed with the scope. */
  readonly agentSql: (options?: AgentSqlOptions) => Effect.Effect<AgentSqlShape, DbError, Scope.Scope>
  /**
   * Guards the hub's own tables from a statement of an agent, in whose transaction it is asked before the statement: what
   * it succeeds with, asked after it, fails with `DbReadOnly` (`HUB_OWN_TABLES`) if it has changed their rows or
   * definitions, itself or through triggers, foreign keys, views or functions. What is known before fails at once.
   */
  readonly watchOwnTables: (
    connection: Pick<BackendShape, "query">,
    sql: string,
    params: ReadonlyArray<SqlValue>
  ) => Effect.Effect<Effect.Effect<void, DbError>, DbError>
  /**
   * Tables and views; with `table`, that one, or those that match it with `*` for any part, or `NotFound` with the nearest
   * names. The hub's own tables on request.
   */
  readonly schema: (options?: {
    readonly table?: string
    readonly internal?: boolean
  }) => Effect.Effect<ReadonlyArray<TableInfo>, DbError>
  /**
   * Copies the live database to a new file, and has the copy checked, page by page, in a process of its own. Fails with
   * `InvalidInput` if the file is there already. What a copy has left in the folder that was killed a day ago or earlier
   * is taken away.
   */
  readonly backup: (
    file: string,
    options?: { readonly onProgress?: (progress: Progress) => void }
  ) => Effect.Effect<{ readonly file: string; readonly sizeBytes: number }, DbError>
  /** How processes that share this database elect one of them; absent where the engine is a server. */
  readonly sharing?: Sharing
  readonly vector: Context.Tag.Service<VectorStore>
  readonly text: Context.Tag.Service<TextStore>
  readonly migrator: Context.Tag.Service<Migrator>
  readonly health: Context.Tag.Service<HealthChecker>
}

/**
 * The backend that a program works on.
 *
 * @since 0.1.0
 * @category tags
 */
export class Backend extends Context.Tag("effect-db-hub/Backend")<Backend, BackendShape>() {}
