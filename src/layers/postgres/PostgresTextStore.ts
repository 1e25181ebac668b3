/**
 * Texts on PostgreSQL: their terms in a `tsvector`, found through a GIN index, ranked by BM25 with the constants of
 * FTS5. PostgreSQL's own ranks know nothing of how rare a word is.
 *
 * Of a phrase of several words BM25 counts the words.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type JsonObject, QuerySyntax } from "../../vector/index.js"
import type { TextEngine } from "../SqlTextStore.js"
import * as Binary from "./PostgresBinary.js"
import type { PostgresClient } from "./PostgresClient.js"
import * as PostgresFilter from "./PostgresFilter.js"

/** Positions that a `tsvector` knows, and how many of them a term may have. */
const lastPosition = 16_383
const mostPositions = 255

/** Terms are made of letters, digits and pictographs, so there is nothing in them to escape. */
const lexemes = (terms: ReadonlyArray<string>): string => {
  const positions = new Map<string, Array<number>>()
  terms.forEach((term, i) => {
    const known = positions.get(term)
    if (known === undefined) positions.set(term, [Math.min(i + 1, lastPosition)])
    else if (known.length < mostPositions && i < lastPosition) known.push(i + 1)
  })
  return Array.from(positions, ([term, at]) => `'${term}':${at.join(",")}`).join(" ")
}

const phrase = ({ prefix, terms }: QuerySyntax.Phrase): string =>
  `(${terms.map((term, i) => `'${term}'${prefix && i === terms.length - 1 ? ":*" : ""}`).join(" <-> ")})`

const tsquery = (query: QuerySyntax.Query): string =>
  query
    .map(({ all, none }) => `(${[...all.map(phrase), ...none.map((each) => `!${phrase(each)}`)].join(" & ")})`)
    .join(" | ")

/** Each term by itself, to count in how many records it is. */
const termsOf = (query: QuerySyntax.Query): ReadonlyArray<readonly [term: string, prefix: boolean]> => {
  const found = new Map<string, readonly [string, boolean]>()
  for (const { prefix, terms } of QuerySyntax.wanted(query)) {
    terms.forEach((term, i) => {
      const begins = prefix && i === terms.length - 1
      found.set(`${begins}${term}`, [term, begins])
    })
  }
  return Array.from(found.values())
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (client: Pick<PostgresClient, "query" | "execute">): TextEngine => ({
  create: (n) => [
    `CREATE TABLE db_hub_texts_${n} (
  id TEXT COLLATE "C" PRIMARY KEY,
  metadata JSONB NOT NULL,
  text TEXT NOT NULL,
  terms TSVECTOR NOT NULL,
  length INTEGER NOT NULL
)`,
    `CREATE INDEX db_hub_texts_${n}_terms ON db_hub_texts_${n} USING gin (terms)`
  ],

  drop: (n) => [`DROP TABLE db_hub_texts_${n}`],

  write: (n, records) =>
    Effect.asVoid(
      client.execute(
        `INSERT INTO db_hub_texts_${n} (id, metadata, text, terms, length)
          SELECT id, metadata, text, terms::tsvector, length::integer
          FROM unnest(?::text[], ?::jsonb[], ?::text[], ?::text[], ?::text[]) AS r (id, metadata, text, terms, length)
          ON CONFLICT (id) DO UPDATE SET metadata = excluded.metadata, text = excluded.text, terms = excluded.terms,
            length = excluded.length`,
        [
          Binary.texts(records.map(({ id }) => id)),
          Binary.jsons(records.map(({ metadata }) => metadata)),
          Binary.texts(records.map(({ text }) => text)),
          Binary.texts(records.map(({ terms }) => lexemes(terms))),
          Binary.texts(records.map(({ terms }) => String(terms.length)))
        ]
      )
    ),

  remove: (n, { params, sql }) =>
    Effect.map(
      client.execute(`DELETE FROM db_hub_texts_${n} AS t WHERE ${sql}`, params),
      ({ rowsAffected }) => rowsAffected
    ),

  search: (n, query, { params, sql }, limit) => {
    const wanted = termsOf(query)
    const begins = wanted.some(([, prefix]) => prefix)
    const alternatives = wanted.map(([term, prefix]) => ({ all: [{ terms: [term], prefix }], none: [] }))
    return client.query(
      `WITH wanted AS (
          SELECT w ->> 0 AS term, (w ->> 1)::boolean AS prefix FROM jsonb_array_elements(?::jsonb) AS w
        ), collection AS (
          SELECT count(*)::float8 AS records, avg(length)::float8 AS length FROM db_hub_texts_${n}
        ), occurrences AS MATERIALIZED (
          SELECT t.id, t.length, w.term, w.prefix, sum(cardinality(u.positions))::float8 AS times
          FROM db_hub_texts_${n} AS t
          CROSS JOIN LATERAL unnest(t.terms) AS u
          JOIN wanted AS w ON u.lexeme = w.term${begins ? " OR (w.prefix AND starts_with(u.lexeme, w.term))" : ""}
          WHERE t.terms @@ ?::tsquery GROUP BY t.id, w.term, w.prefix
        ), weights AS (
          SELECT o.term, o.prefix, greatest(ln((c.records - count(*) + 0.5) / (count(*) + 0.5)), 1e-6) AS weight
          FROM occurrences AS o CROSS JOIN collection AS c GROUP BY o.term, o.prefix, c.records
        ), best AS MATERIALIZED (
          SELECT o.id,
            sum(w.weight * o.times * 2.2 / (o.times + 1.2 * (0.25 + 0.75 * o.length / c.length)) ORDER BY o.term) AS bm25
          FROM occurrences AS o
          JOIN weights AS w ON w.term = o.term AND w.prefix = o.prefix
          CROSS JOIN collection AS c
          WHERE EXISTS (SELECT 1 FROM db_hub_texts_${n} AS t WHERE t.id = o.id AND t.terms @@ ?::tsquery AND ${sql})
          GROUP BY o.id ORDER BY bm25 DESC, o.id LIMIT ${limit}
        )
        SELECT t.id, t.metadata, t.text, best.bm25
        FROM best JOIN db_hub_texts_${n} AS t ON t.id = best.id ORDER BY best.bm25 DESC, t.id`,
      [JSON.stringify(wanted), tsquery(alternatives), tsquery(query), ...params]
    )
  },

  filter: (filter) => PostgresFilter.compile(filter, "t.metadata"),

  isOneOf: (ids) => ({ sql: "t.id = ANY (?::text[])", params: [ids.length === 0 ? "{}" : Binary.texts(ids)] }),

  readMetadata: (row) => Effect.succeed(row["metadata"] as JsonObject),

  missingTable: (error) =>
    error._tag === "DbQuery" && error.code === "42P01" ? /"(db_hub_text\w+)"/.exec(error.message)?.[1] : undefined
})
