/**
 * How good the results are: Cranfield (1400 abstracts, 225 questions, judged), text, vectors and both, on SQLite and
 * PostgreSQL, beside a plain FTS5 table with `bm25()`. `npm run bench -- quality --data=FOLDER`, where the folder holds
 * cran.all.1400.xml, cran.qry.xml and cranqrel.trec.txt. Vectors are those of the hashing embedder, which is lexical.
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import SqliteDatabase from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { type BackendShape, type FusionOptions, Search, SearchLive, Sqlite } from "effect-db-hub"
import { Postgres } from "effect-db-hub/postgres"
import { HashingEmbedder } from "effect-db-hub/vector"
import { startPostgres } from "../scripts/engines/postgres.mjs"
import { servicesOf } from "../src/layers/BackendLayer.js"
import { median } from "./support.js"

const folder = process.argv.find((argument) => argument.startsWith("--data="))?.slice("--data=".length)

interface Question {
  readonly id: string
  readonly text: string
  readonly relevant: ReadonlySet<string>
}

interface Measured {
  readonly ndcg: number
  readonly map: number
  readonly recall: number
  readonly p50: number
  readonly p99: number
}

const clean = (text: string) => text.replace(/\s+/g, " ").trim()

const load = (from: string) => {
  const read = (file: string) => NodeFs.readFileSync(NodePath.join(from, file), "utf8")
  const documents = Array.from(
    read("cran.all.1400.xml").matchAll(/<docno>\s*(\d+)\s*<\/docno>[\s\S]*?<text>([\s\S]*?)<\/text>/g),
    ([, id, text]) => ({ id: id!, text: clean(text!) })
  )
  const relevant = new Map<string, Set<string>>()
  for (const line of read("cranqrel.trec.txt").split("\n")) {
    const [query, , document, grade] = line.trim().split(/\s+/)
    if (Number(grade) >= 1) relevant.set(query!, (relevant.get(query!) ?? new Set()).add(document!))
  }
  // Judgments count the questions by their place in the file.
  const questions = Array.from(
    read("cran.qry.xml").matchAll(/<title>([\s\S]*?)<\/title>/g),
    ([, text], i): Question => ({
      id: String(i + 1),
      text: clean(text!),
      relevant: relevant.get(String(i + 1)) ?? new Set()
    })
  )
  return { documents, questions }
}

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

const measure = async (
  questions: ReadonlyArray<Question>,
  search: (text: string) => Promise<ReadonlyArray<string>>
): Promise<Measured> => {
  const found: Array<{ ndcg: number; map: number; recall: number; took: number }> = []
  for (const { relevant, text } of questions) {
    const started = performance.now()
    const ids = await search(text)
    const took = performance.now() - started
    if (relevant.size === 0) continue
    const gain = (rank: number) => 1 / Math.log2(rank + 1)
    let [dcg, best, hits, precisions] = [0, 0, 0, 0]
    for (let rank = 1; rank <= Math.min(10, relevant.size); rank++) best += gain(rank)
    ids.slice(0, 100).forEach((id, i) => {
      if (!relevant.has(id)) return
      hits++
      precisions += hits / (i + 1)
      if (i < 10) dcg += gain(i + 1)
    })
    found.push({ ndcg: dcg / best, map: precisions / relevant.size, recall: hits / relevant.size, took })
  }
  const times = found.map(({ took }) => took).sort((a, b) => a - b)
  return {
    ndcg: mean(found.map(({ ndcg }) => ndcg)),
    map: mean(found.map(({ map }) => map)),
    recall: mean(found.map(({ recall }) => recall)),
    p50: median(times),
    p99: times[Math.floor(times.length * 0.99)]!
  }
}

const run = async (from: string): Promise<void> => {
  const { documents, questions } = load(from)
  const scope = Effect.runSync(Scope.make())
  const open = <E>(backend: Effect.Effect<BackendShape, E, Scope.Scope>) =>
    Effect.runPromise(Scope.extend(backend, scope))
  const server = await startPostgres()
  const engines: Record<string, BackendShape> = { SQLite: await open(Sqlite.make({ path: ":memory:" })) }
  if (server.kind === "none") console.log(`no PostgreSQL: ${server.reason}`)
  else engines["PostgreSQL"] = await open(Postgres.make({ url: Redacted.make(server.url) }))
  const embedder = await Effect.runPromise(HashingEmbedder.make())
  console.log(`${documents.length} documents, ${questions.length} questions; MAP and recall at 100`)

  const results = new Map<string, Measured>()
  const report = (name: string, measured: Measured) => {
    results.set(name, measured)
    const { map, ndcg, p50, p99, recall } = measured
    console.log(
      `  ${name.padEnd(34)} nDCG@10 ${ndcg.toFixed(4)}  MAP ${map.toFixed(4)}  recall ${recall.toFixed(4)}  ` +
        `p50 ${p50.toFixed(2)} ms  p99 ${p99.toFixed(2)} ms`
    )
  }

  const plain = new SqliteDatabase(":memory:")
  plain.exec("CREATE VIRTUAL TABLE documents USING fts5 (text, tokenize = 'porter unicode61')")
  const add = plain.prepare("INSERT INTO documents (rowid, text) VALUES (?, ?)")
  for (const { id, text } of documents) add.run(Number(id), text)
  const match = plain.prepare(
    "SELECT rowid AS id FROM documents WHERE documents MATCH ? ORDER BY bm25(documents) LIMIT 100"
  )
  const matching = async (query: string) => (match.all(query) as Array<{ id: number }>).map(({ id }) => String(id))
  const wordsOf = (text: string) => (text.match(/[\p{L}\p{N}]+/gu) ?? []).map((word) => `"${word}"`)
  report("plain FTS5 bm25(), words OR-ed", await measure(questions, (text) => matching(wordsOf(text).join(" OR "))))
  report("plain FTS5 bm25(), words AND-ed", await measure(questions, (text) => matching(wordsOf(text).join(" "))))

  for (const [engine, backend] of Object.entries(engines)) {
    const search = await Effect.runPromise(Search.pipe(Effect.provide(SearchLive), Effect.provide(servicesOf(backend))))
    await Effect.runPromise(search.createCollection("cranfield", { dimension: 384, model: embedder.model }))
    await Effect.runPromise(
      search.index(
        "cranfield",
        documents.map(({ id, text }) => ({ id, text, vector: embedder.embed(text) }))
      )
    )
    const by = (mode: "text" | "vector" | "hybrid", fusion?: FusionOptions) =>
      measure(questions, async (text) => {
        const request = { mode, text, vector: embedder.embed(text), limit: 100, preFusionLimit: 200 }
        const answer = await Effect.runPromise(search.search("cranfield", fusion ? { ...request, fusion } : request))
        return answer.results.map(({ id }) => id)
      })
    report(`${engine}: text`, await by("text"))
    report(`${engine}: vector`, await by("vector"))
    report(`${engine}: hybrid`, await by("hybrid"))
    report(`${engine}: hybrid, RRF`, await by("hybrid", { strategy: "rrf" }))
    const vectorsFirst = { strategy: "weighted", textWeight: 0.3, vectorWeight: 0.7 } as const
    report(`${engine}: hybrid, min-max 0.3/0.7`, await by("hybrid", vectorsFirst))
    report(`${engine}: hybrid, z-score`, await by("hybrid", { strategy: "weighted", normalization: "z-score" }))
  }

  const ndcg = (name: string) => results.get(name)?.ndcg
  const texts = Object.keys(engines).map((engine) => ndcg(`${engine}: text`)!)
  const targets: Record<string, boolean> = {
    "text has nDCG@10 of 0.38 or more": texts.every((value) => value >= 0.38),
    "engines are within 0.03 of each other": Math.max(...texts) - Math.min(...texts) <= 0.03,
    "hybrid is as good as text or better": Object.keys(engines).every(
      (engine) => ndcg(`${engine}: hybrid`)! >= ndcg(`${engine}: text`)!
    )
  }
  for (const [target, met] of Object.entries(targets)) {
    console.log(`  ${met ? "met   " : "MISSED"} ${target}`)
    if (!met) process.exitCode = 1
  }
  await Effect.runPromise(Scope.close(scope, Exit.void))
  if (server.kind !== "none" && "stop" in server) await server.stop()
}

if (folder === undefined) console.log("needs the Cranfield collection: npm run bench -- quality --data=FOLDER")
else await run(folder)
