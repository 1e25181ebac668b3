/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * Messages have vectors, too; what waits for one is found without reading what has it.
 *
 * @since 0.1.0
 * @category migrations
 */
export const messageEmbeddings: Omit<MigrationStep, "id"> = {
  name: "message embeddings",
  up: ({ types }) => [
    // The collection that the vector is in: '' for none yet, 'none' where there is nothing to embed.
    `ALTER TABLE db_hub_messages ADD COLUMN embedded_in ${types.text} NOT NULL DEFAULT ''`,
    "CREATE INDEX db_hub_messages_to_embed ON db_hub_messages (embedded_in, conversation_id, seq)",
    "CREATE INDEX db_hub_memories_to_embed ON db_hub_memories (embedding_model, id) WHERE superseded_by IS NULL",
    "CREATE INDEX db_hub_document_chunks_to_embed ON db_hub_document_chunks (embedding_model, id)"
  ],
  down: () => [
    "DROP INDEX db_hub_document_chunks_to_embed",
    "DROP INDEX db_hub_memories_to_embed",
    "DROP INDEX db_hub_messages_to_embed",
    "ALTER TABLE db_hub_messages DROP COLUMN embedded_in"
  ]
}
