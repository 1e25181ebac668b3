/**
 * The hub's own tables, step by step. A step that has shipped is never edited: its checksum is on record in databases.
 *
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const hubMigrations: ReadonlyArray<MigrationStep> = [
  {
    id: 1,
    name: "vector collections",
    up: (dialect) => dialect.vectorTables.up,
    down: (dialect) => dialect.vectorTables.down
  }
]
