/**
 * A database hub for AI agents: one set of services, an engine chosen by a layer.
 *
 * @since 0.1.0
 */
export * from "./errors/index.js"
export { type BackendServices, fromBackend } from "./layers/BackendLayer.js"
export * as HubConfigFile from "./layers/config/HubConfigFile.js"
export * as AiEmbeddings from "./layers/embeddings/AiEmbeddings.js"
export type { BatchOptions } from "./layers/embeddings/BatchedEmbeddings.js"
export * as CachedEmbeddings from "./layers/embeddings/CachedEmbeddings.js"
export * as HashingEmbeddings from "./layers/embeddings/HashingEmbeddings.js"
export * as HttpEmbeddings from "./layers/embeddings/HttpEmbeddings.js"
export * as HubLayer from "./layers/HubLive.js"
export { HubLive, type HubServices } from "./layers/HubLive.js"
export { type HubOptions, make as makeHub } from "./layers/HubMake.js"
export { IngestLive } from "./layers/ingest/IngestLive.js"
export { SearchLive } from "./layers/search/SearchLive.js"
export * as SqlMigrator from "./layers/sql/SqlMigrator.js"
export * from "./layers/sqlite/index.js"
export * from "./services/index.js"
