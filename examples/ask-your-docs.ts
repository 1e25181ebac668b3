/**
 * Makes the text files of a folder searchable in a hub on embedded SQLite, and answers questions with passages of them.
 *
 *   npm start                                   the documents of this repository, some questions of its own
 *   npm start -- ~/notes "what did we decide?"  your folder, your question
 *
 * Run it again: only passages that changed are embedded again. `db-hub ingest` and `db-hub search` do the same.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  Embeddings,
  HashingEmbeddings,
  HealthChecker,
  Ingest,
  IngestLive,
  type IngestProgress,
  Search,
  SearchLive,
  Sqlite
} from "effect-db-hub"

const database = "./data/hub.db"
const ownQuestions = [
  "What happens when another process holds the write lock?",
  "How do I refer to environment variables in a configuration?",
  "Why is vector search exact?"
]

const showProgress = ({ done, total }: IngestProgress): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.stderr.isTTY !== true) return
    const filled = Math.round((30 * done) / total)
    process.stderr.write(done === total ? "\r\x1b[K" : `\r[${"#".repeat(filled).padEnd(30)}] ${done}/${total}`)
  })

const answer = (folder: string, question: string) =>
  Effect.gen(function* () {
    const search = yield* Search
    const { results } = yield* search.search("documents", { text: question, limit: 3, filter: { folder } })
    yield* Console.log(`\n? ${question}`)
    if (results.length === 0) yield* Console.log("  Nothing found.")
    for (const { metadata, score, text } of results) {
      const excerpt = (text ?? "").replaceAll(/\s+/g, " ").slice(0, 160)
      yield* Console.log(`  ${score.toFixed(3)}  ${metadata["path"]}:${metadata["line"]}\n         ${excerpt}`)
    }
  })

const main = Effect.gen(function* () {
  const [folder = "docs", ...words] = process.argv.slice(2)
  const questions = words.length > 0 ? [words.join(" ")] : ownQuestions

  const ingest = yield* Ingest
  const [duration, report] = yield* Effect.timed(ingest.folder(folder, { onProgress: showProgress }))
  const { added, changed, chunks, embedded, removed, unchanged } = report
  yield* Console.log(
    `files: ${added} added, ${changed} changed, ${unchanged} unchanged, ${removed} removed; ` +
      `${chunks} passages, ${embedded} embedded (${Duration.toSeconds(duration).toFixed(2)} s)`
  )

  const health = yield* (yield* HealthChecker).status
  yield* Console.log(
    `${database}: ${health.healthy ? "healthy" : `unhealthy (${health.error})`}, SQLite ${health.version}`
  )

  yield* Effect.forEach(questions, (question) => answer(report.folder, question), { discard: true })
  const { model } = yield* Embeddings
  yield* Console.log(`\nThe embedder (${model}) is lexical: it finds wording, not meaning.`)
})

const live = IngestLive.pipe(
  Layer.provideMerge(SearchLive),
  Layer.provideMerge(Layer.merge(Sqlite.layer({ path: database }), HashingEmbeddings.layer()))
)

main.pipe(
  Effect.provide(live),
  Effect.catchAll((error) =>
    Effect.zipRight(
      Console.error(`error: ${error.message}`),
      Effect.sync(() => {
        process.exitCode = 1
      })
    )
  ),
  NodeRuntime.runMain
)
