/**
 * The hub's own tables, step by step. A step that has shipped is never edited, nor moved: its checksum is on record in
 * databases under its number.
 *
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"
import { audit } from "./audit.js"
import { changeFeed } from "./changeFeed.js"
import { conversations } from "./conversations.js"
import { embeddingDimensions } from "./embeddingDimensions.js"
import { embeddings } from "./embeddings.js"
import { files } from "./files.js"
import { ingestedFiles } from "./ingestedFiles.js"
import { jobs } from "./jobs.js"
import { memories } from "./memories.js"
import { messageEmbeddings } from "./messageEmbeddings.js"
import { primary } from "./primary.js"
import { projects } from "./projects.js"
import { promptTemplates } from "./promptTemplates.js"
import { routines } from "./routines.js"
import { sandbox } from "./sandbox.js"
import { scheduledJobs } from "./scheduledJobs.js"
import { secrets } from "./secrets.js"
import { sessionScores } from "./sessionScores.js"
import { settingOwners } from "./settingOwners.js"
import { settings } from "./settings.js"
import { skills } from "./skills.js"
import { storeTexts } from "./storeTexts.js"
import { textPostings } from "./textPostings.js"
import { texts } from "./texts.js"
import { toolFailures } from "./toolFailures.js"
import { vectorGraphs } from "./vectorGraphs.js"
import { vectors } from "./vectors.js"
import { workspace } from "./workspace.js"
import { writes } from "./writes.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const hubMigrations: ReadonlyArray<MigrationStep> = [
  vectors,
  writes,
  settings,
  workspace,
  conversations,
  toolFailures,
  jobs,
  sandbox,
  routines,
  audit,
  projects,
  files,
  memories,
  scheduledJobs,
  skills,
  promptTemplates,
  sessionScores,
  texts,
  primary,
  settingOwners,
  textPostings,
  embeddings,
  ingestedFiles,
  storeTexts,
  vectorGraphs,
  changeFeed,
  secrets,
  messageEmbeddings,
  embeddingDimensions
].map((step, index) => ({ ...step, id: index + 1 }))
