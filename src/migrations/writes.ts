/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * What every write leaves behind besides its rows.
 *
 * @since 0.1.0
 * @category migrations
 */
export const writes: Omit<MigrationStep, "id"> = {
  name: "idempotency keys and change feed",
  up: ({ types, writerOrder }) => [
    `CREATE TABLE db_hub_writes (
  idempotency_key ${types.text} PRIMARY KEY,
  operation ${types.text} NOT NULL,
  payload_hash ${types.text} NOT NULL,
  result ${types.text},
  created_at ${types.timestamp} NOT NULL
)`,
    `CREATE INDEX db_hub_writes_by_age ON db_hub_writes (created_at)`,
    `CREATE TABLE db_hub_changes (
  id ${types.serial},
  writer ${writerOrder.column},
  store ${types.text} NOT NULL,
  operation ${types.text} NOT NULL,
  ids ${types.json} NOT NULL,
  created_at ${types.timestamp} NOT NULL
)`,
    `CREATE INDEX db_hub_changes_in_order ON db_hub_changes (writer, id)`
  ],
  down: () => ["DROP TABLE db_hub_changes", "DROP TABLE db_hub_writes"]
}
