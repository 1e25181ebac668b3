import { execFileSync } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { describe, it } from "@effect/vitest"
import Driver from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { assert } from "vitest"
import { nextTurn } from "../../src/layers/EventLoop.js"
import * as Graphs from "../../src/layers/sqlite/SqliteGraphs.js"
import type { SqliteOptions } from "../../src/layers/sqlite/SqliteOptions.js"
import * as SqliteVectorStore from "../../src/layers/sqlite/SqliteVectorStore.js"
import * as SqliteVectorTables from "../../src/layers/sqlite/SqliteVectorTables.js"
import type { CollectionIndex, SearchHit, VectorRecord } from "../../src/services/VectorStore.js"
import { Distance, Filter, type FilterInput, type Metric, TopK } from "../../src/vector/index.js"
import { withProgram } from "../support/bundle.js"
import { openClient, temporaryFile, ticksDuring } from "../support/index.js"
import { type OtherProcess, startScript } from "../support/processes.js"
import { gaussianOf, random } from "../support/random.js"

const dimension = 16

const mebibyte = 1024 * 1024

const openStore = (options: SqliteOptions, overrides: Partial<SqliteVectorStore.SqliteVectorStoreOptions> = {}) =>
  Effect.gen(function* () {
    const client = yield* openClient(options)
    const tables = yield* client.query("SELECT 1 FROM sqlite_schema WHERE name = 'db_hub_vectors'")
    const statements = [...SqliteVectorTables.up, ...SqliteVectorTables.graphsUp]
    if (tables.length === 0) for (const statement of statements) yield* client.execute(statement)
    const defaults = { memoryBytes: 64 * mebibyte, graphFrom: 500 }
    return { client, store: yield* SqliteVectorStore.make(client, { ...defaults, ...overrides }) }
  })

type Store = SqliteVectorStore.SqliteVectorStore

/** In 40 clusters, as embeddings are. */
const vectorOf = (seed: number) =>
  Float32Array.from(
    { length: dimension },
    (_, i) => Math.sin((seed % 40) * 12.9898 + i * 78.233) + 0.5 * Math.sin(seed * 3.7 + i * 1.3)
  )

const recordOf = (n: number, seed = n): VectorRecord => ({
  id: `id-${n}`,
  vector: vectorOf(seed),
  metadata: { n, third: n % 3 === 0, seed },
  text: `text ${n}`
})

const recordsOf = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => recordOf(from + i))

const naive = (
  records: Iterable<VectorRecord>,
  query: Float32Array,
  k: number,
  { filter = {}, metric = "cosine" }: { readonly filter?: FilterInput; readonly metric?: Metric } = {}
) => {
  const score = Distance.scorer(metric, query)
  const matches = Filter.matches(Effect.runSync(Filter.parse(filter)))
  return Array.from(records)
    .filter((record) => matches(record.metadata ?? {}))
    .map(({ id, vector }) => ({ key: 0, id, score: score(Float32Array.from(vector)) }))
    .sort(TopK.byScoreThenId)
    .slice(0, k)
    .map(({ id, score }) => ({ id, score }))
}

const brief = (hits: ReadonlyArray<SearchHit>) => hits.map(({ id, score }) => ({ id, score }))

const indexOf = (store: Store): Effect.Effect<CollectionIndex | undefined, unknown> =>
  Effect.map(store.collections, ([info]) => info?.index)

/** Makes a collection that is searched through a graph from the end of this on. */
const withGraph = (store: Store, records: ReadonlyArray<VectorRecord>, metric: Metric = "cosine") =>
  Effect.gen(function* () {
    yield* store.createCollection("c", { dimension, metric })
    yield* store.insertMany("c", records)
    yield* store.search("c", vectorOf(1))
    yield* store.settled
    assert.deepInclude(yield* indexOf(store), { kind: "hnsw", state: "ready" })
  })

const folderOf = (path: string) => `${path}-vectors`

const graphsIn = (path: string) =>
  NodeFs.readdirSync(folderOf(path))
    .filter((name) => name.endsWith(".usearch"))
    .map((name) => NodePath.join(folderOf(path), name))

/** Processes of this one that build. */
const builders = (): ReadonlyArray<number> =>
  execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, ...args]) => Number(parent) === process.pid && args.join(" ").includes("SqliteGraphBuilder"))
    .map(([pid]) => Number(pid))

/** The n-th report of a `graph-process.ts`. */
const report = ({ line }: OtherProcess, n: number) => Effect.map(line(n), (text) => JSON.parse(text ?? "null"))

/** All that a process says until its end. */
const linesOf = ({ ended, line }: OtherProcess) =>
  Effect.gen(function* () {
    yield* ended
    const lines: Array<string> = []
    for (let text = yield* line(0); text !== null; text = yield* line(lines.length)) lines.push(text)
    return lines
  })

const until = <E>(condition: Effect.Effect<boolean, E>) =>
  Effect.repeat(Effect.zipRight(nextTurn, condition), { until: (is) => is })

/** What builds runs at low priority: on a busy machine it takes its time. */
const options = { timeout: 120_000 }

describe("graphs: what is found", options, () => {
  for (const metric of ["cosine", "dot", "l2"] as const) {
    it.scopedLive(`nearly all that is nearest, with exact scores, and exactly k under any filter: ${metric}`, () =>
      Effect.gen(function* () {
        const { store } = yield* openStore({ path: yield* temporaryFile })
        const records = recordsOf(0, 3000)
        yield* withGraph(store, records, metric)
        const index = yield* indexOf(store)
        assert.isAtLeast(index?.recall ?? 0, 0.98)
        assert.deepInclude(index?.parameters, { connectivity: 16, quantization: "f16" })
        let [found, wanted] = [0, 0]
        for (let i = 0; i < 40; i++) {
          for (const [k, filter] of [
            [10, {}],
            [3, { third: true }],
            [10, { n: { $lt: 1500 } }],
            [7, { n: { $gte: 100, $lt: 400 } }]
          ] as const) {
            const query = vectorOf(i * 61.3 + 0.5)
            const score = Distance.scorer(metric, query)
            const hits = yield* store.search("c", query, { k, filter })
            assert.strictEqual(hits.length, k)
            for (const { id, score: given } of hits) assert.strictEqual(given, score(vectorOf(Number(id.slice(3)))))
            const ordered = [...hits].sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
            assert.deepStrictEqual(brief(hits), brief(ordered))
            const best = new Set(naive(records, query, k, { filter, metric }).map(({ id }) => id))
            found += hits.filter(({ id }) => best.has(id)).length
            wanted += k
          }
          // Few match: these are all scored.
          for (const filter of [{ n: i * 7 }, { n: { $in: [1, 2, 500, 2999, 4000] } }, { nothing: true }]) {
            const query = vectorOf(i * 31.7)
            const hits = yield* store.search("c", query, { k: 10, filter })
            assert.deepStrictEqual(brief(hits), naive(records, query, 10, { filter, metric }))
          }
        }
        assert.isAtLeast(found / wanted, 0.98)
        const all = yield* store.search("c", vectorOf(3), { k: 5000 })
        assert.deepStrictEqual(brief(all), naive(records, vectorOf(3), 5000, { metric }))
      })
    )
  }

  it.scopedLive("what is promised holds for questions near nothing that is stored", () =>
    Effect.gen(function* () {
      const { store } = yield* openStore({ path: yield* temporaryFile })
      const gaussian = gaussianOf(random(7))
      const anywhere = () => Float32Array.from({ length: 64 }, gaussian)
      const records = Array.from({ length: 5000 }, (_, n) => ({ id: `id-${n}`, vector: anywhere() }))
      yield* store.createCollection("c", { dimension: 64 })
      yield* store.insertMany("c", records)
      yield* store.search("c", anywhere())
      yield* store.settled
      assert.strictEqual((yield* indexOf(store))?.state, "ready")
      let found = 0
      // As many as tell a graph that keeps the promise from one that does not: no two builds make the same.
      for (let i = 0; i < 1_000; i++) {
        const query = anywhere()
        const best = new Set(naive(records, query, 10).map(({ id }) => id))
        found += (yield* store.search("c", query)).filter(({ id }) => best.has(id)).length
      }
      assert.isAtLeast(found / 10_000, 0.98)
    })
  )

  it.scopedLive("a search that takes long leaves the event loop free, and nothing behind when it is interrupted", () =>
    Effect.gen(function* () {
      const { store } = yield* openStore({ path: yield* temporaryFile })
      const records = recordsOf(0, 12_000)
      yield* withGraph(store, records)
      const all = store.search("c", vectorOf(3), { k: 12_000 })
      const [ticks, hits] = yield* ticksDuring(all)
      assert.isAbove(ticks, 1)
      assert.deepStrictEqual(brief(hits), naive(records, vectorOf(3), 12_000))
      const interrupted = yield* Effect.fork(all)
      yield* nextTurn
      yield* Fiber.interrupt(interrupted)
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(5), { k: 1 })), naive(records, vectorOf(5), 1))
    })
  )

  it.scopedLive("a graph that finds too little is refused, and the collection searched exactly", () =>
    Effect.gen(function* () {
      // More than all is more than any graph finds.
      const { store } = yield* openStore({ path: yield* temporaryFile }, { recall: 1.01 })
      const records = recordsOf(0, 1000)
      yield* store.createCollection("c", { dimension })
      yield* store.insertMany("c", records)
      for (let round = 0; round < 3; round++) {
        const query = vectorOf(round * 3.3)
        assert.deepStrictEqual(brief(yield* store.search("c", query)), naive(records, query, 10))
        yield* store.settled
        assert.deepInclude(yield* indexOf(store), { kind: "hnsw", state: "refused", sizeBytes: 0 })
      }
    })
  )

  it.scopedLive("a new graph that finds too little ends the use of the one before, and is not built again", () =>
    Effect.gen(function* () {
      const { client, store } = yield* openStore({ path: yield* temporaryFile })
      yield* withGraph(store, recordsOf(0, 1200))
      const records = recordsOf(0, 2300)
      yield* store.insertMany("c", records.slice(1200))
      // As another process leaves it that built in what was written and found too little.
      yield* client.execute(
        "UPDATE db_hub_vector_graphs SET token = 'other', seq = 2, size = 2300, bytes = 0, sha256 = NULL, recall = 0.5"
      )
      for (let round = 0; round < 3; round++) {
        const query = vectorOf(round * 3.3)
        assert.deepStrictEqual(brief(yield* store.search("c", query)), naive(records, query, 10))
        yield* store.settled
        assert.deepInclude(yield* indexOf(store), { state: "refused", recall: 0.5 })
      }
      assert.deepStrictEqual(yield* client.query("SELECT token FROM db_hub_vector_graphs"), [{ token: "other" }])
    })
  )

  it.scopedLive("small collections, databases in memory and vector_index: exact have none", () =>
    Effect.gen(function* () {
      const records = recordsOf(0, 600)
      for (const [options, overrides] of [
        [{ path: yield* temporaryFile }, { graphFrom: 601 }],
        [{ path: yield* temporaryFile }, { graphFrom: Number.POSITIVE_INFINITY }],
        [{ path: ":memory:" }, {}]
      ] as const) {
        const { store } = yield* openStore(options, overrides)
        yield* store.createCollection("c", { dimension })
        yield* store.insertMany("c", records)
        assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(2))), naive(records, vectorOf(2), 10))
        yield* store.settled
        assert.deepStrictEqual(yield* indexOf(store), { kind: "none", state: "none", sizeBytes: 0 })
      }
    })
  )
})

describe("graphs: what is written later", options, () => {
  it.scopedLive("a filter that few match stays exact while any process writes, also when it is asked again", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const [here, there] = [yield* openStore({ path }), yield* openStore({ path })]
      const model = new Map(recordsOf(0, 3000).map((record) => [record.id, record]))
      yield* withGraph(here.store, Array.from(model.values()))
      const filter = { group: 7 }
      const inGroup = (n: number, seed: number): VectorRecord => ({ ...recordOf(n, seed), metadata: { group: 7 } })
      for (let step = 0; step < 12; step++) {
        const writer = step % 2 === 0 ? here : there
        // Some come to match, some change their vector, some cease to match, some are deleted.
        const written = [
          ...Array.from({ length: 30 }, (_, i) => inGroup((step * 37 + i * 11) % 3100, step * 5.3 + i)),
          recordOf((step * 37 + 18) % 3100)
        ]
        yield* writer.store.insertMany("c", written)
        for (const record of written) model.set(record.id, record)
        const gone = `id-${(step * 37 + 22) % 3100}`
        yield* writer.store.delete("c", [gone])
        model.delete(gone)
        for (const { store } of [here, there]) {
          const query = vectorOf(step * 3.3)
          const hits = yield* store.search("c", query, { filter })
          assert.deepStrictEqual(brief(hits), naive(model.values(), query, 10, { filter }))
        }
      }
    })
  )

  it.scopedLive("inserts, updates and deletes of any process are seen at once", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const [here, there] = [yield* openStore({ path }), yield* openStore({ path })]
      const model = new Map(recordsOf(0, 1500).map((record) => [record.id, record]))
      yield* withGraph(here.store, Array.from(model.values()))
      for (let step = 0; step < 30; step++) {
        const writer = step % 2 === 0 ? here : there
        const written = Array.from({ length: 8 }, (_, i) => recordOf((step * 97 + i * 211) % 1700, step * 3.1 + i))
        yield* writer.store.insertMany("c", written)
        for (const record of written) model.set(record.id, record)
        const gone = Array.from({ length: 5 }, (_, i) => `id-${(step * 131 + i * 17) % 1700}`)
        yield* writer.store.delete("c", gone)
        for (const id of gone) model.delete(id)
        for (const { store } of [here, there]) {
          for (const record of written) {
            const query = Float32Array.from(record.vector)
            const hits = yield* store.search("c", query, { k: 5 })
            assert.isTrue(hits.every(({ id }) => model.has(id)))
            const score = Distance.scorer("cosine", query)
            for (const hit of hits) {
              assert.strictEqual(hit.score, score(Float32Array.from(model.get(hit.id)!.vector)))
            }
            if (model.has(record.id)) assert.strictEqual(hits[0]!.score, naive(model.values(), query, 1)[0]!.score)
          }
          const filter = { seed: { $gte: step * 3.1, $lt: step * 3.1 + 1 } }
          const hits = yield* store.search("c", vectorOf(step), { k: 10, filter })
          assert.deepStrictEqual(brief(hits), naive(model.values(), vectorOf(step), 10, { filter }))
        }
        assert.strictEqual((yield* indexOf(here.store))?.state, "ready")
        assert.strictEqual((yield* indexOf(there.store))?.state, "ready")
      }
    })
  )

  it.scopedLive("what was deleted and forgotten is not found, and k others are", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const [here, there] = [yield* openStore({ path }), yield* openStore({ path })]
      yield* withGraph(here.store, recordsOf(0, 14_000))
      // More than are remembered one by one.
      assert.strictEqual(yield* there.store.deleteWhere("c", { n: { $lt: 11_000 } }), 11_000)
      const left = recordsOf(11_000, 14_000)
      for (let i = 0; i < 20; i++) {
        const hits = yield* here.store.search("c", vectorOf(i * 3.3), { k: 20 })
        assert.strictEqual(hits.length, 20)
        assert.isTrue(hits.every(({ id }) => Number(id.slice(3)) >= 11_000))
      }
      yield* here.store.settled
      assert.deepStrictEqual(
        brief(yield* here.store.search("c", vectorOf(1), { k: 3000 })),
        naive(left, vectorOf(1), 3000)
      )
    })
  )

  it.scopedLive("many writes are built into a new graph, in place of the old one", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { client, store } = yield* openStore({ path })
      yield* withGraph(store, recordsOf(0, 2000))
      const before = graphsIn(path)
      yield* store.insertMany("c", [...recordsOf(2000, 3500), recordOf(5, 77), recordOf(1999, 78)])
      yield* store.delete("c", ["id-0", "id-1"])
      yield* store.search("c", vectorOf(1))
      yield* store.settled
      const after = graphsIn(path)
      assert.strictEqual(after.length, 1)
      assert.notDeepEqual(after, before)
      const [row] = yield* client.query(
        "SELECT g.seq = c.seq AS newest, size FROM db_hub_vector_graphs AS g JOIN db_hub_collections AS c ON c.id = collection_id"
      )
      assert.deepStrictEqual(row, { newest: 1, size: 3498 })
      const records = [...recordsOf(2, 3500).filter(({ id }) => !["id-5", "id-1999"].includes(id))]
      records.push(recordOf(5, 77), recordOf(1999, 78))
      for (const seed of [77, 78, 3400.2, 12.1]) {
        const [first] = yield* store.search("c", vectorOf(seed), { k: 1 })
        assert.strictEqual(first?.score, naive(records, vectorOf(seed), 1)[0]?.score)
      }
    })
  )
})

describe("graphs: files are caches", options, () => {
  it.scopedLive("a file that is missing, cut short or altered is never read, and built anew", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const records = recordsOf(0, 1200)
      yield* Effect.scoped(Effect.flatMap(openStore({ path }), ({ store }) => withGraph(store, records)))
      assert.strictEqual(NodeFs.statSync(folderOf(path)).mode & 0o777, 0o700)
      const damages: ReadonlyArray<(file: string) => void> = [
        (file) => NodeFs.rmSync(file),
        (file) => NodeFs.truncateSync(file, NodeFs.statSync(file).size - 1),
        (file) => NodeFs.truncateSync(file, 0),
        (file) => {
          const bytes = NodeFs.readFileSync(file)
          bytes[bytes.length >> 1]! ^= 1
          NodeFs.writeFileSync(file, bytes)
        },
        (file) => NodeFs.writeFileSync(file, "no graph at all")
      ]
      for (const damage of damages) {
        const [file = ""] = graphsIn(path)
        assert.strictEqual(NodeFs.statSync(file).mode & 0o777, 0o600)
        damage(file)
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { store } = yield* openStore({ path })
            assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(4))), naive(records, vectorOf(4), 10))
            yield* store.settled
            assert.strictEqual((yield* indexOf(store))?.state, "ready")
            assert.notInclude(graphsIn(path), file)
            assert.lengthOf(graphsIn(path), 1)
          })
        )
      }
    })
  )

  it.scopedLive("a database that went back in time does not take a newer file for its own", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const old = `${path}.old`
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { client, store } = yield* openStore({ path })
          yield* withGraph(store, recordsOf(0, 600))
          yield* client.execute("VACUUM INTO ?", [old])
          yield* store.insertMany("c", recordsOf(600, 2500))
          yield* store.search("c", vectorOf(1))
          yield* store.settled
        })
      )
      NodeFs.renameSync(old, path)
      const { store } = yield* openStore({ path })
      yield* store.insertMany("c", recordsOf(5000, 5010))
      const records = [...recordsOf(0, 600), ...recordsOf(5000, 5010)]
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(2))), naive(records, vectorOf(2), 10))
      yield* store.settled
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(2), { k: 700 })), naive(records, vectorOf(2), 700))
    })
  )

  it.scopedLive("who only reads uses a graph but builds none", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const records = recordsOf(0, 900)
      yield* Effect.scoped(Effect.flatMap(openStore({ path }), ({ store }) => withGraph(store, records)))
      const { store } = yield* openStore({ path, readOnly: true })
      assert.lengthOf(yield* store.search("c", vectorOf(4)), 10)
      assert.strictEqual((yield* indexOf(store))?.state, "ready")
      // An exact index takes less here.
      assert.isAtLeast(store.memoryBytes(), Graphs.bytesFor(900))
      for (const file of graphsIn(path)) NodeFs.rmSync(file)
      const other = yield* openStore({ path, readOnly: true })
      assert.deepStrictEqual(brief(yield* other.store.search("c", vectorOf(4))), naive(records, vectorOf(4), 10))
      yield* other.store.settled
      assert.isBelow(other.store.memoryBytes(), Graphs.bytesFor(900))
      assert.deepStrictEqual(graphsIn(path), [])
    })
  )

  it.scopedLive("dropping a collection deletes its files", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { store } = yield* openStore({ path })
      yield* withGraph(store, recordsOf(0, 600))
      yield* store.dropCollection("c")
      assert.deepStrictEqual(graphsIn(path), [])
      yield* store.createCollection("c", { dimension })
      assert.deepStrictEqual(yield* store.search("c", vectorOf(1)), [])
    })
  )

  it.scopedLive("no graph is built that would leave no room for what is written later", () =>
    Effect.gen(function* () {
      const records = recordsOf(0, 1000)
      const { store } = yield* openStore(
        { path: yield* temporaryFile },
        { memoryBytes: Graphs.bytesFor(1000) + 10_000 }
      )
      yield* store.createCollection("c", { dimension })
      yield* store.insertMany("c", records)
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(9))), naive(records, vectorOf(9), 10))
      yield* store.settled
      assert.strictEqual((yield* indexOf(store))?.kind, "none")
    })
  )

  it.scopedLive("the memory bound holds with graphs, too", () =>
    Effect.gen(function* () {
      const records = recordsOf(0, 1000)
      // Room for the rows or the graph of one collection, and for neither.
      for (const memoryBytes of [300_000, 50_000]) {
        const { store } = yield* openStore({ path: yield* temporaryFile }, { memoryBytes })
        for (const name of ["a", "b"]) {
          yield* store.createCollection(name, { dimension })
          yield* store.insertMany(name, records)
        }
        for (const name of ["a", "b", "a", "b", "b", "a"]) {
          const hits = yield* store.search(name, vectorOf(9), { k: 1 })
          assert.deepStrictEqual(brief(hits), naive(records, vectorOf(9), 1))
          yield* store.settled
          assert.isAtMost(store.memoryBytes(), memoryBytes)
        }
      }
    })
  )
})

describe("graphs: a program in one file", options, () => {
  const bundle = (path: string, records: ReadonlyArray<VectorRecord>) =>
    Effect.gen(function* () {
      const { store } = yield* openStore({ path }, { graphFrom: Number.POSITIVE_INFINITY })
      yield* store.createCollection("c", { dimension })
      yield* store.insertMany("c", records)
      const lines = yield* linesOf(yield* startScript("graph-process.ts", path, "c"))
      const query = Float32Array.from({ length: 16 }, (_, i) => Math.sin(i + 1))
      const wanted = naive(records, query, 10).map(({ id }) => id)
      const reports = lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
      assert.lengthOf(reports, 2)
      for (const { ids } of reports) assert.deepStrictEqual(ids, wanted)
      return { index: reports[1].index, warnings: lines.filter((line) => line.includes("level=WARN")) }
    })

  it.scopedLive("without the program that builds, it searches exactly and says once what it misses", () =>
    Effect.gen(function* () {
      const { index, warnings } = yield* bundle(yield* temporaryFile, recordsOf(0, 1000))
      assert.deepInclude(index, { kind: "none", state: "failed" })
      assert.lengthOf(warnings, 1)
      assert.match(warnings[0]!, /could not be built: .*SqliteGraphBuilder.mjs is missing: .*external/)
    })
  )

  it.scopedLive("without the program that searches, too, and what was built is not built again and again", () =>
    Effect.gen(function* () {
      yield* withProgram("SqliteGraphBuilder")
      const path = yield* temporaryFile
      const { index, warnings } = yield* bundle(path, recordsOf(0, 1000))
      assert.deepInclude(index, { kind: "hnsw", state: "failed" })
      assert.match(warnings[0]!, /cannot be opened.*SqliteGraphThread.mjs is missing/)
      assert.lengthOf(graphsIn(path), 1)
    })
  )
})

describe("graphs: processes", options, () => {
  it.scopedLive("a build whose process is killed leaves nothing but what was before, and the search goes on", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { store } = yield* openStore({ path })
      yield* store.createCollection("c", { dimension })
      const records = recordsOf(0, 20_000)
      yield* store.insertMany("c", records)
      yield* store.search("c", vectorOf(1))
      yield* until(Effect.map(indexOf(store), (index) => (index?.progress ?? 0) > 0))
      const pids = builders()
      assert.lengthOf(pids, 1)
      process.kill(pids[0]!, "SIGKILL")
      yield* store.settled
      assert.deepStrictEqual(yield* indexOf(store), { kind: "none", state: "failed", sizeBytes: 0 })
      assert.deepStrictEqual(graphsIn(path), [])
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(4))), naive(records, vectorOf(4), 10))
    })
  )

  // The limit of a file's size stands for a disk that is full.
  const linux = it.scopedLive.skipIf(process.platform !== "linux")
  linux("a build that has no space for its file leaves nothing of it, and the search goes on", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { store } = yield* openStore({ path })
      yield* store.createCollection("c", { dimension })
      const records = recordsOf(0, 20_000)
      yield* store.insertMany("c", records)
      yield* store.search("c", vectorOf(1))
      yield* until(Effect.map(indexOf(store), (index) => (index?.progress ?? 0) > 0))
      execFileSync("prlimit", [`--pid=${builders()[0]}`, "--fsize=100000:100000"])
      yield* store.settled
      assert.deepStrictEqual(yield* indexOf(store), { kind: "none", state: "failed", sizeBytes: 0 })
      assert.deepStrictEqual(graphsIn(path), [])
      assert.deepStrictEqual(brief(yield* store.search("c", vectorOf(4))), naive(records, vectorOf(4), 10))
    })
  )

  it.scopedLive("a store that is closed while it builds ends the process that builds", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { store } = yield* openStore({ path })
          yield* store.createCollection("c", { dimension })
          yield* store.insertMany("c", recordsOf(0, 20_000))
          yield* store.search("c", vectorOf(1))
          yield* until(Effect.sync(() => builders().length > 0))
        })
      )
      yield* until(Effect.sync(() => builders().length === 0))
    })
  )

  it.scopedLive("of two processes that build at once one wins, and both use its graph", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { client, store } = yield* openStore({ path }, { graphFrom: Number.POSITIVE_INFINITY })
      yield* store.createCollection("c", { dimension })
      yield* store.insertMany("c", recordsOf(0, 3000))
      // Neither can build before both want to.
      NodeFs.mkdirSync(folderOf(path))
      const lock = yield* Effect.acquireRelease(
        Effect.sync(() => new Driver(NodePath.join(folderOf(path), "1.lock"))),
        (lock) => Effect.sync(() => lock.close())
      )
      lock.exec("BEGIN EXCLUSIVE")
      for (const name of ["SqliteGraphBuilder", "SqliteGraphThread"] as const) yield* withProgram(name)
      const processes = yield* Effect.all([
        startScript("graph-process.ts", path, "c"),
        startScript("graph-process.ts", path, "c")
      ])
      for (const process of processes) assert.deepInclude((yield* report(process, 0)).index, { state: "building" })
      lock.exec("ROLLBACK")
      const reports = yield* Effect.all(
        processes.map((process) => Effect.zipLeft(report(process, 1), process.ended)),
        { concurrency: 2 }
      )
      const [graph] = yield* client.query("SELECT recall, token FROM db_hub_vector_graphs")
      assert.deepStrictEqual(graphsIn(path), [NodePath.join(folderOf(path), `1-${graph?.token}.usearch`)])
      for (const { ids, index } of reports) {
        assert.lengthOf(ids, 10)
        assert.deepInclude(index, { state: "ready", recall: graph?.recall })
      }
    })
  )
})
