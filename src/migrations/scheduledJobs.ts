/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const scheduledJobs: Omit<MigrationStep, "id"> = {
  name: "scheduled jobs",
  up: ({ types }) => [
    `CREATE TABLE db_hub_scheduled_jobs (
  sequence ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  user_id ${types.text} NOT NULL,
  schedule ${types.text} NOT NULL,
  type ${types.text} NOT NULL,
  command ${types.text} NOT NULL,
  channel ${types.text},
  chat_id ${types.text},
  announce ${types.boolean} NOT NULL,
  enabled ${types.boolean} NOT NULL,
  created_by ${types.text},
  isolate_session ${types.boolean} NOT NULL,
  as_subagent ${types.boolean} NOT NULL,
  model ${types.text},
  timeout_seconds ${types.integer},
  labels ${types.json} NOT NULL,
  stagger_ms ${types.integer},
  exact ${types.boolean} NOT NULL,
  run_count ${types.integer} NOT NULL,
  last_run_at ${types.timestamp},
  last_error ${types.text},
  last_run_duration ${types.integer},
  last_usage ${types.json},
  created_at ${types.timestamp} NOT NULL
)`,
    "CREATE INDEX db_hub_scheduled_jobs_of_user ON db_hub_scheduled_jobs (user_id, sequence)",
    "CREATE INDEX db_hub_scheduled_jobs_enabled ON db_hub_scheduled_jobs (enabled, sequence)"
  ],
  down: () => ["DROP TABLE db_hub_scheduled_jobs"]
}
