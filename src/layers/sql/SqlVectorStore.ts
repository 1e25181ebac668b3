/**
 * The vector store on an engine of SQL: what is accepted, and what every engine does in the same way.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import {
  DbConflict,
  type DbError,
  DbUnsupported,
  type ErrorContext,
  invalidInput,
  type MigrationError
} from "../../errors/index.js"
import type { BackendShape, Row } from "../../services/Backend.js"
import type {
  CollectionIndex,
  CollectionInfo,
  Metric,
  SearchHit,
  StoredVector,
  VectorStore
} from "../../services/VectorStore.js"
import { Filter, Records } from "../../vector/index.js"
import * as Collections from "./Collections.js"
import type { Fragment } from "./SqlFilter.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Collection extends Records.CollectionSettings {
  readonly id: number
  readonly name: string
}

/**
 * Checks the records of a call for a collection, pausing now and then. An id that occurs twice is `InvalidInput`, since
 * which of the two counts is anybody's guess.
 *
 * @since 0.1.0
 * @category models
 */
export type CheckRecords = (
  collection: Collection,
  pause: Effect.Effect<void>
) => Effect.Effect<Array<Records.CheckedRecord>, DbError>

/**
 * What engines do in their own ways. The records are in the table `db_hub_vectors`, with columns `collection_id`, `id`
 * and `metadata`. What takes the name of a collection looks it up itself, since how depends on what may happen to it
 * meanwhile.
 *
 * @since 0.1.0
 * @category models
 */
export interface VectorEngine<C extends Collection> {
  /** The dimensions of a vector at most. */
  readonly maxDimension: number
  readonly find: (name: string, at: ErrorContext) => Effect.Effect<C | undefined, DbError>
  /** Inserts or replaces records, all or none. */
  readonly insert: (name: string, check: CheckRecords, at: ErrorContext) => Effect.Effect<void, DbError>
  readonly search: (
    name: string,
    vector: unknown,
    options: Records.CheckedSearch,
    at: ErrorContext
  ) => Effect.Effect<ReadonlyArray<SearchHit>, DbError>
  /** The records that match, in any order. */
  readonly read: (
    collection: C,
    condition: Fragment,
    at: ErrorContext
  ) => Effect.Effect<ReadonlyArray<StoredVector>, DbError>
  /** Deletes what matches; succeeds with the number of records. */
  readonly remove: (name: string, condition: Fragment, at: ErrorContext) => Effect.Effect<number, DbError>
  readonly count: (collection: C, condition: Fragment, at: ErrorContext) => Effect.Effect<number, DbError>
  /** The filter as a condition over `metadata`. */
  readonly filter: (filter: Filter.Filter) => Fragment
  /** A condition that `id` is one of these. */
  readonly isOneOf: (ids: ReadonlyArray<string>) => Fragment
  /** The index of a collection, by columns that are read beside those of `db_hub_collections AS c`. */
  readonly index: {
    readonly columns: string
    readonly joins: string
    readonly of: (row: Row) => CollectionIndex
  }
  /** What takes away a collection and all that belongs to it, inside a transaction. */
  readonly drop: (id: number) => ReadonlyArray<string>
  /** Told of a collection that is gone. */
  readonly dropped: (collection: C) => Effect.Effect<void>
  /** The table that an error says is missing. */
  readonly missingTable: (error: DbError) => string | undefined
}

/** Records checked between two pauses. */
const checkedAtOnce = 64

const checkRecords =
  (records: ReadonlyArray<unknown>, fieldOf: (i: number) => string, at: ErrorContext): CheckRecords =>
  (collection, pause) =>
    Effect.gen(function* () {
      const checked: Array<Records.CheckedRecord> = []
      const positions = new Map<string, number>()
      for (let i = 0; i < records.length; i++) {
        const record = yield* Records.checkRecord(records[i], fieldOf(i), collection, at)
        const earlier = positions.get(record.id)
        if (earlier !== undefined) {
          return yield* invalidInput(at, `${fieldOf(i)}.id`, `repeats that of ${fieldOf(earlier)}`, "each id once")
        }
        positions.set(record.id, i)
        checked.push(record)
        if (i % checkedAtOnce === checkedAtOnce - 1) yield* pause
      }
      return checked
    })

/**
 * Fails with a `NotFound` that tells the collections of similar names.
 *
 * @since 0.1.0
 * @category errors
 */
export const notFound = (
  backend: Pick<BackendShape, "query">,
  name: string,
  at: ErrorContext
): Effect.Effect<never, DbError> => Collections.notFound(backend, "db_hub_collections", "collection", name, at)

/**
 * @since 0.1.0
 * @category errors
 */
export const notMigrated = (at: ErrorContext): MigrationError => Collections.notMigrated("vector store", at)

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <C extends Collection>(
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "dialect">,
  engine: VectorEngine<C>
): Context.Tag.Service<VectorStore> => {
  const operation = <A>(
    name: string,
    body: (at: ErrorContext) => Effect.Effect<A, DbError>
  ): Effect.Effect<A, DbError> => {
    const at = { operation: `VectorStore.${name}`, backend: backend.name }
    return Effect.mapError(
      Effect.suspend(() => body(at)),
      (error) => (engine.missingTable(error) === undefined ? error : notMigrated(at))
    )
  }

  const get = (name: string, at: ErrorContext): Effect.Effect<C, DbError> =>
    Effect.flatMap(engine.find(name, at), (found) =>
      found === undefined ? notFound(backend, name, at) : Effect.succeed(found)
    )

  return {
    supportsVector: true,

    createCollection: (name, options) =>
      operation("createCollection", (at) =>
        Effect.gen(function* () {
          const { dimension, metric, model } = yield* Records.checkSettings(options, at)
          if (dimension > engine.maxDimension) return yield* tooManyDimensions(engine.maxDimension, at)
          let found = yield* engine.find(name, at)
          if (found === undefined) {
            const columns = ["name", "dimension", "metric", "model"]
            const statement = backend.dialect.insertIfAbsent("db_hub_collections", columns, ["name"])
            yield* backend.execute(statement, [name, dimension, metric, model])
            found = yield* get(name, at)
          }
          if (found.dimension !== dimension || found.metric !== metric || found.model !== model) {
            return yield* otherSettings(found, at)
          }
        })
      ),

    insert: (collection, record) =>
      operation("insert", (at) =>
        engine.insert(
          collection,
          checkRecords([record], () => "record", at),
          at
        )
      ),

    insertMany: (collection, records) =>
      operation("insertMany", (at) =>
        Effect.flatMap(Records.checkList(records, at), (listed) =>
          engine.insert(
            collection,
            checkRecords(listed, (i) => `records[${i}]`, at),
            at
          )
        )
      ),

    search: (collection, vector, options = {}) =>
      operation("search", (at) =>
        Effect.flatMap(Records.checkSearch(options, at), (checked) => engine.search(collection, vector, checked, at))
      ),

    get: (name, wanted) =>
      operation("get", (at) =>
        Effect.gen(function* () {
          const ids = yield* Records.checkIds(wanted, at)
          const records = yield* engine.read(yield* get(name, at), engine.isOneOf(ids), at)
          const byId = new Map(records.map((record) => [record.id, record]))
          return ids.map((id) => byId.get(id)).filter((record) => record !== undefined)
        })
      ),

    delete: (collection, wanted) =>
      operation("delete", (at) =>
        Effect.flatMap(Records.checkIds(wanted, at), (ids) => engine.remove(collection, engine.isOneOf(ids), at))
      ),

    deleteWhere: (collection, filter) =>
      operation("deleteWhere", (at) =>
        Effect.flatMap(Filter.parse(filter, at), (parsed) => engine.remove(collection, engine.filter(parsed), at))
      ),

    count: (name, filter = {}) =>
      operation("count", (at) =>
        Effect.gen(function* () {
          const condition = engine.filter(yield* Filter.parse(filter, at))
          return yield* engine.count(yield* get(name, at), condition, at)
        })
      ),

    collections: operation("collections", () =>
      Effect.map(
        backend.query(
          `SELECT c.name, c.dimension, c.metric, c.model,
            (SELECT count(*) FROM db_hub_vectors AS v WHERE v.collection_id = c.id) AS count, ${engine.index.columns}
            FROM db_hub_collections AS c ${engine.index.joins} ORDER BY c.name`
        ),
        (rows) =>
          rows.map(
            (row): CollectionInfo => ({
              name: row["name"] as string,
              dimension: row["dimension"] as number,
              metric: row["metric"] as Metric,
              model: row["model"] as string | null,
              count: Number(row["count"]),
              index: engine.index.of(row)
            })
          )
      )
    ),

    dropCollection: (name) =>
      operation("dropCollection", (at) =>
        Effect.flatMap(
          backend.transaction(
            Effect.tap(get(name, at), ({ id }) => Effect.forEach(engine.drop(id), (sql) => backend.execute(sql)))
          ),
          engine.dropped
        )
      )
  }
}

const tooManyDimensions = (most: number, at: ErrorContext): DbUnsupported =>
  new DbUnsupported({
    ...at,
    code: "HUB_DIMENSION",
    message: `This engine stores vectors of at most ${most} dimensions: use a model with fewer`
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
