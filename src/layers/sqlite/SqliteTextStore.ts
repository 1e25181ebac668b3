/**
 * Texts on SQLite: rows in an ordinary table and their terms in one of FTS5. It keeps the terms a second time, since
 * without them it forgets to take what was deleted out of its statistics.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { DbCorrupt } from "../../errors/index.js"
import { type JsonObject, QuerySyntax } from "../../vector/index.js"
import type { TextEngine } from "../sql/SqlTextStore.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as SqliteFilter from "./SqliteFilter.js"

/** Terms are made of nothing that FTS5 would read as more than a string. */
const phrase = ({ prefix, terms }: QuerySyntax.Phrase): string => `"${terms.join(" ")}"${prefix ? " *" : ""}`

const match = (query: QuerySyntax.Query): string =>
  query
    .map(({ all, none }) => {
      const wanted = all.map(phrase).join(" AND ")
      return none.length === 0 ? wanted : `((${wanted}) NOT (${none.map(phrase).join(" OR ")}))`
    })
    .map((alternative, _, alternatives) => (alternatives.length > 1 ? `(${alternative})` : alternative))
    .join(" OR ")

/** FTS5 has k1 = 1.2 for good, but counts a term in a column as often as the column weighs: 0.6 makes it k1 = 2. */
const bm25 = (n: number): string => `-bm25(db_hub_terms_${n}, 0.6) * 3 / 2.2`

/** Of so many hits more than one matches a wide filter; of so many of the best for each result, enough do then. */
const [sample, bestOfEach] = [50, 20]

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (client: Pick<SqliteClient, "query" | "execute">, backend: string): TextEngine => ({
  // Terms come in pieces and in lower case already: the plainest tokenizer takes them as they are.
  create: (n) => [
    `DROP TABLE IF EXISTS db_hub_texts_${n}`,
    `DROP TABLE IF EXISTS db_hub_terms_${n}`,
    `CREATE TABLE db_hub_texts_${n} (
  row_id INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  metadata TEXT NOT NULL,
  text TEXT NOT NULL
) STRICT`,
    `CREATE VIRTUAL TABLE db_hub_terms_${n} USING fts5 (terms, tokenize = 'ascii')`
  ],

  drop: (n) => [`DROP TABLE db_hub_terms_${n}`, `DROP TABLE db_hub_texts_${n}`],

  addsAtOnce: false,

  add: (n, records) =>
    Effect.gen(function* () {
      const added = JSON.stringify(
        records.map(({ id, metadata, terms, text }) => [id, metadata, text, terms.join(" ")])
      )
      yield* client.execute(
        `INSERT INTO db_hub_texts_${n} (id, metadata, text)
          SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)`,
        [added]
      )
      yield* client.execute(
        `INSERT INTO db_hub_terms_${n} (rowid, terms)
          SELECT t.row_id, r.value ->> 3 FROM json_each(?) AS r CROSS JOIN db_hub_texts_${n} AS t ON t.id = r.value ->> 0`,
        [added]
      )
    }),

  write: (n, records) =>
    Effect.gen(function* () {
      yield* client.execute(
        `INSERT INTO db_hub_texts_${n} (id, metadata, text)
          SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE
          ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata, text = excluded.text`,
        [JSON.stringify(records.map(({ id, metadata, text }) => [id, metadata, text]))]
      )
      yield* client.execute(
        `INSERT OR REPLACE INTO db_hub_terms_${n} (rowid, terms)
          SELECT t.row_id, r.value ->> 1 FROM json_each(?) AS r CROSS JOIN db_hub_texts_${n} AS t ON t.id = r.value ->> 0`,
        [JSON.stringify(records.map(({ id, terms }) => [id, terms.join(" ")]))]
      )
    }),

  remove: (n, { params, sql }) =>
    Effect.gen(function* () {
      const found = `SELECT row_id FROM db_hub_texts_${n} AS t WHERE ${sql}`
      yield* client.execute(`DELETE FROM db_hub_terms_${n} WHERE rowid IN (${found})`, params)
      const { rowsAffected } = yield* client.execute(`DELETE FROM db_hub_texts_${n} WHERE row_id IN (${found})`, params)
      return rowsAffected
    }),

  // Texts are read last, only those of the results; ids, which order equal scores, only where a score may be among them.
  // So are metadata, if a sample tells that enough of the best hits match for it to be known which scores may; else all.
  search: (n, query, condition, limit) => {
    const filtered = condition?.params ?? []
    const matching = (hits: string) =>
      `${hits} AS h CROSS JOIN db_hub_texts_${n} AS t ON t.row_id = h.found WHERE (${condition?.sql ?? "TRUE"})`
    const top =
      condition === undefined
        ? `${limit}`
        : `(SELECT CASE WHEN count(*) > 1 THEN ${bestOfEach * limit} ELSE 0 END
            FROM ${matching(`(SELECT found FROM hits LIMIT ${sample})`)})`
    const words = QuerySyntax.words(query).map(phrase).join(" OR ")
    // Scores are those of the words, whatever combination of them is looked for.
    const matches = QuerySyntax.isAnyWord(query)
      ? { sql: "", params: [] }
      : {
          sql: `AND +rowid IN (SELECT rowid FROM db_hub_terms_${n} WHERE db_hub_terms_${n} MATCH ?)`,
          params: [match(query)]
        }
    return client.query(
      `WITH hits AS MATERIALIZED (
          SELECT rowid AS found, ${bm25(n)} AS score FROM db_hub_terms_${n}
          WHERE db_hub_terms_${n} MATCH ? ${matches.sql}
        ), top AS MATERIALIZED (
          SELECT found, score FROM hits ORDER BY score DESC LIMIT ${top}
        ), least AS MATERIALIZED (
          SELECT CASE WHEN count(*) = ${limit} THEN min(score) ELSE 0 END AS score
          FROM (SELECT h.score FROM ${matching("top")} LIMIT ${limit})
        ), best AS MATERIALIZED (
          SELECT t.row_id, t.id, h.score FROM ${matching("hits")} AND h.score >= (SELECT score FROM least)
          ORDER BY h.score DESC, t.id LIMIT ${limit}
        )
        SELECT t.id, t.metadata, t.text, best.score AS bm25
        FROM best CROSS JOIN db_hub_texts_${n} AS t ON t.row_id = best.row_id ORDER BY best.score DESC, t.id`,
      [words, ...matches.params, ...filtered, ...filtered, ...filtered]
    )
  },

  filter: (filter) => SqliteFilter.compile(filter, "t.metadata"),

  isOneOf: (ids) => ({ sql: "t.id IN (SELECT value FROM json_each(?))", params: [JSON.stringify(ids)] }),

  readMetadata: (row, at) =>
    Effect.try({
      try: () => JSON.parse(String(row["metadata"])) as JsonObject,
      catch: () =>
        new DbCorrupt({
          ...at,
          backend,
          message: "A text record has metadata that are damaged; insert the record again, or restore a backup"
        })
    }),

  missingTable: (error) =>
    error._tag === "DbQuery" ? /no such table: (?:\w+\.)?(db_hub_text\w+)/.exec(error.message)?.[1] : undefined
})
