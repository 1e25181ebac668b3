/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const vectorGraphs: Omit<MigrationStep, "id"> = {
  name: "graphs of vector collections",
  up: (dialect) => dialect.vectorGraphTables.up,
  down: (dialect) => dialect.vectorGraphTables.down
}
