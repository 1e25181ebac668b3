/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * Writers in an order of their own, and the place up to which changes were forgotten.
 *
 * @since 0.1.0
 * @category migrations
 */
export const changeFeed: Omit<MigrationStep, "id"> = {
  name: "change feed",
  up: ({ types, writerOrder }) => [
    ...writerOrder.up,
    `CREATE TABLE db_hub_forgotten_changes (
  feed ${types.integer} PRIMARY KEY,
  writer ${types.integer} NOT NULL,
  change_id ${types.integer} NOT NULL
)`
  ],
  down: ({ writerOrder }) => ["DROP TABLE db_hub_forgotten_changes", ...writerOrder.down]
}
