/**
 * The tables of the vector store. One column holds the vectors of every dimension; each collection that is large enough
 * gets a partial index of its own.
 *
 * @since 0.1.0
 */

/** Supabase keeps extensions in a schema of that name, which need not be in the search path. */
const extension = `DO $hub$
BEGIN
  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'vector') THEN
    IF to_regnamespace('extensions') IS NULL THEN
      CREATE EXTENSION vector;
    ELSE
      CREATE EXTENSION vector WITH SCHEMA extensions;
    END IF;
  END IF;
END
$hub$`

const collections = `CREATE TABLE db_hub_collections (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name TEXT COLLATE "C" NOT NULL UNIQUE,
  dimension INTEGER NOT NULL CHECK (dimension BETWEEN 1 AND 65535),
  metric TEXT NOT NULL CHECK (metric IN ('cosine', 'dot', 'l2')),
  model TEXT,
  created_at TIMESTAMPTZ NOT NULL DEFAULT now()
)`

/** `original` holds the bytes of a vector that stands in `embedding` at another length, and is null for all others. */
const vectors = `DO $hub$
DECLARE
  type_name text := (
    SELECT format('%I.vector', n.nspname)
    FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector'
  );
BEGIN
  EXECUTE 'CREATE TABLE db_hub_vectors (
    collection_id BIGINT NOT NULL REFERENCES db_hub_collections (id) ON DELETE CASCADE,
    id TEXT COLLATE "C" NOT NULL,
    embedding ' || type_name || ' NOT NULL,
    original BYTEA,
    metadata JSONB NOT NULL,
    text TEXT,
    PRIMARY KEY (collection_id, id)
  )';
END
$hub$`

/**
 * @since 0.1.0
 * @category schema
 */
export const up: ReadonlyArray<string> = [extension, collections, vectors]

/**
 * The extension stays: others may use it.
 *
 * @since 0.1.0
 * @category schema
 */
export const down: ReadonlyArray<string> = ["DROP TABLE db_hub_vectors", "DROP TABLE db_hub_collections"]
