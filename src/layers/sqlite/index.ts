/**
 * @since 0.1.0
 */
export * as Sqlite from "./Sqlite.js"
export { SqliteLive, SqliteMemory } from "./Sqlite.js"
export type { SqliteOptions } from "./SqliteOptions.js"
