/**
 * Searches of the vector store on SQLite. One outside of a transaction goes through an index in memory, whose candidates
 * are scored by their stored rows; one inside reads the transaction's own rows, without the index, and so does one in a
 * collection whose index would not fit into memory: both take time in proportion to the size of the collection.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Stream from "effect/Stream"
import { DbConflict, type DbCorrupt, type DbError, type ErrorContext } from "../../errors/index.js"
import type { Row, SqlValue } from "../../services/Backend.js"
import type { SearchHit } from "../../services/VectorStore.js"
import * as AtOnce from "../../vector/AtOnce.js"
import { Distance, Filter, HnswIndex, QuantizedIndex, Records, TopK } from "../../vector/index.js"
import type { Fragment } from "../sql/SqlFilter.js"
import type { VectorEngine } from "../sql/SqlVectorStore.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as SqliteFilter from "./SqliteFilter.js"
import * as Cache from "./SqliteVectorCache.js"
import type { Matched } from "./SqliteVectorMatches.js"
import * as Rows from "./SqliteVectorRows.js"

/**
 * Candidates whose filter is evaluated one by one, in one search or in several, before all rows are: for as long as that
 * takes no longer than reading the metadata of all rows would.
 */
const lookedAt = (rows: number): number => Math.max(64, rows / 25)

/** Candidates that are looked at for k results where one in twenty matches, or some more. */
const nearFor = (k: number): number => 36 * HnswIndex.scoredFor(k)

/** So few candidates are read with their metadata and text: most of them become results. */
const wholeRows = 64

/** Rows scored from one statement. */
const scanRows = 1000

/** Rows put into an index from one statement. */
const partRows = 500

/** Searches begun again because somebody wrote what they had found, before one keeps writers out. */
const maxRestarts = 5

const wholeLookup = Rows.lookupSql("row_id, id, vector, metadata, text")
const vectorLookup = Rows.lookupSql("row_id, id, vector")
const resultLookup = Rows.lookupSql("row_id, metadata, text")

const scanPage = Rows.pageSql("row_id, seq, id, vector, metadata", scanRows)

interface Search extends Records.CheckedSearch {
  readonly collection: Rows.Collection
  readonly vector: Float32Array
  readonly score: (vector: Float32Array) => number
  readonly at: ErrorContext
  /** Rows that were read with all that belongs to a result. */
  readonly read: Map<number, Row>
}

/** What `search` of the store does on SQLite. */
export const make = (client: SqliteClient, cache: Cache.SqliteVectorCache): VectorEngine<Rows.Collection>["search"] => {
  const outside: Rows.Reader = { query: client.queryOutside }

  /** Collections as they were at one version of the file: to ask for that costs less than to read one again. */
  const known = new Map<string, Rows.Collection>()
  let knownAt: number | undefined

  const collectionOutside = (name: string, at: ErrorContext): Effect.Effect<Rows.Collection, DbError> => {
    const version = client.version()
    if (version !== knownAt) known.clear()
    knownAt = version
    const found = version === undefined ? undefined : known.get(name)
    if (found !== undefined) return Effect.succeed(found)
    return AtOnce.flatMap(Rows.getCollection(outside, name, at), (collection) => {
      if (version === knownAt) known.set(name, collection)
      return Effect.succeed(collection)
    })
  }

  /** The results, of rows that were read. */
  const hitsOf = (
    { at, collection, read }: Search,
    scored: ReadonlyArray<TopK.Scored>
  ): Either.Either<ReadonlyArray<SearchHit>, DbCorrupt | Cache.Moved> => {
    const found: Array<SearchHit> = []
    for (const { id, key, score } of scored) {
      const row = read.get(key)
      if (row === undefined) return Either.left(new Cache.Moved())
      const metadata = Rows.readMetadata(row, collection, at)
      if (Either.isLeft(metadata)) return Either.left(metadata.left)
      found.push({ id, score, metadata: metadata.right, text: row.text as string | null })
    }
    return Either.right(found)
  }

  /** Reads what belongs to the results and was not read yet. What was written after `seq` is not what was scored. */
  const hits = (search: Search, scored: ReadonlyArray<TopK.Scored>, seq: number) => {
    const { collection, read } = search
    const missing = scored.flatMap(({ key }) => (read.has(key) ? [] : [key]))
    if (missing.length === 0) return hitsOf(search, scored)
    return Effect.flatMap(Rows.getRows(client, collection, resultLookup, seq, missing), (rows) => {
      for (const row of rows) read.set(row.row_id as number, row)
      return hitsOf(search, scored)
    })
  }

  /** Fails if anything was written to the collection since the snapshot. */
  const unchangedSince = ({ seq }: Cache.Snapshot, { at, collection }: Search) =>
    Effect.filterOrFail(
      Rows.getCollection(client, collection.name, at),
      (head) => head.id === collection.id && head.seq === seq,
      () => new Cache.Moved()
    )

  /** Rows by key, as of the snapshot: fails if one of them was written since. */
  const rowsAt = (
    search: Search,
    snapshot: Cache.Snapshot,
    sql: string,
    keys: ReadonlyArray<number>,
    params?: ReadonlyArray<SqlValue>
  ) =>
    AtOnce.flatMap(Rows.getRows(outside, search.collection, sql, snapshot.seq, keys, params), (rows) =>
      // A graph still has rows that were deleted.
      rows.length < keys.length ? Effect.as(unchangedSince(snapshot, search), rows) : Effect.succeed(rows)
    )

  /** The scores of rows that were read, but of those that do not match. */
  const scoresOf = (
    rows: ReadonlyArray<Row>,
    { at, collection, score }: Search
  ): Either.Either<ReadonlyArray<TopK.Scored>, DbCorrupt> => {
    const scored: Array<TopK.Scored> = []
    for (const row of rows) {
      if (row.vector === null) continue
      const found = Rows.readScore(row, score, collection, at)
      if (Either.isLeft(found)) return Either.left(found.left)
      scored.push({ key: row.row_id as number, id: row.id as string, score: found.right })
    }
    return Either.right(scored)
  }

  /** Without the scores of rows that do not match. */
  const fetchFrom = (search: Search, snapshot: Cache.Snapshot, condition?: Fragment) => {
    const filteredLookup = condition && Rows.lookupSql(`row_id, id, iif(${condition.sql}, vector, NULL) AS vector`)
    return (keys: ReadonlyArray<number>) => {
      const whole = condition === undefined && keys.length <= wholeRows
      const lookup = whole ? wholeLookup : (filteredLookup ?? vectorLookup)
      return AtOnce.flatMap(rowsAt(search, snapshot, lookup, keys, condition?.params), (rows) => {
        if (whole) for (const row of rows) search.read.set(row.row_id as number, row)
        return scoresOf(rows, search)
      })
    }
  }

  const questionOf = ({ k, minScore, vector }: Search) => ({ query: vector, k, minScore, pause: client.breathe })

  /** An index of the rows that match, if there is room for one. */
  const indexMatched = (search: Search, snapshot: Cache.Snapshot, matched: Matched) =>
    Effect.gen(function* () {
      const { dimension, metric } = search.collection
      if (!snapshot.matches.hasRoomFor(matched, dimension)) return undefined
      const range = matched.part?.outgrown() === true ? matched.part.fittingRange() : undefined
      if (range !== undefined) matched.part = undefined
      const { keys } = matched
      if (matched.part?.size() === keys.size) return matched.part
      const missing = Array.from(keys).filter((key) => matched.part?.has(key) !== true)
      for (let i = 0; i < missing.length; i += partRows) {
        const rows = yield* rowsAt(search, snapshot, vectorLookup, missing.slice(i, i + partRows))
        const vectors: Array<Float32Array> = []
        for (const row of rows) vectors.push(yield* Rows.readVector(row, search.collection, search.at))
        const sampled = () => QuantizedIndex.rangeOf(metric, vectors)
        matched.part ??= QuantizedIndex.make({ dimension, metric, capacity: keys.size, range: range ?? sampled() })
        for (let j = 0; j < rows.length; j++) matched.part.put(rows[j]!.row_id as number, vectors[j]!)
      }
      return matched.part
    })

  /** Scores all rows that match. A graph holds nothing to score them by, so they have an index of their own. */
  const searchMatched = (search: Search, snapshot: Cache.Snapshot, matched: Matched) =>
    Effect.gen(function* () {
      yield* unchangedSince(snapshot, search)
      const fetch = fetchFrom(search, snapshot)
      const part = snapshot.exact ? undefined : yield* indexMatched(search, snapshot, matched)
      if (part !== undefined) return yield* part.search({ ...questionOf(search), fetch })
      return yield* snapshot.index.search({ ...questionOf(search), within: matched.keys, fetch })
    })

  /**
   * Candidates are looked at one by one if many rows match; if few do, these are found first, and remembered. Those few
   * lie too far apart for a graph; without one, looking at candidates may take as long as finding once, in all.
   */
  const searchFiltered = (search: Search, filter: Filter.Filter, snapshot: Cache.Snapshot) =>
    Effect.gen(function* () {
      const { k } = search
      const { exact, index, matches } = snapshot
      const condition = SqliteFilter.compile(filter)
      const head = yield* unchangedSince(snapshot, search)
      const known = yield* matches.recall(head, condition)
      if (known !== undefined) return yield* searchMatched(search, snapshot, known)
      const limit = exact ? lookedAt(index.size()) - matches.spent(condition) : nearFor(k)
      const fetch = fetchFrom(search, snapshot, condition)
      let looked = 0
      const counting = (keys: ReadonlyArray<number>) => {
        looked += keys.length
        return fetch(keys)
      }
      const found = yield* Effect.catchTag(
        index.search({ ...questionOf(search), limit, fetch: counting }),
        "OutOfCandidates",
        () => Effect.flatMap(matches.find(head, condition), (matched) => searchMatched(search, snapshot, matched))
      )
      if (looked > nearFor(k)) matches.spend(condition, looked)
      return found
    })

  const searchIndex = (search: Search, snapshot: Cache.Snapshot) => {
    const { at, collection, filter } = search
    const scored =
      filter === undefined
        ? snapshot.index.search({ ...questionOf(search), fetch: fetchFrom(search, snapshot) })
        : Rows.explained(client, collection, at)(searchFiltered(search, filter, snapshot))
    return AtOnce.flatMap(scored, (scored) => hits(search, scored, snapshot.seq))
  }

  /** Scores all rows of one snapshot that match, in bounded memory. */
  const scanSnapshot = (search: Search) =>
    Effect.gen(function* () {
      const { at, collection, filter, k, minScore, score } = search
      const best = TopK.make(k, minScore)
      const condition = SqliteFilter.compile(filter ?? Filter.everything)
      let seq = collection.seq
      const rows = client.stream(
        `SELECT row_id, id, vector, (SELECT seq FROM db_hub_collections WHERE id = ?) AS head
          FROM db_hub_vectors WHERE collection_id = ? AND ${condition.sql}`,
        [collection.id, collection.id, ...condition.params]
      )
      const visit = (row: Row) =>
        Effect.map(Rows.readScore(row, score, collection, at), (score) => {
          seq = row.head as number
          best.offer({ key: row.row_id as number, id: row.id as string, score })
        })
      yield* Rows.explained(client, collection, at)(Stream.runForEach(rows, visit))
      return yield* hits(search, best.result(), seq)
    })

  /** Scores all rows that match as the fiber's transaction sees them. */
  const scanTransaction = (search: Search) =>
    Effect.gen(function* () {
      const { at, collection, filter, k, minScore } = search
      const best = TopK.make(k, minScore)
      const matches = filter === undefined ? undefined : Filter.matches(filter)
      let last = Rows.after(0)
      while (true) {
        const rows = yield* client.query(scanPage, Rows.pageParameters(collection, last))
        for (const row of rows) {
          if (matches?.(yield* Rows.readMetadata(row, collection, at)) === false) continue
          const score = yield* Rows.readScore(row, search.score, collection, at)
          best.offer({ key: row.row_id as number, id: row.id as string, score })
        }
        if (rows.length < scanRows) return yield* hits(search, best.result(), collection.seq)
        last = rows[rows.length - 1] as unknown as Rows.Cursor
      }
    })

  return (name, input, options, at) => {
    const once = (
      found: Effect.Effect<Rows.Collection, DbError>,
      body: (search: Search) => Effect.Effect<ReadonlyArray<SearchHit>, DbError | Cache.Moved>
    ): Effect.Effect<ReadonlyArray<SearchHit>, DbError | Cache.Moved> =>
      AtOnce.flatMap(found, (collection) => {
        const vector = Records.parseVector(input, "vector", collection, at)
        return Either.isLeft(vector)
          ? Effect.fail(vector.left)
          : body({
              ...options,
              collection,
              vector: vector.right,
              score: Distance.scorer(collection.metric, vector.right),
              at,
              read: new Map()
            })
      })
    const byIndex = (search: Search) =>
      Effect.catchAll(
        cache.use(search.collection, at, (snapshot) => searchIndex(search, snapshot)),
        (error) =>
          error._tag === "TooLarge" || error._tag === "OutOfCandidates"
            ? scanSnapshot({ ...search, read: new Map() })
            : Effect.fail(error)
      )
    const within = () => once(Rows.getCollection(client, name, at), scanTransaction)
    const attempt = (restarts: number, inside: boolean): Effect.Effect<ReadonlyArray<SearchHit>, DbError> =>
      Effect.catchTag(inside ? within() : once(collectionOutside(name, at), byIndex), "Moved", () => {
        if (restarts > 0) return attempt(restarts - 1, inside)
        return Effect.catchTag(client.transaction(within()), "Moved", () => Effect.fail(changedWithin(at)))
      })
    return Effect.flatMap(client.inTransaction, (inside) => attempt(maxRestarts, inside))
  }
}

const changedWithin = (at: ErrorContext): DbConflict =>
  new DbConflict({
    ...at,
    reason: "serialization",
    retryable: true,
    message: "The collection was changed during the search by another fiber of the same transaction: search again"
  })
