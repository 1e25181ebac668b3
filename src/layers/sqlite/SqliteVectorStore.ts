/**
 * The vector store on SQLite: rows in ordinary tables, so that writes belong to the caller's transaction, and an index
 * in memory per collection: exact, or for large collections a graph in a file beside the database.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Scope from "effect/Scope"
import type { DbError, ErrorContext } from "../../errors/index.js"
import type { VectorStore } from "../../services/VectorStore.js"
import { type Records, toBytes } from "../../vector/index.js"
import type { Fragment } from "../sql/SqlFilter.js"
import * as SqlVectorStore from "../sql/SqlVectorStore.js"
import type { SqliteClient } from "./SqliteClient.js"
import { dialect } from "./SqliteDialect.js"
import * as SqliteFilter from "./SqliteFilter.js"
import * as Cache from "./SqliteVectorCache.js"
import * as Rows from "./SqliteVectorRows.js"
import * as Search from "./SqliteVectorSearch.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteVectorStoreOptions {
  /** What all indexes in memory may take together, in bytes; the least recently searched ones give way. */
  readonly memoryBytes: number
  /** Collections of so many vectors are searched through a graph; default 200000, Infinity for never. */
  readonly graphFrom?: number
  /** The lowest share of the ten nearest that a graph may find, 0…1; default 0.98. */
  readonly recall?: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteVectorStore extends Context.Tag.Service<VectorStore> {
  /** Waits until no graph is built or opened any more. */
  readonly settled: Effect.Effect<void>
  /** Memory held by all indexes, in bytes. */
  readonly memoryBytes: () => number
}

/** Records in one INSERT. */
const insertSizes = [100, 10, 1]

/** Deletions remembered per collection, so that other processes need not read everything again. */
const maxDeletions = 10_000

/** One text per number of records, so that each is prepared once. */
const insertStatements: ReadonlyMap<number, string> = new Map(
  insertSizes.map((size) => [
    size,
    `INSERT INTO db_hub_vectors (collection_id, id, seq, metadata, vector, text)
VALUES ${Array.from({ length: size }, () => "(?, ?, ?, ?, ?, ?)").join(", ")}
ON CONFLICT (collection_id, id) DO UPDATE SET
  seq = excluded.seq, metadata = excluded.metadata, vector = excluded.vector, text = excluded.text`
  ])
)

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  client: SqliteClient,
  { graphFrom = 200_000, memoryBytes, recall = 0.98 }: SqliteVectorStoreOptions
): Effect.Effect<SqliteVectorStore, never, Scope.Scope> =>
  Effect.gen(function* () {
    const cache = yield* Cache.make(client, { memoryBytes, graphFrom, recall })

    /** The number of a write that is about to happen, or undefined if the collection was dropped meanwhile. */
    const nextSeq = ({ id }: Rows.Collection): Effect.Effect<number | undefined, DbError> =>
      Effect.map(
        client.execute("UPDATE db_hub_collections SET seq = seq + 1 WHERE id = ? RETURNING seq", [id]),
        ({ rows }) => rows[0]?.seq as number | undefined
      )

    const insertRows = (
      { id: collectionId }: Rows.Collection,
      records: ReadonlyArray<Records.CheckedRecord>,
      seq: number
    ) =>
      Effect.gen(function* () {
        for (let i = 0; i < records.length; ) {
          const size = insertSizes.find((size) => size <= records.length - i)!
          const parameters = records
            .slice(i, i + size)
            .flatMap(({ id, metadata, text, vector }) => [collectionId, id, seq, metadata, toBytes(vector), text])
          yield* client.execute(insertStatements.get(size)!, parameters)
          i += size
        }
      })

    const insert = (name: string, check: SqlVectorStore.CheckRecords, at: ErrorContext): Effect.Effect<void, DbError> =>
      Effect.gen(function* () {
        while (true) {
          const collection = yield* Rows.getCollection(client, name, at)
          const checked = yield* check(collection, client.breathe)
          if (checked.length === 0) return
          const write = Effect.gen(function* () {
            const seq = yield* nextSeq(collection)
            if (seq !== undefined) yield* insertRows(collection, checked, seq)
            return seq !== undefined
          })
          // Dropped since it was looked up, perhaps to be made anew with another dimension: look again.
          if (yield* client.transaction(write)) return
        }
      })

    const remove = (name: string, { params, sql }: Fragment, at: ErrorContext): Effect.Effect<number, DbError> =>
      client.transaction(
        Effect.gen(function* () {
          const collection = yield* Rows.getCollection(client, name, at)
          const { id } = collection
          const seq = (yield* nextSeq(collection))!
          const remember = client.execute(
            `INSERT INTO db_hub_vector_deletions (collection_id, seq, row_id)
              SELECT collection_id, ?, row_id FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`,
            [seq, id, ...params]
          )
          const { rowsAffected: removed } = yield* Rows.explained(client, collection, at)(remember)
          if (removed === 0) return 0
          yield* client.execute(
            `DELETE FROM db_hub_vectors WHERE +collection_id = ? AND row_id IN
              (SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq = ?)`,
            [id, id, seq]
          )
          const [remembered] = yield* client.query(
            "SELECT count(*) AS n FROM db_hub_vector_deletions WHERE collection_id = ?",
            [id]
          )
          if ((remembered?.n as number) > maxDeletions) {
            yield* client.execute("DELETE FROM db_hub_vector_deletions WHERE collection_id = ?", [id])
            yield* client.execute("UPDATE db_hub_collections SET reset_seq = ? WHERE id = ?", [seq, id])
          }
          return removed
        })
      )

    const engine: SqlVectorStore.VectorEngine<Rows.Collection> = {
      maxDimension: 65_535,
      find: (name, at) => Rows.findCollection(client, name, at),
      insert,
      search: Search.make(client, cache),

      read: (collection, { params, sql }, at) =>
        Effect.flatMap(
          client.query(`SELECT id, vector, metadata, text FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`, [
            collection.id,
            ...params
          ]),
          (rows) => Either.all(rows.map((row) => Rows.readRecord(row, collection, at)))
        ),

      remove,

      count: (collection, { params, sql }, at) => {
        const counting = client.query(`SELECT count(*) AS n FROM db_hub_vectors WHERE collection_id = ? AND ${sql}`, [
          collection.id,
          ...params
        ])
        return Effect.map(Rows.explained(client, collection, at)(counting), ([counted]) => counted?.n as number)
      },

      filter: SqliteFilter.compile,
      isOneOf: (ids) => ({ sql: "id IN (SELECT value FROM json_each(?))", params: [JSON.stringify(ids)] }),

      index: {
        columns: "c.id, g.*",
        joins: "LEFT JOIN db_hub_vector_graphs AS g ON g.collection_id = c.id",
        of: (row) =>
          cache.describe(
            row as { readonly id: number; readonly dimension: number },
            row.token === null ? undefined : (row as unknown as Rows.GraphRow)
          )
      },

      // One by one, since foreign keys may be switched off.
      drop: (id) => [
        ...["vector_deletions", "vector_graphs", "vectors"].map(
          (table) => `DELETE FROM db_hub_${table} WHERE collection_id = ${id}`
        ),
        `DELETE FROM db_hub_collections WHERE id = ${id}`
      ],
      dropped: cache.dropped,

      missingTable: (error) =>
        error._tag === "DbQuery"
          ? /no such table: (?:\w+\.)?(db_hub_(?:collections|vector)\w*)/.exec(error.message)?.[1]
          : undefined
    }

    return {
      ...SqlVectorStore.make({ ...client, name: client.options.name, dialect }, engine),
      settled: cache.settled,
      memoryBytes: cache.bytes
    }
  })
