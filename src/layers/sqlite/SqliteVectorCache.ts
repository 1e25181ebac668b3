/**
 * The indexes in memory: one per collection, brought up to date by reading what was committed since, here or in another
 * process.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import { type Origin, QuantizedIndex } from "../../vector/index.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as Matches from "./SqliteVectorMatches.js"
import * as Rows from "./SqliteVectorRows.js"

/** The rows that a search found were changed before all of them could be read. */
export class Moved extends Data.TaggedError("Moved") {}

/** The index would take more memory than all of them may. */
export class TooLarge extends Data.TaggedError("TooLarge") {}

/** An index as it was after the write numbered `seq`. */
export interface Snapshot {
  readonly index: QuantizedIndex.QuantizedIndex
  readonly seq: number
  readonly matches: Matches.SqliteVectorMatches
}

export interface SqliteVectorCache {
  /** Uses the index as it is after the newest write; it does not change meanwhile. Not for use inside a transaction. */
  readonly use: <A, E, R>(
    collection: Rows.Collection,
    at: Origin,
    body: (snapshot: Snapshot) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | DbError | Moved | TooLarge, R>
  /** Memory held by all indexes, in bytes. */
  readonly bytes: () => number
}

interface Entry {
  index: QuantizedIndex.QuantizedIndex | undefined
  seq: number
  readonly matches: Matches.SqliteVectorMatches
  readonly lock: Effect.Semaphore
}

const bytesOf = ({ index, matches }: Entry): number => (index?.bytes() ?? 0) + matches.bytes()

const pageRows = 1000

const loadPage = Rows.pageSql("row_id, seq, vector", pageRows)

/** Rounds of catching up with other writers before a search gives up on the index. */
const maxRounds = 20

export const make = (client: SqliteClient, memoryBytes: number): SqliteVectorCache => {
  /** Least recently used first. */
  const entries = new Map<number, Entry>()

  const entryOf = ({ id }: Rows.Collection): Entry => {
    const entry = entries.get(id) ?? {
      index: undefined,
      seq: 0,
      matches: Matches.make(client),
      lock: Effect.unsafeMakeSemaphore(1)
    }
    entries.delete(id)
    entries.set(id, entry)
    return entry
  }

  const bytes = () => Array.from(entries.values()).reduce((sum, entry) => sum + bytesOf(entry), 0)

  /** Lets go of other indexes until so many bytes for this collection's fit beside the rest. */
  const makeRoom = (collection: Rows.Collection, wanted: number): Effect.Effect<void, TooLarge> =>
    Effect.suspend(() => {
      if (wanted > memoryBytes) {
        entries.delete(collection.id)
        return new TooLarge()
      }
      let held = wanted + bytes() - (entries.get(collection.id)?.index?.bytes() ?? 0)
      for (const [id, entry] of entries) {
        if (held <= memoryBytes) break
        if (id === collection.id) continue
        held -= bytesOf(entry)
        entries.delete(id)
      }
      return Effect.void
    })

  /**
   * Brings the index from `entry.seq` to at least `collection.seq`. Deletions are read before rows: a row that took the
   * number of a deleted one is newer than the deletion. An interrupted load is begun again from the same `seq`.
   */
  const load = (entry: Entry, collection: Rows.Collection, at: Origin): Effect.Effect<void, DbError | TooLarge> =>
    Effect.gen(function* () {
      const { dimension, id, metric } = collection
      const range = entry.index?.outgrown() === true ? entry.index.fittingRange() : undefined
      if (range !== undefined || collection.reset_seq > entry.seq) {
        entry.index = undefined
        entry.seq = 0
      }
      const deletions = yield* client.query(
        "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ?",
        [id, entry.seq]
      )
      for (const { row_id } of deletions) entry.index?.remove(row_id as number)
      let last = Rows.after(entry.seq)
      while (true) {
        const rows = yield* client.query(loadPage, Rows.pageParameters(collection, last))
        const vectors: Array<Float32Array> = []
        for (const row of rows) vectors.push(yield* Rows.readVector(row, collection, at))
        if (entry.index === undefined) {
          const [counted] = yield* client.query("SELECT count(*) AS n FROM db_hub_vectors WHERE collection_id = ?", [
            id
          ])
          const capacity = counted?.n as number
          yield* makeRoom(collection, QuantizedIndex.bytesFor(dimension, capacity))
          const sampled = range ?? QuantizedIndex.rangeOf(metric, vectors)
          entry.index = QuantizedIndex.make({ dimension, metric, capacity, range: sampled })
        }
        for (let i = 0; i < rows.length; i++) entry.index.put(rows[i]!.row_id as number, vectors[i]!)
        yield* makeRoom(collection, entry.index.bytes())
        if (rows.length < pageRows) break
        last = rows[rows.length - 1] as unknown as Rows.Cursor
      }
      entry.seq = collection.seq
    })

  const newest = (
    entry: Entry,
    collection: Rows.Collection,
    at: Origin
  ): Effect.Effect<Snapshot, DbError | Moved | TooLarge> =>
    Effect.gen(function* () {
      for (let round = 0, head = collection; round < maxRounds; round++) {
        const { index, matches, seq } = entry
        if (index !== undefined && seq >= head.seq && !index.outgrown()) return { index, seq, matches }
        yield* load(entry, head, at)
        head = yield* Rows.getCollection(client, collection.name, at)
        if (head.id !== collection.id) break
      }
      return yield* new Moved()
    })

  return {
    bytes,
    use: (collection, at, body) =>
      Effect.suspend(() => {
        const entry = entryOf(collection)
        return entry.lock.withPermits(1)(Effect.flatMap(newest(entry, collection, at), body))
      })
  }
}
