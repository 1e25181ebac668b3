/**
 * Reading the rows of the vector store: collections, pages of records, single records, and what is wrong with them.
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { DbCorrupt, type DbError, type ErrorContext } from "../../errors/index.js"
import type { Row, SqlValue } from "../../services/Backend.js"
import type { StoredVector } from "../../services/VectorStore.js"
import * as AtOnce from "../../vector/AtOnce.js"
import { floatsOf, fromBytes, type JsonObject, Records } from "../../vector/index.js"
import * as SqlVectorStore from "../sql/SqlVectorStore.js"
import type { SqliteClient } from "./SqliteClient.js"

export interface Collection extends SqlVectorStore.Collection {
  readonly seq: number
  readonly reset_seq: number
  /** The token of the graph on record. */
  readonly graph: string | null
}

/** A graph on record. */
export interface GraphRow {
  readonly token: string
  readonly seq: number
  readonly size: number
  readonly bytes: number
  readonly sha256: string | null
  readonly connectivity: number
  readonly expansion: number
  readonly scale: number
  readonly recall: number
}

/** A place in the order of `seq`, then `row_id`. */
export interface Cursor {
  readonly seq: number
  readonly row_id: number
}

/** Everything after the write of that number. */
export const after = (seq: number): Cursor => ({ seq, row_id: Number.MAX_SAFE_INTEGER })

/** The rows of a collection after a cursor, in order. In two parts, as thousands of rows may share one `seq`. */
export const pageSql = (columns: string, limit: number): string => {
  const part = (condition: string) =>
    `SELECT * FROM (SELECT ${columns} FROM db_hub_vectors WHERE collection_id = ? AND ${condition}
      ORDER BY seq, row_id LIMIT ${limit})`
  return `${part("seq = ? AND row_id > ?")} UNION ALL ${part("seq > ?")} LIMIT ${limit}`
}

export const pageParameters = ({ id }: Collection, { row_id, seq }: Cursor) => [id, seq, row_id, id, seq]

/** Rows counted in one statement: in one for all, a million would hold the event loop up for 80 ms. */
const counted = 25_000

const skipCounted = `SELECT * FROM (${pageSql("seq, row_id", counted)}) LIMIT 1 OFFSET ${counted - 1}`

const countRest = `SELECT count(*) AS n FROM (${pageSql("1", counted)})`

/** How many rows were written after the write of that number. */
export const countAfter = (client: Reader, collection: Collection, seq: number): Effect.Effect<number, DbError> => {
  const from = (cursor: Cursor, before: number): Effect.Effect<number, DbError> =>
    Effect.flatMap(client.query(skipCounted, pageParameters(collection, cursor)), ([last]) =>
      last === undefined
        ? Effect.map(client.query(countRest, pageParameters(collection, cursor)), ([rest]) => before + Number(rest?.n))
        : from(last as unknown as Cursor, before + counted)
    )
  return from(after(seq), 0)
}

/** Where rows are read: in the transaction of the fiber if there is one, or outside of any. */
export type Reader = Pick<SqliteClient, "query">

const rowsOfCollection = (
  client: Reader,
  name: string,
  at: ErrorContext
): Effect.Effect<ReadonlyArray<Row>, DbError> => {
  const checked = Records.checkName(name, at)
  if (Either.isLeft(checked)) return Effect.fail(checked.left)
  return client.query(
    `SELECT id, name, dimension, metric, model, seq, reset_seq,
      (SELECT token FROM db_hub_vector_graphs WHERE collection_id = c.id) AS graph
      FROM db_hub_collections AS c WHERE name = ?`,
    [name]
  )
}

export const findCollection = (
  client: Reader,
  name: string,
  at: ErrorContext
): Effect.Effect<Collection | undefined, DbError> =>
  Effect.map(rowsOfCollection(client, name, at), (rows) => rows[0] as Collection | undefined)

export const getCollection = (client: Reader, name: string, at: ErrorContext): Effect.Effect<Collection, DbError> =>
  AtOnce.flatMap(rowsOfCollection(client, name, at), ([found]) =>
    found === undefined ? SqlVectorStore.notFound(client, name, at) : Effect.succeed(found as unknown as Collection)
  )

export const findGraph = (client: SqliteClient, { id }: Collection): Effect.Effect<GraphRow | undefined, DbError> =>
  Effect.map(
    client.query("SELECT * FROM db_hub_vector_graphs WHERE collection_id = ?", [id]),
    (rows) => rows[0] as unknown as GraphRow | undefined
  )

/** Puts a graph on record in place of another, or of none; false if that is not on record, or the collection is gone. */
export const recordGraph = (
  client: SqliteClient,
  { id }: Collection,
  before: string | undefined,
  graph: GraphRow
): Effect.Effect<boolean, DbError> =>
  client.transaction(
    Effect.gen(function* () {
      const [current] = yield* client.query(
        `SELECT g.token FROM db_hub_collections AS c LEFT JOIN db_hub_vector_graphs AS g ON g.collection_id = c.id
          WHERE c.id = ?`,
        [id]
      )
      if (current === undefined || (current.token ?? undefined) !== before) return false
      yield* client.execute(
        `INSERT OR REPLACE INTO db_hub_vector_graphs
          (collection_id, token, seq, size, bytes, sha256, connectivity, expansion, scale, recall)
          VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        [
          id,
          graph.token,
          graph.seq,
          graph.size,
          graph.bytes,
          graph.sha256,
          graph.connectivity,
          graph.expansion,
          graph.scale,
          graph.recall
        ]
      )
      return true
    })
  )

/** Keys looked up in one statement. */
const lookupLimit = 1024

/**
 * The rows of some keys. CROSS JOIN and the + keep SQLite from walking the collection instead of looking up the rows;
 * with IN it would first put the keys into a table.
 */
export const lookupSql = (columns: string): string =>
  `SELECT ${columns} FROM (SELECT value AS wanted FROM json_each(?)) CROSS JOIN db_hub_vectors ON row_id = wanted
    WHERE +collection_id = ? AND +seq <= ?`

/** The rows of these keys, but what was written after `seq`, by a text of `lookupSql`; `params` are those of its columns. */
export const getRows = (
  client: Reader,
  collection: Collection,
  sql: string,
  seq: number,
  keys: ReadonlyArray<number>,
  params: ReadonlyArray<SqlValue> = []
): Effect.Effect<ReadonlyArray<Row>, DbError> => {
  const lookup = (keys: ReadonlyArray<number>) =>
    client.query(sql, [...params, JSON.stringify(keys), collection.id, seq])
  if (keys.length <= lookupLimit) return lookup(keys)
  return Effect.map(
    Effect.forEach(Chunk.chunksOf(Chunk.fromIterable(keys), lookupLimit), (some) =>
      lookup(Chunk.toReadonlyArray(some))
    ),
    (rows) => rows.flat()
  )
}

const corrupt = (collection: Collection, what: string, at: ErrorContext): DbCorrupt =>
  new DbCorrupt({
    ...at,
    message: `A record of collection "${collection.name}" has ${what}; insert the record again, or restore a backup`
  })

export const readVector = (
  row: Row,
  collection: Collection,
  at: ErrorContext
): Either.Either<Float32Array, DbCorrupt> => {
  const vector = row.vector instanceof Uint8Array ? fromBytes(row.vector, collection.dimension) : undefined
  return vector === undefined
    ? Either.left(corrupt(collection, "a stored vector that is damaged", at))
    : Either.right(vector)
}

/** The score of a stored vector: it is a finite number only where all components are. */
export const readScore = (
  row: Row,
  score: (vector: Float32Array) => number,
  collection: Collection,
  at: ErrorContext
): Either.Either<number, DbCorrupt> => {
  const vector = row.vector instanceof Uint8Array ? floatsOf(row.vector, collection.dimension) : undefined
  const found = vector === undefined ? Number.NaN : score(vector)
  return Number.isFinite(found)
    ? Either.right(found)
    : Either.left(corrupt(collection, "a stored vector that is damaged", at))
}

export const readMetadata = (
  row: Row,
  collection: Collection,
  at: ErrorContext
): Either.Either<JsonObject, DbCorrupt> =>
  Either.try({
    try: () => {
      const value: unknown = JSON.parse(String(row.metadata))
      if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not an object")
      return value as JsonObject
    },
    catch: () => corrupt(collection, "stored metadata that are damaged", at)
  })

export const readRecord = (
  row: Row,
  collection: Collection,
  at: ErrorContext
): Either.Either<StoredVector, DbCorrupt> =>
  Either.gen(function* () {
    return {
      id: row.id as string,
      vector: (yield* readVector(row, collection, at)).slice(),
      metadata: yield* readMetadata(row, collection, at),
      text: row.text as string | null
    }
  })

/** SQLite refuses a whole statement for one damaged document; this says whose it is. */
export const explained =
  (client: SqliteClient, collection: Collection, at: ErrorContext) =>
  <A, E, R>(effect: Effect.Effect<A, E | DbError, R>): Effect.Effect<A, E | DbError, R> =>
    Effect.catchIf(
      effect,
      (error): error is E & DbError =>
        typeof error === "object" && error !== null && "code" in error && error.code === "SQLITE_ERROR",
      (error) =>
        Effect.flatMap(
          client.query("SELECT 1 FROM db_hub_vectors WHERE collection_id = ? AND NOT json_valid(metadata) LIMIT 1", [
            collection.id
          ]),
          (damaged) =>
            Effect.fail(damaged.length > 0 ? corrupt(collection, "stored metadata that are damaged", at) : error)
        )
    )
