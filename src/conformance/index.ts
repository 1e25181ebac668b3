/**
 * The suites that every engine passes, as effects: run them with any test runner against your own layer.
 *
 * @since 0.1.0
 */

import type * as Layer from "effect/Layer"
import type { BackendServices } from "../layers/BackendLayer.js"
import { auditSuite } from "./AuditSuite.js"
import { backendSuite } from "./BackendSuite.js"
import { type Case, casesOf, type Suite } from "./Case.js"
import { conversationSuite } from "./ConversationSuite.js"
import { embeddingSuite } from "./EmbeddingSuite.js"
import { fileSuite } from "./FileSuite.js"
import { healthSuite } from "./HealthSuite.js"
import { inputSuite } from "./InputSuite.js"
import { jobSuite } from "./JobSuite.js"
import { memorySuite } from "./MemorySuite.js"
import { migratorSuite } from "./MigratorSuite.js"
import { projectSuite } from "./ProjectSuite.js"
import { promptTemplateSuite } from "./PromptTemplateSuite.js"
import { repeatedSuite } from "./RepeatedSuite.js"
import { routineSuite } from "./RoutineSuite.js"
import { sandboxSuite } from "./SandboxSuite.js"
import { scheduledJobSuite } from "./ScheduledJobSuite.js"
import { searchSuite } from "./SearchSuite.js"
import { secretSuite } from "./SecretSuite.js"
import { sessionScoreSuite } from "./SessionScoreSuite.js"
import { settingsSuite } from "./SettingsSuite.js"
import { skillSuite } from "./SkillSuite.js"
import { statementBatchSuite } from "./StatementBatchSuite.js"
import { storeSearchSuite } from "./StoreSearchSuite.js"
import { takenSuite } from "./TakenSuite.js"
import { textSuite } from "./TextSuite.js"
import { toolFailureSuite } from "./ToolFailureSuite.js"
import { unreadableSuite } from "./UnreadableSuite.js"
import { userScopeSuite } from "./UserScopeSuite.js"
import { vectorSuite } from "./VectorSuite.js"
import { workspaceSuite } from "./WorkspaceSuite.js"
import { writeChannelSuite } from "./WriteChannelSuite.js"

export type { Case } from "./Case.js"

const suites: Readonly<Record<string, Suite>> = {
  Backend: backendSuite,
  VectorStore: vectorSuite,
  TextStore: textSuite,
  Search: searchSuite,
  "Search in stores": storeSearchSuite,
  Embeddings: embeddingSuite,
  "input of a wrong kind": inputSuite,
  Migrator: migratorSuite,
  HealthChecker: healthSuite,
  WriteChannel: writeChannelSuite,
  StatementBatch: statementBatchSuite,
  SettingsStore: settingsSuite,
  WorkspaceStore: workspaceSuite,
  UserScope: userScopeSuite,
  ConversationStore: conversationSuite,
  ToolFailureStore: toolFailureSuite,
  JobStore: jobSuite,
  SandboxStore: sandboxSuite,
  AuditLog: auditSuite,
  ProjectStore: projectSuite,
  FileStore: fileSuite,
  RoutineStore: routineSuite,
  MemoryStore: memorySuite,
  ScheduledJobStore: scheduledJobSuite,
  SkillStore: skillSuite,
  PromptTemplateStore: promptTemplateSuite,
  SecretStore: secretSuite,
  SessionScoreStore: sessionScoreSuite,
  "taken ids": takenSuite,
  "repeated writes": repeatedSuite,
  "unreadable rows": unreadableSuite
}

/**
 * Every case of every suite, grouped by service, against a layer that is built anew for each case. Cases use names of
 * their own, so the layer may lead to one shared database.
 *
 * @since 0.1.0
 * @category conformance
 */
export const conformance = (
  layer: Layer.Layer<BackendServices, unknown>
): Readonly<Record<string, ReadonlyArray<Case>>> =>
  Object.fromEntries(Object.entries(suites).map(([service, suite]) => [service, casesOf(suite, layer)]))
