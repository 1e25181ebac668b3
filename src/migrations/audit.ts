/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const audit: Omit<MigrationStep, "id"> = {
  name: "audit log",
  up: ({ types }) => [
    `CREATE TABLE db_hub_audit (
  seq ${types.serial},
  id ${types.text} NOT NULL UNIQUE,
  tool ${types.text} NOT NULL,
  caller ${types.text} NOT NULL,
  level ${types.text} NOT NULL,
  allowed ${types.boolean} NOT NULL,
  argument_summary ${types.text},
  result_summary ${types.text},
  created_at ${types.timestamp} NOT NULL
)`,
    `CREATE INDEX db_hub_audit_by_tool ON db_hub_audit (tool, seq)`,
    `CREATE INDEX db_hub_audit_by_caller ON db_hub_audit (caller, seq)`,
    `CREATE INDEX db_hub_audit_by_answer ON db_hub_audit (allowed, seq)`,
    `CREATE INDEX db_hub_audit_by_age ON db_hub_audit (created_at)`
  ],
  down: () => ["DROP TABLE db_hub_audit"]
}
