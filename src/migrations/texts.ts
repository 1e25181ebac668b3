/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * The tables of a collection are made with it.
 *
 * @since 0.1.0
 * @category migrations
 */
export const texts: Omit<MigrationStep, "id"> = {
  name: "text collections",
  up: ({ types }) => [
    `CREATE TABLE db_hub_text_collections (
  id ${types.serial},
  name ${types.text} NOT NULL UNIQUE,
  language ${types.text} NOT NULL
)`
  ],
  down: ({ dropTextTables }) => [...dropTextTables, "DROP TABLE db_hub_text_collections"]
}
