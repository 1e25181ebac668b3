/**
 * @since 0.1.0
 */
export * from "./DbError.js"
export * from "./PostgresErrors.js"
export * from "./SqliteErrors.js"
