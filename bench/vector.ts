/**
 * Vector search through the store, exact and through a graph, against sqlite-vec, libSQL's vector index, a loop in
 * JavaScript and usearch by itself, all in one run: `npm run bench -- vector` at 10,000, 50,000 and 200,000 vectors,
 * `--million` at 1,000,000, `--sizes=20000,30000` at sizes of your own, `--no-libsql` without the slowest of them.
 * `--keep=FOLDER` leaves databases and graphs there, and begins with those that it finds.
 * Vectors have 384 components and lie in clusters of about 170, as those of texts on one subject do; queries come from
 * the same clusters.
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import LibSql from "libsql"
import * as SqliteVec from "sqlite-vec"
import { exactSearch, type Matches, MetricKind } from "usearch"
import * as SqliteClient from "../src/layers/sqlite/SqliteClient.js"
import * as GraphFile from "../src/layers/sqlite/SqliteGraphFile.js"
import * as GraphIndex from "../src/layers/sqlite/SqliteGraphIndex.js"
import { resolve } from "../src/layers/sqlite/SqliteOptions.js"
import * as SqliteVectorStore from "../src/layers/sqlite/SqliteVectorStore.js"
import * as SqliteVectorTables from "../src/layers/sqlite/SqliteVectorTables.js"
import { Distance, HnswIndex } from "../src/vector/index.js"
import { gaussianOf, randomOf, temporaryFolder } from "./support.js"

const keep = process.argv.find((one) => one.startsWith("--keep="))?.slice("--keep=".length)
const argument = (name: string) => process.argv.find((one) => one.startsWith(`--${name}`))
const sizes = argument("sizes=")
  ? argument("sizes=")!.slice("--sizes=".length).split(",").map(Number)
  : argument("million")
    ? [1_000_000]
    : [10_000, 50_000, 200_000]
const dimension = 384
const k = 10
const clusterSize = 170
const queries = 200
const batch = 5000
const memoryBytes = 2 ** 31

let random = randomOf(42)
const noise = Float32Array.from({ length: 2 ** 22 }, gaussianOf(random))

/** Length 1, around a centre or around nothing. */
const vectorAround = (centre: Float32Array | undefined): Float32Array => {
  const from = Math.floor(random() * (noise.length - dimension))
  const vector = new Float32Array(dimension)
  const spread = centre === undefined ? 1 : 0.6 / Math.sqrt(dimension)
  for (let i = 0; i < dimension; i++) vector[i] = (centre?.[i] ?? 0) + spread * noise[from + i]!
  const length = Math.sqrt(Distance.dot(vector, vector))
  return vector.map((x) => x / length)
}

const percentile = (times: ReadonlyArray<number>, p: number) =>
  times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * p))]!

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`
const seconds = (millis: number) => `${(millis / 1000).toFixed(1)} s`

const line = (name: string, text: string) => console.log(`  ${name.padEnd(50)} ${text}`)

const timed = <A>(run: () => A) => {
  const start = performance.now()
  const value = run()
  return [performance.now() - start, value] as const
}

const timedEffect = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const start = performance.now()
    return Effect.map(effect, (value) => [performance.now() - start, value] as const)
  })

/** Milliseconds that the thread of the event loop has computed: Linux tells; elsewhere, those of all threads. */
const computedSoFar = (): number => {
  const file = `/proc/self/task/${process.pid}/schedstat`
  if (NodeFs.existsSync(file)) return Number(NodeFs.readFileSync(file, "latin1").split(" ")[0]) / 1e6
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}

/**
 * The longest turn of the event loop, and the most that its thread computed in one: on a machine that others use, a turn
 * is also as long as they keep the process waiting.
 */
const watchTurns = () => {
  let [longest, computed, started, before] = [0, 0, performance.now(), computedSoFar()]
  const look = () => {
    const now = computedSoFar()
    longest = Math.max(longest, performance.now() - started)
    computed = Math.max(computed, now - before)
    started = performance.now()
    before = now
  }
  const timer = setInterval(look, 1)
  return {
    stop: () => {
      clearInterval(timer)
      return { longest, computed }
    }
  }
}

const turnsOf = ({ computed, longest }: { readonly computed: number; readonly longest: number }): string =>
  `${longest.toFixed(1)} ms, in which the thread of the event loop computed ${computed.toFixed(1)} ms`

/** Rows by decreasing dot product. */
type Find = (query: Float32Array) => ReadonlyArray<number>

interface Wanted {
  readonly query: Float32Array
  /** The score of the k-th best. */
  readonly last: number
}

const recallOf = (
  vectors: Float32Array,
  wanted: ReadonlyArray<Wanted>,
  found: ReadonlyArray<ReadonlyArray<number>>
) => {
  let hits = 0
  for (const [i, rows] of found.entries()) {
    const { last, query } = wanted[i]!
    hits += rows.filter((row) => Distance.dot(query, rowOf(vectors, row)) >= last - 1e-6).length
  }
  return hits / (k * found.length)
}

const rowOf = (vectors: Float32Array, row: number) => vectors.subarray(row * dimension, (row + 1) * dimension)

const show = (name: string, times: ReadonlyArray<number>, recall: number, note = "") =>
  line(
    name,
    `p50 ${percentile(times, 0.5).toFixed(2).padStart(7)} ms  p99 ${percentile(times, 0.99).toFixed(2).padStart(7)} ms  recall ${recall.toFixed(3)}  ${note}`
  )

interface Run {
  readonly times: ReadonlyArray<number>
  readonly recall: number
}

const runPeer = (vectors: Float32Array, wanted: ReadonlyArray<Wanted>, find: Find): Run => {
  for (const { query } of wanted.slice(0, 3)) find(query)
  const runs = wanted.map(({ query }) => timed(() => find(query)))
  const found = runs.map(([, rows]) => rows)
  return { times: runs.map(([time]) => time), recall: recallOf(vectors, wanted, found) }
}

const peer = (
  name: string,
  vectors: Float32Array,
  wanted: ReadonlyArray<Wanted>,
  times: number,
  find: Find,
  note = ""
) => {
  const run = runPeer(vectors, wanted.slice(0, times), find)
  show(name, run.times, run.recall, note)
}

const loopOver =
  (vectors: Float32Array, count: number): Find =>
  (query) => {
    const best: Array<{ readonly row: number; readonly score: number }> = []
    for (let row = 0; row < count; row++) {
      let score = 0
      for (let i = 0, at = row * dimension; i < dimension; i++, at++) score += vectors[at]! * query[i]!
      if (best.length < k || score > best[best.length - 1]!.score) {
        best.push({ row, score })
        best.sort((a, b) => b.score - a.score)
        if (best.length > k) best.pop()
      }
    }
    return best.map(({ row }) => row)
  }

const bytesOf = (vector: Float32Array) => Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength)

const benchSqliteVec = (folder: string, vectors: Float32Array, count: number, wanted: ReadonlyArray<Wanted>) => {
  const db = new Database(NodePath.join(folder, "sqlite-vec.db"))
  SqliteVec.load(db)
  db.exec(`CREATE VIRTUAL TABLE v USING vec0 (embedding float[${dimension}] distance_metric=cosine)`)
  const insert = db.prepare("INSERT INTO v (rowid, embedding) VALUES (?, ?)")
  const [building] = timed(() =>
    db.transaction(() => {
      for (let row = 0; row < count; row++) insert.run(BigInt(row), bytesOf(rowOf(vectors, row)))
    })()
  )
  const select = db.prepare(`SELECT rowid FROM v WHERE embedding MATCH ? AND k = ${k}`).pluck()
  peer(
    "sqlite-vec, brute force over 32-bit floats",
    vectors,
    wanted,
    count > 100_000 ? 20 : 50,
    (query) => select.all(bytesOf(query)) as ReadonlyArray<number>,
    `inserted in ${seconds(building)}`
  )
  db.close()
}

const benchLibSql = (folder: string, vectors: Float32Array, count: number, wanted: ReadonlyArray<Wanted>) => {
  const file = NodePath.join(folder, "libsql.db")
  const db = new LibSql(file)
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  db.exec(`CREATE TABLE v (id INTEGER PRIMARY KEY, embedding F32_BLOB(${dimension}))`)
  db.exec("CREATE INDEX v_index ON v (libsql_vector_idx(embedding, 'compress_neighbors=float8', 'max_neighbors=20'))")
  const insert = db.prepare("INSERT INTO v (id, embedding) VALUES (?, ?)")
  const [building] = timed(() => {
    db.exec("BEGIN")
    for (let row = 0; row < count; row++) insert.run([row, bytesOf(rowOf(vectors, row))])
    db.exec("COMMIT")
  })
  const select = db.prepare(`SELECT id FROM vector_top_k('v_index', ?, ${k})`)
  peer(
    "libSQL, vector index (float8, 20 neighbours)",
    vectors,
    wanted,
    50,
    (query) => (select.all([bytesOf(query)]) as ReadonlyArray<{ id: number }>).map(({ id }) => Number(id)),
    `built in ${seconds(building)}, ${megabytes(NodeFs.statSync(file).size)}`
  )
  db.close()
}

const nearestByUsearch = (vectors: Float32Array, query: Float32Array, threads = 1) =>
  exactSearch(vectors, query.slice(), dimension, k, MetricKind.IP, threads) as Matches

/** As a program would do it by hand: bytes in a table, one transaction, a prepared statement. */
const insertByHand = (folder: string, vectors: Float32Array, count: number) => {
  const db = new Database(NodePath.join(folder, "by-hand.db"))
  db.pragma("journal_mode = WAL")
  db.pragma("synchronous = NORMAL")
  for (const statement of SqliteVectorTables.up) db.exec(statement)
  db.exec(`INSERT INTO db_hub_collections (name, dimension, metric) VALUES ('c', ${dimension}, 'cosine')`)
  const insert = db.prepare(
    "INSERT INTO db_hub_vectors (collection_id, id, seq, metadata, vector, text) VALUES (1, ?, 1, ?, ?, ?)"
  )
  const [time] = timed(() =>
    db.transaction(() => {
      for (let row = 0; row < count; row++) {
        const { id, metadata, text, vector } = recordOf(vectors, row, count)
        insert.run(id, JSON.stringify(metadata), bytesOf(vector), text)
      }
    })()
  )
  db.close()
  return time
}

/** `share` is uniform from 0 to 1 and has nothing to do with the vector. */
const recordOf = (vectors: Float32Array, row: number, count: number) => ({
  id: `id-${row}`,
  vector: rowOf(vectors, row),
  metadata: { row, share: ((row * 7919) % count) / count, source: `folder/document-${row % 1000}.md` },
  text: `text of ${row}`
})

type Store = SqliteVectorStore.SqliteVectorStore

const searchAll = (store: Store, vectors: Float32Array, wanted: ReadonlyArray<Wanted>, options = {}) =>
  Effect.gen(function* () {
    for (const { query } of wanted.slice(0, 5)) yield* store.search("c", query, { k, ...options })
    const times: Array<number> = []
    const found: Array<ReadonlyArray<number>> = []
    for (const { query } of wanted) {
      const [time, hits] = yield* timedEffect(store.search("c", query, { k, ...options }))
      times.push(time)
      found.push(hits.map(({ id }) => Number(id.slice(3))))
    }
    return { times, recall: recallOf(vectors, wanted, found), found }
  })

/** What a program would write around usearch by hand, with the same graph, candidates and results as the store's. */
const searchByHand = (database: string, client: SqliteClient.SqliteClient) =>
  Effect.gen(function* () {
    const [row] = yield* client.query("SELECT * FROM db_hub_vector_graphs")
    const graph = GraphIndex.emptyGraph({
      dimension,
      metric: "cosine",
      scale: 1,
      connectivity: Number(row?.connectivity)
    })
    graph.view(GraphFile.pathOf(database, Number(row?.collection_id), String(row?.token)))
    const db = new Database(database, { readonly: true })
    const vectorsOf = db.prepare<[string], { row_id: number; vector: Buffer }>(
      "SELECT row_id, vector FROM db_hub_vectors WHERE row_id IN (SELECT value FROM json_each(?))"
    )
    const written = db.prepare("SELECT id, seq FROM db_hub_collections WHERE name = ?")
    const resultsOf = db.prepare<[string], { row_id: number; id: string; metadata: string; text: string }>(
      "SELECT row_id, id, metadata, text FROM db_hub_vectors WHERE row_id IN (SELECT value FROM json_each(?))"
    )
    const asked = HnswIndex.countFor(k, Number(row?.expansion))
    const candidates = (query: Float32Array) => graph.search(query, asked, 1) as { readonly keys: BigUint64Array }
    const find: Find = (query) => {
      const { keys } = candidates(query)
      const some = JSON.stringify(Array.from(keys.subarray(0, HnswIndex.scoredFor(k)), Number))
      const score = Distance.scorer("cosine", query)
      const best = vectorsOf
        .all(some)
        .map(({ row_id, vector }) => ({
          key: row_id,
          score: score(new Float32Array(vector.buffer, vector.byteOffset, dimension))
        }))
        .sort((a, b) => b.score - a.score)
        .slice(0, k)
      const byKey = new Map(resultsOf.all(JSON.stringify(best.map(({ key }) => key))).map((one) => [one.row_id, one]))
      return best.map(({ key }) => {
        const { id, metadata } = byKey.get(key)!
        JSON.parse(metadata)
        return Number(id.slice(3))
      })
    }
    return {
      asked,
      find,
      /** The answer of the store: a search sees what any process has committed before it. */
      findNewest: (query: Float32Array) => {
        written.get("c")
        return find(query)
      },
      alone: (query: Float32Array) => Array.from(candidates(query).keys.subarray(0, k), (key) => Number(key) - 1),
      row
    }
  })

const bench = (count: number) =>
  Effect.gen(function* () {
    const folder = temporaryFolder()
    const path = keep === undefined ? NodePath.join(folder, "hub.db") : NodePath.join(keep, `${count}.db`)
    const kept = NodeFs.existsSync(path)
    console.log(`\n${count} x ${dimension}, k = ${k}`)
    random = randomOf(42)
    const centres = Array.from({ length: Math.ceil(count / clusterSize) }, () => vectorAround(undefined))
    const anywhere = () => vectorAround(centres[Math.floor(random() * centres.length)])
    const vectors = new Float32Array(count * dimension)
    for (let row = 0; row < count; row++) vectors.set(anywhere(), row * dimension)
    const wanted = Array.from({ length: queries }, (): Wanted => {
      const query = anywhere()
      const row = Number(nearestByUsearch(vectors, query, 2).keys[k - 1])
      return { query, last: Distance.dot(query, rowOf(vectors, row)) }
    })

    const options = yield* resolve({ path })
    const client = yield* Effect.provide(SqliteClient.make(options), Reactivity.layer)
    if (!kept) for (const one of [...SqliteVectorTables.up, ...SqliteVectorTables.graphsUp]) yield* client.execute(one)
    const open = (graphFrom: number) => SqliteVectorStore.make(client, { memoryBytes, graphFrom })
    const exact = yield* open(Number.POSITIVE_INFINITY)
    yield* exact.createCollection("c", { dimension })
    let inserting = 0
    for (let row = 0; row < count && !kept; row += batch) {
      const records = Array.from({ length: Math.min(batch, count - row) }, (_, i) => recordOf(vectors, row + i, count))
      inserting += (yield* timedEffect(exact.insertMany("c", records)))[0]
    }
    const rate = (millis: number) => Math.round((count / millis) * 1000)
    const byHand = count > 200_000 ? undefined : insertByHand(folder, vectors, count)
    line(
      "insertMany",
      kept
        ? "kept"
        : `${rate(inserting)} records/s${byHand === undefined ? "" : `, by hand with better-sqlite3 ${rate(byHand)}`}`
    )

    const loadingTurns = watchTurns()
    const [loading] = yield* timedEffect(exact.search("c", wanted[0]!.query))
    const loaded = loadingTurns.stop()
    const found = yield* searchAll(exact, vectors, count > 200_000 ? wanted.slice(0, 50) : wanted)
    show(
      "store, exact",
      found.times,
      found.recall,
      `loaded in ${seconds(loading)}, turns of at most ${turnsOf(loaded)}, ${megabytes(exact.memoryBytes())}`
    )

    const searchingTurns = watchTurns()
    const together = wanted.slice(0, 8).map(({ query }) => exact.search("c", query, { k }))
    yield* Effect.all(together, { concurrency: "unbounded" })
    yield* Effect.sleep(5)
    line("eight exact searches at once", `turns of at most ${turnsOf(searchingTurns.stop())}`)

    const few = count > 100_000 ? 20 : 50
    peer("loop over Float32Array in JavaScript", vectors, wanted, few, loopOver(vectors, count))
    peer("usearch, exact, 32-bit floats", vectors, wanted, few, (query) =>
      Array.from(nearestByUsearch(vectors, query).keys, Number)
    )
    const small = new Int8Array(count * dimension)
    for (let i = 0; i < small.length; i++) small[i] = Math.max(-127, Math.min(127, Math.round(vectors[i]! * 508)))
    peer("usearch, exact, int8, not rescored", vectors, wanted, queries, (query) => {
      const bytes = Int8Array.from(query, (x) => Math.max(-127, Math.min(127, Math.round(x * 508))))
      return Array.from((exactSearch(small, bytes, dimension, k, MetricKind.L2sq, 1) as Matches).keys, Number)
    })
    benchSqliteVec(folder, vectors, count, wanted)
    if (count <= 10_000 && !argument("no-libsql")) benchLibSql(folder, vectors, count, wanted)

    // The first search of this store starts the build; others go on beside it, exactly.
    const graphs = yield* open(1)
    yield* graphs.search("c", wanted[0]!.query)
    const buildingTurns = watchTurns()
    const [building] = yield* timedEffect(graphs.settled)
    line(
      "building a graph, no search meanwhile",
      `${seconds(building)}, turns of at most ${turnsOf(buildingTurns.stop())}`
    )
    const hand = yield* searchByHand(path, client)
    const row = hand.row!
    // In turns, so that a drift of the machine meets all of them; the first round warms up.
    const rounds: Array<readonly [store: Run, alone: Run, around: Run, newest: Run]> = []
    for (let round = 0; round < 6; round++) {
      const store = yield* searchAll(graphs, vectors, wanted)
      const [alone, around, newest] = [hand.alone, hand.find, hand.findNewest].map((find) =>
        runPeer(vectors, wanted, find)
      ) as [Run, Run, Run]
      rounds.push([store, alone, around, newest])
    }
    const [store, alone, around, newest] = ([0, 1, 2, 3] as const).map((which): Run => {
      const runs = rounds.slice(1).map((round) => round[which])
      return { times: runs.flatMap(({ times }) => times), recall: runs[0]!.recall }
    }) as [Run, Run, Run, Run]
    const measured = `expansion ${row.expansion}, recall promised by the build ${Number(row.recall).toFixed(3)}`
    show("store, through the graph", store.times, store.recall, measured)
    show("usearch, the same graph, nothing around it", alone.times, alone.recall)
    show("usearch, the same graph, rescored by hand", around.times, around.recall)
    show("the same, asking first whether anything was written", newest.times, newest.recall)
    const over = (run: Run) => (percentile(store.times, 0.5) / percentile(run.times, 0.5) - 1) * 100
    line(
      "the store's overhead",
      `${over(around).toFixed(0)} % over by hand, ${over(newest).toFixed(0)} % over by hand asking, ${over(alone).toFixed(0)} % over usearch alone`
    )
    line(
      "memory per million vectors",
      `graph file, mapped: ${megabytes((Number(row.bytes) / count) * 1e6)}; of the process: ${megabytes((graphs.memoryBytes() / count) * 1e6)}; exact: ${megabytes((exact.memoryBytes() / count) * 1e6)}`
    )

    for (const [name, store] of [
      ["exact", exact],
      ["through the graph", graphs]
    ] as const) {
      for (const share of [0.001, 0.01, 0.1, 0.5, 1].filter((share) => share * count >= k)) {
        const some = wanted.slice(0, 40)
        const matching = Array.from({ length: count }, (_, row) => row).filter(
          (row) => ((row * 7919) % count) / count < share
        )
        const part = new Float32Array(matching.length * dimension)
        matching.forEach((row, i) => {
          part.set(rowOf(vectors, row), i * dimension)
        })
        const best = some.map(({ query }): Wanted => {
          const last = matching[Number(nearestByUsearch(part, query, 2).keys[k - 1])]!
          return { query, last: Distance.dot(query, rowOf(vectors, last)) }
        })
        const filter = { share: { $lt: share } }
        const [first] = yield* timedEffect(store.search("c", some[0]!.query, { k, filter }))
        const filtered = yield* searchAll(store, vectors, best, { filter })
        const complete = filtered.found.every((rows) => rows.length === k)
        show(
          `store, ${name}, filter: ${share * 100} %`,
          filtered.times,
          filtered.recall,
          `first ${first.toFixed(0)} ms, ${complete ? "always k" : "NOT ALWAYS k"}`
        )
      }
    }
    NodeFs.rmSync(folder, { recursive: true, force: true })
  })

// A build alone does not keep a process.
const stay = setInterval(() => {}, 60_000)
for (const count of sizes) await Effect.runPromise(Effect.scoped(bench(count)))
clearInterval(stay)
