/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const embeddings: Omit<MigrationStep, "id"> = {
  name: "embeddings",
  up: ({ types }) => [
    `CREATE TABLE db_hub_embedding_cache (
  model ${types.text} NOT NULL,
  hash ${types.text} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  vector ${types.bytes} NOT NULL,
  PRIMARY KEY (model, hash)
)`,
    "CREATE INDEX db_hub_embedding_cache_by_age ON db_hub_embedding_cache (created_at, hash, model)",
    // The collection is one of vectors; the token tells one text of a record from a later one.
    `CREATE TABLE db_hub_pending_embeddings (
  collection ${types.text} NOT NULL,
  id ${types.text} NOT NULL,
  token ${types.text} NOT NULL,
  PRIMARY KEY (collection, id)
)`,
    `CREATE TABLE db_hub_reembeddings (
  collection ${types.text} PRIMARY KEY,
  target ${types.text} NOT NULL,
  model ${types.text} NOT NULL
)`
  ],
  down: () => [
    "DROP TABLE db_hub_reembeddings",
    "DROP TABLE db_hub_pending_embeddings",
    "DROP TABLE db_hub_embedding_cache"
  ]
}
