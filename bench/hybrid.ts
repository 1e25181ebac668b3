/**
 * How long a search takes over 100,000 chunks (or `--count=N`): text, vector and hybrid, with and without a filter, on
 * SQLite and PostgreSQL (or `--engine=sqlite` alone, or `postgresql`), beside the engines' own text search over the same
 * chunks. Words are spread as in natural text (Zipf), chunks have 60 to 180 of them, questions 3 to 6 that are not among
 * the most frequent; vectors lie in clusters. PostgreSQL builds its index of the vectors once nearly all are there.
 */
import SqliteDatabase from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { type BackendShape, Search, SearchLive, type SearchRequest, Sqlite } from "effect-db-hub"
import { Postgres } from "effect-db-hub/postgres"
import pg from "pg"
import { startPostgres } from "../scripts/engines/postgres.mjs"
import { servicesOf } from "../src/layers/BackendLayer.js"
import { gaussianOf, median, randomOf, temporaryFolder } from "./support.js"

const count = Number(
  process.argv.find((argument) => argument.startsWith("--count="))?.slice("--count=".length) ?? 100_000
)
const engine = process.argv.find((argument) => argument.startsWith("--engine="))?.slice("--engine=".length)
const dimension = 384
const batch = 1_000
const searches = 200

const random = randomOf(42)
const gaussian = gaussianOf(random)

const vocabulary = 50_000
const upTo = new Float64Array(vocabulary)
for (let i = 0, sum = 0; i < vocabulary; i++) {
  sum += 1 / (i + 2.7)
  upTo[i] = sum
}
const wordNumber = () => {
  const wanted = random() * upTo[vocabulary - 1]!
  let [low, high] = [0, vocabulary - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (upTo[middle]! < wanted) low = middle + 1
    else high = middle
  }
  return low
}
const wordOf = (number: number) => {
  let word = ""
  for (let rest = number + 100; rest > 0; rest = Math.floor(rest / 80)) {
    word += "bcdfghklmnprstvz"[rest % 16]! + "aeiou"[(rest >> 4) % 5]!
  }
  return word
}
const chunkText = () => Array.from({ length: 60 + Math.floor(random() * 121) }, () => wordOf(wordNumber())).join(" ")
const question = () =>
  Array.from({ length: 3 + Math.floor(random() * 4) }, () => {
    let number = wordNumber()
    while (number < 60) number = wordNumber()
    return wordOf(number)
  }).join(" ")

const centres = Array.from({ length: 500 }, () => Float32Array.from({ length: dimension }, gaussian))
const vector = () => {
  const centre = centres[Math.floor(random() * centres.length)]!
  return centre.map((x) => x + 0.6 * gaussian())
}

const records = Array.from({ length: count }, (_, i) => ({
  id: `chunk-${i}`,
  text: chunkText(),
  vector: vector(),
  metadata: { tenth: i % 10, hundredth: i % 100 }
}))
const questions = Array.from({ length: searches }, () => ({ text: question(), vector: vector() }))

const timesOf = async (run: (question: (typeof questions)[number]) => Promise<unknown>) => {
  for (const each of questions.slice(0, 10)) await run(each)
  const times: Array<number> = []
  for (const each of questions) {
    const started = performance.now()
    await run(each)
    times.push(performance.now() - started)
  }
  return times.sort((a, b) => a - b)
}

const report = (name: string, times: ReadonlyArray<number>, peer?: number) => {
  const [p50, p99] = [median(times), times[Math.floor(times.length * 0.99)]!]
  console.log(
    `  ${name.padEnd(44)} p50 ${p50.toFixed(1).padStart(7)} ms  p99 ${p99.toFixed(1).padStart(7)} ms` +
      (peer === undefined ? "" : `  ${(p50 / peer).toFixed(2)} x the engine's own`)
  )
  return p50
}

const measure = async (name: string, backend: BackendShape, peer: number) => {
  const search = await Effect.runPromise(Search.pipe(Effect.provide(SearchLive), Effect.provide(servicesOf(backend))))
  await Effect.runPromise(search.createCollection("chunks", { dimension }))
  const started = performance.now()
  for (let i = 0; i < count; i += batch) {
    await Effect.runPromise(search.index("chunks", records.slice(i, i + batch)))
  }
  console.log(`${name}: ${(((performance.now() - started) * 1000) / count).toFixed(0)} µs a chunk, text and vector`)
  if (backend.kind === "postgresql") {
    const built = performance.now()
    const state = Effect.map(backend.vector.collections, ([found]) => found?.index?.state)
    while ((await Effect.runPromise(state)) !== "ready") await new Promise((done) => setTimeout(done, 200))
    console.log(`${name}: ${((performance.now() - built) / 1000).toFixed(0)} s for the index of the vectors`)
    await Effect.runPromise(backend.execute("VACUUM (ANALYZE)"))
  }
  const by = (request: Omit<SearchRequest, "text" | "vector">) =>
    timesOf((question) => Effect.runPromise(search.search("chunks", { ...question, ...request })))
  for (const mode of ["text", "vector", "hybrid"] as const) {
    report(`${name}: ${mode}`, await by({ mode }), mode === "text" ? peer : undefined)
    for (const [share, filter] of [
      ["10 %", { tenth: 3 }],
      ["1 %", { hundredth: 33 }]
    ] as const) {
      report(`${name}: ${mode}, filter that ${share} match`, await by({ mode, filter }))
    }
  }
}

const ownSqlite = async () => {
  const database = new SqliteDatabase(`${temporaryFolder()}/own.db`)
  database.exec("CREATE VIRTUAL TABLE chunks USING fts5 (text)")
  const add = database.prepare("INSERT INTO chunks (text) VALUES (?)")
  database.transaction(() => {
    for (const { text } of records) add.run(text)
  })()
  const find = database.prepare("SELECT rowid, text FROM chunks WHERE chunks MATCH ? ORDER BY bm25(chunks) LIMIT 10")
  const times = await timesOf(async ({ text }) => find.all(text.split(" ").join(" OR ")))
  database.close()
  return report("FTS5, bm25()", times)
}

const ownPostgres = async (url: string) => {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query("CREATE TABLE own_chunks (text text, terms tsvector)")
  for (let i = 0; i < count; i += batch) {
    await client.query("INSERT INTO own_chunks SELECT t, to_tsvector('simple', t) FROM unnest($1::text[]) AS t", [
      records.slice(i, i + batch).map(({ text }) => text)
    ])
  }
  await client.query("CREATE INDEX ON own_chunks USING gin (terms)")
  await client.query("VACUUM (ANALYZE) own_chunks")
  const find = `SELECT text FROM own_chunks, to_tsquery('simple', $1) AS q WHERE terms @@ q
    ORDER BY ts_rank_cd(terms, q) DESC LIMIT 10`
  const times = await timesOf(({ text }) => client.query(find, [text.split(" ").join(" | ")]))
  await client.query("DROP TABLE own_chunks")
  await client.end()
  return report("tsvector, ts_rank_cd()", times)
}

const scope = Effect.runSync(Scope.make())
const open = <E>(backend: Effect.Effect<BackendShape, E, Scope.Scope>) =>
  Effect.runPromise(Scope.extend(backend, scope))
console.log(`${count} chunks, ${searches} questions, 10 results`)
if (engine !== "postgresql") {
  await measure("SQLite", await open(Sqlite.make({ path: `${temporaryFolder()}/hub.db` })), await ownSqlite())
}
const server = engine === "sqlite" ? { kind: "left out" as const } : await startPostgres()
if (server.kind === "left out") console.log("PostgreSQL is left out")
else if (server.kind === "none") console.log(`no PostgreSQL: ${server.reason}`)
else {
  const own = await ownPostgres(server.url)
  const vector = { indexAfter: Math.ceil(count * 0.9) }
  const backend = await open(Postgres.make({ url: Redacted.make(server.url), vector }))
  // An index that does not fit is built many times slower.
  await Effect.runPromise(backend.execute("ALTER ROLE CURRENT_USER SET maintenance_work_mem = '1GB'"))
  await measure("PostgreSQL", backend, own)
}
await Effect.runPromise(Scope.close(scope, Exit.void))
if ("stop" in server) await server.stop()
