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
import { DbConflict, DbCorrupt, type DbError, DbUnsupported, type ErrorContext, NotFound } from "../../errors/index.js"
import { nearest } from "../../errors/nearest.js"
import type { Row, SqlValue } from "../../services/Backend.js"
import type { CollectionInfo, SearchHit, VectorStore } from "../../services/VectorStore.js"
import { Distance, Filter, type JsonObject, type Metric, Records, TopK } from "../../vector/index.js"
import type { Fragment } from "../SqlFilter.js"
import * as VectorChecks from "../VectorChecks.js"
import * as Binary from "./PostgresBinary.js"
import type { PostgresClient } from "./PostgresClient.js"
import * as PostgresFilter from "./PostgresFilter.js"
import * as Index from "./PostgresVectorIndex.js"

interface Collection extends Index.Indexed {
  readonly name: string
  readonly model: string | null
  /** Its index can be searched. */
  readonly indexed: boolean
  /** ivfflat: the lists of the index. */
  readonly lists: number | null
}

/** pgvector's most. */
const maxDimension = 16_000

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

const floatBytes = (vector: Float32Array): Uint8Array => Binary.vector(vector)

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (client: PostgresClient): Effect.Effect<Context.Tag.Service<VectorStore>, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { options } = client
    const backend = options.name
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
              if (row === undefined) return Effect.fail(VectorChecks.notMigrated(at))
              const found: Index.Extension = {
                schema: String(row["schema"]),
                type: Number(row["type"]),
                version: String(row["version"])
              }
              extensionFound = found
              return Effect.succeed(found)
            })
      )

    const operation = <A>(
      name: string,
      body: (at: ErrorContext) => Effect.Effect<A, DbError>
    ): Effect.Effect<A, DbError> => {
      const at = { operation: `VectorStore.${name}`, backend }
      return Effect.mapError(
        Effect.suspend(() => body(at)),
        (error) => (isMissingTable(error) ? VectorChecks.notMigrated(at) : error)
      )
    }

    const find = (name: string, at: ErrorContext): Effect.Effect<Collection | undefined, DbError> =>
      Effect.flatMap(Records.checkName(name, at), () =>
        Effect.map(client.query(collectionQuery, [name]), ([row]) => row as unknown as Collection | undefined)
      )

    const unknown = (name: string, at: ErrorContext): Effect.Effect<never, DbError> =>
      Effect.flatMap(client.query("SELECT name FROM db_hub_collections ORDER BY name LIMIT 1000"), (rows) => {
        const near = nearest(
          name,
          rows.map((row) => String(row["name"]))
        )
        const hint = near.length > 0 ? `did you mean ${near.join(", ")}?` : "create it first"
        return Effect.fail(
          new NotFound({ ...at, entity: "collection", message: `There is no such collection; ${hint}` })
        )
      })

    const fetchCollection = (name: string, at: ErrorContext): Effect.Effect<Collection, DbError> =>
      Effect.flatMap(find(name, at), (found) => (found === undefined ? unknown(name, at) : Effect.succeed(found)))

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

    /** In the order of their ids, in which writers of the same ones wait for each other instead of blocking. */
    const checkRecords = (
      records: ReadonlyArray<unknown>,
      fieldOf: (i: number) => string,
      collection: Collection,
      at: ErrorContext
    ) =>
      Effect.map(VectorChecks.records(records, fieldOf, collection, at, Effect.yieldNow()), (checked) =>
        checked.sort((a, b) => (a.id < b.id ? -1 : 1))
      )

    const insertChunk = (
      { id, metric }: Collection,
      { schema, type }: Index.Extension,
      records: ReadonlyArray<Records.CheckedRecord>
    ): Effect.Effect<number, DbError> =>
      Effect.suspend(() => {
        const embeddings = records.map(({ vector }) => tamed(vector, metric))
        const originals = records.map(({ vector }, i) => (vector === embeddings[i] ? null : floatBytes(vector)))
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
      records: ReadonlyArray<unknown>,
      fieldOf: (i: number) => string,
      at: ErrorContext
    ): Effect.Effect<number, DbError> =>
      withCollection(
        name,
        at,
        (collection) =>
          Effect.gen(function* () {
            const checked = yield* checkRecords(records, fieldOf, collection, at)
            if (checked.length === 0) return -1
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

    const remove = (name: string, condition: Fragment, at: ErrorContext): Effect.Effect<number, DbError> =>
      Effect.flatMap(fetchCollection(name, at), ({ id }) =>
        Effect.map(
          client.execute(`DELETE FROM db_hub_vectors WHERE collection_id = ? AND ${condition.sql}`, [
            id,
            ...condition.params
          ]),
          ({ rowsAffected }) => rowsAffected
        )
      )

    const withIds = (ids: ReadonlyArray<string>): Fragment => ({
      sql: "id = ANY (?::text[])",
      params: [ids.length === 0 ? "{}" : Binary.texts(ids)]
    })

    return {
      supportsVector: true,

      createCollection: (name, settings) =>
        operation("createCollection", (at) =>
          Effect.gen(function* () {
            const { dimension, metric, model } = yield* Records.checkSettings(settings, at)
            if (dimension > maxDimension) return yield* tooManyDimensions(at)
            let found = yield* find(name, at)
            if (found === undefined) {
              yield* client.execute(
                `INSERT INTO db_hub_collections (name, dimension, metric, model) VALUES (?, ?, ?, ?)
                  ON CONFLICT (name) DO NOTHING`,
                [name, dimension, metric, model]
              )
              found = yield* fetchCollection(name, at)
            }
            if (found.dimension !== dimension || found.metric !== metric || found.model !== model) {
              return yield* otherSettings(found, at)
            }
          })
        ),

      insert: (collection, record) =>
        operation("insert", (at) => Effect.asVoid(insert(collection, [record], () => "record", at))),

      insertMany: (collection, records) =>
        operation("insertMany", (at) =>
          Effect.flatMap(Records.checkList(records, at), (listed) =>
            Effect.asVoid(insert(collection, listed, (i) => `records[${i}]`, at))
          )
        ),

      search: (collection, vector, options = {}) =>
        operation("search", (at) =>
          Effect.flatMap(Records.checkSearch(options, at), (checked) =>
            Effect.map(search(collection, vector, checked, at), ({ hits }) => hits)
          )
        ),

      get: (name, wanted) =>
        operation("get", (at) =>
          Effect.gen(function* () {
            const ids = yield* Records.checkIds(wanted, at)
            const { dimension, id } = yield* fetchCollection(name, at)
            const { schema } = yield* extension(at)
            const condition = withIds(ids)
            const rows = yield* client.query(
              `SELECT id, metadata, text, original, ${schema}.vector_send(embedding) AS vector
                FROM db_hub_vectors WHERE collection_id = ? AND ${condition.sql}`,
              [id, ...condition.params]
            )
            const byId = new Map(rows.map((row) => [row["id"], row]))
            const found = []
            for (const id of ids) {
              const row = byId.get(id)
              if (row === undefined) continue
              const vector = readVector(row)
              if (vector.length !== dimension) return yield* damaged(at)
              found.push({ id, vector, metadata: row["metadata"] as JsonObject, text: row["text"] as string | null })
            }
            return found
          })
        ),

      delete: (collection, wanted) =>
        operation("delete", (at) =>
          Effect.flatMap(Records.checkIds(wanted, at), (ids) => remove(collection, withIds(ids), at))
        ),

      deleteWhere: (collection, filter) =>
        operation("deleteWhere", (at) =>
          Effect.flatMap(Filter.parse(filter, at), (parsed) => remove(collection, PostgresFilter.compile(parsed), at))
        ),

      count: (name, filter = {}) =>
        operation("count", (at) =>
          Effect.gen(function* () {
            const { params, sql } = PostgresFilter.compile(yield* Filter.parse(filter, at))
            const { id } = yield* fetchCollection(name, at)
            const [counted] = yield* client.query(
              `SELECT count(*) AS n FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`,
              [id, ...params]
            )
            return Number(counted?.["n"])
          })
        ),

      collections: operation("collections", () =>
        Effect.map(
          client.query(
            `SELECT c.name, c.dimension, c.metric, c.model,
                (SELECT count(*) FROM db_hub_vectors AS v WHERE v.collection_id = c.id) AS count,
                i.indisvalid AS valid, a.amname AS kind, coalesce(pg_relation_size(i.indexrelid), 0) AS size,
                EXISTS (
                  SELECT 1 FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
                ) AS building
              FROM db_hub_collections AS c
              LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = to_regclass('db_hub_vectors_' || c.id || '_index')
              LEFT JOIN pg_catalog.pg_class AS r ON r.oid = i.indexrelid
              LEFT JOIN pg_catalog.pg_am AS a ON a.oid = r.relam
              ORDER BY c.name`
          ),
          (rows) =>
            rows.map(
              ({ building, count, dimension, kind, metric, model, name, size, valid }): CollectionInfo => ({
                name: name as string,
                dimension: dimension as number,
                metric: metric as Metric,
                model: model as string | null,
                count: Number(count),
                index: {
                  kind: (kind as string | null) ?? "none",
                  state: valid === null ? "none" : valid === true ? "ready" : building === true ? "building" : "failed",
                  sizeBytes: Number(size)
                }
              })
            )
        )
      ),

      dropCollection: (name) =>
        operation("dropCollection", (at) =>
          client.transaction(
            Effect.gen(function* () {
              const { id } = yield* fetchCollection(name, at)
              known.delete(name)
              yield* client.execute("DELETE FROM db_hub_collections WHERE id = ?", [id])
              yield* client.execute(`DROP INDEX IF EXISTS ${Index.nameOf(id)}`)
            })
          )
        )
    }
  })

const isMissingTable = (error: DbError): boolean =>
  error._tag === "DbQuery" && error.code === "42P01" && /"db_hub_(collections|vectors)"/.test(error.message)

const damaged = (at: ErrorContext): DbCorrupt =>
  new DbCorrupt({
    ...at,
    code: "HUB_DECODE",
    message: "A stored vector has another dimension than its collection: somebody wrote to the tables by hand"
  })

const tooManyDimensions = (at: ErrorContext): DbUnsupported =>
  new DbUnsupported({
    ...at,
    code: "HUB_DIMENSION",
    message: `pgvector stores vectors of at most ${maxDimension} dimensions: use a model with fewer`
  })

const otherSettings = (found: Collection, at: ErrorContext): DbConflict =>
  new DbConflict({
    ...at,
    reason: "unique",
    constraint: "db_hub_collections.name",
    message:
      `The collection exists with dimension ${found.dimension}, metric ${found.metric} and ` +
      `${found.model === null ? "no model" : `model "${found.model}"`}, not with what was asked for: ` +
      "use another name, or drop it first"
  })
