/**
 * One handle of better-sqlite3: its statements, prepared once, and its values. Everything here is synchronous and
 * throws what the driver throws; the client above turns that into effects.
 *
 * @since 0.1.0
 */
import type { Database, RunResult, Statement } from "better-sqlite3"
import type { ErrorContext } from "../../errors/index.js"
import type { Row } from "../../services/Backend.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { lexical } from "./SqliteDialect.js"
import * as Values from "./SqliteValues.js"

/** Statements kept prepared per handle. */
const cacheSize = 512

const insertWords = new Set(["INSERT", "REPLACE"])
const mainWords = new Set([...insertWords, "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "PRAGMA"])

/**
 * @since 0.1.0
 * @category models
 */
export interface Prepared {
  readonly statement: Statement<Array<unknown>, Record<string, unknown>>
  readonly sql: string
  /** It returns rows. */
  readonly reader: boolean
  /** SQLite says that it changes no database file. */
  readonly readonly: boolean
  /** It may insert rows, so that the last row id means something. */
  readonly inserts: boolean
  readonly columns: ReadonlyArray<string>
  readonly decode: ReturnType<typeof Values.rowDecoder>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteConnection {
  readonly db: Database
  /** The cached statement of a text; throws if SQLite refuses it. */
  readonly prepare: (sql: string) => Prepared
  readonly release: () => void
}

/**
 * Prepares a statement outside of any cache, for callers that keep it busy over many turns.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prepareFresh = (db: Database, sql: string): Prepared => {
  const statement = db.prepare<Array<unknown>, Record<string, unknown>>(sql)
  const columns = statement.reader ? statement.columns() : []
  return {
    statement,
    sql,
    reader: statement.reader,
    readonly: statement.readonly,
    inserts:
      !statement.readonly && insertWords.has(SqlLexer.keywords(sql, lexical).find((word) => mainWords.has(word)) ?? ""),
    columns: columns.map((column) => column.name),
    decode: Values.rowDecoder(columns)
  }
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (db: Database): SqliteConnection => {
  const cache = new Map<string, Prepared>()
  return {
    db,
    prepare: (sql) => {
      const cached = cache.get(sql)
      if (cached !== undefined) return cached
      const prepared = prepareFresh(db, sql)
      // DDL changes what cached texts mean, and is seldom run twice.
      if (prepared.reader || !prepared.readonly) {
        if (cache.size >= cacheSize) cache.delete(cache.keys().next().value!)
        cache.set(sql, prepared)
      }
      return prepared
    },
    release: () => {
      cache.clear()
      db.close()
    }
  }
}

/**
 * The rows as SQLite has them: bytes as `Uint8Array`, integers as bigint where a number would round, or always with
 * `safeIntegers`.
 *
 * @since 0.1.0
 * @category running
 */
export const rawRows = (
  prepared: Prepared,
  params: ReadonlyArray<unknown>,
  safeIntegers = false
): Array<Record<string, unknown>> => {
  if (!prepared.reader) return withoutRows(prepared, params)
  // Reading twice is cheaper than reading every integer as a bigint, but a write must not run twice.
  if (safeIntegers || !prepared.readonly) return exactRows(prepared, params, safeIntegers)
  const { columns, statement } = prepared
  const rows = statement.all(...params)
  for (const row of rows) {
    for (const column of columns) {
      const value = row[column]
      if (Values.maybeRounded(value)) return exactRows(prepared, params, false)
      if (typeof value === "object" && value !== null) row[column] = Values.fromDriver(value)
    }
  }
  return rows
}

const withoutRows = (prepared: Prepared, params: ReadonlyArray<unknown>): Array<never> => {
  runStatement(prepared, params)
  return []
}

const exactRows = (
  { columns, statement }: Prepared,
  params: ReadonlyArray<unknown>,
  safeIntegers: boolean
): Array<Record<string, unknown>> => {
  try {
    const rows = statement.safeIntegers(true).all(...params)
    for (const row of rows) {
      for (const column of columns) {
        const value = row[column]
        if (!safeIntegers || typeof value !== "bigint") row[column] = Values.fromDriver(value)
      }
    }
    return rows
  } finally {
    statement.safeIntegers(false)
  }
}

/**
 * Rows decoded by the declared types of their columns.
 *
 * @since 0.1.0
 * @category running
 */
export const typedRows = (
  prepared: Prepared,
  params: ReadonlyArray<unknown>,
  context: ErrorContext
): ReadonlyArray<Row> => {
  const rows = rawRows(prepared, params)
  if (prepared.decode !== undefined) for (const row of rows) prepared.decode(row, context)
  return rows
}

/**
 * Rows as arrays in the order of the columns, so that columns of one name do not hide each other.
 *
 * @since 0.1.0
 * @category running
 */
export const valueRows = (prepared: Prepared, params: ReadonlyArray<unknown>): Array<Array<unknown>> => {
  if (!prepared.reader) return withoutRows(prepared, params)
  const statement = prepared.statement as unknown as Statement<Array<unknown>, Array<unknown>>
  try {
    return statement
      .raw(true)
      .safeIntegers(true)
      .all(...params)
      .map((row) => row.map(Values.fromDriver))
  } finally {
    statement.raw(false).safeIntegers(false)
  }
}

/**
 * At most `limit` rows as arrays, without reading further.
 *
 * @since 0.1.0
 * @category running
 */
export const firstRows = (
  prepared: Prepared,
  params: ReadonlyArray<unknown>,
  limit: number
): ReadonlyArray<ReadonlyArray<unknown>> => {
  const statement = prepared.statement as unknown as Statement<Array<unknown>, Array<unknown>>
  const rows: Array<ReadonlyArray<unknown>> = []
  for (const row of statement
    .raw(true)
    .safeIntegers(true)
    .iterate(...params)) {
    rows.push(row.map(Values.fromDriver))
    if (rows.length >= limit) break
  }
  return rows
}

/**
 * @since 0.1.0
 * @category running
 */
export const runStatement = (prepared: Prepared, params: ReadonlyArray<unknown>): RunResult =>
  prepared.statement.run(...params)
