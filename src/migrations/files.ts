/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const files: Omit<MigrationStep, "id"> = {
  name: "files of sessions",
  up: ({ types }) => [
    `CREATE TABLE db_hub_files (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  session_id ${types.text} NOT NULL,
  path ${types.text} NOT NULL,
  is_new ${types.boolean} NOT NULL,
  version ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, session_id, path)
)`,
    `CREATE TABLE db_hub_file_versions (
  file_id ${types.text} NOT NULL REFERENCES db_hub_files (id),
  version ${types.integer} NOT NULL,
  content ${types.text} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  PRIMARY KEY (file_id, version)
)`
  ],
  down: () => ["DROP TABLE db_hub_file_versions", "DROP TABLE db_hub_files"]
}
