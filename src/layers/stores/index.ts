/**
 * What agents keep, on whatever backend.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { AuditLog } from "../../services/AuditLog.js"
import type { Backend } from "../../services/Backend.js"
import type { FileStore } from "../../services/FileStore.js"
import type { ProjectStore } from "../../services/ProjectStore.js"
import type { PromptTemplateStore } from "../../services/PromptTemplateStore.js"
import type { RoutineStore, RoutineStoreAdmin } from "../../services/RoutineStore.js"
import type { SessionScoreStore } from "../../services/SessionScoreStore.js"
import type { SettingsStore } from "../../services/SettingsStore.js"
import type { SkillStore } from "../../services/SkillStore.js"
import type { WriteChannel } from "../../services/WriteChannel.js"
import * as LocalWrites from "../write/LocalWrites.js"
import * as Audit from "./AuditLog.js"
import * as Files from "./FileStore.js"
import * as Projects from "./ProjectStore.js"
import * as PromptTemplates from "./PromptTemplateStore.js"
import * as Routines from "./RoutineStore.js"
import * as SessionScores from "./SessionScoreStore.js"
import * as Settings from "./SettingsStore.js"
import * as Skills from "./SkillStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export type StoreServices =
  | SessionScoreStore
  | PromptTemplateStore
  | SkillStore
  | FileStore
  | ProjectStore
  | AuditLog
  | RoutineStore
  | RoutineStoreAdmin
  | SettingsStore
  | WriteChannel

/**
 * Every store, on the backend that is provided.
 *
 * @since 0.1.0
 * @category layers
 */
export const StoresLive: Layer.Layer<StoreServices, never, Backend> = Layer.mergeAll(
  SessionScores.layer,
  PromptTemplates.layer,
  Skills.layer,
  Files.layer,
  Projects.layer,
  Audit.layer,
  Routines.layer,
  Settings.layer
).pipe(Layer.provideMerge(LocalWrites.layer))
