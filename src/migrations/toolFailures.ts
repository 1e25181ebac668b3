/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const toolFailures: Omit<MigrationStep, "id"> = {
  name: "tool failures",
  up: ({ types }) => [
    `CREATE TABLE db_hub_tool_failures (
  tool ${types.text} PRIMARY KEY,
  error_message ${types.text} NOT NULL,
  error_count ${types.integer} NOT NULL,
  first_failure ${types.timestamp} NOT NULL,
  last_failure ${types.timestamp} NOT NULL,
  repaired_at ${types.timestamp},
  repair_attempts ${types.integer} NOT NULL,
  last_build_result ${types.json}
)`,
    "CREATE INDEX db_hub_tool_failures_broken ON db_hub_tool_failures (repaired_at, error_count)"
  ],
  down: () => ["DROP TABLE db_hub_tool_failures"]
}
