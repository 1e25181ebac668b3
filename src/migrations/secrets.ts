/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * Secrets as they are sealed; what opens them is never in the database.
 *
 * @since 0.1.0
 * @category migrations
 */
export const secrets: Omit<MigrationStep, "id"> = {
  name: "secrets",
  up: ({ types }) => [
    `CREATE TABLE db_hub_secrets (
  user_id ${types.text} NOT NULL,
  name ${types.text} NOT NULL,
  provider ${types.text},
  key_id ${types.text} NOT NULL,
  salt ${types.bytes} NOT NULL,
  data ${types.bytes} NOT NULL,
  usage_count ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  expires_at ${types.timestamp},
  last_used_at ${types.timestamp},
  PRIMARY KEY (user_id, name)
)`
  ],
  down: () => ["DROP TABLE db_hub_secrets"]
}
