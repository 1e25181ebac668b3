/**
 * The text store on an engine of SQL. Each collection has tables of its own, so that its statistics, and with them its
 * scores, are its own.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { DbConflict, type DbError, DbUnsupported, type ErrorContext, invalidInput } from "../../errors/index.js"
import type { BackendShape, Row } from "../../services/Backend.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import type { StoredText, TextStore } from "../../services/TextStore.js"
import {
  compareCodePoints,
  Filter,
  Highlight,
  type JsonObject,
  QuerySyntax,
  Records,
  TextAnalysis
} from "../../vector/index.js"
import * as Collections from "./Collections.js"
import type { Fragment } from "./SqlFilter.js"

/**
 * A record with its terms in order.
 *
 * @since 0.1.0
 * @category models
 */
export interface Analyzed extends Records.CheckedText {
  readonly terms: ReadonlyArray<string>
}

/**
 * What engines do in their own ways. The records of collection n are in the table `db_hub_texts_n`, with columns `id`,
 * `metadata` and `text`.
 *
 * @since 0.1.0
 * @category models
 */
export interface TextEngine {
  readonly create: (collection: number) => ReadonlyArray<string>
  readonly drop: (collection: number) => ReadonlyArray<string>
  /** Adds new records of different ids; where `addsAtOnce` is not true, inside a transaction. */
  readonly add: (collection: number, records: ReadonlyArray<Analyzed>) => Effect.Effect<void, DbError>
  readonly addsAtOnce: boolean
  /** Inserts or replaces records of different ids, inside a transaction. */
  readonly write: (collection: number, records: ReadonlyArray<Analyzed>) => Effect.Effect<void, DbError>
  /** Deletes what matches inside a transaction; succeeds with the number of records. */
  readonly remove: (collection: number, condition: Fragment) => Effect.Effect<number, DbError>
  /** Rows `id, metadata, text, bm25` of what matches both, best first, equal ones by id. */
  readonly search: (
    collection: number,
    query: QuerySyntax.Query,
    condition: Fragment | undefined,
    limit: number
  ) => Effect.Effect<ReadonlyArray<Row>, DbError>
  /** The filter as a condition over `t.metadata`. */
  readonly filter: (filter: Filter.Filter) => Fragment
  /** A condition that `t.id` is one of these. */
  readonly isOneOf: (ids: ReadonlyArray<string>) => Fragment
  readonly readMetadata: (row: Row, at: ErrorContext) => Effect.Effect<JsonObject, DbError>
  /** The table that an error says is missing. */
  readonly missingTable: (error: DbError) => string | undefined
}

const ownNames: ReadonlySet<string> = new Set(Object.values(StoreTexts.collections))

interface Collection {
  readonly id: number
  readonly language: TextAnalysis.Language
}

/** Bytes of text, and records, that are analysed and written at once. */
const batchBytes = 1024 * 1024
const batchRecords = 500

/** Texts that are looked through before others have their turn. */
const matchedAtOnce = 50

const batches = (records: ReadonlyArray<Records.CheckedText>): ReadonlyArray<ReadonlyArray<Records.CheckedText>> => {
  const found: Array<Array<Records.CheckedText>> = []
  let [last, bytes] = [[] as Array<Records.CheckedText>, Number.POSITIVE_INFINITY]
  for (const record of records) {
    bytes += record.text.length
    if (bytes > batchBytes || last.length >= batchRecords) {
      last = []
      found.push(last)
      bytes = record.text.length
    }
    last.push(record)
  }
  return found
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "dialect">,
  engine: TextEngine
): Context.Tag.Service<TextStore> => {
  const tableOf = ({ id }: Collection) => `db_hub_texts_${id}`

  const operation = <A>(
    name: string,
    body: (at: ErrorContext) => Effect.Effect<A, DbError>
  ): Effect.Effect<A, DbError> => {
    const at = { operation: `TextStore.${name}`, backend: backend.name }
    return Effect.catchAll(
      Effect.suspend(() => body(at)),
      (error) => {
        const missing = engine.missingTable(error)
        if (missing !== undefined) own.clear()
        if (missing === "db_hub_text_collections") return Effect.fail(Collections.notMigrated("text store", at))
        // Dropped since it was looked up.
        return missing === undefined ? Effect.fail(error) : unknown("", at)
      }
    )
  }

  const unknown = (name: string, at: ErrorContext): Effect.Effect<never, DbError> =>
    Collections.notFound(backend, "db_hub_text_collections", "text collection", name, at)

  const find = (name: string, at: ErrorContext): Effect.Effect<Collection | undefined, DbError> =>
    Effect.flatMap(Records.checkName(name, at), () =>
      Effect.flatMap(
        backend.query("SELECT id, language FROM db_hub_text_collections WHERE name = ?", [name]),
        ([row]): Effect.Effect<Collection | undefined, DbUnsupported> => {
          if (row === undefined) return Effect.succeed(undefined)
          const language = String(row["language"])
          return TextAnalysis.isLanguage(language)
            ? Effect.succeed({ id: Number(row["id"]), language })
            : Effect.fail(
                new DbUnsupported({
                  ...at,
                  message: "The collection is of a language that this version does not know: use a later one"
                })
              )
        }
      )
    )

  const get = (name: string, at: ErrorContext): Effect.Effect<Collection, DbError> =>
    Effect.flatMap(find(name, at), (found) => (found === undefined ? unknown(name, at) : Effect.succeed(found)))

  const readRow = (row: Row, at: ErrorContext): Effect.Effect<StoredText, DbError> =>
    Effect.map(engine.readMetadata(row, at), (metadata) => ({
      id: String(row["id"]),
      text: String(row["text"]),
      metadata
    }))

  const checkRecords = (records: ReadonlyArray<unknown>, fieldOf: (i: number) => string, at: ErrorContext) =>
    Effect.gen(function* () {
      const checked = new Map<string, Records.CheckedText>()
      for (const [i, each] of records.entries()) {
        const record = yield* Records.checkText(each, fieldOf(i), at)
        if (checked.has(record.id)) {
          return yield* invalidInput(at, `${fieldOf(i)}.id`, "repeats that of another record", "each id once")
        }
        checked.set(record.id, record)
      }
      // Writers of the same ids meet them in the same order, and so wait for each other instead of blocking.
      return Array.from(checked.values()).sort((a, b) => compareCodePoints(a.id, b.id))
    })

  /** Collections of the hub's own, which are made once: no need to look them up again. */
  const own = new Map<string, Collection>()

  const getOwn = (name: string, at: ErrorContext): Effect.Effect<Collection, DbError> => {
    const known = own.get(name)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.tap(get(name, at), (found) => Effect.sync(() => ownNames.has(name) && own.set(name, found)))
  }

  const analyze = (batch: ReadonlyArray<Records.CheckedText>, { language }: Collection) =>
    batch.map((record) => ({ ...record, terms: TextAnalysis.terms(record.text, language) }))

  const add = (name: string, records: ReadonlyArray<unknown>, at: ErrorContext) =>
    Effect.gen(function* () {
      const [first = [], ...rest] = batches(yield* checkRecords(records, (i) => `records[${i}]`, at))
      if (first.length === 0) return yield* Effect.asVoid(getOwn(name, at))
      const addBatch = (batch: ReadonlyArray<Records.CheckedText>) =>
        Effect.flatMap(getOwn(name, at), (collection) => engine.add(collection.id, analyze(batch, collection)))
      if (rest.length === 0 && engine.addsAtOnce) return yield* addBatch(first)
      yield* backend.transaction(
        Effect.forEach([first, ...rest], (batch) => Effect.zipRight(Effect.yieldNow(), addBatch(batch)), {
          discard: true
        })
      )
    })

  const insert = (name: string, records: ReadonlyArray<unknown>, fieldOf: (i: number) => string, at: ErrorContext) =>
    Effect.gen(function* () {
      const checked = yield* checkRecords(records, fieldOf, at)
      const write = Effect.flatMap(get(name, at), (collection) =>
        Effect.forEach(
          batches(checked),
          (batch) => Effect.zipRight(Effect.yieldNow(), engine.write(collection.id, analyze(batch, collection))),
          { discard: true }
        )
      )
      yield* backend.transaction(write)
    })

  const remove = (name: string, condition: Fragment, at: ErrorContext): Effect.Effect<number, DbError> =>
    backend.transaction(Effect.flatMap(get(name, at), ({ id }) => engine.remove(id, condition)))

  const isMatch = (query: QuerySyntax.Query, { language }: Collection, row: Row) =>
    QuerySyntax.matches(query, TextAnalysis.tokens(String(row["text"]), language))

  /**
   * The best records that match. Engines find those that have all triples of a word, and since some know the places of
   * only so many in a text, whether these are side by side is looked at here.
   */
  const matching = (
    collection: Collection,
    query: QuerySyntax.Query,
    filter: Fragment | undefined,
    limit: number
  ): Effect.Effect<ReadonlyArray<Row>, DbError> => {
    const { id, language } = collection
    if (language !== "trigram") return engine.search(id, query, filter, limit)
    const loose = QuerySyntax.withoutOrder(query)
    const among = (most: number): Effect.Effect<ReadonlyArray<Row>, DbError> =>
      Effect.gen(function* () {
        const rows = yield* engine.search(id, loose, filter, most)
        const found: Array<Row> = []
        for (const [i, row] of rows.entries()) {
          if (i % matchedAtOnce === matchedAtOnce - 1) yield* Effect.yieldNow()
          if (isMatch(query, collection, row)) found.push(row)
          if (found.length === limit) return found
        }
        return rows.length < most ? found : yield* among(most * 4)
      })
    return among(limit)
  }

  return {
    createCollection: (name, options = {}) =>
      operation("createCollection", (at) =>
        Effect.gen(function* () {
          const { language = "english" } = yield* Records.checkObject(options, "options", at, ["language"])
          if (!TextAnalysis.isLanguage(language)) {
            return yield* invalidInput(at, "language", "is unknown", TextAnalysis.languages.join(", "))
          }
          let found = yield* find(name, at)
          if (found === undefined) {
            found = yield* backend.transaction(
              Effect.gen(function* () {
                const statement = backend.dialect.insertIfAbsent(
                  "db_hub_text_collections",
                  ["name", "language"],
                  ["name"]
                )
                const { rowsAffected } = yield* backend.execute(statement, [name, language])
                const made = yield* get(name, at)
                if (rowsAffected > 0) yield* Effect.forEach(engine.create(made.id), (sql) => backend.execute(sql))
                return made
              })
            )
          }
          if (found.language !== language) return yield* otherSettings(found, at)
        })
      ),

    insert: (collection, record) => operation("insert", (at) => insert(collection, [record], () => "record", at)),

    insertMany: (collection, records) =>
      operation("insertMany", (at) =>
        Effect.flatMap(Records.checkList(records, at), (listed) =>
          insert(collection, listed, (i) => `records[${i}]`, at)
        )
      ),

    add: (collection, records) =>
      operation("add", (at) => Effect.flatMap(Records.checkList(records, at), (listed) => add(collection, listed, at))),

    search: (name, text, options = {}) =>
      operation("search", (at) =>
        Effect.gen(function* () {
          if (typeof text !== "string") return yield* invalidInput(at, "text", "is not text", "a string")
          const {
            filter: wanted,
            limit: most = 10,
            syntax = "plain"
          } = yield* Records.checkObject(options, "options", at, ["limit", "filter", "syntax"])
          const limit = yield* Records.checkLimit(most, "limit", at)
          if (!QuerySyntax.syntaxes.includes(syntax)) {
            return yield* invalidInput(at, "syntax", "is unknown", QuerySyntax.syntaxes.join(", "))
          }
          const filter = wanted === undefined ? undefined : engine.filter(yield* Filter.parse(wanted, at))
          const collection = yield* get(name, at)
          const query = QuerySyntax.parse(text, collection.language, syntax)
          if (query.length === 0) return []
          const rows = yield* matching(collection, query, filter, limit)
          return yield* Effect.forEach(rows, (row) =>
            Effect.map(readRow(row, at), (found) => {
              let highlights: ReadonlyArray<Highlight.Range> | undefined
              return {
                ...found,
                bm25: Number(row["bm25"]),
                // Of many hits only some are shown, and the whole text is analysed for them.
                get highlights() {
                  highlights ??= Highlight.ranges(found.text, query, collection.language)
                  return highlights
                }
              }
            })
          )
        })
      ),

    get: (name, wanted) =>
      operation("get", (at) =>
        Effect.gen(function* () {
          const ids = yield* Records.checkIds(wanted, at)
          const collection = yield* get(name, at)
          const { params, sql } = engine.isOneOf(ids)
          const rows = yield* backend.query(
            `SELECT t.id, t.metadata, t.text FROM ${tableOf(collection)} AS t WHERE ${sql}`,
            params
          )
          const byId = new Map(rows.map((row) => [row["id"], row]))
          return yield* Effect.forEach(
            ids.map((id) => byId.get(id)).filter((row) => row !== undefined),
            (row) => readRow(row, at)
          )
        })
      ),

    delete: (collection, wanted) =>
      operation("delete", (at) =>
        Effect.flatMap(Records.checkIds(wanted, at), (ids) => remove(collection, engine.isOneOf(ids), at))
      ),

    deleteWhere: (collection, filter) =>
      operation("deleteWhere", (at) =>
        Effect.flatMap(Filter.parse(filter, at), (parsed) => remove(collection, engine.filter(parsed), at))
      ),

    count: (name, filter = {}) =>
      operation("count", (at) =>
        Effect.gen(function* () {
          const { params, sql } = engine.filter(yield* Filter.parse(filter, at))
          const collection = yield* get(name, at)
          const [counted] = yield* backend.query(
            `SELECT count(*) AS n FROM ${tableOf(collection)} AS t WHERE ${sql}`,
            params
          )
          return Number(counted?.["n"])
        })
      ),

    collections: operation("collections", () =>
      Effect.flatMap(backend.query("SELECT id, name, language FROM db_hub_text_collections ORDER BY name"), (rows) =>
        Effect.forEach(rows, ({ id, language, name }) =>
          Effect.map(backend.query(`SELECT count(*) AS n FROM db_hub_texts_${id}`), ([counted]) => ({
            name: String(name),
            language: String(language) as TextAnalysis.Language,
            count: Number(counted?.["n"])
          }))
        )
      )
    ),

    dropCollection: (name) =>
      operation("dropCollection", (at) =>
        backend.transaction(
          Effect.gen(function* () {
            if (ownNames.has(name))
              return yield* invalidInput(at, "collection", "is the hub's own", "those made by a program")
            const { id } = yield* get(name, at)
            yield* backend.execute("DELETE FROM db_hub_text_collections WHERE id = ?", [id])
            yield* Effect.forEach(engine.drop(id), (sql) => backend.execute(sql))
          })
        )
      )
  }
}

const otherSettings = (found: Collection, at: ErrorContext): DbConflict =>
  new DbConflict({
    ...at,
    reason: "unique",
    constraint: "db_hub_text_collections.name",
    message: `The text collection exists with language ${found.language}, not with what was asked for: use another name, or drop it first`
  })
