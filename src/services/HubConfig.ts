/**
 * The normalised configuration of the hub: what the layers are built from, whatever it was read from.
 *
 * The decoded side of each schema is what a program uses (camelCase, milliseconds, `Redacted` secrets), the encoded side
 * is a section of the configuration file (snake_case, `"30m"`, text). Encoding never gives a secret away.
 *
 * @since 0.1.0
 */
import type * as JSONSchema from "effect/JSONSchema"
import * as ParseResult from "effect/ParseResult"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"

/** What an environment reference looks like to an editor, in a field that is no text. */
const reference: JSONSchema.JsonSchema7String = { type: "string", pattern: "\\$\\{" }

/** One message for whatever is wrong with a field. It names what is allowed and never the value. */
const expects =
  (allowed: string, ...jsonSchema: ReadonlyArray<JSONSchema.JsonSchema7>) =>
  <A, I>(self: Schema.Schema<A, I>): Schema.Schema<A, I> =>
    self.annotations({
      message: () => ({ message: `must be ${allowed}`, override: true }),
      jsonSchema: jsonSchema.length === 1 ? jsonSchema[0]! : { anyOf: jsonSchema }
    })

const Text = Schema.NonEmptyString.pipe(expects("text (put quotes around a number)", { type: "string" }))

const Flag = Schema.Boolean.pipe(expects("true or false", { type: "boolean" }, reference))

const whole = (minimum: number, maximum: number, unit = "") =>
  Schema.Int.pipe(
    Schema.between(minimum, maximum),
    expects(`a whole number from ${minimum} to ${maximum}${unit}`, { type: "integer", minimum, maximum }, reference)
  ).annotations({ arbitrary: () => (fc) => fc.integer({ min: minimum, max: maximum }) })

const oneOf = <const L extends ReadonlyArray<string>>(...literals: L) =>
  Schema.Literal(...literals).pipe(expects(`one of ${literals.join(", ")}`, { enum: [...literals] }, reference))

const uppercaseOf = <const L extends ReadonlyArray<string>>(...literals: L) =>
  Schema.compose(Schema.Uppercase, Schema.Literal(...literals)).pipe(
    expects(`one of ${literals.join(", ")}`, { enum: literals.flatMap((_) => [_, _.toLowerCase()]) }, reference)
  )

const units: Record<string, number> = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 }
const maxInt = 2 ** 31 - 1

const parseDuration = (text: string): number | undefined => {
  if (text === "0") return 0
  if (!/^(\d+(\.\d+)?(h|ms|m|s|us|µs|ns))+$/.test(text)) return undefined
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)/g)
  return Array.from(parts).reduce((sum, [, amount, unit]) => sum + Number(amount) * units[unit!]!, 0)
}

const printDuration = (millis: number): string => {
  const unit = ["h", "m", "s", "ms"].find((unit) => millis > 0 && millis % units[unit]! === 0) ?? "ms"
  return `${millis / units[unit]!}${unit}`
}

const Millis = Schema.transformOrFail(
  Schema.Union(Schema.Number, Schema.String),
  Schema.Int.pipe(Schema.between(0, maxInt)),
  {
    strict: true,
    decode: (input, _, ast) => {
      const millis = typeof input === "number" ? input : parseDuration(input)
      return millis === undefined ? ParseResult.fail(new ParseResult.Type(ast, input)) : ParseResult.succeed(millis)
    },
    encode: (millis) => ParseResult.succeed(printDuration(millis))
  }
).pipe(
  expects(
    `a duration such as "30m", "1h30m" or "500ms", or milliseconds, from 0 to ${maxInt} ms`,
    { type: "integer", minimum: 0, maximum: maxInt },
    { type: "string" }
  )
)

/**
 * The text that stands for a secret wherever a configuration is written.
 *
 * @since 0.1.0
 * @category constants
 */
export const hidden = "<redacted>"

const Secret = Schema.transform(Text, Schema.RedactedFromSelf(Schema.String), {
  strict: true,
  decode: (text) => Redacted.make(text),
  encode: () => hidden
}).pipe(expects("text (put quotes around a number)", { type: "string" }))

const optional = <K extends string, A, I>(key: K, schema: Schema.Schema<A, I>, description: string) =>
  Schema.optionalWith(schema, { exact: true }).annotations({ description }).pipe(Schema.fromKey(key))

const preset = <K extends string, A, I>(key: K, schema: Schema.Schema<A, I>, value: A, description: string) =>
  Schema.optionalWith(schema, { exact: true, default: () => value })
    .annotations({ description, default: value })
    .pipe(Schema.fromKey(key))

const required = <A, I>(schema: Schema.Schema<A, I>, description: string) =>
  Schema.propertySignature(schema).annotations({ description, missingMessage: () => "is missing" })

const sqliteFields = {
  type: Schema.Literal("sqlite"),
  path: preset(
    "path",
    Text,
    "./data/hub.db",
    "The database file, relative to the folder of the configuration file, or :memory:"
  ),
  journalMode: preset(
    "journal_mode",
    uppercaseOf("WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"),
    "WAL",
    "The journal mode"
  ),
  busyTimeout: preset("busy_timeout", Millis, 5000, "How long a write waits for the lock"),
  foreignKeys: preset("foreign_keys", Flag, true, "Whether foreign keys are enforced"),
  synchronous: preset(
    "synchronous",
    uppercaseOf("NORMAL", "FULL", "EXTRA", "OFF"),
    "NORMAL",
    "How hard a commit is pressed onto the disk: FULL and EXTRA survive a loss of power"
  ),
  journalSizeLimit: preset(
    "journal_size_limit",
    whole(0, Number.MAX_SAFE_INTEGER, " bytes"),
    64 * 1024 ** 2,
    "The size in bytes that the write-ahead log is cut back to"
  ),
  readOnly: preset("read_only", Flag, false, "Open the file for reading only"),
  vectorMemory: preset(
    "vector_memory",
    whole(1024 ** 2, Number.MAX_SAFE_INTEGER, " bytes"),
    512 * 1024 ** 2,
    "The memory in bytes that vector search may hold"
  ),
  vectorIndex: preset(
    "vector_index",
    oneOf("auto", "exact"),
    "auto",
    "How vectors are searched: exact, or auto = large collections through a graph beside the file"
  ),
  vectorRecall: preset(
    "vector_recall",
    Schema.Number.pipe(
      Schema.between(0.5, 1),
      expects("a number from 0.5 to 1", { type: "number", minimum: 0.5, maximum: 1 }, reference)
    ).annotations({ arbitrary: () => (fc) => fc.constantFrom(0.5, 0.9, 0.98, 1) }),
    0.98,
    "The lowest share of the ten nearest that a graph may find; one that finds less is not used"
  )
}

/**
 * A SQLite file.
 *
 * @since 0.1.0
 * @category schemas
 */
export const SqliteConfig = Schema.Struct(sqliteFields).pipe(
  Schema.filter(({ path, readOnly }) =>
    readOnly && path === ":memory:"
      ? { path: ["readOnly"], message: "must be false for :memory:, which starts out empty" }
      : undefined
  )
)

/**
 * @since 0.1.0
 * @category models
 */
export type SqliteConfig = typeof SqliteConfig.Type

const poolFields = {
  maxOpenConns: preset("max_open_conns", whole(1, 10_000), 25, "The most connections that are open at once"),
  maxIdleConns: preset("max_idle_conns", whole(0, 10_000), 10, "The most connections that are kept while idle"),
  connMaxLifetime: preset("conn_max_lifetime", Millis, 1_800_000, "A connection is replaced after this long; 0 = never")
}

const idleFitsOpen = (pool: { readonly maxOpenConns: number; readonly maxIdleConns: number }) =>
  pool.maxIdleConns > pool.maxOpenConns
    ? { path: ["maxIdleConns"], message: `must not exceed max_open_conns (${pool.maxOpenConns})` }
    : undefined

/**
 * Vectors in PostgreSQL.
 *
 * @since 0.1.0
 * @category schemas
 */
export const PostgresVectorConfig = Schema.Struct({
  enabled: preset("enabled", Flag, true, "True: the hub's own tables keep vectors"),
  dimensions: preset("dimensions", whole(1, 16_000), 1536, "Not used: every collection has a dimension of its own"),
  provider: preset(
    "provider",
    Schema.Literal("native").pipe(expects("native: pgvector searches", { enum: ["native"] }, reference)),
    "native",
    "Who searches: pgvector"
  ),
  indexType: preset("index_type", oneOf("hnsw", "ivfflat"), "hnsw", "The kind of index"),
  indexAfter: preset("index_after", whole(1, maxInt), 10_000, "The records of a collection before its index is built"),
  ivfLists: optional(
    "ivf_lists",
    whole(1, 32_768),
    "ivfflat: the number of lists; default from the number of records when it is built"
  ),
  hnswM: preset("hnsw_m", whole(2, 100), 16, "hnsw: the connections of a node"),
  hnswEfConstruction: preset("hnsw_ef_construction", whole(4, 1000), 64, "hnsw: the candidates while building"),
  hnswEfSearch: preset("hnsw_ef_search", whole(1, 1000), 100, "hnsw: the candidates while searching")
}).pipe(
  Schema.filter(({ enabled, hnswEfConstruction, hnswM }) => {
    if (!enabled) return { path: ["enabled"], message: "must be true: the hub's own tables keep vectors" }
    return hnswEfConstruction < 2 * hnswM
      ? { path: ["hnswEfConstruction"], message: `must be at least twice hnsw_m (${2 * hnswM})` }
      : undefined
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export type PostgresVectorConfig = typeof PostgresVectorConfig.Type

const supabaseProject = /^https:\/\/[a-z0-9]+\.supabase\.(co|in)\/?$/

const postgresFields = {
  type: Schema.Literal("postgresql"),
  host: preset("host", Text, "localhost", "The host, or the folder of its socket"),
  port: preset("port", whole(1, 65_535), 5432, "The port"),
  database: required(Text, "The database"),
  user: required(Text, "The user"),
  password: optional("password", Secret, "The password, best as ${VARIABLE}"),
  sslMode: optional(
    "ssl_mode",
    oneOf("disable", "prefer", "require", "verify-ca", "verify-full"),
    "Whether the connection is encrypted and the server's certificate verified; default require, but prefer on the loopback address and disable through a socket"
  ),
  sslCaFile: optional("ssl_ca_file", Text, "The certificates that the server's is verified against"),
  ...poolFields,
  connMaxIdleTime: preset("conn_max_idle_time", Millis, 300_000, "An idle connection is closed after this; 0 = never"),
  connectTimeout: preset("connect_timeout", Millis, 10_000, "The longest that making a connection may take"),
  acquireTimeout: preset("acquire_timeout", Millis, 10_000, "The longest wait for a free connection of the pool"),
  statementTimeout: preset("statement_timeout", Millis, 0, "The longest run of a statement; 0 = as the server says"),
  lockTimeout: preset("lock_timeout", Millis, 0, "The longest wait for a lock; 0 = as the server says"),
  idleInTransactionSessionTimeout: preset(
    "idle_in_transaction_session_timeout",
    Millis,
    0,
    "The longest idling inside a transaction; 0 = as the server says"
  ),
  applicationName: preset("application_name", Text, "effect-db-hub", "The name that the server shows"),
  searchPath: optional("search_path", Text, "The schemas that names are looked up in, such as app, public"),
  supabaseUrl: optional(
    "supabase_url",
    Schema.String.pipe(
      Schema.pattern(supabaseProject),
      expects("a project's URL as Supabase shows it, https://REF.supabase.co (any other server: use host)", {
        type: "string"
      })
    ).annotations({ arbitrary: () => (fc) => fc.stringMatching(supabaseProject) }),
    "The URL of a Supabase project; host, database and user follow from it"
  ),
  supabasePoolerHost: optional(
    "supabase_pooler_host",
    Text,
    "The host of the Supabase project's pooler, needed where pooler is session or transaction"
  ),
  pooler: preset(
    "pooler",
    oneOf("none", "session", "transaction"),
    "none",
    "Whether PgBouncer or its like stands before the server, and for what it keeps a connection"
  ),
  preparedStatements: optional(
    "prepared_statements",
    Flag,
    "Whether repeated statements are prepared; default true, but false with pooler: transaction"
  ),
  readOnly: preset(
    "read_only",
    Flag,
    false,
    "Every transaction is read-only, as on a replica, and nothing is migrated"
  ),
  supabaseAnonKey: optional(
    "supabase_anon_key",
    Secret,
    "Not used: the hub speaks to the database itself, with its password"
  ),
  vector: preset("vector", PostgresVectorConfig, Schema.decodeSync(PostgresVectorConfig)({}), "Vectors (pgvector)")
}

/**
 * A PostgreSQL server, or a Supabase project.
 *
 * @since 0.1.0
 * @category schemas
 */
export const PostgresConfig = Schema.Struct(postgresFields).pipe(Schema.filter(idleFitsOpen))

/**
 * @since 0.1.0
 * @category models
 */
export type PostgresConfig = typeof PostgresConfig.Type

const mysqlFields = {
  type: Schema.Literal("mysql"),
  host: preset("host", Text, "localhost", "The host"),
  port: preset("port", whole(1, 65_535), 3306, "The port"),
  database: required(Text, "The database"),
  user: required(Text, "The user"),
  password: optional("password", Secret, "The password, best as ${VARIABLE}"),
  ...poolFields
}

/**
 * A MySQL or MariaDB server.
 *
 * @since 0.1.0
 * @category schemas
 */
export const MysqlConfig = Schema.Struct(mysqlFields).pipe(Schema.filter(idleFitsOpen))

/**
 * @since 0.1.0
 * @category models
 */
export type MysqlConfig = typeof MysqlConfig.Type

/**
 * One backend, told apart by `type`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BackendConfig = Schema.Union(SqliteConfig, PostgresConfig, MysqlConfig)

/**
 * @since 0.1.0
 * @category models
 */
export type BackendConfig = typeof BackendConfig.Type

/**
 * What a backend may be called.
 *
 * @since 0.1.0
 * @category schemas
 */
export const BackendName = Schema.String.pipe(Schema.pattern(/^[A-Za-z][A-Za-z0-9_-]{0,62}$/))

const OpenAiUrl = Schema.String.pipe(
  Schema.pattern(/^https?:\/\/[^\s@#]+$/),
  expects("an http or https URL without a user or password, such as http://localhost:11434/v1", { type: "string" })
).annotations({ arbitrary: () => (fc) => fc.webUrl() })

/**
 * Embeddings by feature hashing: offline, lexical.
 *
 * @since 0.1.0
 * @category schemas
 */
export const HashingConfig = Schema.Struct({
  type: Schema.Literal("hashing"),
  dimension: preset("dimension", whole(16, 65_535), 384, "The dimension of the vectors")
})

/**
 * Embeddings by a server with the API of OpenAI: OpenAI, Ollama, LM Studio, vLLM and others.
 *
 * @since 0.1.0
 * @category schemas
 */
export const OpenAiConfig = Schema.Struct({
  type: Schema.Literal("openai"),
  url: preset("url", OpenAiUrl, "https://api.openai.com/v1", "Where the API begins; Ollama: http://localhost:11434/v1"),
  model: required(Text, "The model, as the server names it"),
  dimension: required(whole(1, 65_535), "The dimension of the model's vectors"),
  apiKey: optional("api_key", Secret, "The key, best as ${VARIABLE}"),
  maxTokens: optional(
    "max_tokens",
    whole(1, Number.MAX_SAFE_INTEGER),
    "What the model reads of a text, in estimated tokens; of a longer one the beginning is embedded"
  ),
  batchSize: preset("batch_size", whole(1, 10_000), 64, "Texts in one request at most"),
  concurrency: preset("concurrency", whole(1, 1000), 4, "Requests that run at once at most"),
  timeout: preset(
    "timeout",
    Millis,
    60_000,
    "The longest wait for one answer, and for the vector of a question in all"
  ),
  retries: preset("retries", whole(0, 100), 4, "How often a request that failed in passing is sent again"),
  cacheSize: preset(
    "cache_size",
    whole(0, Number.MAX_SAFE_INTEGER),
    100_000,
    "Vectors kept in the primary at most, so that no text is embedded twice; 0 = none"
  )
})

/**
 * The embedding model, told apart by `type`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const EmbeddingsConfig = Schema.Union(HashingConfig, OpenAiConfig)

/**
 * @since 0.1.0
 * @category models
 */
export type EmbeddingsConfig = typeof EmbeddingsConfig.Type

/**
 * The whole hub. The name `memory` answers with the primary unless there is a connection of that name.
 *
 * @since 0.1.0
 * @category schemas
 */
export const HubConfig = Schema.Struct({
  primary: BackendConfig,
  connections: Schema.Record({ key: BackendName, value: BackendConfig }),
  /** Feature hashing where there is none. */
  embeddings: Schema.optionalWith(EmbeddingsConfig, { exact: true })
})

/**
 * @since 0.1.0
 * @category models
 */
export type HubConfig = typeof HubConfig.Type

/**
 * SQLite with all its defaults: `{ ...sqliteDefaults, path }` is a configuration for another file.
 *
 * @since 0.1.0
 * @category constructors
 */
export const sqliteDefaults: SqliteConfig = Schema.decodeSync(SqliteConfig)({ type: "sqlite" })

/**
 * SQLite in `./data/hub.db`, relative to the working directory, and embeddings by feature hashing.
 *
 * @since 0.1.0
 * @category constructors
 */
export const defaults: HubConfig = {
  primary: sqliteDefaults,
  connections: {},
  embeddings: Schema.decodeSync(HashingConfig)({ type: "hashing" })
}

const target = {
  url: Schema.optionalWith(Text, { exact: true }).annotations({
    description: "All of host, port, database, user and password in one URL"
  }),
  database: Schema.optionalWith(Text, { exact: true }).annotations({ description: "The database" }),
  user: Schema.optionalWith(Text, { exact: true }).annotations({ description: "The user" })
}

/**
 * The engines that a configuration may name; not every hub can open each of them.
 *
 * @since 0.1.0
 * @category constants
 */
export const backendTypes = ["sqlite", "postgresql", "mysql"] as const satisfies ReadonlyArray<BackendConfig["type"]>

const { type: sqliteType, ...sqliteSection } = sqliteFields
const { type: postgresType, ...postgresSection } = { ...postgresFields, ...target }
const { type: mysqlType, ...mysqlSection } = { ...mysqlFields, ...target }

/**
 * The `database` section of a configuration file.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DatabaseSection = Schema.Struct({
  path: Schema.optionalWith(Text, { exact: true }).annotations({
    description: "The older way to write hub.sqlite.path"
  }),
  hub: Schema.optionalWith(
    Schema.Struct({
      backend: preset("backend", oneOf(...backendTypes), "sqlite", "The engine of the primary"),
      sqlite: Schema.optionalWith(Schema.Struct(sqliteSection), { exact: true }),
      postgresql: Schema.optionalWith(Schema.Struct(postgresSection).pipe(Schema.filter(idleFitsOpen)), {
        exact: true
      }),
      mysql: Schema.optionalWith(Schema.Struct(mysqlSection).pipe(Schema.filter(idleFitsOpen)), { exact: true }),
      connections: Schema.optionalWith(
        Schema.Record({
          key: Schema.String,
          value: Schema.Union(
            SqliteConfig,
            Schema.Struct({ ...postgresSection, type: postgresType }).pipe(Schema.filter(idleFitsOpen)),
            Schema.Struct({ ...mysqlSection, type: mysqlType }).pipe(Schema.filter(idleFitsOpen))
          )
        }),
        { exact: true }
      ).annotations({ description: "Further backends by name" }),
      memory: Schema.optionalWith(
        Schema.Struct({
          backend: Schema.optionalWith(oneOf(...backendTypes), { exact: true }),
          path: Schema.optionalWith(Text, { exact: true }).annotations({
            description: "The file of the memory database",
            default: "./data/memory.db"
          }),
          use_primary: Schema.optionalWith(Flag, { exact: true }).annotations({
            description: "Keep the memory in the primary"
          })
        }),
        { exact: true }
      ).annotations({ description: "An own SQLite file for the backend called memory" }),
      embeddings: Schema.optionalWith(EmbeddingsConfig, { exact: true }).annotations({
        description: "The model that texts are embedded with; feature hashing, offline and lexical, where there is none"
      })
    }),
    { exact: true }
  )
})
