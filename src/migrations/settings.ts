/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const settings: Omit<MigrationStep, "id"> = {
  name: "settings",
  up: ({ types }) => [
    `CREATE TABLE db_hub_settings (
  user_id ${types.text} NOT NULL,
  key ${types.text} NOT NULL,
  value ${types.json} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  PRIMARY KEY (user_id, key)
)`
  ],
  down: () => ["DROP TABLE db_hub_settings"]
}
