/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const ingestedFiles: Omit<MigrationStep, "id"> = {
  name: "ingested files",
  up: ({ types }) => [
    // The chunks are the ids of the file's records in the collection, with the lines that they are on.
    `CREATE TABLE db_hub_ingested_files (
  collection_id ${types.integer} NOT NULL REFERENCES db_hub_text_collections (id) ON DELETE CASCADE,
  folder ${types.text} NOT NULL,
  path ${types.text} NOT NULL,
  hash ${types.text} NOT NULL,
  chunks ${types.json} NOT NULL,
  PRIMARY KEY (collection_id, folder, path)
)`
  ],
  down: () => ["DROP TABLE db_hub_ingested_files"]
}
