/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * `next_fire_at` is set exactly on enabled cron routines. `webhook_path` is the routine's id where it has no path of its
 * own, so that the unique key holds for those that have one.
 *
 * @since 0.1.0
 * @category migrations
 */
export const routines: Omit<MigrationStep, "id"> = {
  name: "routines",
  up: ({ types }) => [
    `CREATE TABLE db_hub_routines (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  name ${types.text} NOT NULL,
  description ${types.text} NOT NULL,
  enabled ${types.boolean} NOT NULL,
  trigger_type ${types.text} NOT NULL,
  trigger_config ${types.json} NOT NULL,
  webhook_path ${types.text} NOT NULL UNIQUE,
  action_config ${types.json} NOT NULL,
  guardrails ${types.json} NOT NULL,
  notify ${types.json} NOT NULL,
  state ${types.json} NOT NULL,
  next_fire_at ${types.timestamp},
  last_run_at ${types.timestamp},
  run_count ${types.integer} NOT NULL,
  consecutive_failures ${types.integer} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, name)
)`,
    `CREATE INDEX db_hub_routines_due ON db_hub_routines (next_fire_at, id)`,
    `CREATE INDEX db_hub_routines_by_trigger ON db_hub_routines (trigger_type, enabled, id)`,
    `CREATE TABLE db_hub_routine_runs (
  id ${types.text} PRIMARY KEY,
  routine_id ${types.text} NOT NULL REFERENCES db_hub_routines (id),
  user_id ${types.text} NOT NULL,
  seq ${types.integer} NOT NULL,
  trigger_type ${types.text} NOT NULL,
  trigger_detail ${types.text},
  dedup_key ${types.text},
  due_at ${types.timestamp},
  started_at ${types.timestamp} NOT NULL,
  completed_at ${types.timestamp},
  status ${types.text} NOT NULL,
  summary ${types.text},
  tokens_used ${types.integer},
  job_id ${types.text},
  UNIQUE (routine_id, seq)
)`,
    `CREATE INDEX db_hub_routine_runs_of_routine ON db_hub_routine_runs (routine_id, status)`,
    `CREATE INDEX db_hub_routine_runs_by_key ON db_hub_routine_runs (routine_id, dedup_key, started_at)`,
    `CREATE INDEX db_hub_routine_runs_by_status ON db_hub_routine_runs (status, started_at, id)`
  ],
  down: () => ["DROP TABLE db_hub_routine_runs", "DROP TABLE db_hub_routines"]
}
