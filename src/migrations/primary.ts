/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * The epoch of the process that writes for the others: what a fenced one finds raised inside its own transaction.
 *
 * @since 0.1.0
 * @category migrations
 */
export const primary: Omit<MigrationStep, "id"> = {
  name: "epoch of the primary process",
  up: ({ types }) => [
    `CREATE TABLE db_hub_primary (
  id ${types.integer} PRIMARY KEY,
  epoch ${types.integer} NOT NULL,
  instance ${types.text} NOT NULL
)`,
    "INSERT INTO db_hub_primary (id, epoch, instance) VALUES (1, 0, '')"
  ],
  down: () => ["DROP TABLE db_hub_primary"]
}
