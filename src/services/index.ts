/**
 * @since 0.1.0
 */
export type { AgentLimits, AgentRows } from "./AgentRows.js"
export type {
  AgentQuery,
  AgentResult,
  AgentSqlOptions,
  AgentSqlShape,
  AgentWrite,
  AgentWriting
} from "./AgentSql.js"
export * from "./Backend.js"
export * from "./Dialect.js"
export * from "./Embeddings.js"
export * from "./HealthChecker.js"
export * from "./Hub.js"
export * as HubConfig from "./HubConfig.js"
export * from "./Ingest.js"
export * from "./Migrator.js"
export type { Progress } from "./Progress.js"
export * from "./Search.js"
export * from "./Sharing.js"
export * as SqlLexer from "./SqlLexer.js"
export * from "./TextStore.js"
export * from "./VectorStore.js"
