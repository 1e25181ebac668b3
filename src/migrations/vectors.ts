/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const vectors: Omit<MigrationStep, "id"> = {
  name: "vector collections",
  up: (dialect) => dialect.vectorTables.up,
  down: (dialect) => dialect.vectorTables.down
}
