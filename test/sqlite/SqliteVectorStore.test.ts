import { describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import { assert } from "vitest"
import { nextTurn } from "../../src/layers/EventLoop.js"
import type * as SqliteClient from "../../src/layers/sqlite/SqliteClient.js"
import type { SqliteOptions } from "../../src/layers/sqlite/SqliteOptions.js"
import * as SqliteVectorCache from "../../src/layers/sqlite/SqliteVectorCache.js"
import * as SqliteVectorRows from "../../src/layers/sqlite/SqliteVectorRows.js"
import * as SqliteVectorStore from "../../src/layers/sqlite/SqliteVectorStore.js"
import * as SqliteVectorTables from "../../src/layers/sqlite/SqliteVectorTables.js"
import type { SqlValue } from "../../src/services/Backend.js"
import type { VectorRecord } from "../../src/services/VectorStore.js"
import { Distance, Filter, type FilterInput, type Metric, TopK } from "../../src/vector/index.js"
import { failureOf, openClient, temporaryFile, ticksDuring } from "../support/index.js"
import { random as randomFrom } from "../support/random.js"

const mebibyte = 1024 * 1024

const openStore = (options: SqliteOptions, memoryBytes = 64 * mebibyte) =>
  Effect.gen(function* () {
    const client = yield* openClient(options)
    const tables = yield* client.query("SELECT 1 FROM sqlite_schema WHERE name = 'db_hub_vectors'")
    const statements = [...SqliteVectorTables.up, ...SqliteVectorTables.graphsUp]
    if (tables.length === 0) for (const statement of statements) yield* client.execute(statement)
    return { client, store: yield* SqliteVectorStore.make(client, { memoryBytes }) }
  })

const exactCache = (client: SqliteClient.SqliteClient, memoryBytes: number) =>
  SqliteVectorCache.make(client, { memoryBytes, graphFrom: Number.POSITIVE_INFINITY, recall: 1 })

/** Two processes on one file, as far as the store can tell: nothing is shared but the file. */
const twoStoresWith = (journalMode: "WAL" | "DELETE") =>
  Effect.gen(function* () {
    const path = yield* temporaryFile
    return [yield* openStore({ path, journalMode }), yield* openStore({ path, journalMode })] as const
  })

const twoStores = twoStoresWith("WAL")

const vectorOf = (seed: number, dimension: number) =>
  Float32Array.from({ length: dimension }, (_, i) => Math.sin(seed * 12.9898 + i * 78.233) + 0.3 * Math.cos(seed % 7))

const recordsOf = (from: number, to: number, dimension = 16): ReadonlyArray<VectorRecord> =>
  Array.from({ length: to - from }, (_, i) => ({
    id: `id-${from + i}`,
    vector: vectorOf(from + i, dimension),
    metadata: { n: from + i, third: (from + i) % 3 === 0, group: `g${(from + i) % 10}` },
    text: `text ${from + i}`
  }))

const naive = (
  records: Iterable<VectorRecord>,
  query: Float32Array,
  k: number,
  metric: Metric = "cosine",
  filter: FilterInput = {}
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

/** So many components that two hundred vectors are searched in more than one step. */
const wide = 25_000

/** Ends the turn of the event loop whenever a search may, and counts that. */
const countedTurns = () => {
  let steps = 0
  const breathe = Effect.suspend(() => {
    steps++
    return nextTurn
  })
  return { breathe, steps: () => steps }
}

const brief = (hits: ReadonlyArray<{ readonly id: string; readonly score: number }>) =>
  hits.map(({ id, score }) => ({ id, score }))

const idsOf = (hits: ReadonlyArray<{ readonly id: string }>) => hits.map(({ id }) => id)

describe("SqliteVectorStore: exact search", () => {
  for (const metric of ["cosine", "dot", "l2"] as const) {
    it.scoped(`equals a plain loop over the records: ${metric}`, () =>
      Effect.gen(function* () {
        const { store } = yield* openStore({ path: ":memory:" })
        const small = yield* openStore({ path: ":memory:" }, 1000)
        const records = recordsOf(0, 3000)
        for (const each of [store, small.store]) {
          yield* each.createCollection("c", { dimension: 16, metric })
          yield* each.insertMany("c", records)
          for (const [k, filter] of [
            [1, {}],
            [10, { third: true }],
            [50, { n: { $gte: 1000, $lt: 1100 } }],
            [10, { group: { $in: ["g1", "g2"] }, $not: { third: true } }],
            [200, {}],
            [5000, {}],
            [10, { nothing: 1 }]
          ] as const) {
            const query = vectorOf(k * 31.7, 16)
            const hits = yield* each.search("c", query, { k, filter })
            assert.deepStrictEqual(brief(hits), naive(records, query, k, metric, filter))
          }
        }
        const [hit] = yield* store.search("c", vectorOf(42, 16), { k: 1, filter: { n: 42 } })
        assert.deepStrictEqual([hit?.metadata, hit?.text], [{ n: 42, third: true, group: "g2" }, "text 42"])
      })
    )
  }
})

describe("SqliteVectorStore: filters", () => {
  it.scoped(
    "exactly k of what matches, be it one record or all of them, near the query or far from it, also after writes",
    () =>
      Effect.gen(function* () {
        const [here, there] = yield* twoStores
        yield* here.store.createCollection("c", { dimension: 16 })
        const query = vectorOf(7, 16)
        const score = Distance.scorer("cosine", query)
        const recordOf = (n: number, version: number): VectorRecord => {
          const [record] = recordsOf(n, n + 1)
          const vector = vectorOf(n + version * 0.37, 16)
          return { ...record!, vector, metadata: { n, version, near: score(vector) > 0.5, far: score(vector) < -0.2 } }
        }
        const model = new Map(Array.from({ length: 4000 }, (_, n) => [`id-${n}`, recordOf(n, 0)]))
        yield* here.store.insertMany("c", Array.from(model.values()))
        const filters: ReadonlyArray<FilterInput> = [
          ...[1, 4, 40, 400, 2000, 4000].map((n) => ({ n: { $lt: n } })),
          ...[1, 3, 50].map((version) => ({ version: { $gte: version } })),
          { near: true },
          { far: true, n: { $lt: 3000 } },
          { $not: { near: true }, version: 0 },
          { nothing: { $exists: true } }
        ]
        for (let version = 1; version <= 4; version++) {
          for (const filter of filters) {
            for (const k of [1, 10, 100]) {
              const hits = yield* here.store.search("c", query, { k, filter })
              assert.deepStrictEqual(brief(hits), naive(model.values(), query, k, "cosine", filter))
            }
            const changed = Array.from({ length: 5 }, (_, i) => recordOf((i * 811 + version * 17) % 4000, version))
            yield* there.store.insertMany("c", changed)
            for (const record of changed) model.set(record.id, record)
            const gone = [`id-${version * 31}`, `id-${(version * 977) % 4000}`]
            yield* there.store.delete("c", gone)
            for (const id of gone) model.delete(id)
          }
          if (version === 2) {
            // More than are remembered one by one.
            yield* there.client.execute("UPDATE db_hub_collections SET reset_seq = seq")
            yield* there.client.execute("DELETE FROM db_hub_vector_deletions")
          }
        }
      })
  )
})

type Change =
  | { readonly _tag: "Insert"; readonly ids: ReadonlyArray<number>; readonly seed: number }
  | { readonly _tag: "Delete"; readonly ids: ReadonlyArray<number> }
  | { readonly _tag: "DeleteGroup"; readonly group: number }
  | { readonly _tag: "Drop" }
  | { readonly _tag: "Undone"; readonly ids: ReadonlyArray<number>; readonly seed: number }

const ids = FastCheck.uniqueArray(FastCheck.nat(150), { minLength: 1, maxLength: 60, size: "max" })

const change: FastCheck.Arbitrary<Change> = FastCheck.oneof(
  {
    weight: 6,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Insert" as const), ids, seed: FastCheck.nat() })
  },
  { weight: 4, arbitrary: FastCheck.record({ _tag: FastCheck.constant("Delete" as const), ids }) },
  {
    weight: 2,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("DeleteGroup" as const), group: FastCheck.nat(9) })
  },
  { weight: 1, arbitrary: FastCheck.constant<Change>({ _tag: "Drop" }) },
  {
    weight: 2,
    arbitrary: FastCheck.record({ _tag: FastCheck.constant("Undone" as const), ids, seed: FastCheck.nat() })
  }
)

const changed = (ids: ReadonlyArray<number>, seed: number): ReadonlyArray<VectorRecord> =>
  ids.map((n) => ({ ...recordsOf(n, n + 1)[0]!, vector: vectorOf(n + (seed % 1000) * 1.7, 16) }))

describe("SqliteVectorStore: what others commit", () => {
  for (const [journalMode, numRuns] of [
    ["WAL", 40],
    ["DELETE", 10]
  ] as const) {
    it.scoped(`a search here finds what another process did, whatever it did: ${journalMode}`, () =>
      Effect.gen(function* () {
        const stores = yield* twoStoresWith(journalMode)
        for (const [round, changes] of FastCheck.sample(FastCheck.array(change, { minLength: 4, maxLength: 12 }), {
          numRuns,
          seed: 3
        }).entries()) {
          const name = `c${round}`
          const model = new Map<string, VectorRecord>()
          yield* stores[0].store.createCollection(name, { dimension: 16 })
          for (const [step, one] of changes.entries()) {
            const { client, store } = stores[step % 2]!
            switch (one._tag) {
              case "Insert": {
                const records = changed(one.ids, one.seed)
                yield* store.insertMany(name, records)
                for (const record of records) model.set(record.id, record)
                break
              }
              case "Delete": {
                const wanted = one.ids.map((n) => `id-${n}`)
                assert.strictEqual(yield* store.delete(name, wanted), wanted.filter((id) => model.delete(id)).length)
                break
              }
              case "DeleteGroup":
                yield* store.deleteWhere(name, { group: `g${one.group}` })
                for (const [id, record] of model) if (record.metadata?.group === `g${one.group}`) model.delete(id)
                break
              case "Drop":
                yield* store.dropCollection(name)
                yield* store.createCollection(name, { dimension: 16 })
                model.clear()
                break
              case "Undone": {
                const during = new Map(model)
                for (const record of changed(one.ids, one.seed)) during.set(record.id, record)
                for (const id of idsOf(Array.from(model.values()).slice(0, 20))) during.delete(id)
                yield* client
                  .transaction(
                    Effect.gen(function* () {
                      yield* store.insertMany(name, changed(one.ids, one.seed))
                      yield* store.delete(name, idsOf(Array.from(model.values()).slice(0, 20)))
                      const inside = yield* store.search(name, vectorOf(5, 16), { k: 30 })
                      assert.deepStrictEqual(brief(inside), naive(during.values(), vectorOf(5, 16), 30))
                      const outside = yield* stores[(step + 1) % 2]!.store.search(name, vectorOf(5, 16), { k: 30 })
                      assert.deepStrictEqual(brief(outside), naive(model.values(), vectorOf(5, 16), 30))
                      return yield* Effect.fail("undo")
                    })
                  )
                  .pipe(
                    Effect.catchIf(
                      (error) => error === "undo",
                      () => Effect.void
                    )
                  )
                break
              }
            }
            for (const { store } of stores) {
              const query = vectorOf(step * 3.3, 16)
              assert.deepStrictEqual(
                brief(yield* store.search(name, query, { k: 20 })),
                naive(model.values(), query, 20)
              )
              const filter = { third: true }
              assert.deepStrictEqual(
                brief(yield* store.search(name, query, { k: 20, filter })),
                naive(model.values(), query, 20, "cosine", filter)
              )
              assert.strictEqual(yield* store.count(name), model.size)
            }
          }
        }
      })
    )
  }

  it.scoped("more deletions than are remembered", () =>
    Effect.gen(function* () {
      const [here, there] = yield* twoStores
      yield* here.store.createCollection("c", { dimension: 4 })
      const records = recordsOf(0, 15_000, 4)
      yield* here.store.insertMany("c", records)
      const query = vectorOf(3, 4)
      for (const { store } of [here, there]) yield* store.search("c", query)
      const cache = yield* exactCache(here.client, 4 * mebibyte)
      const at = { operation: "test", backend: "test" }
      const size = Effect.flatMap(SqliteVectorRows.getCollection(here.client, "c", at), (collection) =>
        cache.use(collection, at, ({ index }) => Effect.succeed(index.size()))
      )
      assert.strictEqual(yield* size, 15_000)
      assert.strictEqual(yield* there.store.deleteWhere("c", { n: { $lt: 12_000 } }), 12_000)
      const [forgotten] = yield* there.client.query("SELECT count(*) AS n FROM db_hub_vector_deletions")
      assert.strictEqual(forgotten?.n, 0)
      yield* there.store.insertMany("c", recordsOf(500, 600, 4))
      assert.strictEqual(yield* size, 3100)
      const left = [...records.slice(12_000), ...recordsOf(500, 600, 4)]
      for (const { store } of [here, there]) {
        assert.deepStrictEqual(brief(yield* store.search("c", query, { k: 50 })), naive(left, query, 50))
      }
    })
  )

  it.live("a search sees one version of everything, while somebody rewrites all of it", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const [here, there] = yield* twoStores
        // Others get their turn before each statement.
        const pausing = {
          ...here.client,
          query: (sql: string, params?: ReadonlyArray<SqlValue>) =>
            Effect.zipRight(nextTurn, here.client.query(sql, params))
        }
        const stores = yield* Effect.forEach([mebibyte, 0], (memoryBytes) =>
          SqliteVectorStore.make(pausing, { memoryBytes })
        )
        const versionOf = (version: number) =>
          recordsOf(0, 120).map((record, i) => ({
            ...record,
            vector: vectorOf(i + version * 1000.7, 16),
            metadata: { version, third: (i + version) % 3 === 0 }
          }))
        yield* there.store.createCollection("c", { dimension: 16 })
        yield* there.store.insertMany("c", versionOf(0))
        let version = 0
        const rewrite = Effect.suspend(() => {
          version++
          const pause = Effect.repeatN(nextTurn, (version * 7) % 13)
          const write = version % 4 === 0 ? Effect.zipRight(there.store.deleteWhere("c", {}), Effect.void) : Effect.void
          return Effect.zipRight(
            there.client.transaction(Effect.zipRight(write, there.store.insertMany("c", versionOf(version)))),
            pause
          )
        })
        const writer = yield* Effect.forkScoped(Effect.forever(rewrite))
        const seen = new Set<unknown>()
        for (let i = 0; i < 150; i++) {
          const query = vectorOf(i, 16)
          const filter: FilterInput = i % 3 === 0 ? { third: true } : {}
          const hits = yield* stores[i % 2]!.search("c", query, { k: 25, filter })
          const found = hits[0]?.metadata.version
          assert.deepStrictEqual(brief(hits), naive(versionOf(Number(found)), query, 25, "cosine", filter))
          assert.isTrue(hits.every(({ metadata }) => metadata.version === found))
          seen.add(found)
        }
        assert.isAbove(seen.size, 20)
        yield* Fiber.interrupt(writer)
      })
    )
  )

  it.live("a search that takes many turns sees one version of everything, whoever writes in between", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const [here, there] = yield* twoStores
        const { breathe, steps } = countedTurns()
        const client = { ...here.client, breathe }
        const store = yield* SqliteVectorStore.make(client, { memoryBytes: 64 * mebibyte })
        const random = randomFrom(3)
        const query = vectorOf(0, wide)
        const vectors = Array.from({ length: 60 }, (_, i) => vectorOf(i < 20 ? i / 20 : i, wide))
        const scores = vectors.map(Distance.scorer("cosine", query))
        const someone = (id: number) => {
          const which = Math.floor(random() * vectors.length)
          const metadata = { most: random() < 0.8, few: random() < 0.1 }
          return { id: `id-${id}`, vector: vectors[which]!, metadata, score: scores[which]! }
        }
        type Version = ReadonlyMap<string, ReturnType<typeof someone>>
        const first = Array.from({ length: 600 }, (_, i) => someone(i))
        const versions: Array<Version> = [new Map(first.map((one) => [one.id, one]))]
        let written = 0
        yield* there.store.createCollection("c", { dimension: wide })
        yield* there.store.insertMany("c", first)
        const write = Effect.suspend(() => {
          const version = new Map(versions[versions.length - 1])
          const writer = random() < 0.5 ? here.store : there.store
          const deleted = random() < 0.5 ? Array.from(version.keys()).filter(() => random() < 0.03) : []
          for (const id of deleted) version.delete(id)
          const inserted =
            deleted.length > 0 ? [] : Array.from({ length: 10 }, () => someone(Math.floor(random() * 650)))
          for (const one of inserted) version.set(one.id, one)
          versions.push(version)
          const unique = Array.from(new Map(inserted.map((one) => [one.id, one])).values())
          return deleted.length > 0 ? writer.delete("c", deleted) : writer.insertMany("c", unique)
        })
        const writing = Effect.forever(
          Effect.zipRight(
            Effect.tap(write, () => {
              written = versions.length - 1
            }),
            Effect.suspend(() => Effect.repeatN(nextTurn, Math.floor(random() * 12)))
          )
        )
        const writer = yield* Effect.forkScoped(writing)
        const expected = (version: Version, filter: FilterInput | undefined, k: number) =>
          Array.from(version.values())
            .filter(({ metadata }) => (filter === undefined ? true : "few" in filter ? metadata.few : metadata.most))
            .map(({ id, score }) => ({ key: 0, id, score }))
            .sort(TopK.byScoreThenId)
            .slice(0, k)
            .map(({ id, score }) => ({ id, score }))
        const search = (filter: FilterInput | undefined, k: number) =>
          Effect.gen(function* () {
            const from = written
            const hits = brief(yield* store.search("c", query, filter === undefined ? { k } : { k, filter }))
            const seen = versions.slice(from).map((version) => JSON.stringify(expected(version, filter, k)))
            assert.include(seen, JSON.stringify(hits))
          })
        while (versions.length < 80) {
          yield* Effect.all([search(undefined, 30), search({ most: true }, 30), search({ few: true }, 5)], {
            concurrency: "unbounded"
          })
        }
        yield* Fiber.interrupt(writer)
        assert.isAbove(steps(), 80)
      })
    )
  )

  it.live("a load that is interrupted leaves nothing behind that a later one would miss", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const [here, there] = yield* twoStores
        yield* there.store.createCollection("c", { dimension: 16 })
        yield* there.store.insertMany("c", recordsOf(0, 8000))
        for (const millis of [2, 5, 10]) {
          yield* here.store.search("c", vectorOf(1, 16)).pipe(Effect.timeoutOption(Duration.millis(millis)))
          yield* there.store.delete("c", idsOf(recordsOf(millis * 10, millis * 10 + 10)))
        }
        const expected = recordsOf(0, 8000).filter(({ metadata }) => {
          const n = Number(metadata?.n)
          return ![2, 5, 10].some((millis) => n >= millis * 10 && n < millis * 10 + 10)
        })
        for (const seed of [25, 55, 105]) {
          assert.deepStrictEqual(
            brief(yield* here.store.search("c", vectorOf(seed, 16), { k: 30 })),
            naive(expected, vectorOf(seed, 16), 30)
          )
        }
      })
    )
  )

  it.scoped("tens of thousands of rows are counted from any write on", () =>
    Effect.gen(function* () {
      const { client, store } = yield* openStore({ path: ":memory:" })
      yield* store.createCollection("c", { dimension: 1 })
      const collection = yield* SqliteVectorRows.getCollection(client, "c", { backend: "test", operation: "count" })
      // One statement counts 25,000: one write as large, one larger, one smaller.
      const sizes = [25_000, 30_001, 20_000]
      let written = 0
      for (const size of sizes) {
        yield* store.insertMany("c", recordsOf(written, written + size, 1))
        written += size
      }
      const counted = yield* Effect.forEach([0, 1, 2, 3], (seq) => SqliteVectorRows.countAfter(client, collection, seq))
      assert.deepStrictEqual(counted, [75_001, 50_001, 20_000, 0])
    })
  )

  it.scoped("a deleted record's row number may be taken by another record", () =>
    Effect.gen(function* () {
      const [here, there] = yield* twoStores
      yield* here.store.createCollection("c", { dimension: 2 })
      yield* here.store.createCollection("d", { dimension: 2 })
      yield* here.store.insert("c", { id: "a", vector: [1, 0] })
      yield* here.store.search("c", [1, 0])
      yield* there.store.delete("c", ["a"])
      yield* there.store.insert("c", { id: "b", vector: [0, 1] })
      assert.deepStrictEqual(idsOf(yield* here.store.search("c", [1, 0])), ["b"])
      yield* there.store.delete("c", ["b"])
      yield* there.store.insert("d", { id: "in d", vector: [0, 1] })
      assert.deepStrictEqual(idsOf(yield* here.store.search("c", [1, 0])), [])
    })
  )
})

describe("SqliteVectorStore: memory", () => {
  it.scoped("stays within its bound over many collections, and searches stay right", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const bytes = 3 * 500 * (16 + 64)
      const { client, store } = yield* openStore({ path }, bytes)
      for (let c = 0; c < 6; c++) {
        yield* store.createCollection(`c${c}`, { dimension: 16 })
        yield* store.insertMany(`c${c}`, recordsOf(c * 500, c * 500 + 500))
      }
      yield* store.createCollection("large", { dimension: 16 })
      yield* store.insertMany("large", recordsOf(0, 4000))
      for (const c of [0, 1, 2, 3, 4, 5, 0, 3, 1, 5]) {
        const query = vectorOf(c * 9.1, 16)
        const hits = yield* store.search(`c${c}`, query, { k: 7 })
        assert.deepStrictEqual(brief(hits), naive(recordsOf(c * 500, c * 500 + 500), query, 7))
        const filter = { third: true }
        assert.deepStrictEqual(
          brief(yield* store.search("large", query, { k: 7, filter })),
          naive(recordsOf(0, 4000), query, 7, "cosine", filter)
        )
      }
      const cache = yield* exactCache(client, bytes)
      const at = { operation: "test", backend: "test" }
      const sizes: Array<number> = []
      for (const name of ["c0", "c1", "c2", "c3", "c0", "large", "c4"]) {
        const collection = yield* SqliteVectorRows.getCollection(client, name, at)
        const size = yield* Effect.either(cache.use(collection, at, ({ index }) => Effect.succeed(index.size())))
        sizes.push(Either.getOrElse(size, () => -1))
        assert.isAtMost(cache.bytes(), bytes)
      }
      assert.deepStrictEqual(sizes, [500, 500, 500, 500, 500, -1, 500])
      assert.isAbove(cache.bytes(), bytes / 2)
    })
  )

  it.live("loading, scanning and inserting let timers run", () =>
    Effect.scoped(
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const cached = yield* openStore({ path })
        const scanning = yield* openStore({ path }, 0)
        yield* cached.store.createCollection("c", { dimension: 128 })
        const records = recordsOf(0, 10_000, 128)
        for (const effect of [
          cached.store.insertMany("c", records),
          cached.store.search("c", vectorOf(1, 128)),
          scanning.store.search("c", vectorOf(1, 128))
        ]) {
          const [ticks] = yield* ticksDuring(effect)
          assert.isAbove(ticks, 1)
        }
      })
    )
  )
})

describe("SqliteVectorStore: what it refuses", () => {
  it.scoped("tables that are not there yet: says to migrate", () =>
    Effect.gen(function* () {
      const client = yield* openClient({ path: ":memory:" })
      const store = yield* SqliteVectorStore.make(client, { memoryBytes: mebibyte })
      for (const operation of [
        store.createCollection("c", { dimension: 2 }),
        store.insert("c", { id: "a", vector: [1, 2] }),
        store.search("c", [1, 2]),
        store.delete("c", ["a"]),
        store.collections,
        store.dropCollection("c")
      ]) {
        const error = yield* failureOf<unknown, unknown, never>(operation)
        assert.deepInclude(error, { _tag: "MigrationError", reason: "not-migrated", backend: "primary" })
        assert.match(String((error as Error).message), /migrat/)
      }
    })
  )

  it.scoped("bad names, ids, texts and metadata: names the field, writes nothing", () =>
    Effect.gen(function* () {
      const { store } = yield* openStore({ path: ":memory:" })
      yield* store.createCollection("c", { dimension: 2 })
      for (const name of ["", "a\nb", "x".repeat(201), "\ud800"]) {
        assert.deepInclude(yield* failureOf(store.createCollection(name, { dimension: 2 })), {
          _tag: "InvalidInput",
          field: "collection",
          backend: "primary",
          operation: "VectorStore.createCollection"
        })
      }
      yield* store.createCollection(`it's "quoted" ; -- 名前 😀`, { dimension: 2 })
      const good = { id: "good", vector: [1, 2] }
      for (const [record, field] of [
        [{ id: "", vector: [1, 2] }, "records[1].id"],
        [{ id: "x".repeat(513), vector: [1, 2] }, "records[1].id"],
        [{ id: "a\u0000", vector: [1, 2] }, "records[1].id"],
        [{ id: "good", vector: [1, 2] }, "records[1].id"],
        [{ id: "a", vector: [0, 0] }, "records[1].vector"],
        [{ id: "a", vector: ["1", 2] as unknown as Array<number> }, "records[1].vector"],
        [{ id: "a", vector: [1, 2], text: "\udfff" }, "records[1].text"],
        [{ id: "a", vector: [1, 2], metadata: { at: new Date() as unknown as string } }, "records[1].metadata.at"]
      ] as const) {
        const error = yield* failureOf(store.insertMany("c", [good, record]))
        assert.deepInclude(error, { _tag: "InvalidInput", field })
      }
      assert.strictEqual(yield* store.count("c"), 0)
    })
  )

  it.scoped("damaged rows are DbCorrupt, never skipped", () =>
    Effect.gen(function* () {
      for (const [damage, operations] of [
        ["vector = x'00'", ["search", "get"]],
        ["vector = x'0000c07f0000803f'", ["search", "get"]],
        ["metadata = '{'", ["search", "filtered", "get", "count", "deleteWhere"]],
        ["metadata = '[1]'", ["search", "get"]]
      ] as const) {
        for (const memory of [mebibyte, 0]) {
          const { client, store } = yield* openStore({ path: ":memory:" }, memory)
          yield* store.createCollection("papers", { dimension: 2 })
          yield* store.insert("papers", { id: "a", vector: [1, 2] })
          yield* client.execute(`UPDATE db_hub_vectors SET ${damage}`)
          const all = {
            search: store.search("papers", [1, 2]),
            filtered: store.search("papers", [1, 2], { filter: { a: null } }),
            get: store.get("papers", ["a"]),
            count: store.count("papers", { a: null }),
            deleteWhere: store.deleteWhere("papers", { a: null })
          }
          for (const operation of operations) {
            const error = yield* failureOf<unknown, { readonly _tag: string; readonly message: string }, never>(
              all[operation]
            )
            assert.strictEqual(error._tag, "DbCorrupt", `${damage} ${operation}: ${error.message}`)
            assert.include(error.message, "papers")
          }
        }
      }
    })
  )

  it.scoped("a vector that is damaged after it was loaded is met by the search that scores it", () =>
    Effect.gen(function* () {
      for (const metric of ["cosine", "dot", "l2"] as const) {
        for (const bytes of ["0000c07f", "0000807f", "000080ff"]) {
          const { client, store } = yield* openStore({ path: ":memory:" })
          yield* store.createCollection("papers", { dimension: 2, metric })
          yield* store.insert("papers", { id: "a", vector: [1, 2] })
          yield* store.search("papers", [0, 2])
          yield* client.execute(`UPDATE db_hub_vectors SET vector = x'${bytes}0000803f'`)
          for (const query of [
            [0, 2],
            [1, 2],
            [-1, 0]
          ]) {
            const error = yield* failureOf(store.search("papers", query))
            assert.strictEqual(error._tag, "DbCorrupt", `${metric} ${bytes}`)
          }
        }
      }
    })
  )

  it.scoped("dropping leaves no rows behind, foreign keys or not", () =>
    Effect.gen(function* () {
      const { client, store } = yield* openStore({ path: ":memory:", foreignKeys: false })
      yield* store.createCollection("c", { dimension: 2 })
      yield* store.insertMany("c", [
        { id: "a", vector: [1, 2] },
        { id: "b", vector: [1, 2] }
      ])
      yield* store.delete("c", ["a"])
      yield* store.dropCollection("c")
      for (const table of ["db_hub_vectors", "db_hub_vector_deletions", "db_hub_vector_graphs", "db_hub_collections"]) {
        assert.deepStrictEqual(yield* client.query(`SELECT * FROM ${table}`), [])
      }
      for (const statement of [...SqliteVectorTables.graphsDown, ...SqliteVectorTables.down])
        yield* client.execute(statement)
    })
  )
})
