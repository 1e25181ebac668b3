/**
 * The rows of a collection that match a filter: found once by reading the metadata of all rows, then kept up to date by
 * reading what was committed since, here or in another process.
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import { QuantizedIndex } from "../../vector/index.js"
import type { Fragment } from "../sql/SqlFilter.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as Rows from "./SqliteVectorRows.js"

/** What matches a filter. */
export interface Matched {
  readonly keys: ReadonlySet<number>
  /** An index of some of these rows, put there by whoever searches them. */
  part: QuantizedIndex.QuantizedIndex | undefined
}

export interface SqliteVectorMatches {
  /** The rows that match as of `collection.seq`, or of a write that came meanwhile. */
  readonly find: (collection: Rows.Collection, condition: Fragment) => Effect.Effect<Matched, DbError>
  /** As `find`, if that takes no more than reading what was committed since the last time. */
  readonly recall: (collection: Rows.Collection, condition: Fragment) => Effect.Effect<Matched | undefined, DbError>
  /** Candidates that searches with a filter have looked at before its rows were found. */
  readonly spent: (condition: Fragment) => number
  readonly spend: (condition: Fragment, candidates: number) => void
  /** Whether an index of all rows that match may be remembered. */
  readonly hasRoomFor: (matched: Matched, dimension: number) => boolean
  readonly forget: () => void
  /** Memory held, in bytes. */
  readonly bytes: () => number
}

interface Matches extends Matched {
  readonly keys: Set<number>
  /** The write up to which `keys` are complete; they may hold more. */
  seq: number
}

/** Rows whose filter is evaluated in one statement. */
const pageRows = 2500

/** Filters remembered at most. */
const maxFilters = 256

/** What a number in a set takes. */
const keyBytes = 48

const bytesOf = ({ keys, part }: Matched): number => keys.size * keyBytes + (part?.bytes() ?? 0)

const parseKeys = (json: unknown): ReadonlyArray<number> => JSON.parse(String(json))

/** `memoryBytes` is what all filters but the newest may take. */
export const make = (client: SqliteClient, memoryBytes: number): SqliteVectorMatches => {
  /** Least recently used first. */
  const remembered = new Map<string, Matches>()
  const looked = new Map<string, number>()

  const nameOf = ({ params, sql }: Fragment) => JSON.stringify([sql, params])

  const bytes = () => {
    let sum = 0
    for (const matches of remembered.values()) sum += bytesOf(matches)
    return sum
  }

  const remember = (name: string, matches: Matches) => {
    remembered.delete(name)
    for (const oldest of remembered.keys()) {
      if (remembered.size < maxFilters && bytes() <= memoryBytes) break
      remembered.delete(oldest)
    }
    remembered.set(name, matches)
  }

  const drop = ({ keys, part }: Matches, key: number) => {
    keys.delete(key)
    part?.remove(key)
  }

  /**
   * Brings `matches` from its `seq` to that of the collection. What is written during the reading is read again by the
   * next one, since its numbers are higher; an interrupted reading is begun again from the same `seq`.
   */
  const update = (matches: Matches, collection: Rows.Collection, { params, sql }: Fragment) =>
    Effect.gen(function* () {
      if (matches.seq >= collection.seq) return
      if (collection.reset_seq > matches.seq) {
        matches.keys.clear()
        matches.part = undefined
        matches.seq = 0
      }
      const deletions = yield* client.query(
        "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ?",
        [collection.id, matches.seq]
      )
      for (const { row_id } of deletions) drop(matches, row_id as number)
      // Where nothing is known yet, nothing has to be taken back.
      const seen = matches.seq === 0 && matches.keys.size === 0 ? "'[]'" : "json_group_array(row_id)"
      const statement = `SELECT ${seen} AS seen, json_group_array(row_id) FILTER (WHERE ${sql}) AS found,
        (SELECT json_object('seq', seq, 'row_id', row_id)
          FROM (${Rows.pageSql("row_id, seq", pageRows)}) LIMIT 1 OFFSET ${pageRows - 1}) AS last
        FROM (${Rows.pageSql("row_id, seq, metadata", pageRows)})`
      for (let last: Rows.Cursor | null = Rows.after(matches.seq); last !== null; ) {
        const cursor = Rows.pageParameters(collection, last)
        const [row] = yield* client.query(statement, [...params, ...cursor, ...cursor])
        for (const key of parseKeys(row?.seen)) drop(matches, key)
        for (const key of parseKeys(row?.found)) matches.keys.add(key)
        last = row?.last === null ? null : JSON.parse(String(row?.last))
      }
      matches.seq = collection.seq
    })

  const bringUp = (name: string, matches: Matches, collection: Rows.Collection, condition: Fragment) =>
    Effect.map(update(matches, collection, condition), (): Matched => {
      remember(name, matches)
      return matches
    })

  return {
    bytes,
    forget: () => {
      remembered.clear()
      looked.clear()
    },
    hasRoomFor: ({ keys }, dimension) => QuantizedIndex.bytesFor(dimension, keys.size) <= memoryBytes,
    spent: (condition) => looked.get(nameOf(condition)) ?? 0,
    spend: (condition, candidates) => {
      const name = nameOf(condition)
      if (looked.size >= maxFilters) looked.clear()
      looked.set(name, (looked.get(name) ?? 0) + candidates)
    },
    find: (collection, condition) =>
      bringUp(nameOf(condition), { keys: new Set(), part: undefined, seq: 0 }, collection, condition),
    recall: (collection, condition) => {
      const name = nameOf(condition)
      const matches = remembered.get(name)
      return matches === undefined ? Effect.succeed(undefined) : bringUp(name, matches, collection, condition)
    }
  }
}
