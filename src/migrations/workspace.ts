/**
 * @since 0.1.0
 */
import type { MigrationStep } from "../services/Migrator.js"

/**
 * @since 0.1.0
 * @category migrations
 */
export const workspace: Omit<MigrationStep, "id"> = {
  name: "workspace",
  up: ({ types }) => [
    // No agent is '', since every engine takes two NULLs for different in a unique key.
    `CREATE TABLE db_hub_documents (
  id ${types.text} PRIMARY KEY,
  user_id ${types.text} NOT NULL,
  agent_id ${types.text} NOT NULL,
  path ${types.text} NOT NULL,
  version ${types.integer} NOT NULL,
  content_hash ${types.text} NOT NULL,
  indexed ${types.boolean} NOT NULL,
  metadata ${types.json} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  updated_at ${types.timestamp} NOT NULL,
  content ${types.text} NOT NULL,
  UNIQUE (user_id, agent_id, path)
)`,
    "CREATE INDEX db_hub_documents_by_age ON db_hub_documents (user_id, agent_id, updated_at, id)",
    "CREATE INDEX db_hub_documents_to_index ON db_hub_documents (user_id, indexed, id)",
    `CREATE TABLE db_hub_document_versions (
  document_id ${types.text} NOT NULL REFERENCES db_hub_documents (id) ON DELETE CASCADE,
  version ${types.integer} NOT NULL,
  content_hash ${types.text} NOT NULL,
  created_at ${types.timestamp} NOT NULL,
  content ${types.text} NOT NULL,
  PRIMARY KEY (document_id, version)
)`,
    `CREATE TABLE db_hub_document_chunks (
  id ${types.text} PRIMARY KEY,
  document_id ${types.text} NOT NULL REFERENCES db_hub_documents (id) ON DELETE CASCADE,
  user_id ${types.text} NOT NULL,
  chunk_index ${types.integer} NOT NULL,
  embedding_model ${types.text} NOT NULL,
  text ${types.text} NOT NULL,
  UNIQUE (document_id, chunk_index)
)`,
    "CREATE INDEX db_hub_document_chunks_by_user ON db_hub_document_chunks (user_id, id, embedding_model)",
    `CREATE TABLE db_hub_workspace_layers (
  user_id ${types.text} PRIMARY KEY,
  layers ${types.json} NOT NULL
)`
  ],
  down: () => [
    "DROP TABLE db_hub_workspace_layers",
    "DROP TABLE db_hub_document_chunks",
    "DROP TABLE db_hub_document_versions",
    "DROP TABLE db_hub_documents"
  ]
}
