/**
 * The rows of a collection that match a filter: found once by reading the metadata of all rows, then kept up to date by
 * reading what was committed since, here or in another process.
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { SqliteClient } from "./SqliteClient.js"
import type { Fragment } from "./SqliteFilter.js"
import * as Rows from "./SqliteVectorRows.js"

export interface SqliteVectorMatches {
  /** The rows that match as of `collection.seq`, or of a write that came meanwhile. */
  readonly find: (collection: Rows.Collection, condition: Fragment) => Effect.Effect<ReadonlySet<number>, DbError>
  /** As `find`, if that takes no more than reading what was committed since the last time. */
  readonly recall: (
    collection: Rows.Collection,
    condition: Fragment
  ) => Effect.Effect<ReadonlySet<number> | undefined, DbError>
  /** Memory held, in bytes. */
  readonly bytes: () => number
}

interface Matches {
  readonly keys: Set<number>
  /** The write up to which `keys` are complete; they may hold more. */
  seq: number
}

/** Rows whose filter is evaluated in one statement. */
const pageRows = 5000

/** Keys remembered over all filters but the newest; the least recently used filters give way. */
const maxKeys = 100_000

/** What a number in a set takes. */
const keyBytes = 48

const parseKeys = (json: unknown): ReadonlyArray<number> => JSON.parse(String(json))

export const make = (client: SqliteClient): SqliteVectorMatches => {
  /** Least recently used first. */
  const remembered = new Map<string, Matches>()

  const nameOf = ({ params, sql }: Fragment) => JSON.stringify([sql, params])

  const size = () => Array.from(remembered.values()).reduce((sum, { keys }) => sum + keys.size, 0)

  const remember = (name: string, matches: Matches) => {
    remembered.delete(name)
    for (const oldest of remembered.keys()) {
      if (size() <= maxKeys) break
      remembered.delete(oldest)
    }
    remembered.set(name, matches)
  }

  /**
   * Brings `matches` from its `seq` to that of the collection. What is written during the reading is read again by the
   * next one, since its numbers are higher; an interrupted reading is begun again from the same `seq`.
   */
  const update = (matches: Matches, collection: Rows.Collection, { params, sql }: Fragment) =>
    Effect.gen(function* () {
      if (matches.seq >= collection.seq) return
      const { keys } = matches
      if (collection.reset_seq > matches.seq) {
        keys.clear()
        matches.seq = 0
      }
      const deletions = yield* client.query(
        "SELECT row_id FROM db_hub_vector_deletions WHERE collection_id = ? AND seq > ?",
        [collection.id, matches.seq]
      )
      for (const { row_id } of deletions) keys.delete(row_id as number)
      const statement = `SELECT json_group_array(row_id) AS seen, json_group_array(row_id) FILTER (WHERE ${sql}) AS found,
        (SELECT json_object('seq', seq, 'row_id', row_id)
          FROM (${Rows.pageSql("row_id, seq", pageRows)}) LIMIT 1 OFFSET ${pageRows - 1}) AS last
        FROM (${Rows.pageSql("row_id, seq, metadata", pageRows)})`
      for (let last: Rows.Cursor | null = Rows.after(matches.seq); last !== null; ) {
        const cursor = Rows.pageParameters(collection, last)
        const [row] = yield* client.query(statement, [...params, ...cursor, ...cursor])
        for (const key of parseKeys(row?.seen)) keys.delete(key)
        for (const key of parseKeys(row?.found)) keys.add(key)
        last = row?.last === null ? null : JSON.parse(String(row?.last))
      }
      matches.seq = collection.seq
    })

  const bringUp = (name: string, matches: Matches, collection: Rows.Collection, condition: Fragment) =>
    Effect.map(update(matches, collection, condition), () => {
      remember(name, matches)
      return matches.keys
    })

  return {
    bytes: () => size() * keyBytes,
    find: (collection, condition) => bringUp(nameOf(condition), { keys: new Set(), seq: 0 }, collection, condition),
    recall: (collection, condition) => {
      const name = nameOf(condition)
      const matches = remembered.get(name)
      return matches === undefined ? Effect.succeed(undefined) : bringUp(name, matches, collection, condition)
    }
  }
}
