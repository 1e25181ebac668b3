/**
 * The tables of the vector store. Rows belong to the store: whoever writes to them by hand must also raise `seq` of the
 * collection.
 *
 * - `seq` counts the writes to a collection; each row bears the number of the write that made it, and each row in
 *   `db_hub_vector_deletions` that of the write that deleted it, so whoever has seen the collection at one number learns
 *   what happened since by reading only that.
 * - Deletions are forgotten in bulk; who has seen less than `reset_seq` must read everything again.
 * - Numbers of collections are never used again; those of rows may be.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category schema
 */
export const up: ReadonlyArray<string> = [
  `CREATE TABLE db_hub_collections (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  dimension INTEGER NOT NULL CHECK (dimension BETWEEN 1 AND 65535),
  metric TEXT NOT NULL CHECK (metric IN ('cosine', 'dot', 'l2')),
  model TEXT,
  seq INTEGER NOT NULL DEFAULT 0,
  reset_seq INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT`,
  // Text comes last, for it may be long: what comes first in a row is read without its later pages.
  `CREATE TABLE db_hub_vectors (
  row_id INTEGER PRIMARY KEY,
  collection_id INTEGER NOT NULL REFERENCES db_hub_collections (id) ON DELETE CASCADE,
  id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  vector BLOB NOT NULL,
  text TEXT,
  UNIQUE (collection_id, id)
) STRICT`,
  // With metadata, since between vectors they lie one or two to a page: a filter reads a tenth of the pages this way.
  "CREATE INDEX db_hub_vectors_by_seq ON db_hub_vectors (collection_id, seq, row_id, metadata)",
  `CREATE TABLE db_hub_vector_deletions (
  collection_id INTEGER NOT NULL REFERENCES db_hub_collections (id) ON DELETE CASCADE,
  seq INTEGER NOT NULL,
  row_id INTEGER NOT NULL,
  PRIMARY KEY (collection_id, seq, row_id)
) STRICT, WITHOUT ROWID`
]

/**
 * @since 0.1.0
 * @category schema
 */
export const down: ReadonlyArray<string> = [
  "DROP TABLE db_hub_vector_deletions",
  "DROP TABLE db_hub_vectors",
  "DROP TABLE db_hub_collections"
]

/**
 * Which file holds the graph of a collection, and how to tell that it is this file and whole. The row lies in the
 * database so that it goes back in time with it: after a backup was restored, no file is taken for newer than it is.
 *
 * `sha256` is null where no graph is kept, because its recall was too low.
 *
 * @since 0.1.0
 * @category schema
 */
export const graphsUp: ReadonlyArray<string> = [
  `CREATE TABLE db_hub_vector_graphs (
  collection_id INTEGER PRIMARY KEY REFERENCES db_hub_collections (id) ON DELETE CASCADE,
  token TEXT NOT NULL,
  seq INTEGER NOT NULL,
  size INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT,
  connectivity INTEGER NOT NULL,
  expansion INTEGER NOT NULL,
  scale REAL NOT NULL,
  recall REAL NOT NULL
) STRICT`
]

/**
 * @since 0.1.0
 * @category schema
 */
export const graphsDown: ReadonlyArray<string> = ["DROP TABLE db_hub_vector_graphs"]
