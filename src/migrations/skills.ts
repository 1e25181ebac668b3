/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const skills: Omit<MigrationStep, "id"> = {
  name: "skills",
  up: ({ types }) => [
    `CREATE TABLE db_hub_skill_libraries (
  user_id ${types.text} PRIMARY KEY
)`,
    `CREATE TABLE db_hub_skills (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  title ${types.text} NOT NULL,
  content ${types.text} NOT NULL,
  task_type ${types.text} NOT NULL,
  source_session_id ${types.text},
  source_template_id ${types.text},
  active ${types.boolean} NOT NULL,
  usage_count ${types.integer} NOT NULL,
  success_count ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL
)`,
    `CREATE INDEX db_hub_skills_active ON db_hub_skills (user_id, active, task_type)`,
    `CREATE INDEX db_hub_skills_by_age ON db_hub_skills (user_id, created_at, id)`
  ],
  down: () => ["DROP TABLE db_hub_skills", "DROP TABLE db_hub_skill_libraries"]
}
