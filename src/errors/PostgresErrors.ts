/**
 * PostgreSQL's SQLSTATEs and the codes of its network, as errors of the family.
 *
 * @since 0.1.0
 */
import {
  type Applied,
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

type Make = (refusal: Refusal, applied: Applied) => DbError

const connection =
  (advice: string, retryable = true): Make =>
  (refusal, applied) =>
    new DbConnection({ ...refusal, retryable, applied, message: `${refusal.message}; ${advice}` })

const badInput =
  (field: string, allowed: string): Make =>
  (refusal) =>
    new InvalidInput({ ...refusal, field, allowed, message: `${refusal.message}; allowed: ${allowed}` })

/**
 * The whole code decides, else its class, its first two characters
 * (https://www.postgresql.org/docs/17/errcodes-appendix.html); any other code is `DbQuery`.
 */
const bySqlState: Readonly<Record<string, Make>> = {
  "08": connection("the connection is broken: try again"),
  "0A000": says(DbUnsupported, "this server cannot do that"),
  "22001": constraint("type", "the value is too long for its column"),
  "22003": constraint("type", "the number is out of the range of its type"),
  "22007": constraint("type", "give the column a date or time"),
  "22008": constraint("type", "the date or time is out of range"),
  "22021": constraint("type", "the text has characters that the database cannot store"),
  "22P02": constraint("type", "give the column a value of its type"),
  "22P03": constraint("type", "give the column a value of its type"),
  "22P05": constraint("type", "the text has characters that the database cannot store"),
  "23502": constraint("not-null", "give the column a value"),
  "23503": constraint("foreign-key", "write the row that it refers to first"),
  "23505": conflict("unique", "a row with this key exists", false),
  "23514": constraint("check", "the row breaks a rule of the table"),
  "23P01": conflict("unique", "another row excludes this one", false),
  "23": constraint("trigger", "a rule of the schema refused the row"),
  "25006": says(DbReadOnly, "write on the primary, or open the backend for writing"),
  "25P02": says(
    DbQuery,
    "an earlier statement of this transaction failed: put what may fail into a nested transaction of its own"
  ),
  "25P03": connection("the transaction idled for too long: run it again"),
  "28": connection("check user and password, and the server's pg_hba.conf", false),
  "3D000": connection("create the database, or correct its name", false),
  "40001": conflict("serialization", "another transaction was first: run the transaction again", true),
  "40002": conflict("serialization", "run the transaction again", true),
  "40003": (refusal) =>
    new DbConnection({
      ...refusal,
      applied: "unknown",
      message: `${refusal.message}; whether the transaction was committed is not known`
    }),
  "40P01": conflict("serialization", "two transactions waited for each other: run the transaction again", true),
  "42501": says(DbQuery, "the user lacks a right: GRANT it, or connect as another user"),
  "53100": says(DbFull, "free space on the server's disk"),
  "53300": connection("the server has no connection left: lower max_open_conns, or raise max_connections"),
  "55006": says(DbLocked, "somebody else uses it: try again"),
  "55P03": says(DbLocked, "somebody else holds the lock: try again, or raise lock_timeout"),
  "57014": says(DbTimeout, "the statement was stopped: make it cheaper, or raise statement_timeout"),
  "57P": connection("the server ended the connection: try again"),
  "58030": connection("the server's disk failed", false),
  P0001: constraint("trigger", "a rule of the schema refused the row"),
  XX001: says(DbCorrupt, "stop writing and restore a backup"),
  XX002: says(DbCorrupt, "rebuild the index with REINDEX")
}

/** What decides is the text: PostgreSQL and PgBouncer use one code for very different things. */
const byText: ReadonlyArray<readonly [RegExp, Make]> = [
  [/^bind message supplies \d+ parameters/, badInput("params", "exactly one value per placeholder")],
  [
    /^cannot insert multiple commands into a prepared statement/,
    (refusal) =>
      new InvalidInput({
        ...refusal,
        code: "HUB_ONE_STATEMENT",
        field: "sql",
        allowed: "exactly one statement",
        message:
          "The text must hold exactly one statement: send several one by one, in a transaction if they belong together"
      })
  ],
  [
    /^cached plan must not change result type/,
    conflict("serialization", "a table was altered under the transaction: run it again", true)
  ],
  [
    /^unsupported startup parameter/,
    connection("PgBouncer does not take this setting: set pooler to session or transaction", false)
  ]
]

const networkCode = (advice: string, retryable = true): readonly [string, boolean] => [advice, retryable]

/** Codes of Node's network and TLS. Retryable where the way or the server may come back by itself. */
const byNodeCode: Readonly<Record<string, readonly [advice: string, retryable: boolean]>> = {
  ECONNREFUSED: networkCode("nothing listens there: check host and port, and that the server runs"),
  ECONNRESET: networkCode("the connection was cut: try again"),
  EPIPE: networkCode("the connection was cut: try again"),
  ETIMEDOUT: networkCode("the server does not answer: check host, port and firewall"),
  EHOSTUNREACH: networkCode("there is no way to the server: check network and firewall"),
  ENETUNREACH: networkCode("there is no way to the server; an address of IPv6 needs a network with IPv6"),
  ENOTFOUND: networkCode("the host name is not known: check it", false),
  EAI_AGAIN: networkCode("the host name could not be looked up: try again"),
  ENOENT: networkCode("there is no socket in this folder: check host and port", false),
  EACCES: networkCode("this user may not use the socket", false)
}

const tlsCodes = /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|CERT_|ERR_TLS_|ERR_SSL_|EPROTO)/

/** What the driver says without a code. */
const byDriverMessage: ReadonlyArray<readonly [RegExp, string, string, boolean]> = [
  [
    /does not support SSL/,
    "HUB_NO_TLS",
    "The server does not offer TLS: turn it on there, or set ssl_mode to prefer or disable",
    false
  ],
  [
    /establishing an SSL connection/,
    "HUB_TLS",
    "The server's answer to the request for TLS makes no sense: check host and port",
    false
  ],
  [
    /timeout expired|connection timeout|timeout exceeded/,
    "HUB_CONNECT_TIMEOUT",
    "The server did not answer within connect_timeout: check host, port and firewall",
    true
  ],
  [/^SASL|password/i, "HUB_NO_PASSWORD", "The server asks for a password that it was not given, or not rightly", false],
  [/after calling end|was closed/, "HUB_CLOSED", "The database is closed: its layer or scope has ended", false],
  [/terminated|not queryable|Connection/, "HUB_CONNECTION_LOST", "The connection was lost: try again", true]
]

/**
 * Messages that name objects of the schema and keywords only, or as much of them as does. All others are dropped, since
 * they may quote a value that was bound or that stood in the statement's text.
 */
const safeMessages: ReadonlyArray<RegExp> = [
  /^(relation|schema|role|database|extension|sequence|view|index|type|operator class|access method) "[\w.$-]+" (does not exist|already exists)$/,
  /^column "?[\w.]+"? (does not exist|of relation "[\w.]+" (does not exist|already exists))$/,
  /^column reference "\w+" is ambiguous$/,
  /^type "[\w.]+" does not exist$/,
  /^column "[\w.]+" must appear in the GROUP BY clause or be used in an aggregate function$/,
  /^subquery uses ungrouped column "[\w.]+" from outer query$/,
  /^(missing|invalid reference to) FROM-clause entry for table "\w+"$/,
  /^table (name|reference) "\w+" (specified more than once|is ambiguous)$/,
  /^each [A-Z]+ query must have the same number of columns$/,
  /^[A-Z/ ]+ types [\w ]+ and [\w ]+ cannot be matched$/,
  /^argument of [A-Z/ ]+ must be type [\w ]+, not type [\w ]+$/,
  /^(aggregate|window|set-returning) functions are not allowed in [\w ]+$/,
  /^(aggregate|window) function calls cannot [\w -]+$/,
  /^window function \w+ requires an OVER clause$/,
  /^subquery (must return only one column|has too (many|few) columns|in FROM must have an alias)$/,
  /^more than one row returned by a subquery used as an expression$/,
  /^cannot cast type [\w ]+ to [\w ]+$/,
  /^could not identify an (equality|ordering) operator for type [\w ]+$/,
  /^for SELECT DISTINCT, ORDER BY expressions must appear in select list$/,
  /^(ORDER|GROUP) BY position \d+ is not in select list$/,
  /^(LIMIT|OFFSET) must not be negative$/,
  /^(stack depth limit exceeded|integer out of range|bigint out of range|numeric field overflow)$/,
  /^cannot truncate a table referenced in a foreign key constraint$/,
  /^cannot drop [\w ]+ because other objects depend on it$/,
  /^target lists can have at most \d+ entries$/,
  /^(invalid input syntax for type [\w ]+|invalid regular expression|syntax error in tsquery|malformed array literal)/,
  /^(date\/time field value out of range|time zone displacement out of range)/,
  /^function [\w.]+\([\w ,.[\]"]*\) (does not exist|is not unique)$/,
  /^operator does not exist: [\w ".[\]]+ [^\w\s'"]{1,4} [\w ".[\]]+$/,
  /^syntax error at (end of input|or near "(\w{1,40}|[^\w'"]{1,3})")$/,
  /^(duplicate key value violates unique|conflicting key value violates exclusion) constraint "[\w$-]+"$/,
  /^null value in column "\w+" of relation "\w+" violates not-null constraint$/,
  /^new row for relation "\w+" violates check constraint "[\w$-]+"$/,
  /^(insert or )?update( or delete)? on table "\w+" violates foreign key constraint "[\w$-]+"( on table "\w+")?$/,
  /^permission denied (for|to) [\w ]+( "[\w-]+")?$/,
  /^must be (owner|superuser)[\w ]*$/,
  /^cannot execute [A-Z ]+ in a read-only transaction$/,
  /^(deadlock detected|division by zero|could not serialize access due to [\w /]+)$/,
  /^canceling statement due to (statement timeout|user request|lock timeout|conflict with recovery)$/,
  /^could not obtain lock on (row in )?relation "[\w]+"$/,
  /^current transaction is aborted, commands ignored until end of transaction block$/,
  /^terminating connection due to [\w -]+$/,
  /^(sorry, too many clients already|the database system is (starting up|shutting down|in recovery mode))$/,
  /^remaining connection slots are reserved for [\w ]+$/,
  /^(password authentication failed|no pg_hba\.conf entry)/,
  /^cannot insert multiple commands into a prepared statement$/,
  /^cached plan must not change result type$/,
  /^[A-Z ]+ cannot run inside a transaction block$/,
  /^extension "\w+" is not available$/,
  /^unsupported startup parameter: \w+$/,
  /^bind message supplies \d+ parameters, but prepared statement "\w*" requires \d+$/,
  /^could not determine data type of parameter \$\d+$/,
  /^different vector dimensions \d+ and \d+$/,
  /^expected \d+ dimensions, not \d+$/,
  /^prepared statement "\w+" does not exist$/
]

interface ServerError {
  readonly code: string
  readonly message: string
  readonly severity: string
  readonly constraint?: string | undefined
  readonly table?: string | undefined
  readonly column?: string | undefined
}

/**
 * An error that the server itself sent.
 *
 * @since 0.1.0
 * @category guards
 */
export const isServerError = (u: unknown): u is ServerError =>
  u instanceof Error && "severity" in u && "code" in u && typeof u.code === "string" && /^[0-9A-Z]{5}$/.test(u.code)

/**
 * Whether the connection is of no more use after this error.
 *
 * @since 0.1.0
 * @category guards
 */
export const endsConnection = (u: unknown): boolean =>
  !isDbError(u) &&
  (!isServerError(u) || /^(FATAL|PANIC)$/.test(u.severity) || /^(08(?!P01)|57P0[1-5]|25P03)/.test(u.code))

const named = (u: ServerError): string => {
  const parts = [
    u.constraint === undefined ? "" : `constraint ${u.constraint}`,
    u.column === undefined ? "" : `column ${u.column}`,
    u.table === undefined ? "" : `table ${u.table}`
  ].filter((part) => part !== "")
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`
}

const fromServer = (cause: ServerError, context: ErrorContext, applied: Applied): DbError => {
  const { code, message } = cause
  const said = safeMessages.map((pattern) => pattern.exec(message)?.[0]).find((text) => text !== undefined)
  const refusal: Refusal = {
    ...context,
    code,
    message: said === undefined ? `PostgreSQL refused the statement (${code})${named(cause)}` : `PostgreSQL: ${said}`,
    ...(cause.constraint === undefined ? {} : { constraint: cause.constraint })
  }
  const make =
    byText.find(([pattern]) => pattern.test(message))?.[1] ??
    bySqlState[code] ??
    bySqlState[code.slice(0, 3)] ??
    bySqlState[code.slice(0, 2)]
  return make === undefined ? new DbQuery(refusal) : make(refusal, endsConnection(cause) ? applied : "no")
}

const fromNetwork = (cause: unknown, context: ErrorContext, applied: Applied): DbError => {
  if (cause instanceof AnswerTooLarge) {
    return new DbQuery({ ...context, code: "HUB_TOO_LARGE", applied, message: cause.message })
  }
  const message = cause instanceof Error ? cause.message : ""
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : undefined
  const known = code === undefined ? undefined : byNodeCode[code]
  if (code !== undefined && known !== undefined) {
    const [advice, retryable] = known
    return new DbConnection({
      ...context,
      code,
      applied,
      retryable,
      message: `The server cannot be reached (${code}); ${advice}`
    })
  }
  if (code !== undefined && tlsCodes.test(code)) {
    return new DbConnection({
      ...context,
      code,
      applied,
      message: `The server's certificate or its TLS was refused (${code}); check ssl_mode, ssl_ca_file and the host's name`
    })
  }
  const said = byDriverMessage.find(([pattern]) => pattern.test(message))
  if (said !== undefined) {
    const [, hubCode, text, retryable] = said
    return new DbConnection({ ...context, code: hubCode, applied, retryable, message: text })
  }
  const name = cause instanceof Error ? cause.name : typeof cause
  return new DbQuery({ ...context, code: "HUB_DRIVER", message: `The PostgreSQL driver refused the call (${name})` })
}

/**
 * An answer was cut off because it had more bytes than these.
 *
 * @since 0.1.0
 * @category errors
 */
export class AnswerTooLarge extends Error {
  override readonly name = "AnswerTooLarge"
  constructor(readonly bytes: number) {
    super(`The answer has more than ${bytes / 1024 / 1024} MiB: select or return less, or cut columns with left(…)`)
  }
}

/**
 * Maps what the driver gives to an error of the family; an error of the family passes unchanged. `applied` is what a
 * lost connection leaves open: `unknown` when the lost answer may have been that of a commit.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fromPostgres = (cause: unknown, context: ErrorContext, applied: Applied = "no"): DbError =>
  isDbError(cause)
    ? cause
    : isServerError(cause)
      ? fromServer(cause, context, applied)
      : fromNetwork(cause, context, applied)
