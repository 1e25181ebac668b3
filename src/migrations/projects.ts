/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const projects: Omit<MigrationStep, "id"> = {
  name: "projects",
  up: ({ types }) => [
    `CREATE TABLE db_hub_projects (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  name ${types.text} NOT NULL,
  path ${types.text} NOT NULL,
  status ${types.text} NOT NULL,
  initialized ${types.boolean} NOT NULL,
  agent_pid ${types.integer},
  agent_port ${types.integer},
  last_opened_at ${types.timestamp} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, path)
)`,
    `CREATE INDEX db_hub_projects_by_use ON db_hub_projects (user_id, last_opened_at, id)`
  ],
  down: () => ["DROP TABLE db_hub_projects"]
}
