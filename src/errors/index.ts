/**
 * @since 0.1.0
 */
export * from "./DbError.js"
export { fromPostgres } from "./PostgresErrors.js"
export { fromSqlite } from "./SqliteErrors.js"
