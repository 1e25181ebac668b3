/**
 * Where a PostgreSQL server is and how it is spoken with: the options, checked and with their defaults.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import type { Duplex } from "node:stream"
import type { ConnectionOptions } from "node:tls"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { DbConnection, type DbError, type InvalidInput, invalidInput } from "../../errors/index.js"
import * as Dsn from "./PostgresDsn.js"

/**
 * With libpq's meaning (https://www.postgresql.org/docs/17/libpq-ssl.html): `prefer` takes TLS where the server has it,
 * `require` never goes without, `verify-ca` also checks who signed the certificate, `verify-full` also the host's name.
 *
 * @since 0.1.0
 * @category constants
 */
export const sslModes = ["disable", "prefer", "require", "verify-ca", "verify-full"] as const

/**
 * How far a connection is encrypted and the server's certificate checked, as libpq names it.
 *
 * @since 0.1.0
 * @category models
 */
export type SslMode = (typeof sslModes)[number]

/**
 * What stands between: nothing, or PgBouncer (Supavisor …) that keeps a connection per session or per transaction.
 *
 * @since 0.1.0
 * @category constants
 */
export const poolers = ["none", "session", "transaction"] as const

/**
 * A Supabase project.
 *
 * @since 0.1.0
 * @category models
 */
export interface SupabaseOptions {
  /** As Supabase shows it: `https://REF.supabase.co`. */
  readonly url: string
  /**
   * `direct` (default) reaches the database itself, which has an address of IPv6 only; `session` and `transaction` go
   * through the pooler, which has IPv4 too.
   */
  readonly mode?: "direct" | "session" | "transaction"
  /** The pooler's host, such as `aws-0-eu-central-1.pooler.supabase.com`; needed for the pooler. */
  readonly poolerHost?: string
}

/**
 * How vectors are indexed.
 *
 * @since 0.1.0
 * @category models
 */
export interface PostgresVectorOptions {
  /** Default `hnsw`. */
  readonly index?: "hnsw" | "ivfflat" | "none"
  /**
   * What the index holds: the vectors (up to 2000 dimensions), their halves (up to 4000) or their signs (any), of which
   * the last two are scored again with the full vectors. Default: the first of them that fits the dimensions.
   */
  readonly storage?: "vector" | "halfvec" | "bit"
  /** A collection is searched exactly until it has this many records; then its index is built. Default 10000. */
  readonly indexAfter?: number
  /** hnsw: connections of a node; default 16. */
  readonly m?: number
  /** hnsw: candidates while building; default 64. */
  readonly efConstruction?: number
  /** hnsw: candidates while searching, raised to what k needs; default 100. */
  readonly efSearch?: number
  /** ivfflat: the number of lists; default from the number of records when it is built. */
  readonly lists?: number
  /** ivfflat: the lists searched; default from the number of lists. */
  readonly probes?: number
}

/**
 * Where a server is, and how the hub connects to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface PostgresOptions {
  /** `postgresql://user:password@host:port/database?sslmode=…`, or libpq's `host=… password='…'`. Other fields win. */
  readonly url?: Redacted.Redacted<string>
  /** A host, or the folder of a socket; default `localhost`. */
  readonly host?: string
  /** Default 5432. */
  readonly port?: number
  readonly database?: string
  readonly user?: string
  readonly password?: Redacted.Redacted<string>
  /** Default `require`, but `prefer` on the loopback address and `disable` through a socket. */
  readonly sslMode?: SslMode
  /** A file of certificates that the server's is checked against; default those that Node trusts. */
  readonly sslCaFile?: string
  readonly supabase?: SupabaseOptions
  /** Default `none`, or what `supabase` implies. */
  readonly pooler?: (typeof poolers)[number]
  /** Default true, but false with `pooler: "transaction"`; PgBouncer needs `max_prepared_statements` for it. */
  readonly preparedStatements?: boolean
  /** The name in errors, spans and the hub; default `primary`. */
  readonly name?: string
  /** Default 25. */
  readonly maxOpenConns?: number
  /** Default 10, or `maxOpenConns` if that is less. */
  readonly maxIdleConns?: number
  /** Milliseconds after which a connection is replaced; default 30 minutes, 0 = never. */
  readonly connMaxLifetime?: number
  /** Milliseconds after which an idle connection is closed; default 5 minutes, 0 = never. */
  readonly connMaxIdleTime?: number
  /** Milliseconds for making a connection; default 10 seconds. */
  readonly connectTimeout?: number
  /** Milliseconds to wait for a free connection before `DbBusy`; default 10 seconds. */
  readonly acquireTimeout?: number
  /** Milliseconds; 0 (default) = as the server says. */
  readonly statementTimeout?: number
  /** Milliseconds; 0 (default) = as the server says. */
  readonly lockTimeout?: number
  /** Milliseconds; 0 (default) = as the server says. */
  readonly idleInTransactionSessionTimeout?: number
  /** Default `effect-db-hub`. */
  readonly applicationName?: string
  /** The schemas that names are looked up in, such as `app, public`; default as the server says. */
  readonly searchPath?: string
  /** Probe silent connections; default true. */
  readonly keepAlive?: boolean
  /** Every transaction is read-only, as on a replica. */
  readonly readOnly?: boolean
  /** Bring the hub's own tables up to date when the layer is built; default true unless `readOnly`. */
  readonly migrate?: boolean
  readonly vector?: PostgresVectorOptions
}

/**
 * @since 0.1.0
 * @category models
 */
export interface ResolvedPostgresOptions {
  readonly host: string
  readonly port: number
  readonly database: string
  readonly user: string
  readonly password: Redacted.Redacted<string> | undefined
  readonly sslMode: SslMode
  /** The certificates themselves. */
  readonly ca: string | undefined
  readonly pooler: (typeof poolers)[number]
  readonly preparedStatements: boolean
  readonly name: string
  readonly maxOpenConns: number
  readonly maxIdleConns: number
  readonly connMaxLifetime: number
  readonly connMaxIdleTime: number
  readonly connectTimeout: number
  readonly acquireTimeout: number
  readonly applicationName: string
  readonly keepAlive: boolean
  readonly readOnly: boolean
  readonly migrate: boolean
  /** What is spoken with in place of a server. */
  readonly stream?: () => Duplex
  /** Server parameters of every session. */
  readonly settings: Readonly<Record<string, string>>
  readonly vector: {
    readonly index: "hnsw" | "ivfflat" | "none"
    readonly storage: "vector" | "halfvec" | "bit" | undefined
    readonly indexAfter: number
    readonly m: number
    readonly efConstruction: number
    readonly efSearch: number
    readonly lists: number | undefined
    readonly probes: number | undefined
  }
}

type Check = Effect.Effect<void, InvalidInput>

const operation = "postgresql.open"

const check = (field: string, ok: boolean, allowed: string, problem = "is not valid"): Check =>
  ok ? Effect.void : Effect.fail(invalidInput({ operation }, field, problem, allowed))

const whole = (field: string, n: number | undefined, min: number, max: number): Check =>
  check(field, n === undefined || (Number.isInteger(n) && n >= min && n <= max), `a whole number from ${min} to ${max}`)

const text = (field: string, value: string | undefined): Check =>
  check(field, value === undefined || (value.length > 0 && !value.includes("\0")), "text of at least one character")

const oneOf = (field: string, value: string | undefined, allowed: ReadonlyArray<string>): Check =>
  check(field, value === undefined || allowed.includes(value), allowed.join(", "))

const projectUrl = /^https:\/\/([a-z0-9]+)\.supabase\.(co|in)\/?$/

interface Address {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly pooler: (typeof poolers)[number]
}

/**
 * Where a Supabase project is reached.
 *
 * @since 0.1.0
 * @category supabase
 */
export const supabaseAddress = (options: SupabaseOptions): Effect.Effect<Address, InvalidInput> => {
  const { mode = "direct", poolerHost, url } = options
  const [, ref, zone] = projectUrl.exec(url) ?? []
  if (ref === undefined) {
    return Effect.fail(
      invalidInput(
        { operation },
        "supabase.url",
        "is no project's URL",
        "https://REF.supabase.co; another server: host"
      )
    )
  }
  if (mode === "direct") {
    return Effect.succeed({ host: `db.${ref}.supabase.${zone}`, port: 5432, user: "postgres", pooler: "none" })
  }
  if (poolerHost === undefined) {
    return Effect.fail(
      invalidInput(
        { operation },
        "supabase.poolerHost",
        "is missing and does not follow from the URL",
        "the host under Connect in the project's dashboard, such as aws-0-eu-central-1.pooler.supabase.com"
      )
    )
  }
  return Effect.succeed({
    host: poolerHost,
    port: mode === "session" ? 5432 : 6543,
    user: `postgres.${ref}`,
    pooler: mode
  })
}

const isLoopback = (host: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|::1)$/.test(host)

const readCa = (file: string): Effect.Effect<string, DbError> =>
  Effect.try({
    try: () => NodeFs.readFileSync(file, "utf8"),
    catch: (cause) => {
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
      return new DbConnection({ operation, code, message: `sslCaFile cannot be read (${code}): check its path` })
    }
  })

/**
 * Fills in the defaults and refuses what would silently mean something else.
 *
 * @since 0.1.0
 * @category validation
 */
export const resolve = (options: PostgresOptions): Effect.Effect<ResolvedPostgresOptions, DbError> =>
  Effect.gen(function* () {
    const { supabase, vector = {} } = options
    const parsed: Dsn.Target = options.url === undefined ? {} : yield* Dsn.parse(Redacted.value(options.url))
    if (supabase !== undefined) {
      yield* oneOf("supabase.mode", supabase.mode, ["direct", "session", "transaction"])
      yield* check(
        "supabase",
        options.host === undefined && options.port === undefined && options.url === undefined,
        "supabase without host, port and url, which follow from it",
        "stands beside another address"
      )
    }
    const project = supabase === undefined ? undefined : yield* supabaseAddress(supabase)
    const host = options.host ?? parsed.host ?? project?.host ?? "localhost"
    const user = options.user ?? parsed.user ?? project?.user ?? "postgres"
    const password = options.password ?? (parsed.password === undefined ? undefined : Redacted.make(parsed.password))
    const sslMode =
      options.sslMode ??
      parsed.sslMode ??
      (host.startsWith("/") ? "disable" : isLoopback(host) && project === undefined ? "prefer" : "require")
    const pooler = options.pooler ?? project?.pooler ?? "none"
    const maxOpenConns = options.maxOpenConns ?? 25
    const caFile = options.sslCaFile ?? parsed.sslCaFile
    const searchPath = options.searchPath ?? parsed.searchPath
    const milliseconds = {
      statement_timeout: options.statementTimeout ?? 0,
      lock_timeout: options.lockTimeout ?? 0,
      idle_in_transaction_session_timeout: options.idleInTransactionSessionTimeout ?? 0
    }
    const settings = Object.fromEntries([
      ...Object.entries(milliseconds)
        .filter(([, value]) => value > 0)
        .map(([key, value]) => [key, String(value)]),
      ...(searchPath === undefined ? [] : [["search_path", searchPath]]),
      // Where sessions are not kept, each transaction says so itself.
      ...(options.readOnly === true && pooler !== "transaction" ? [["default_transaction_read_only", "on"]] : [])
    ])
    const efSearch = vector.efSearch ?? 100
    // Only to spare each search these settings: where sessions are not kept, each search makes its own.
    const searchSettings =
      pooler === "transaction" || (vector.index ?? "hnsw") !== "hnsw"
        ? {}
        : { "hnsw.ef_search": String(efSearch), "hnsw.iterative_scan": "relaxed_order" }
    const resolved: ResolvedPostgresOptions = {
      host,
      port: options.port ?? parsed.port ?? project?.port ?? 5432,
      database: options.database ?? parsed.database ?? (project === undefined ? user : "postgres"),
      user,
      password,
      sslMode: sslMode as SslMode,
      ca: caFile === undefined ? undefined : yield* readCa(caFile),
      pooler,
      preparedStatements: options.preparedStatements ?? pooler !== "transaction",
      name: options.name ?? "primary",
      maxOpenConns,
      maxIdleConns: options.maxIdleConns ?? Math.min(10, maxOpenConns),
      connMaxLifetime: options.connMaxLifetime ?? 1_800_000,
      connMaxIdleTime: options.connMaxIdleTime ?? 300_000,
      connectTimeout: options.connectTimeout ?? parsed.connectTimeout ?? 10_000,
      acquireTimeout: options.acquireTimeout ?? 10_000,
      applicationName: options.applicationName ?? parsed.applicationName ?? "effect-db-hub",
      keepAlive: options.keepAlive ?? true,
      readOnly: options.readOnly ?? false,
      migrate: options.migrate ?? options.readOnly !== true,
      settings: { ...settings, ...searchSettings },
      vector: {
        index: vector.index ?? "hnsw",
        storage: vector.storage,
        indexAfter: vector.indexAfter ?? 10_000,
        m: vector.m ?? 16,
        efConstruction: vector.efConstruction ?? 64,
        efSearch,
        lists: vector.lists,
        probes: vector.probes
      }
    }
    yield* Effect.all(
      [
        ...(["host", "database", "user", "name", "applicationName"] as const).map((key) => text(key, resolved[key])),
        text("searchPath", searchPath),
        whole("port", resolved.port, 1, 65_535),
        oneOf("sslMode", sslMode, sslModes),
        oneOf("pooler", pooler, poolers),
        whole("maxOpenConns", maxOpenConns, 1, 10_000),
        whole("maxIdleConns", resolved.maxIdleConns, 0, maxOpenConns),
        ...(["connMaxLifetime", "connMaxIdleTime"] as const).map((key) => whole(key, resolved[key], 0, 2 ** 31 - 1)),
        ...(["connectTimeout", "acquireTimeout"] as const).map((key) => whole(key, resolved[key], 1, 2 ** 31 - 1)),
        ...Object.entries(milliseconds).map(([key, value]) => whole(key, value, 0, 2 ** 31 - 1)),
        check(
          Object.keys(settings)[0] ?? "pooler",
          pooler !== "transaction" || Object.keys(settings).length === 0,
          "none with pooler: transaction; set it on the role instead: ALTER ROLE … SET …",
          "belongs to a session, which a transaction pooler does not keep"
        ),
        check("migrate", !(resolved.migrate && resolved.readOnly), "false when readOnly is true"),
        oneOf("vector.index", vector.index, ["hnsw", "ivfflat", "none"]),
        oneOf("vector.storage", vector.storage, ["vector", "halfvec", "bit"]),
        whole("vector.indexAfter", resolved.vector.indexAfter, 1, 2 ** 31 - 1),
        whole("vector.m", resolved.vector.m, 2, 100),
        whole("vector.efConstruction", resolved.vector.efConstruction, 2 * resolved.vector.m, 1000),
        whole("vector.efSearch", resolved.vector.efSearch, 1, 1000),
        whole("vector.lists", vector.lists, 1, 32_768),
        whole("vector.probes", vector.probes, 1, 32_768)
      ],
      { discard: true }
    )
    return resolved
  })

/**
 * What Node's TLS is told; false = none. The host's name is checked with `verify-full` alone, a certificate's signers
 * from `verify-ca` on, and, as in libpq, with `require` too when certificates to check against are given.
 *
 * @since 0.1.0
 * @category tls
 */
export const tlsOf = ({ ca, sslMode }: Pick<ResolvedPostgresOptions, "ca" | "sslMode">): ConnectionOptions | false => {
  const trusted = ca === undefined ? {} : { ca }
  switch (sslMode) {
    case "disable":
      return false
    case "prefer":
      return { rejectUnauthorized: false }
    case "require":
      return ca === undefined ? { rejectUnauthorized: false } : { ...trusted, checkServerIdentity: () => undefined }
    case "verify-ca":
      return { ...trusted, rejectUnauthorized: true, checkServerIdentity: () => undefined }
    case "verify-full":
      return { ...trusted, rejectUnauthorized: true }
  }
}
