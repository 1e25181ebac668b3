/**
 * Texts on PostgreSQL, ranked by BM25: its own ranks know nothing of how rare a word is. How often each term is in each
 * record is a row of `db_hub_terms_n`, all that a search by words reads; a `tsvector` says where, for phrases.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type JsonObject, QuerySyntax } from "../../vector/index.js"
import type { Analyzed, TextEngine } from "../sql/SqlTextStore.js"
import * as Binary from "./PostgresBinary.js"
import type { PostgresClient } from "./PostgresClient.js"
import * as PostgresFilter from "./PostgresFilter.js"
import * as Tables from "./PostgresTextTables.js"

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

/** Whether something is looked for, or excluded, that rows of single terms do not tell. */
const hasOrder = (query: QuerySyntax.Query): boolean =>
  query.some(({ all, none }) => none.length > 0 || all.some(({ terms }) => terms.length > 1))

/** The first string, by code point, that comes after all that begin with a term. */
const pastAll = (prefix: string): string => {
  const characters = Array.from(prefix)
  const next = characters[characters.length - 1]!.codePointAt(0)! + 1
  return characters.slice(0, -1).join("") + String.fromCodePoint(next === 0xd800 ? 0xe000 : next)
}

/** Points of a score in a whole: sums of integers are the same in any order. */
const points = 2 ** 40

/** Rows of sizes that are added up into one by the next writer. */
const mostSizes = 64

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (client: Pick<PostgresClient, "query" | "execute" | "enqueue">): TextEngine => {
  const columns = (records: ReadonlyArray<Analyzed>) => [
    Binary.texts(records.map(({ id }) => id)),
    Binary.jsons(records.map(({ metadata }) => metadata)),
    Binary.texts(records.map(({ text }) => text)),
    Binary.texts(records.map(({ terms }) => lexemes(terms))),
    Binary.texts(records.map(({ terms }) => String(terms.length)))
  ]

  const sent = `SELECT id, metadata, text, terms::tsvector AS terms, length::integer AS length
    FROM unnest(?::text[], ?::jsonb[], ?::text[], ?::text[], ?::text[]) AS r (id, metadata, text, terms, length)`

  /** CTEs that give the rows of the CTE `from` their terms. */
  const post = (n: number, from: string): string => `posted AS (
          INSERT INTO db_hub_terms_${n} (term, row_id, length, times)
          SELECT u.lexeme, r.row_id, r.length, cardinality(u.positions) FROM ${from} AS r CROSS JOIN LATERAL unnest(r.terms) AS u
        )`

  /** CTEs that take the terms of the rows of the CTE `from` away. */
  const unpost = (n: number, from: string): string => `unposted AS (
          DELETE FROM db_hub_terms_${n} AS p
          USING ${from} AS r CROSS JOIN LATERAL unnest(r.terms) AS u WHERE p.term = u.lexeme AND p.row_id = r.row_id
        )`

  /** CTEs that write down what a query says is added to the sizes, and add up what others have. */
  const resize = (n: number, added: string): string => `folded AS (
          DELETE FROM db_hub_text_sizes_${n} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM db_hub_text_sizes_${n}
            WHERE (SELECT count(*) FROM db_hub_text_sizes_${n}) >= ${mostSizes} FOR UPDATE SKIP LOCKED
          )) RETURNING records, length
        ), resized AS (
          INSERT INTO db_hub_text_sizes_${n} SELECT sum(records), sum(length)
          FROM (SELECT records, length FROM folded UNION ALL ${added}) AS sizes (records, length) HAVING count(length) > 0
        )`

  return {
    create: Tables.create,

    drop: Tables.drop,

    addsAtOnce: true,

    add: (n, records) =>
      client.enqueue(
        `WITH added AS (
          INSERT INTO db_hub_texts_${n} (id, metadata, text, terms, length) ${sent} RETURNING row_id, terms, length
        ),
        ${post(n, "added")}, ${resize(n, "SELECT count(*), sum(length) FROM added")}
        SELECT 1`,
        columns(records)
      ),

    write: (n, records) =>
      Effect.gen(function* () {
        // Records that are there already are only locked and marked, by a length below 0.
        const { rows: replaced } = yield* client.execute(
          `WITH held AS (
            INSERT INTO db_hub_texts_${n} AS t (id, metadata, text, terms, length) ${sent}
            ON CONFLICT (id) DO UPDATE SET length = -1 - t.length RETURNING t.id, t.row_id, t.terms, t.length
          ), added AS (SELECT row_id, terms, length FROM held WHERE length >= 0),
          ${post(n, "added")}, ${resize(n, "SELECT count(*), sum(length) FROM added")}
          SELECT id FROM held WHERE length < 0`,
          columns(records)
        )
        if (replaced.length === 0) return
        const ids = new Set(replaced.map((row) => row["id"]))
        // Under a new row id, since both kinds of terms are in the table for a moment.
        yield* client.execute(
          `WITH sent AS (${sent}), old AS (
            SELECT t.row_id, t.terms, -1 - t.length AS length FROM db_hub_texts_${n} AS t JOIN sent ON sent.id = t.id
          ), changed AS (
            UPDATE db_hub_texts_${n} AS t
            SET row_id = DEFAULT, metadata = s.metadata, text = s.text, terms = s.terms, length = s.length
            FROM sent AS s WHERE s.id = t.id RETURNING t.row_id, t.terms, t.length
          ),
          ${unpost(n, "old")}, ${post(n, "changed")},
          ${resize(n, "SELECT 0, (SELECT sum(length) FROM changed) - (SELECT sum(length) FROM old)")}
          SELECT 1`,
          columns(records.filter(({ id }) => ids.has(id)))
        )
      }),

    remove: (n, { params, sql }) =>
      Effect.gen(function* () {
        // First locked, in the order in which they are written: a statement sees no terms that came after its beginning.
        const found = yield* client.query(
          `SELECT t.id FROM db_hub_texts_${n} AS t WHERE ${sql} ORDER BY t.id FOR UPDATE`,
          params
        )
        if (found.length === 0) return 0
        yield* client.execute(
          `WITH gone AS (
            DELETE FROM db_hub_texts_${n} AS t WHERE t.id = ANY (?::text[]) RETURNING row_id, terms, length
          ),
          ${unpost(n, "gone")}, ${resize(n, "SELECT -count(*), -sum(length) FROM gone")}
          SELECT 1`,
          [Binary.texts(found.map(({ id }) => String(id)))]
        )
        return found.length
      }),

    search: (n, query, condition, limit) => {
      const words = QuerySyntax.words(query)
      const exact = words.flatMap(({ prefix, terms }) => (prefix ? [] : terms))
      const prefixes = words.flatMap(({ prefix, terms }) => (prefix ? terms : []))
      const conditions = [
        ...(hasOrder(query) ? [{ sql: "t.terms @@ ?::tsquery", params: [tsquery(query)] }] : []),
        ...(condition === undefined ? [] : [condition])
      ]
      /** Where a word is among them: prefixes are counted down from -1. */
      const numberOf = (term: string, prefix: boolean) =>
        prefix ? -1 - prefixes.indexOf(term) : exact.indexOf(term) + 1
      // Only what has all words of an alternative is worth looking at.
      const complete = query.map((alternative) => {
        const numbers = QuerySyntax.words([alternative]).map(({ prefix, terms }) => numberOf(terms[0]!, prefix))
        return `count(*) FILTER (WHERE o.at IN (${numbers.join(", ")})) = ${numbers.length}`
      })
      const having = QuerySyntax.isAnyWord(query) ? "" : ` HAVING ${complete.join(" OR ")}`
      // OFFSET keeps the planner from reading the table for all terms at once, and below, from looking at more records
      // than the best that are enough.
      const occurrences = [
        `SELECT w.at, p.row_id, p.length, p.times
          FROM unnest(?::text[]) WITH ORDINALITY AS w (term, at)
          CROSS JOIN LATERAL (SELECT row_id, length, times FROM db_hub_terms_${n} WHERE term = w.term OFFSET 0) AS p`,
        ...(prefixes.length === 0
          ? []
          : [
              `SELECT -w.at, p.row_id, p.length, p.times
          FROM unnest(?::text[], ?::text[]) WITH ORDINALITY AS w (term, until, at)
          CROSS JOIN LATERAL (
            SELECT row_id, length, sum(times) AS times FROM db_hub_terms_${n}
            WHERE term >= w.term AND term < w.until GROUP BY row_id, length OFFSET 0
          ) AS p`
            ])
      ]
      return client.query(
        `WITH collection AS (
          SELECT sum(records)::float8 AS records, sum(length)::float8 / nullif(sum(records), 0)::float8 AS length
          FROM db_hub_text_sizes_${n}
        ), occurrences AS MATERIALIZED (
          ${occurrences.join(" UNION ALL ")}
        ), weights AS (
          SELECT o.at, greatest(ln((c.records - count(*) + 0.5) / (count(*) + 0.5)), 1e-6) AS weight, c.length
          FROM occurrences AS o CROSS JOIN collection AS c GROUP BY o.at, c.records, c.length
        ), scored AS (
          SELECT o.row_id, sum((
            w.weight * o.times * 3 / (o.times + 2 * (0.25::float8 + 0.75::float8 * o.length / w.length)) * ${points}
          )::bigint)::bigint AS score
          FROM occurrences AS o JOIN weights AS w ON w.at = o.at GROUP BY o.row_id${having}
        ), best AS (
          SELECT s.row_id, s.score FROM ${
            conditions.length === 0
              ? "scored AS s"
              : `(SELECT row_id, score FROM scored ORDER BY score DESC OFFSET 0) AS s CROSS JOIN LATERAL (
            SELECT FROM db_hub_texts_${n} AS t
            WHERE t.row_id = s.row_id AND ${conditions.map(({ sql }) => `(${sql})`).join(" AND ")} OFFSET 0
          ) AS t`
          }
          ORDER BY s.score DESC FETCH FIRST ${limit} ROWS WITH TIES
        )
        SELECT t.id, t.metadata, t.text, best.score::float8 / ${points} AS bm25
        FROM best JOIN db_hub_texts_${n} AS t ON t.row_id = best.row_id ORDER BY best.score DESC, t.id LIMIT ${limit}`,
        [
          Binary.texts(exact),
          ...(prefixes.length === 0 ? [] : [Binary.texts(prefixes), Binary.texts(prefixes.map(pastAll))]),
          ...conditions.flatMap(({ params }) => params)
        ]
      )
    },

    filter: (filter) => PostgresFilter.compile(filter, "t.metadata"),

    isOneOf: (ids) => ({ sql: "t.id = ANY (?::text[])", params: [ids.length === 0 ? "{}" : Binary.texts(ids)] }),

    readMetadata: (row) => Effect.succeed(row["metadata"] as JsonObject),

    missingTable: (error) =>
      error._tag === "DbQuery" && error.code === "42P01"
        ? /"(db_hub_te(?:xt|rm)\w+)"/.exec(error.message)?.[1]
        : undefined
  }
}
