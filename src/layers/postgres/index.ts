/**
 * @since 0.1.0
 */
export * as Pglite from "./Pglite.js"
export { PgliteLive, type PgliteOptions } from "./Pglite.js"
export * as Postgres from "./Postgres.js"
export { PostgresLive } from "./Postgres.js"
export type { Notification } from "./PostgresListen.js"
export type { PostgresOptions, PostgresVectorOptions, SslMode, SupabaseOptions } from "./PostgresOptions.js"
