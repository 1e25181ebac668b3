/**
 * SQLite's result codes, as errors of the family.
 *
 * @since 0.1.0
 */
import {
  DbBusy,
  DbConnection,
  DbCorrupt,
  type DbError,
  DbFull,
  DbLocked,
  DbQuery,
  DbReadOnly,
  DbTimeout,
  DbUnsupported,
  type ErrorContext,
  InvalidInput,
  isDbError
} from "./DbError.js"
import { conflict, constraint, type Refusal, says } from "./Refusal.js"

/**
 * The longest prefix of a code that stands here decides (https://www.sqlite.org/rescode.html); any other code is
 * `DbQuery`.
 */
const byCode: Readonly<Record<string, (refusal: Refusal) => DbError>> = {
  SQLITE_BUSY: says(DbBusy, "another process holds the lock: retry, or raise busy_timeout"),
  // Several processes raced to begin reading the WAL; it goes by itself.
  SQLITE_PROTOCOL: says(DbBusy, "other processes were beginning to read at the same time: retry"),
  SQLITE_BUSY_SNAPSHOT: conflict("serialization", "another process wrote meanwhile: run the transaction again", true),
  SQLITE_LOCKED: says(DbLocked, "finish the open statement of this connection first"),
  SQLITE_INTERRUPT: says(DbTimeout, "the statement was stopped"),
  SQLITE_CONSTRAINT_UNIQUE: conflict("unique", "a row with this key exists", false),
  SQLITE_CONSTRAINT_PRIMARYKEY: conflict("unique", "a row with this key exists", false),
  SQLITE_CONSTRAINT_ROWID: conflict("unique", "a row with this key exists", false),
  SQLITE_CONSTRAINT_FOREIGNKEY: constraint("foreign-key", "write the row that it refers to first"),
  SQLITE_CONSTRAINT_CHECK: constraint("check", "the row breaks a rule of the table"),
  SQLITE_CONSTRAINT_NOTNULL: constraint("not-null", "give the column a value"),
  SQLITE_CONSTRAINT_DATATYPE: constraint("type", "give the column a value of its type"),
  SQLITE_CONSTRAINT: constraint("trigger", "a rule of the schema refused the row"),
  SQLITE_MISMATCH: constraint("type", "give the column a value of its type"),
  SQLITE_READONLY: says(DbReadOnly, "open the database for writing, or check the permissions of its file and folder"),
  // Opened for reading, too, a write-ahead log needs a file beside the database that all its processes share.
  SQLITE_READONLY_DIRECTORY: says(
    DbReadOnly,
    "a database with a write-ahead log needs a folder that may be written, also to be read: give the right to write " +
      "there, or read a copy that `db-hub backup` has made, which has no log"
  ),
  SQLITE_CORRUPT: says(DbCorrupt, "stop writing, run `db-hub doctor` and restore a backup"),
  SQLITE_NOTADB: says(DbCorrupt, "the file is no SQLite database, or it is encrypted: check the path"),
  SQLITE_FULL: says(DbFull, "free space on the disk"),
  SQLITE_CANTOPEN: says(
    DbConnection,
    "check that the path is a file in a folder that this user may write, which a write-ahead log needs also to be read"
  ),
  SQLITE_IOERR: (refusal) =>
    new DbConnection({
      ...refusal,
      applied: refusal.operation === "transaction.commit" ? "unknown" : "no",
      message: `${refusal.message}; the disk failed: check it, then reopen the database`
    }),
  SQLITE_PERM: says(DbConnection, "check the permissions of the file"),
  SQLITE_AUTH: says(DbReadOnly, "the statement is not allowed here"),
  SQLITE_TOOBIG: (refusal) =>
    new InvalidInput({ ...refusal, field: "params", allowed: "values and rows of at most 1,000,000,000 bytes" }),
  SQLITE_RANGE: (refusal) => new InvalidInput({ ...refusal, field: "params", allowed: "one value per placeholder" })
}

/** better-sqlite3 refuses some calls before SQLite sees them, with a message and no code. */
const byMessage: ReadonlyArray<readonly [RegExp, (context: ErrorContext) => DbError]> = [
  [
    // Not built, since install scripts were not run, or built for another Node.js.
    /better_sqlite3\.node|no native build/i,
    (context) =>
      new DbUnsupported({
        ...context,
        code: "HUB_DRIVER_MISSING",
        message:
          "better-sqlite3 has no native part for this Node.js: let your package manager run its install script (`npm rebuild better-sqlite3`, `pnpm approve-builds`)"
      })
  ],
  [
    /parameter value|named parameter|can only bind|BigInt/,
    (context) =>
      new InvalidInput({
        ...context,
        code: "HUB_PARAMETERS",
        field: "params",
        allowed: "exactly one value per placeholder",
        message: "The number or kind of the values does not fit the placeholders of the statement"
      })
  ],
  [
    /more than one statement|contains no statements/,
    (context) =>
      new InvalidInput({
        ...context,
        code: "HUB_ONE_STATEMENT",
        field: "sql",
        allowed: "exactly one statement",
        message:
          "The text must hold exactly one statement: send several one by one, in a transaction if they belong together"
      })
  ],
  [
    /busy executing a query/,
    (context) =>
      new DbLocked({
        ...context,
        code: "HUB_OPEN_STREAM",
        message: "A stream of the same transaction is still being read: finish it first"
      })
  ],
  [
    /connection is not open/,
    (context) => new DbConnection({ ...context, code: "HUB_CLOSED", message: "The database is closed" })
  ],
  [
    /directory does not exist/,
    (context) =>
      new DbConnection({ ...context, code: "HUB_NO_FOLDER", message: "The folder of the database does not exist" })
  ]
]

/**
 * Messages of SQLite that name schema objects and keywords only, or as much of them as does. All others are dropped,
 * since they may quote a value that stood in the statement's text.
 */
const safeMessages: ReadonlyArray<RegExp> = [
  /^no such (table|column|index|view|module|savepoint|function|trigger|collation sequence): [\w.]+$/,
  /^near "([A-Za-z_]\w{0,39}|[^\w'"]{1,3})": syntax error$/,
  /^incomplete input$/,
  /^unrecognized token/,
  /^(fts5: syntax error|malformed MATCH expression|malformed JSON|bad JSON path)/,
  /^misuse of (aliased )?(aggregate|window) function:? \w+(\(\))?$/,
  /^HAVING clause on a non-aggregate query$/,
  /^SELECTs to the left and right of [A-Z ]+ do not have the same number of result columns$/,
  /^all VALUES must have the same number of terms$/,
  /^\d+(st|nd|rd|th) (ORDER|GROUP) BY term (out of range - should be between 1 and \d+|does not match any column in the result set)$/,
  /^sub-select returns \d+ columns - expected \d+$/,
  /^row value misused$/,
  /^too many (terms in compound SELECT|columns in result set|FROM clause terms, max: \d+|SQL variables)$/,
  /^too many (arguments on function \w+|terms in (ORDER|GROUP) BY clause)$/,
  /^at most \d+ tables in a join$/,
  /^Expression tree is too large \(maximum depth \d+\)$/,
  /^(parser stack overflow|LIKE or GLOB pattern too complex|string or blob too big|integer overflow|no tables specified)$/,
  /^(circular reference|recursive reference in a subquery): \w+$/,
  /^unable to use function \w+ in the requested context$/,
  /^cannot join using column \w+ - column not present in both tables$/,
  /^cannot modify \w+ because it is a view$/,
  /^table \w+ may not be modified$/,
  /^table \w+ has no column named \w+$/,
  /^table \w+ has \d+ columns but \d+ values were supplied$/,
  /^\d+ values for \d+ columns$/,
  /^ambiguous column name: [\w.]+$/,
  /^(table|index|view|trigger) \w+ already exists$/,
  /^there is already (a|an) (table|index|view) named \w+$/,
  /^wrong number of arguments to function \w+\(\)$/,
  /^(UNIQUE|NOT NULL|CHECK) constraint failed: [\w., ]+$/,
  /^FOREIGN KEY constraint failed$/,
  /^cannot (commit|rollback) - no transaction is active$/,
  /^cannot start a transaction within a transaction$/,
  /^database (is locked|table is locked|disk image is malformed|schema is locked.*|or disk is full)$/,
  /^attempt to write a readonly database$/,
  /^file is not a database$/,
  /^unable to open database file$/,
  /^disk I\/O error$/,
  /^interrupted$/
]

const lookup = (code: string): ((refusal: Refusal) => DbError) => {
  for (let key = code; key.includes("_"); key = key.slice(0, key.lastIndexOf("_"))) {
    const make = byCode[key]
    if (make !== undefined) return make
  }
  return (refusal) => new DbQuery(refusal)
}

/**
 * Maps what better-sqlite3 throws to an error of the family; an error of the family passes unchanged.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromSqlite = (cause: unknown, context: ErrorContext): DbError => {
  if (isDbError(cause)) return cause
  const message = cause instanceof Error ? cause.message : ""
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined
  if (code === undefined || !code.startsWith("SQLITE_")) {
    const known = byMessage.find(([pattern]) => pattern.test(message))
    if (known !== undefined) return known[1](context)
    const name = cause instanceof Error ? cause.name : typeof cause
    return new DbQuery({ ...context, code: "HUB_DRIVER", message: `The SQLite driver refused the call (${name})` })
  }
  const said = safeMessages.map((pattern) => pattern.exec(message)?.[0]).find((text) => text !== undefined)
  const named = /constraint failed: (.+)$/.exec(said ?? "")?.[1]
  return lookup(code)({
    ...context,
    code,
    message: said === undefined ? `SQLite refused the statement (${code})` : `SQLite: ${said}`,
    ...(named === undefined ? {} : { constraint: named })
  })
}
