/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const promptTemplates: Omit<MigrationStep, "id"> = {
  name: "prompt templates",
  up: ({ types }) => [
    `CREATE TABLE db_hub_prompt_names (
  user_id ${types.text} NOT NULL,
  name ${types.text} NOT NULL,
  version ${types.integer} NOT NULL,
  PRIMARY KEY (user_id, name)
)`,
    `CREATE TABLE db_hub_prompt_templates (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  name ${types.text} NOT NULL,
  section ${types.text} NOT NULL,
  content ${types.text} NOT NULL,
  version ${types.integer} NOT NULL,
  is_active ${types.boolean} NOT NULL,
  is_default ${types.boolean} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, name, version)
)`,
    `CREATE INDEX db_hub_prompt_templates_active ON db_hub_prompt_templates (user_id, is_active, name)`
  ],
  down: () => ["DROP TABLE db_hub_prompt_templates", "DROP TABLE db_hub_prompt_names"]
}
