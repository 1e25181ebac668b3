/**
 * The vector store on pgvector. The database finds the candidates; scores are those of the vectors themselves, computed
 * here in 64-bit floats, so that they are the same on every engine and whatever an index leaves out of a vector. Only a
 * cosine through an index of whole vectors is taken from the database, which has it to seven digits: sending the vectors
 * would cost more than finding them.
 *
 * A collection is searched exactly until its index is built, which happens in the background once it is large enough.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DbCorrupt, type DbError, type ErrorContext } from "../../errors/index.js"
import type { Row, SqlValue } from "../../services/Backend.js"
import type { SearchHit, VectorStore } from "../../services/VectorStore.js"
import { Distance, Filter, type JsonObject, type Metric, Records, TopK } from "../../vector/index.js"
import * as SqlVectorStore from "../sql/SqlVectorStore.js"
import * as Binary from "./PostgresBinary.js"
import type { PostgresClient } from "./PostgresClient.js"
import { dialect } from "./PostgresDialect.js"
import * as PostgresFilter from "./PostgresFilter.js"
import * as Index from "./PostgresVectorIndex.js"

interface Collection extends SqlVectorStore.Collection {
  /** Its index can be searched. */
  readonly indexed: boolean
  /** ivfflat: the lists of the index. */
  readonly lists: number | null
}

/** Bytes of vectors in one INSERT. */
const insertBytes = 8 * 1024 * 1024

/** Records in one INSERT. */
const insertRecords = 2_000

/** Milliseconds for which what is known of a collection is taken to be so; its number alone is never reused. */
const cacheTime = 5_000

/** Candidates beyond k, for those whose order 32-bit distances and equal scores leave open. */
const slack = (k: number): number => 8 + (k >> 3)

const collectionQuery = `SELECT c.id, c.name, c.dimension, c.metric, c.model, coalesce(i.indisvalid, FALSE) AS indexed,
    substring(array_to_string(r.reloptions, ',') FROM 'lists=([0-9]+)')::int AS lists
  FROM db_hub_collections AS c
  LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = to_regclass('db_hub_vectors_' || c.id || '_index')
  LEFT JOIN pg_catalog.pg_class AS r ON r.oid = i.indexrelid
  WHERE c.name = ?`

const extensionQuery = `SELECT quote_ident(n.nspname) AS schema, t.oid::bigint AS type, e.extversion AS version
  FROM pg_catalog.pg_extension AS e
  JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
  JOIN pg_catalog.pg_type AS t ON t.typnamespace = n.oid AND t.typname = 'vector'
  WHERE e.extname = 'vector'`

/** The share lock keeps the collection until the records are in; where it is gone, nothing is inserted. */
const insertQuery = (schema: string) => `INSERT INTO db_hub_vectors
    (collection_id, id, embedding, original, metadata, text)
  SELECT c.id, r.id, r.embedding, r.original, r.metadata, r.text
  FROM (SELECT id FROM db_hub_collections WHERE id = ? FOR KEY SHARE) AS c
  CROSS JOIN unnest(?::text[], ?::${schema}.vector[], ?::bytea[], ?::jsonb[], ?::text[])
    AS r (id, embedding, original, metadata, text)
  ON CONFLICT (collection_id, id) DO UPDATE SET embedding = excluded.embedding, original = excluded.original,
    metadata = excluded.metadata, text = excluded.text`

/** Squares of components beyond these powers of two leave the range of the 32-bit floats that pgvector adds up in. */
const [tame, wild] = [2 ** -40, 2 ** 40]

/** A vector of the same direction whose squares stay in range: under cosine the length has no meaning. */
const tamed = (vector: Float32Array, metric: Metric): Float32Array => {
  if (metric !== "cosine") return vector
  let most = 0
  for (let i = 0; i < vector.length; i++) most = Math.max(most, Math.abs(vector[i]!))
  return most >= tame && most <= wild ? vector : vector.map((component) => component / most)
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (client: PostgresClient): Effect.Effect<Context.Tag.Service<VectorStore>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { options } = client
    const known = new Map<string, { readonly collection: Collection; readonly since: number }>()
    const builder = yield* Index.makeBuilder(client, ({ id }) => {
      for (const [name, { collection }] of known) if (collection.id === id) known.delete(name)
    })

    let extensionFound: Index.Extension | undefined
    const extension = (at: ErrorContext): Effect.Effect<Index.Extension, DbError> =>
      Effect.suspend(() =>
        extensionFound !== undefined
          ? Effect.succeed(extensionFound)
          : Effect.flatMap(client.query(extensionQuery), ([row]) => {
              if (row === undefined) return Effect.fail(SqlVectorStore.notMigrated(at))
              const found: Index.Extension = {
                schema: String(row["schema"]),
                type: Number(row["type"]),
                version: String(row["version"])
              }
              extensionFound = found
              return Effect.succeed(found)
            })
      )

    const find = (name: string, at: ErrorContext): Effect.Effect<Collection | undefined, DbError> =>
      Effect.flatMap(Records.checkName(name, at), () =>
        Effect.map(client.query(collectionQuery, [name]), ([row]) => row as unknown as Collection | undefined)
      )

    const fetchCollection = (name: string, at: ErrorContext): Effect.Effect<Collection, DbError> =>
      Effect.flatMap(find(name, at), (found) =>
        found === undefined ? SqlVectorStore.notFound(client, name, at) : Effect.succeed(found)
      )

    /** From memory where that is recent; inside a transaction what it sees is its own. */
    const getCollection = (name: string, at: ErrorContext): Effect.Effect<readonly [Collection, boolean], DbError> =>
      Effect.flatMap(client.inTransaction, (inside): Effect.Effect<readonly [Collection, boolean], DbError> => {
        const entry = known.get(name)
        if (!inside && entry !== undefined && performance.now() - entry.since < cacheTime) {
          return Effect.succeed([entry.collection, true] as const)
        }
        return Effect.map(fetchCollection(name, at), (collection) => {
          if (!inside) known.set(name, { collection, since: performance.now() })
          return [collection, false] as const
        })
      })

    /** Runs on what is known of a collection, and again on what is so where the first came to nothing. */
    const withCollection = <A>(
      name: string,
      at: ErrorContext,
      use: (collection: Collection) => Effect.Effect<A, DbError>,
      cameToNothing: (result: A) => boolean
    ): Effect.Effect<A, DbError> =>
      Effect.flatMap(getCollection(name, at), ([collection, remembered]) => {
        if (!remembered) return use(collection)
        return Effect.matchEffect(use(collection), {
          onFailure: (error) => {
            known.delete(name)
            // A collection made anew may have another dimension.
            return error._tag === "DimensionMismatch" || error._tag === "InvalidInput"
              ? Effect.flatMap(getCollection(name, at), ([now]) =>
                  now.id === collection.id ? Effect.fail(error) : use(now)
                )
              : Effect.fail(error)
          },
          onSuccess: (result) => {
            if (!cameToNothing(result)) return Effect.succeed(result)
            known.delete(name)
            return Effect.flatMap(getCollection(name, at), ([now]) =>
              now.id === collection.id ? Effect.succeed(result) : use(now)
            )
          }
        })
      })

    const readVector = (row: Row): Float32Array => Binary.toVector((row["original"] ?? row["vector"]) as Uint8Array)

    // ------------------------------------------------------------ search

    interface Search extends Records.CheckedSearch {
      readonly collection: Collection
      readonly vector: Float32Array
    }

    const candidates = (
      { collection, filter, vector }: Search,
      { schema }: Index.Extension,
      form: { readonly distance: string; readonly tie: string; readonly limit: number; readonly scored: boolean }
    ): { readonly sql: string; readonly params: ReadonlyArray<SqlValue> } => {
      const { params, sql } = PostgresFilter.compile(filter ?? Filter.everything)
      const [inner, outer] = form.scored
        ? ["", "distance"]
        : [", original, embedding", `original, ${schema}.vector_send(embedding) AS vector`]
      // The number and the limit stand in the text, since only so can the planner know the collection's own index.
      return {
        sql: `SELECT id, metadata, text, ${outer} FROM (
            SELECT id, metadata, text${inner}, ${form.distance} AS distance FROM db_hub_vectors
            WHERE collection_id = ${collection.id} AND ${sql} ORDER BY distance${form.tie} LIMIT ${form.limit}
          ) AS nearest`,
        params: [Binary.vector(tamed(vector, collection.metric)), ...params]
      }
    }

    const searchExact = (search: Search, found: Index.Extension) => {
      const { params, sql } = candidates(search, found, {
        distance: Index.exactOrder(found, search.collection),
        tie: ", id",
        limit: Math.min(2 ** 31, search.k + slack(search.k)),
        scored: false
      })
      return client.query(sql, params)
    }

    const searchIndex = (search: Search, found: Index.Extension): Effect.Effect<ReadonlyArray<Row>, DbError> => {
      const { collection, k } = search
      const { isScore, overfetch, sql: distance } = Index.indexOrder(options, found, collection)
      const limit = isScore ? k : overfetch * k + slack(k)
      const { params, sql } = candidates(search, found, { distance, tie: "", limit, scored: isScore })
      const settings = Index.settingsFor(options, limit, collection.lists)
      const query = client.query(sql, params)
      const answered =
        settings.length === 0
          ? query
          : client.transaction(
              Effect.zipRight(
                client.query(`SELECT ${settings.map(() => "set_config(?, ?, true)").join(", ")}`, settings.flat()),
                query
              )
            )
      // Under a narrow filter the index may give up early: then all that match are few enough to be looked at.
      return Effect.flatMap(answered, (rows) => (rows.length < k ? searchExact(search, found) : Effect.succeed(rows)))
    }

    const ranked = ({ collection, k, minScore, vector }: Search, rows: ReadonlyArray<Row>): Array<SearchHit> => {
      const score = Distance.scorer(collection.metric, vector)
      const best = TopK.make(k, minScore)
      for (const [key, row] of rows.entries()) {
        const { distance, id } = row
        best.offer({
          key,
          id: String(id),
          score: typeof distance === "number" ? 1 - distance : score(readVector(row))
        })
      }
      return best.result().map(({ id, key, score }) => ({
        id,
        score,
        metadata: rows[key]!["metadata"] as JsonObject,
        text: rows[key]!["text"] as string | null
      }))
    }

    const search = (name: string, input: unknown, checked: Records.CheckedSearch, at: ErrorContext) =>
      withCollection(
        name,
        at,
        (collection) =>
          Effect.gen(function* () {
            const vector = yield* Records.parseVector(input, "vector", collection, at)
            const found = yield* extension(at)
            const search: Search = { ...checked, collection, vector }
            const large = checked.k > 10_000
            const rows = yield* collection.indexed && !large ? searchIndex(search, found) : searchExact(search, found)
            return { hits: ranked(search, rows), empty: rows.length === 0 }
          }),
        ({ empty }) => empty
      )

    // ------------------------------------------------------------ writes

    const insertChunk = (
      { id, metric }: Collection,
      { schema, type }: Index.Extension,
      records: ReadonlyArray<Records.CheckedRecord>
    ): Effect.Effect<number, DbError> =>
      Effect.suspend(() => {
        const embeddings = records.map(({ vector }) => tamed(vector, metric))
        const originals = records.map(({ vector }, i) => (vector === embeddings[i] ? null : Binary.vector(vector)))
        const parameters = [
          id,
          Binary.texts(records.map((record) => record.id)),
          Binary.vectors(type, embeddings),
          Binary.bytes(originals),
          Binary.jsons(records.map(({ metadata }) => metadata)),
          Binary.texts(records.map(({ text }) => text))
        ]
        return Effect.map(client.execute(insertQuery(schema), parameters), ({ rowsAffected }) => rowsAffected)
      })

    const insert = (
      name: string,
      check: SqlVectorStore.CheckRecords,
      at: ErrorContext
    ): Effect.Effect<number, DbError> =>
      withCollection(
        name,
        at,
        (collection) =>
          Effect.gen(function* () {
            const checked = yield* check(collection, Effect.yieldNow())
            if (checked.length === 0) return -1
            // Writers of the same ids meet them in the same order, and so wait for each other instead of blocking.
            checked.sort((a, b) => (a.id < b.id ? -1 : 1))
            const found = yield* extension(at)
            const size = Math.max(1, Math.min(insertRecords, Math.floor(insertBytes / (4 * collection.dimension))))
            const chunks = Array.from({ length: Math.ceil(checked.length / size) }, (_, i) =>
              checked.slice(i * size, (i + 1) * size)
            )
            const writes = Effect.reduce(chunks, 0, (sum, chunk) =>
              Effect.map(insertChunk(collection, found, chunk), (written) => sum + written)
            )
            const written = yield* chunks.length === 1 ? writes : client.transaction(writes)
            if (written > 0 && !collection.indexed) builder.added(found, collection, written)
            return written
          }),
        (written) => written === 0
      )

    const engine: SqlVectorStore.VectorEngine<Collection> = {
      maxDimension: 16_000,
      find,
      insert: (name, check, at) => Effect.asVoid(insert(name, check, at)),
      search: (name, vector, checked, at) => Effect.map(search(name, vector, checked, at), ({ hits }) => hits),

      read: ({ dimension, id }, { params, sql }, at) =>
        Effect.gen(function* () {
          const { schema } = yield* extension(at)
          const rows = yield* client.query(
            `SELECT id, metadata, text, original, ${schema}.vector_send(embedding) AS vector
              FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`,
            [id, ...params]
          )
          const records = rows.map((row) => ({
            id: String(row["id"]),
            vector: readVector(row),
            metadata: row["metadata"] as JsonObject,
            text: row["text"] as string | null
          }))
          return records.every(({ vector }) => vector.length === dimension) ? records : yield* damaged(at)
        }),

      remove: (name, { params, sql }, at) =>
        Effect.flatMap(fetchCollection(name, at), ({ id }) =>
          Effect.map(
            client.execute(`DELETE FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`, [id, ...params]),
            ({ rowsAffected }) => rowsAffected
          )
        ),

      count: ({ id }, { params, sql }) =>
        Effect.map(
          client.query(`SELECT count(*) AS n FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`, [id, ...params]),
          ([counted]) => Number(counted?.["n"])
        ),

      filter: PostgresFilter.compile,
      isOneOf: (ids) => ({ sql: "id = ANY (?::text[])", params: [ids.length === 0 ? "{}" : Binary.texts(ids)] }),

      index: {
        columns: `i.indisvalid AS valid, a.amname AS kind, coalesce(pg_relation_size(i.indexrelid), 0) AS size,
            EXISTS (
              SELECT 1 FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
            ) AS building`,
        joins: `LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = to_regclass('db_hub_vectors_' || c.id || '_index')
            LEFT JOIN pg_catalog.pg_class AS r ON r.oid = i.indexrelid
            LEFT JOIN pg_catalog.pg_am AS a ON a.oid = r.relam`,
        of: ({ building, kind, size, valid }) => ({
          kind: (kind as string | null) ?? "none",
          state: valid === null ? "none" : valid === true ? "ready" : building === true ? "building" : "failed",
          sizeBytes: Number(size)
        })
      },

      drop: (id) => [`DELETE FROM db_hub_collections WHERE id = ${id}`, `DROP INDEX IF EXISTS ${Index.nameOf(id)}`],
      dropped: ({ name }) => Effect.sync(() => known.delete(name)),

      missingTable: (error) =>
        error._tag === "DbQuery" && error.code === "42P01"
          ? /"(db_hub_(?:collections|vectors))"/.exec(error.message)?.[1]
          : undefined
    }

    return SqlVectorStore.make({ ...client, name: options.name, dialect }, engine)
  })

const damaged = (at: ErrorContext): DbCorrupt =>
  new DbCorrupt({
    ...at,
    code: "HUB_DECODE",
    message: "A stored vector has another dimension than its collection: somebody wrote to the tables by hand"
  })
