/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const jobs: Omit<MigrationStep, "id"> = {
  name: "jobs",
  up: ({ types }) => [
    `CREATE TABLE db_hub_jobs (
  sequence ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  user_id ${types.text} NOT NULL,
  requester_id ${types.text},
  conversation_id ${types.text},
  title ${types.text} NOT NULL,
  description ${types.text} NOT NULL,
  category ${types.text},
  status ${types.text} NOT NULL,
  failure_reason ${types.text},
  stuck_since ${types.timestamp},
  repair_attempts ${types.integer} NOT NULL,
  budget_amount ${types.decimal},
  budget_token ${types.text},
  bid_amount ${types.decimal},
  estimated_cost ${types.decimal},
  estimated_seconds ${types.integer},
  estimated_value ${types.decimal},
  actual_cost ${types.decimal} NOT NULL,
  max_tokens ${types.integer} NOT NULL,
  total_tokens_used ${types.integer} NOT NULL,
  user_timezone ${types.text} NOT NULL,
  metadata ${types.json} NOT NULL,
  claims ${types.integer} NOT NULL,
  available_at ${types.timestamp} NOT NULL,
  claimable_at ${types.timestamp},
  worker ${types.text},
  lease_token ${types.text},
  lease_expires_at ${types.timestamp},
  transition_count ${types.integer} NOT NULL,
  action_count ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  started_at ${types.timestamp},
  completed_at ${types.timestamp}
)`,
    "CREATE INDEX db_hub_jobs_of_user ON db_hub_jobs (user_id, sequence)",
    "CREATE INDEX db_hub_jobs_of_user_by_status ON db_hub_jobs (user_id, status, sequence)",
    "CREATE INDEX db_hub_jobs_by_status ON db_hub_jobs (status, stuck_since)",
    "CREATE INDEX db_hub_jobs_claimable ON db_hub_jobs (claimable_at, sequence)",
    "CREATE INDEX db_hub_jobs_claimable_of_user ON db_hub_jobs (user_id, claimable_at, sequence)",
    `CREATE TABLE db_hub_job_transitions (
  job_id ${types.text} NOT NULL REFERENCES db_hub_jobs (id) ON DELETE CASCADE,
  sequence ${types.integer} NOT NULL,
  from_status ${types.text} NOT NULL,
  to_status ${types.text} NOT NULL,
  reason ${types.text},
  created_at ${types.timestamp} NOT NULL,
  PRIMARY KEY (job_id, sequence)
)`,
    `CREATE TABLE db_hub_job_actions (
  id ${types.text} PRIMARY KEY,
  job_id ${types.text} NOT NULL REFERENCES db_hub_jobs (id) ON DELETE CASCADE,
  sequence ${types.integer} NOT NULL,
  tool_name ${types.text} NOT NULL,
  input ${types.json} NOT NULL,
  output_raw ${types.text},
  output_sanitized ${types.json},
  sanitization_warnings ${types.json} NOT NULL,
  cost ${types.decimal},
  duration_millis ${types.integer},
  success ${types.boolean} NOT NULL,
  error_message ${types.text},
  created_at ${types.timestamp} NOT NULL,
  UNIQUE (job_id, sequence)
)`,
    `CREATE TABLE db_hub_llm_calls (
  sequence ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  user_id ${types.text} NOT NULL,
  job_id ${types.text} REFERENCES db_hub_jobs (id) ON DELETE SET NULL,
  conversation_id ${types.text},
  provider ${types.text} NOT NULL,
  model ${types.text} NOT NULL,
  input_tokens ${types.integer} NOT NULL,
  output_tokens ${types.integer} NOT NULL,
  cost ${types.decimal} NOT NULL,
  purpose ${types.text},
  created_at ${types.timestamp} NOT NULL
)`,
    "CREATE INDEX db_hub_llm_calls_of_user ON db_hub_llm_calls (user_id, sequence)",
    "CREATE INDEX db_hub_llm_calls_of_job ON db_hub_llm_calls (job_id, sequence)",
    `CREATE TABLE db_hub_job_estimations (
  sequence ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  job_id ${types.text} NOT NULL REFERENCES db_hub_jobs (id) ON DELETE CASCADE,
  category ${types.text} NOT NULL,
  tool_names ${types.json} NOT NULL,
  estimated_cost ${types.decimal} NOT NULL,
  actual_cost ${types.decimal},
  estimated_seconds ${types.integer} NOT NULL,
  actual_seconds ${types.integer},
  estimated_value ${types.decimal} NOT NULL,
  actual_value ${types.decimal},
  created_at ${types.timestamp} NOT NULL
)`,
    "CREATE INDEX db_hub_job_estimations_of_job ON db_hub_job_estimations (job_id, sequence)"
  ],
  down: () => [
    "DROP TABLE db_hub_job_estimations",
    "DROP TABLE db_hub_llm_calls",
    "DROP TABLE db_hub_job_actions",
    "DROP TABLE db_hub_job_transitions",
    "DROP TABLE db_hub_jobs"
  ]
}
