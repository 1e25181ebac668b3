/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const conversations: Omit<MigrationStep, "id"> = {
  name: "conversations",
  up: ({ types }) => [
    // `single_key` is what a conversation is the only one of for its user; for ordinary ones, their own id.
    `CREATE TABLE db_hub_conversations (
  id ${types.text} NOT NULL PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  single_key ${types.text} NOT NULL,
  channel ${types.text} NOT NULL,
  thread_id ${types.text},
  title ${types.text},
  preview ${types.text},
  model ${types.text},
  system_prompt ${types.text},
  parent_id ${types.text},
  forked_from ${types.text},
  forked_seq ${types.integer},
  summary_message_id ${types.text},
  config ${types.json} NOT NULL,
  active_skills ${types.json} NOT NULL,
  metadata ${types.json} NOT NULL,
  last_seq ${types.integer} NOT NULL,
  message_count ${types.integer} NOT NULL CHECK (message_count >= 0),
  user_message_count ${types.integer} NOT NULL CHECK (user_message_count >= 0),
  prompt_tokens ${types.integer} NOT NULL CHECK (prompt_tokens >= 0),
  completion_tokens ${types.integer} NOT NULL CHECK (completion_tokens >= 0),
  cost ${types.decimal} NOT NULL,
  started_at ${types.timestamp} NOT NULL,
  last_activity_at ${types.timestamp} NOT NULL,
  UNIQUE (user_id, single_key),
  FOREIGN KEY (parent_id) REFERENCES db_hub_conversations (id) ON DELETE SET NULL,
  FOREIGN KEY (forked_from) REFERENCES db_hub_conversations (id) ON DELETE SET NULL
)`,
    `CREATE INDEX db_hub_conversations_by_user ON db_hub_conversations (user_id, last_activity_at, id)`,
    `CREATE INDEX db_hub_conversations_by_channel ON db_hub_conversations (user_id, channel, last_activity_at, id)`,
    `CREATE INDEX db_hub_conversations_by_parent ON db_hub_conversations (parent_id, last_activity_at, id)`,
    `CREATE INDEX db_hub_conversations_by_origin ON db_hub_conversations (forked_from, last_activity_at, id)`,
    `CREATE TABLE db_hub_messages (
  conversation_id ${types.text} NOT NULL,
  seq ${types.integer} NOT NULL,
  id ${types.text} NOT NULL,
  kind ${types.text} NOT NULL CHECK (kind IN ('message', 'compaction')),
  role ${types.text} NOT NULL,
  content ${types.text} NOT NULL,
  name ${types.text},
  tool_call_id ${types.text},
  tool_calls ${types.json},
  tool_results ${types.json},
  model ${types.text},
  prompt_tokens ${types.integer},
  completion_tokens ${types.integer},
  cost ${types.decimal},
  metadata ${types.json} NOT NULL,
  covers_seq ${types.integer},
  created_at ${types.timestamp} NOT NULL,
  finished_at ${types.timestamp},
  PRIMARY KEY (conversation_id, seq),
  UNIQUE (conversation_id, id),
  FOREIGN KEY (conversation_id) REFERENCES db_hub_conversations (id) ON DELETE CASCADE
)`,
    `CREATE TABLE db_hub_conversation_facts (
  conversation_id ${types.text} NOT NULL,
  position ${types.integer} NOT NULL,
  fact ${types.text} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  PRIMARY KEY (conversation_id, position),
  FOREIGN KEY (conversation_id) REFERENCES db_hub_conversations (id) ON DELETE CASCADE
)`
  ],
  down: () => ["DROP TABLE db_hub_conversation_facts", "DROP TABLE db_hub_messages", "DROP TABLE db_hub_conversations"]
}
