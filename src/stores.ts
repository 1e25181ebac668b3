/**
 * What agents keep: the domain stores, the channel that their writes go through, and the layer of them all.
 *
 * @since 0.1.0
 */
export { type StoreServices, StoresLive, StoresShared } from "./layers/stores/index.js"
export {
  background as StoreEmbeddingBackground,
  layer as StoreEmbeddingLive
} from "./layers/stores/StoreEmbedding.js"
export { layer as UserScopeLive, make as makeUserScope } from "./layers/stores/UserScope.js"
export * as ForwardingWrites from "./layers/write/ForwardingWrites.js"
export type { PrimaryStatus } from "./layers/write/WriteWire.js"
export * from "./services/AuditLog.js"
export * from "./services/ConversationStore.js"
export * from "./services/FileStore.js"
export * from "./services/JobStore.js"
export * from "./services/MemoryStore.js"
export * from "./services/Model.js"
export * from "./services/ProjectStore.js"
export * from "./services/PromptTemplateStore.js"
export * from "./services/RoutineStore.js"
export * from "./services/SandboxStore.js"
export * from "./services/ScheduledJobStore.js"
export * from "./services/SecretStore.js"
export * from "./services/SessionScoreStore.js"
export * from "./services/SettingsStore.js"
export * from "./services/SkillStore.js"
export * from "./services/StatementBatch.js"
export * from "./services/StoreEmbedding.js"
export * from "./services/ToolFailureStore.js"
export * from "./services/UserScope.js"
export * from "./services/WorkspaceStore.js"
export * from "./services/WriteChannel.js"
