/**
 * One handle of better-sqlite3: its statements, prepared once, and its values. Everything here is synchronous and
 * throws what the driver throws; the client above turns that into effects.
 *
 * @since 0.1.0
 */
import type { Database, RunResult, Statement } from "better-sqlite3"
import { type Applied, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { Row } from "../../services/Backend.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { lexical } from "./SqliteDialect.js"
import * as Values from "./SqliteValues.js"

/** Statements kept prepared per handle. */
const cacheSize = 512

const insertWords = new Set(["INSERT", "REPLACE"])
const mainWords = new Set([...insertWords, "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "PRAGMA"])
const dataWords = new Set([...insertWords, "UPDATE", "DELETE", "WITH"])
const controlWords = new Set(["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"])

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
  /** It begins or ends a transaction or a savepoint. */
  readonly control: boolean
  /** It may change the schema, and with it what other statements return. */
  readonly definition: boolean
  /** Its text names the columns that it returns, so that they cannot change under it. */
  readonly named: boolean
  /** What the last run returned, and the same without doubles. */
  columns: ReadonlyArray<string>
  distinct: ReadonlyArray<string>
  decode: ReturnType<typeof Values.rowDecoder>
  /** False when the schema may have changed since: SQLite tells the columns of the new one after the next run. */
  described: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteConnection {
  readonly db: Database
  /** The cached statement of a text; throws if SQLite refuses it. */
  readonly prepare: (sql: string) => Prepared
  /** Forgets what statements return, after this process has changed the schema. */
  readonly forgetColumns: () => void
  /** Another process may have changed it since: the next statement that is known by its columns looks. */
  readonly mistrustColumns: () => void
  /** What the temporary schema of this connection holds, in capitals. */
  readonly temporaryNames: () => ReadonlyArray<string>
  readonly release: () => void
}

/**
 * Whether a statement that writes, by its words, inserts rows.
 *
 * @since 0.1.0
 * @category checks
 */
export const insertsRows = (words: ReadonlyArray<string>): boolean =>
  insertWords.has(words.find((word) => mainWords.has(word)) ?? "")

/**
 * Whether a statement, by its words, changes no more than rows.
 *
 * @since 0.1.0
 * @category checks
 */
export const changesRows = (words: ReadonlyArray<string>): boolean => dataWords.has(words[0] ?? "")

/**
 * Whether a statement, by its words, begins or ends a transaction or a savepoint.
 *
 * @since 0.1.0
 * @category checks
 */
export const controls = (words: ReadonlyArray<string>): boolean => controlWords.has(words[0] ?? "")

/**
 * What such a statement is refused with: it would move the transaction out of the hands that hold it.
 *
 * @since 0.1.0
 * @category errors
 */
export const controlRefused = ({ backend, operation }: ErrorContext): InvalidInput =>
  invalidInput({ operation, backend }, "sql", "begins or ends a transaction", "other statements; use `transaction`")

/**
 * Undoes a transaction that nobody holds, which would swallow what is written next.
 *
 * @since 0.1.0
 * @category running
 */
export const rollBackStray = (db: Database): void => {
  if (db.inTransaction) db.exec("ROLLBACK")
}

/**
 * Prepares a statement outside of any cache, for callers that keep it busy over many turns.
 *
 * @since 0.1.0
 * @category constructors
 */
export const prepareFresh = (db: Database, sql: string): Prepared => {
  const statement = db.prepare<Array<unknown>, Record<string, unknown>>(sql)
  const words = SqlLexer.keywords(sql, lexical)
  const { reader, readonly } = statement
  // Row ids of inserts are exact; the integers of rows are read exactly only where they must be.
  if (!reader) statement.safeIntegers(true)
  return {
    statement,
    sql,
    reader,
    readonly,
    inserts: !readonly && insertsRows(words),
    control: controls(words),
    definition: !readonly && !changesRows(words),
    // Setting `__proto__` would set no column.
    named: reader && !/\*|__proto__|\bpragma\b/i.test(sql),
    columns: [],
    distinct: [],
    decode: undefined,
    described: false
  }
}

/**
 * Reads the columns of a statement that has run.
 *
 * @since 0.1.0
 * @category running
 */
export const describe = (prepared: Prepared): void => {
  const columns = prepared.statement.columns()
  prepared.columns = columns.map((column) => column.name)
  prepared.distinct = Array.from(new Set(prepared.columns))
  prepared.decode = Values.rowDecoder(columns)
  prepared.described = true
}

/** A table that was altered by somebody else shows in the names of the first row, before any check of the schema. */
const isDescribedBy = (prepared: Prepared, row: Record<string, unknown> | undefined): boolean => {
  if (!prepared.described || row === undefined) return prepared.described
  let extra = 0
  for (const _name in row) extra++
  for (const column of prepared.distinct) if (row[column] !== undefined) extra--
  return extra === 0
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (db: Database): SqliteConnection => {
  const cache = new Map<string, Prepared>()
  const schemaVersion = db.prepare("PRAGMA schema_version").pluck()
  const temporaryNames = db.prepare("SELECT upper(name) FROM sqlite_temp_schema").pluck()
  let lastVersion: unknown
  let mistrusted = false
  const forgetColumns = () => {
    for (const prepared of cache.values()) prepared.described = false
  }
  const checkSchema = () => {
    mistrusted = false
    try {
      const version = schemaVersion.get()
      if (version !== lastVersion) forgetColumns()
      lastVersion = version
    } catch (_locked) {
      forgetColumns()
    }
  }
  return {
    db,
    prepare: (sql) => {
      const cached = cache.get(sql)
      if (cached !== undefined) {
        if (mistrusted && cached.described) checkSchema()
        return cached
      }
      const prepared = prepareFresh(db, sql)
      if (cache.size >= cacheSize) cache.delete(cache.keys().next().value!)
      cache.set(sql, prepared)
      return prepared
    },
    forgetColumns,
    temporaryNames: () => temporaryNames.all() as Array<string>,
    mistrustColumns: () => {
      mistrusted = true
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
  if (prepared.named) return namedRows(prepared, params)
  const rows = prepared.statement.all(...params)
  if (!isDescribedBy(prepared, rows[0])) describe(prepared)
  for (const row of rows) {
    for (const column of prepared.distinct) {
      const value = row[column]
      if (Values.maybeRounded(value)) return exactRows(prepared, params, false)
      if (typeof value === "object" && value !== null) row[column] = Values.fromDriver(value)
    }
  }
  return rows
}

/** The driver's objects are slow to make and to read; its arrays take half the time, making objects of them included. */
const namedRows = (prepared: Prepared, params: ReadonlyArray<unknown>): Array<Record<string, unknown>> => {
  const statement = prepared.statement as unknown as Statement<Array<unknown>, Array<unknown>>
  let lists: Array<Array<unknown>>
  try {
    lists = statement.raw(true).all(...params)
  } finally {
    statement.raw(false)
  }
  const [first] = lists
  if (!prepared.described || (first !== undefined && first.length !== prepared.columns.length)) describe(prepared)
  const { columns } = prepared
  const rows: Array<Record<string, unknown>> = []
  for (const list of lists) {
    const row: Record<string, unknown> = {}
    for (let index = 0; index < columns.length; index++) {
      const value = list[index]
      if (Values.maybeRounded(value)) return exactRows(prepared, params, false)
      row[columns[index]!] = typeof value === "object" && value !== null ? Values.fromDriver(value) : value
    }
    rows.push(row)
  }
  return rows
}

const withoutRows = (prepared: Prepared, params: ReadonlyArray<unknown>): Array<never> => {
  runStatement(prepared, params)
  return []
}

const exactRows = (
  prepared: Prepared,
  params: ReadonlyArray<unknown>,
  safeIntegers: boolean
): Array<Record<string, unknown>> => {
  const { statement } = prepared
  try {
    const rows = statement.safeIntegers(true).all(...params)
    if (!isDescribedBy(prepared, rows[0])) describe(prepared)
    for (const row of rows) {
      for (const column of prepared.distinct) {
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
  context: ErrorContext & { readonly applied?: Applied }
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
  describe(prepared)
  return rows
}

/**
 * @since 0.1.0
 * @category running
 */
export const runStatement = (prepared: Prepared, params: ReadonlyArray<unknown>): RunResult => {
  const { changes, lastInsertRowid } = prepared.statement.run(...params)
  return { changes, lastInsertRowid: Values.fromDriver(lastInsertRowid) as number | bigint }
}
