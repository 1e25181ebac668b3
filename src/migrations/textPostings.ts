/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const textPostings: Omit<MigrationStep, "id"> = {
  name: "postings of text collections",
  up: ({ textPostings }) => textPostings.up,
  down: ({ textPostings }) => textPostings.down
}
