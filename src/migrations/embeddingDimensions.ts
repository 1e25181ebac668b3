/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/** What something is embedded by: '' while it waits. */
const by = "(COALESCE(embedding_model || ' ' || CAST(dimension AS TEXT), ''))"

/**
 * A model that keeps its name and changes its dimension is another one for chunks and memories, too: vectors of chunks
 * lie apart by dimension, and what waits for those of another dimension is found without reading what has them.
 *
 * @since 0.1.0
 * @category migrations
 */
export const embeddingDimensions: Omit<MigrationStep, "id"> = {
  name: "embedding dimensions",
  up: ({ types }) => [
    `ALTER TABLE db_hub_document_chunks ADD COLUMN dimension ${types.integer}`,
    `UPDATE db_hub_document_chunks SET dimension =
  (SELECT c.dimension FROM db_hub_collections AS c WHERE c.name = 'workspace:' || embedding_model)
  WHERE embedding_model <> ''`,
    `UPDATE db_hub_collections SET name = 'db_hub_chunks_' || CAST(dimension AS TEXT) || '_' || model
  WHERE name = 'workspace:' || model`,
    "DROP INDEX db_hub_document_chunks_to_embed",
    `CREATE INDEX db_hub_document_chunks_to_embed ON db_hub_document_chunks (${by}, id)`,
    "DROP INDEX db_hub_memories_to_embed",
    `CREATE INDEX db_hub_memories_to_embed ON db_hub_memories (${by}, id) WHERE superseded_by IS NULL`
  ],
  down: () => [
    "DROP INDEX db_hub_memories_to_embed",
    "CREATE INDEX db_hub_memories_to_embed ON db_hub_memories (embedding_model, id) WHERE superseded_by IS NULL",
    "DROP INDEX db_hub_document_chunks_to_embed",
    "CREATE INDEX db_hub_document_chunks_to_embed ON db_hub_document_chunks (embedding_model, id)",
    // There is room for one dimension of a model, the latest.
    `UPDATE db_hub_collections SET name = 'workspace:' || model WHERE id IN
  (SELECT max(id) FROM db_hub_collections WHERE name LIKE 'db_hub_chunks_%' GROUP BY model)`,
    "DELETE FROM db_hub_collections WHERE name LIKE 'db_hub_chunks_%'",
    `UPDATE db_hub_document_chunks SET embedding_model = '' WHERE NOT EXISTS
  (SELECT 1 FROM db_hub_collections AS c
    WHERE c.name = 'workspace:' || embedding_model AND c.dimension = db_hub_document_chunks.dimension)`,
    "ALTER TABLE db_hub_document_chunks DROP COLUMN dimension"
  ]
}
