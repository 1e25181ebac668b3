/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const sandbox: Omit<MigrationStep, "id"> = {
  name: "sandbox jobs",
  up: ({ types }) => [
    `CREATE TABLE db_hub_sandbox_jobs (
  sequence ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  user_id ${types.text} NOT NULL,
  task ${types.text} NOT NULL,
  status ${types.text} NOT NULL,
  success ${types.boolean},
  failure_reason ${types.text},
  project_dir ${types.text},
  mode ${types.text} NOT NULL,
  credential_grants ${types.json} NOT NULL,
  worker ${types.text} NOT NULL,
  lease_expires_at ${types.timestamp},
  event_count ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  started_at ${types.timestamp},
  completed_at ${types.timestamp}
)`,
    "CREATE INDEX db_hub_sandbox_jobs_of_user ON db_hub_sandbox_jobs (user_id, sequence)",
    "CREATE INDEX db_hub_sandbox_jobs_of_user_by_status ON db_hub_sandbox_jobs (user_id, status)",
    "CREATE INDEX db_hub_sandbox_jobs_by_status ON db_hub_sandbox_jobs (status)",
    "CREATE INDEX db_hub_sandbox_jobs_leased ON db_hub_sandbox_jobs (lease_expires_at)",
    "CREATE INDEX db_hub_sandbox_jobs_of_worker ON db_hub_sandbox_jobs (worker, lease_expires_at)",
    `CREATE TABLE db_hub_sandbox_events (
  job_id ${types.text} NOT NULL REFERENCES db_hub_sandbox_jobs (id) ON DELETE CASCADE,
  id ${types.integer} NOT NULL,
  event_type ${types.text} NOT NULL,
  data ${types.json} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  PRIMARY KEY (job_id, id)
)`
  ],
  down: () => ["DROP TABLE db_hub_sandbox_events", "DROP TABLE db_hub_sandbox_jobs"]
}
