/**
 * What agents keep, on whatever backend.
 *
 * @since 0.1.0
 */

import * as Layer from "effect/Layer"
import type { AuditLog } from "../../services/AuditLog.js"
import type { Backend } from "../../services/Backend.js"
import type { ConversationStore } from "../../services/ConversationStore.js"
import type { FileStore } from "../../services/FileStore.js"
import type { JobQueue, JobStore, JobStoreAdmin } from "../../services/JobStore.js"
import type { MemoryStore } from "../../services/MemoryStore.js"
import type { ProjectStore } from "../../services/ProjectStore.js"
import type { PromptTemplateStore } from "../../services/PromptTemplateStore.js"
import type { RoutineStore, RoutineStoreAdmin } from "../../services/RoutineStore.js"
import type { SandboxStore, SandboxStoreAdmin } from "../../services/SandboxStore.js"
import type { ScheduledJobStore, ScheduledJobStoreAdmin } from "../../services/ScheduledJobStore.js"
import type { SecretStore, SecretStoreAdmin } from "../../services/SecretStore.js"
import type { SessionScoreStore } from "../../services/SessionScoreStore.js"
import type { SettingsStore } from "../../services/SettingsStore.js"
import type { SkillStore } from "../../services/SkillStore.js"
import type { StatementBatch } from "../../services/StatementBatch.js"
import type { ToolFailureStore } from "../../services/ToolFailureStore.js"
import type { WorkspaceStore, WorkspaceStoreAdmin } from "../../services/WorkspaceStore.js"
import type { WriteChannel } from "../../services/WriteChannel.js"
import * as ForwardingWrites from "../write/ForwardingWrites.js"
import * as LocalWrites from "../write/LocalWrites.js"
import * as Audit from "./AuditLog.js"
import * as Conversations from "./ConversationStore.js"
import * as Files from "./FileStore.js"
import * as Jobs from "./JobStore.js"
import * as Memories from "./MemoryStore.js"
import * as Projects from "./ProjectStore.js"
import * as PromptTemplates from "./PromptTemplateStore.js"
import * as Routines from "./RoutineStore.js"
import * as Sandbox from "./SandboxStore.js"
import * as ScheduledJobs from "./ScheduledJobStore.js"
import * as Secrets from "./SecretStore.js"
import * as SessionScores from "./SessionScoreStore.js"
import * as Settings from "./SettingsStore.js"
import * as Skills from "./SkillStore.js"
import * as Statements from "./StatementBatch.js"
import * as ToolFailures from "./ToolFailureStore.js"
import * as Workspace from "./WorkspaceStore.js"

/**
 * Every store, and the channel that their writes go through.
 *
 * @since 0.1.0
 * @category models
 */
export type StoreServices =
  | AuditLog
  | ConversationStore
  | FileStore
  | JobQueue
  | JobStore
  | JobStoreAdmin
  | MemoryStore
  | ProjectStore
  | PromptTemplateStore
  | RoutineStore
  | RoutineStoreAdmin
  | SandboxStore
  | SandboxStoreAdmin
  | ScheduledJobStore
  | ScheduledJobStoreAdmin
  | SecretStore
  | SecretStoreAdmin
  | SessionScoreStore
  | SettingsStore
  | SkillStore
  | StatementBatch
  | ToolFailureStore
  | WorkspaceStore
  | WorkspaceStoreAdmin
  | WriteChannel

const stores = Layer.mergeAll(
  Settings.layer,
  Workspace.layer,
  Conversations.layer,
  Jobs.layer,
  Sandbox.layer,
  ToolFailures.layer,
  Files.layer,
  Projects.layer,
  Audit.layer,
  Routines.layer,
  Memories.layer,
  ScheduledJobs.layer,
  Secrets.layer,
  SessionScores.layer,
  PromptTemplates.layer,
  Skills.layer,
  Statements.layer
)

/**
 * Every store, on the backend that is provided.
 *
 * @since 0.1.0
 * @category layers
 */
export const StoresLive: Layer.Layer<StoreServices, never, Backend> = Layer.provideMerge(stores, LocalWrites.layer)

/**
 * Every store, for processes that share one SQLite file: a write that finds the file locked is sent to the process that
 * writes for the others, and is done once. On an engine that is a server it is the same as `StoresLive`.
 *
 * @since 0.1.0
 * @category layers
 */
export const StoresShared = (
  options?: ForwardingWrites.ForwardingOptions
): Layer.Layer<StoreServices, never, Backend> => Layer.provideMerge(stores, ForwardingWrites.layer(options))
