/**
 * The hub's own tables, step by step. A step that has shipped is never edited, nor moved: its checksum is on record in
 * databases under its number.
 *
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"
import { audit } from "./audit.js"
import { files } from "./files.js"
import { projects } from "./projects.js"
import { promptTemplates } from "./promptTemplates.js"
import { routines } from "./routines.js"
import { sessionScores } from "./sessionScores.js"
import { settings } from "./settings.js"
import { skills } from "./skills.js"
import { vectors } from "./vectors.js"
import { writes } from "./writes.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const hubMigrations: ReadonlyArray<MigrationStep> = [
  vectors,
  writes,
  settings,
  routines,
  audit,
  projects,
  files,
  skills,
  promptTemplates,
  sessionScores
].map((step, index) => ({
  ...step,
  id: index + 1
}))
