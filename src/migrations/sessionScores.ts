/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const sessionScores: Omit<MigrationStep, "id"> = {
  name: "session scores",
  up: ({ types }) => [
    `CREATE TABLE db_hub_session_scores (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  session_id ${types.text} NOT NULL,
  template_id ${types.text},
  reward ${types.number} NOT NULL,
  success ${types.number} NOT NULL,
  efficiency ${types.number} NOT NULL,
  tokens ${types.integer} NOT NULL,
  message_count ${types.integer} NOT NULL,
  user_corrections ${types.integer} NOT NULL,
  judge_analysis ${types.text},
  judge_model ${types.text},
  created_at ${types.timestamp} NOT NULL
)`,
    `CREATE INDEX db_hub_session_scores_of_session ON db_hub_session_scores (user_id, session_id, created_at, id)`,
    `CREATE INDEX db_hub_session_scores_of_template ON db_hub_session_scores (user_id, template_id, reward)`
  ],
  down: () => ["DROP TABLE db_hub_session_scores"]
}
