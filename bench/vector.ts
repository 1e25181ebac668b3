/**
 * Vector search and insertion through the store, against the same work done by hand in the same run.
 */
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import * as Reactivity from "@effect/experimental/Reactivity"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import { exactSearch, type Matches, MetricKind } from "usearch"
import * as SqliteClient from "../src/layers/sqlite/SqliteClient.js"
import { resolve } from "../src/layers/sqlite/SqliteOptions.js"
import * as SqliteVectorStore from "../src/layers/sqlite/SqliteVectorStore.js"
import * as SqliteVectorTables from "../src/layers/sqlite/SqliteVectorTables.js"

const count = 50_000
const dimension = 384
const queries = 200
const k = 10

let state = 42
const random = () => {
  state = (state + 0x6d2b79f5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}
const gaussian = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

const unit = (vector: Float32Array) => {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0))
  return vector.map((x) => x / length)
}

const randomVector = () => unit(Float32Array.from({ length: dimension }, gaussian))
const centres = Array.from({ length: 300 }, randomVector)
const clusteredVector = () => {
  const centre = centres[Math.floor(random() * centres.length)]!
  return unit(centre.map((x) => x + (0.6 * gaussian()) / Math.sqrt(dimension)))
}

const percentile = (times: ReadonlyArray<number>, p: number) =>
  [...times].sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * p))]!

const report = (name: string, times: ReadonlyArray<number>, against = percentile(times, 0.5)) => {
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  console.log(
    `  ${name.padEnd(44)} p50 ${p50.toFixed(2).padStart(7)} ms  p99 ${p99.toFixed(2).padStart(7)} ms  ` +
      `${(p50 / against).toFixed(2)} x the store`
  )
  return p50
}

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

const loop = (vectors: ReadonlyArray<Float32Array>, query: Float32Array) => {
  const best: Array<{ readonly row: number; readonly score: number }> = []
  for (let row = 0; row < vectors.length; row++) {
    const vector = vectors[row]!
    let score = 0
    for (let i = 0; i < dimension; i++) score += vector[i]! * query[i]!
    if (best.length < k || score > best[best.length - 1]!.score) {
      best.push({ row, score })
      best.sort((a, b) => b.score - a.score)
      if (best.length > k) best.pop()
    }
  }
  return best.map(({ row }) => row)
}

/** As a program would do it by hand: bytes in a table, one transaction, a prepared statement. */
const insertByHand = (folder: string, vectors: ReadonlyArray<Float32Array>) => {
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
      vectors.forEach((vector, i) => {
        insert.run(`id-${i}`, JSON.stringify({ n: i, tenth: i % 10 }), Buffer.from(vector.buffer), `text of ${i}`)
      })
    })()
  )
  db.close()
  return time
}

const bench = (name: string, next: () => Float32Array) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "effect-db-hub-bench-"))),
      (folder) => Effect.sync(() => NodeFs.rmSync(folder, { recursive: true, force: true }))
    )
    const vectors = Array.from({ length: count }, next)
    const wanted = Array.from({ length: queries }, next)
    const options = yield* resolve({ path: NodePath.join(folder, "hub.db") })
    const client = yield* Effect.provide(SqliteClient.make(options), Reactivity.layer)
    for (const statement of SqliteVectorTables.up) yield* client.execute(statement)
    const store = yield* SqliteVectorStore.make(client, { backend: "bench", memoryBytes: options.vectorMemory })
    yield* store.createCollection("c", { dimension })

    console.log(`${name}: ${count} x ${dimension}, ${queries} queries, k = ${k}`)
    const records = vectors.map((vector, i) => ({
      id: `id-${i}`,
      vector,
      metadata: { n: i, tenth: i % 10 },
      text: `text of ${i}`
    }))
    const byHand = insertByHand(folder, vectors)
    const [inserting] = yield* timedEffect(store.insertMany("c", records))
    const rate = (millis: number) => Math.round((count / millis) * 1000)
    console.log(
      `  insertMany ${rate(inserting)} records/s, a loop over better-sqlite3 ${rate(byHand)} records/s: ` +
        `${(inserting / byHand).toFixed(2)} x the time`
    )
    const [loading] = yield* timedEffect(store.search("c", wanted[0]!))
    console.log(`  first search, which loads the index: ${loading.toFixed(0)} ms`)

    const matrix = Int8Array.from({ length: count * dimension }, (_, i) =>
      Math.max(-127, Math.min(127, Math.round(vectors[Math.floor(i / dimension)]![i % dimension]! * 127 * 4)))
    )
    const times = { store: [] as Array<number>, filtered: [] as Array<number>, loop: [] as Array<number> }
    const usearch: Array<number> = []
    let [storeFound, usearchFound, total] = [0, 0, 0]
    for (const [i, query] of wanted.entries()) {
      const [storeTime, hits] = yield* timedEffect(store.search("c", query, { k }))
      times.store.push(storeTime)
      const [filteredTime] = yield* timedEffect(store.search("c", query, { k, filter: { tenth: 3 } }))
      times.filtered.push(filteredTime)
      const small = query.map((x) => Math.max(-127, Math.min(127, Math.round(x * 127 * 4))))
      const bytes = Int8Array.from(small)
      const [usearchTime, nearest] = timed(
        () => exactSearch(matrix, bytes, dimension, k, MetricKind.L2sq, 1) as Matches
      )
      usearch.push(usearchTime)
      if (i % 5 !== 0) continue
      const [loopTime, rows] = timed(() => loop(vectors, query))
      times.loop.push(loopTime)
      const exact = new Set(rows)
      total += exact.size
      storeFound += hits.filter(({ id }) => exact.has(Number(id.slice(3)))).length
      usearchFound += Array.from(nearest.keys).filter((row) => exact.has(Number(row))).length
    }
    const base = report("store", times.store)
    report("store, filter that 1 in 10 matches", times.filtered, base)
    report("loop over Float32Array in JavaScript", times.loop, base)
    report("usearch int8 exactSearch, no rescoring", usearch, base)
    const recall = (found: number) => (found / total).toFixed(3)
    console.log(`  recall: store ${recall(storeFound)}, usearch int8 ${recall(usearchFound)}`)
  })

await Effect.runPromise(
  Effect.gen(function* () {
    yield* Effect.scoped(bench("clustered", clusteredVector))
    yield* Effect.scoped(bench("random", randomVector))
  })
)
