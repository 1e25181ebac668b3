/** Nothing of the kind can be had here; `reason` says why and what to do. */
export interface None {
  readonly kind: "none"
  readonly reason: string
}

export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  /** Set to check certificates of clients. */
  readonly caFile?: string
  /** Refuses connections without TLS. */
  readonly only?: boolean
}

export interface PostgresOptions {
  /** Default `postgres`, a superuser. */
  readonly user?: string
  /** Default random. */
  readonly password?: string
  /** Default a random free one. */
  readonly port?: number
  readonly tls?: TlsFiles
  /** Server parameters, such as `{ max_connections: 20, fsync: "on" }`. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Passes over DB_HUB_TEST_PG_URL: for tests which restart or kill the server. */
  readonly own?: boolean
  /** Milliseconds until the server must be ready; default 30 000. */
  readonly timeout?: number
}

interface Server {
  readonly reason: string
  readonly url: string
  readonly port: number
  /** Ends the server and removes its data. The end of this process does the same, in whatever manner it comes. */
  readonly stop: () => Promise<void>
}

/** A server of our own: fetched or installed programs, our data directory. */
export interface LocalPostgres extends Server {
  readonly kind: "prefix" | "installed"
  readonly version: string
  readonly user: string
  readonly password: string
  readonly bin: string
  readonly dataDir: string
  readonly settings: Readonly<Record<string, string | number>>
  /** Of the running server; a new one after `restart()`. */
  readonly pid: number
  readonly log: () => string
  /** Same data, same port; works also after the server was killed. */
  readonly restart: () => Promise<void>
}

export interface DockerPostgres extends Server {
  readonly kind: "docker"
  readonly user: string
  readonly password: string
  readonly log: () => string
}

/** The server of DB_HUB_TEST_PG_URL; `stop()` leaves it alone. */
export interface ExternalPostgres extends Server {
  readonly kind: "url"
}

export type Postgres = LocalPostgres | DockerPostgres | ExternalPostgres

export interface PgBouncerOptions {
  readonly postgresUrl: string
  /** Default `transaction`. */
  readonly poolMode?: "transaction" | "session" | "statement"
  readonly port?: number
  /** Parameters of the section [pgbouncer]. */
  readonly settings?: Readonly<Record<string, string | number>>
}

export interface PgBouncer extends Server {
  readonly kind: "pgbouncer"
  /** PgBouncer's console: `show pools`, `pause`, … */
  readonly adminUrl: string
  readonly poolMode: "transaction" | "session" | "statement"
  readonly log: () => string
}

export interface Certificates {
  readonly dir: string
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
  readonly remove: () => void
}

export interface Programs {
  readonly kind: "prefix"
  readonly bin: string
  readonly pgbouncer: string
}

export declare const startPostgres: (options?: PostgresOptions) => Promise<Postgres | None>
export declare const startPgBouncer: (options: PgBouncerOptions) => Promise<PgBouncer | None>
export declare const startReplica: (
  primary: Postgres | { readonly url: string },
  options?: Pick<PostgresOptions, "port" | "settings">
) => Promise<LocalPostgres | None>
export declare const makeCertificates: (options?: {
  /** Names and addresses for which the certificate is valid; default localhost. */
  readonly hosts?: ReadonlyArray<string>
  readonly days?: number
}) => Promise<Certificates>
export declare const psql: (url: string, sql: string) => Promise<string>
export declare const fetchPrograms: (options?: {
  readonly retry?: boolean
  readonly download?: boolean
}) => Promise<Programs>
export declare const enginesDir: () => string
