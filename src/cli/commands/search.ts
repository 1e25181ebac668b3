/**
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SearchAnswer, SearchResult } from "../../services/Search.js"
import { withSearch } from "../Backends.js"
import { collection, common, describe, filterOf, textOf } from "../Options.js"
import { fileOf } from "../Place.js"
import { note, print } from "../Report.js"
import { excerpt, paint, printable, table } from "../Text.js"

/** Where a result is: the file and the line where what was looked for begins, else its id. */
const placeOf = ({ highlights, id, metadata, text }: SearchResult): string => {
  const { folder, line, path } = metadata
  if (typeof path !== "string") return id
  const before = (text ?? "").slice(0, highlights[0]?.start ?? 0)
  const at = typeof line === "number" ? `:${line + before.split("\n").length - 1}` : ""
  return `${fileOf(folder, path)}${at}`
}

const headingsOf = ({ metadata: { headings } }: SearchResult): string =>
  Array.isArray(headings) && headings.length > 0 ? ` › ${headings.join(" › ")}` : ""

/** The text from the first part that was looked for. */
const excerptOf = ({ highlights, text }: SearchResult): string => excerpt(text ?? "", highlights[0]?.start)

/** In a small collection a word that half of the texts have scores next to nothing, but not nothing. */
const rounded = (score: number | undefined): string | null =>
  score === undefined ? null : score !== 0 && Math.abs(score) < 0.001 ? score.toPrecision(2) : score.toFixed(4)

const millis = (time: number | undefined): string => `${(time ?? 0).toFixed(1)} ms`

const explained = ({ mode, results, timings }: SearchAnswer, io: Parameters<typeof table>[2]): string => {
  const { embedding, text, total, vector } = timings
  const parts = [
    `mode ${mode}`,
    `total ${millis(total)}`,
    ...(text === undefined ? [] : [`text leg ${millis(text)}`]),
    ...(vector === undefined ? [] : [`vector leg ${millis(vector)}`]),
    ...(embedding === undefined ? [] : [`of that embedding ${millis(embedding)}`])
  ]
  const rows = results.map((result, i) => [
    i + 1,
    rounded(result.score),
    result.scoreKind,
    result.textRank ?? null,
    rounded(result.bm25),
    result.vectorRank ?? null,
    rounded(result.cosine),
    placeOf(result)
  ])
  const headings = ["rank", "score", "kind", "text rank", "bm25", "vector rank", "cosine", "place"]
  return `${table(headings, rows, io, "-")}\n${parts.join(", ")}`
}

const listed = ({ results }: SearchAnswer, colors: boolean): string =>
  results.length === 0
    ? "nothing found"
    : results
        .map((result, i) => {
          const place = `${paint(colors, "bold", printable(placeOf(result)))}${printable(headingsOf(result))}`
          return `${i + 1}. ${place}  ${result.scoreKind} ${rounded(result.score)}\n   ${printable(excerptOf(result))}`
        })
        .join("\n")

/**
 * @since 0.1.0
 * @category commands
 */
export const search = Command.make(
  "search",
  {
    query: Args.text({ name: "QUERY" }).pipe(
      Args.withDescription("What is looked for, or - for standard input; after -- it may begin with a dash")
    ),
    collection,
    mode: Options.choice("mode", ["text", "vector", "hybrid"]).pipe(
      Options.withDescription("By words, by vectors, or by both (default: both where the collection has a model)"),
      Options.optional
    ),
    filter: Options.text("filter").pipe(
      Options.withPseudoName("JSON"),
      Options.withDescription(`Only records whose metadata match, such as '{"path": "README.md"}'`),
      Options.optional
    ),
    syntax: Options.choice("syntax", ["plain", "advanced"]).pipe(
      Options.withDescription(
        'advanced: "a phrase", -word, OR and prefix* mean something (default: plain, text is text)'
      ),
      Options.withDefault("plain")
    ),
    limit: Options.integer("limit").pipe(
      Options.withPseudoName("N"),
      Options.withDescription("How many results at most (default: 10)"),
      Options.withDefault(10)
    ),
    explain: Options.boolean("explain").pipe(
      Options.withDescription("Ranks and scores of both legs, and times, instead of texts")
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const filter = yield* Effect.transposeMapOption(options.filter, (text) => filterOf("cli.search", text))
      const text = yield* textOf("QUERY", options.query)
      const answer = yield* withSearch(options, "read", (_, search) =>
        search.search(options.collection, {
          text,
          limit: options.limit,
          syntax: options.syntax,
          ...(Option.isSome(options.mode) ? { mode: options.mode.value } : {}),
          ...(Option.isSome(filter) ? { filter: filter.value } : {})
        })
      )
      const failed = answer.failed.map(({ error, leg }) => ({ leg, type: error._tag, message: error.message }))
      yield* print(
        options.json,
        () => ({
          collection: options.collection,
          mode: answer.mode,
          count: answer.results.length,
          results: answer.results.map(({ collection: _, ...result }) => result),
          failed,
          ...(options.explain ? { timings: answer.timings } : {})
        }),
        (io) => (options.explain ? explained(answer, io) : listed(answer, io.colors))
      )
      // With --json they are in the document.
      if (options.json) return
      yield* Effect.forEach(failed, ({ leg, message }) => note(`the ${leg} leg failed: ${printable(message)}`))
    })
).pipe(
  Command.withDescription(
    describe(
      "Find records of a collection by words, by vectors, or by both.",
      'db-hub search "how are locks waited for"',
      `db-hub search "backup" --mode text --filter '{"path": "README.md"}' --limit 3`,
      'db-hub search "backup" --explain',
      `db-hub search '"every night" -restore' --syntax advanced --mode text`
    )
  )
)
