/**
 * Puts the text files of a folder into a hub on embedded SQLite and answers questions with passages of them.
 *
 *   npm start                                   this repository's own documents, some questions of its own
 *   npm start -- ~/notes "what did we decide?"  your folder, your question
 *
 * Run it again: only passages that changed are embedded again.
 */
import * as NodeCrypto from "node:crypto"
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Backend, HealthChecker, Migrator, Sqlite, VectorStore } from "effect-db-hub"
import { HashingEmbedder } from "effect-db-hub/vector"

const database = "./data/hub.db"
const collection = "documents"
const ownQuestions = [
  "What happens when another process holds the write lock?",
  "How do I refer to environment variables in a configuration?",
  "Why is vector search exact?"
]

const textFiles = /\.(md|markdown|mdx|txt|text|rst)$/i
const skipped = /(^|[/\\])(node_modules|data|dist|\.[^/\\]+)([/\\]|$)/

interface Passage {
  readonly id: string
  readonly heading: string
  readonly text: string
}

/** Paragraphs and list items under one heading, some hundred characters together; a code block stays whole. */
const passagesOf = (source: string, content: string): ReadonlyArray<Passage> => {
  const passages: Array<Passage> = []
  const seen = new Map<string, number>()
  let heading = ""
  let text = ""
  const flush = () => {
    const body = text.trim()
    text = ""
    if (body === "") return
    // The name of a passage is its content, so an unchanged one is found again wherever it has moved in its file.
    const hash = NodeCrypto.createHash("sha256").update(`${heading}\n${body}`).digest("hex").slice(0, 16)
    const copies = seen.get(hash) ?? 0
    seen.set(hash, copies + 1)
    passages.push({ id: `${source}#${hash}${copies === 0 ? "" : `-${copies}`}`, heading, text: body })
  }
  let fenced = false
  for (const line of content.split(/\r?\n/)) {
    if (line.startsWith("```")) fenced = !fenced
    const title = fenced ? null : /^#{1,6}\s+(.*)$/.exec(line)
    const mayBreak = !fenced && (line.trim() === "" || /^[-*] /.test(line))
    if (title !== null || (mayBreak && text.length > 240)) flush()
    if (title === null) text += `${line}\n`
    else heading = title[1]!
  }
  flush()
  return passages
}

const progress = (done: number, total: number, what: string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (process.stderr.isTTY !== true) return
    const filled = Math.round((30 * done) / total)
    process.stderr.write(`\r\x1b[K[${"#".repeat(filled)}${" ".repeat(30 - filled)}] ${done}/${total} ${what}`)
    if (done === total) process.stderr.write("\r\x1b[K")
  })

const listFiles = (folder: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const names = yield* fs.readDirectory(folder, { recursive: true })
    return names.filter((name) => textFiles.test(name) && !skipped.test(name)).sort()
  })

/** Brings one file's passages up to date, in one transaction. */
const ingestFile = (embedder: HashingEmbedder.HashingEmbedder, folder: string, source: string) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const backend = yield* Backend
    const vectors = yield* VectorStore
    const passages = passagesOf(source, yield* fs.readFileString(path.join(folder, source)))
    const ids = passages.map(({ id }) => `${folder}/${id}`)
    return yield* backend.transaction(
      Effect.gen(function* () {
        const known = new Set((yield* vectors.get(collection, ids)).map(({ id }) => id))
        const added = passages.filter((_, index) => !known.has(ids[index]!))
        yield* vectors.insertMany(
          collection,
          added.map(({ heading, id, text }) => ({
            id: `${folder}/${id}`,
            vector: embedder.embed(`${heading}\n${text}`),
            text,
            metadata: { folder, source, heading, passage: id }
          }))
        )
        const removed = yield* vectors.deleteWhere(collection, {
          folder,
          source,
          passage: { $nin: passages.map(({ id }) => id) }
        })
        return { passages: passages.length, embedded: added.length, removed }
      })
    )
  })

const ingest = (embedder: HashingEmbedder.HashingEmbedder, folder: string) =>
  Effect.gen(function* () {
    const vectors = yield* VectorStore
    yield* vectors.createCollection(collection, { dimension: embedder.dimension, model: embedder.model })
    const files = yield* listFiles(folder)
    const totals = { passages: 0, embedded: 0, removed: 0 }
    for (const [index, source] of files.entries()) {
      const file = yield* ingestFile(embedder, folder, source)
      totals.passages += file.passages
      totals.embedded += file.embedded
      totals.removed += file.removed
      yield* progress(index + 1, files.length, source)
    }
    totals.removed += yield* vectors.deleteWhere(collection, { folder, source: { $nin: files } })
    return { files: files.length, ...totals }
  })

const answer = (embedder: HashingEmbedder.HashingEmbedder, folder: string, question: string) =>
  Effect.gen(function* () {
    const vectors = yield* VectorStore
    const hits = yield* vectors.search(collection, embedder.embed(question), { k: 3, filter: { folder } })
    yield* Console.log(`\n? ${question}`)
    if (hits.length === 0) yield* Console.log("  Nothing found: the folder has no Markdown or text files.")
    for (const { metadata, score, text } of hits) {
      const excerpt = (text ?? "").replaceAll(/\s+/g, " ").slice(0, 160)
      yield* Console.log(`  ${score.toFixed(3)}  ${metadata["source"]} › ${metadata["heading"]}\n         ${excerpt}`)
    }
  })

const main = Effect.gen(function* () {
  const path = yield* Path.Path
  const fs = yield* FileSystem.FileSystem
  const [folderGiven = ".", ...words] = process.argv.slice(2)
  const folder = yield* fs.realPath(path.resolve(folderGiven))
  const questions = words.length > 0 ? [words.join(" ")] : ownQuestions

  const embedder = yield* HashingEmbedder.make()
  const migrator = yield* Migrator
  yield* migrator.migrate()

  const started = performance.now()
  const report = yield* ingest(embedder, folder)
  const seconds = ((performance.now() - started) / 1000).toFixed(2)
  yield* Console.log(
    `${report.files} files, ${report.passages} passages: ${report.embedded} embedded, ` +
      `${report.passages - report.embedded} unchanged, ${report.removed} removed (${seconds} s)`
  )

  const health = yield* (yield* HealthChecker).status
  yield* Console.log(
    `${database}: ${health.healthy ? "healthy" : `unhealthy (${health.error})`}, SQLite ${health.version}, ` +
      `schema version ${health.schemaVersion}, ${(((health.fileSize ?? 0) + (health.walSize ?? 0)) / 1024).toFixed(0)} KiB`
  )

  yield* Effect.forEach(questions, (question) => answer(embedder, folder, question), { discard: true })
  yield* Console.log(`\nThe embedder (${embedder.model}) is lexical: it finds wording, not meaning.`)
})

main.pipe(
  Effect.provide(Sqlite.layer({ path: database })),
  Effect.provide(NodeContext.layer),
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
