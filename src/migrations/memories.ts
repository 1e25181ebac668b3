/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const memories: Omit<MigrationStep, "id"> = {
  name: "memories",
  up: ({ types }) => [
    // One row for each user: whoever holds it is the only one who stores memories of that user.
    `CREATE TABLE db_hub_memory_users (
  user_id ${types.text} NOT NULL PRIMARY KEY
)`,
    // `single_key` is the hash of the content; of a memory that was superseded, its own id.
    `CREATE TABLE db_hub_memories (
  id ${types.text} NOT NULL PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  single_key ${types.text} NOT NULL,
  kind ${types.text} NOT NULL CHECK (kind IN ('episodic', 'semantic', 'procedural')),
  content ${types.text} NOT NULL,
  summary ${types.text},
  importance ${types.number} NOT NULL CHECK (importance >= 0 AND importance <= 1),
  tags ${types.json} NOT NULL,
  source ${types.text},
  metadata ${types.json} NOT NULL,
  embedding_model ${types.text},
  dimension ${types.integer},
  access_count ${types.integer} NOT NULL CHECK (access_count >= 0),
  accessed_at ${types.timestamp},
  supersedes ${types.text},
  superseded_by ${types.text},
  expires_at ${types.timestamp},
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, single_key)
)`,
    `CREATE INDEX db_hub_memories_by_user ON db_hub_memories (user_id, created_at, id)`,
    `CREATE INDEX db_hub_memories_by_kind ON db_hub_memories (user_id, kind, created_at, id)`,
    `CREATE INDEX db_hub_memories_by_end ON db_hub_memories (user_id, expires_at)`,
    `CREATE TABLE db_hub_memory_tags (
  user_id ${types.text} NOT NULL,
  tag ${types.text} NOT NULL,
  memory_id ${types.text} NOT NULL,
  PRIMARY KEY (user_id, tag, memory_id),
  FOREIGN KEY (memory_id) REFERENCES db_hub_memories (id) ON DELETE CASCADE
)`,
    `CREATE INDEX db_hub_memory_tags_by_memory ON db_hub_memory_tags (memory_id)`
  ],
  down: () => ["DROP TABLE db_hub_memory_tags", "DROP TABLE db_hub_memories", "DROP TABLE db_hub_memory_users"]
}
