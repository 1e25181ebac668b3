/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { Backend } from "../services/Backend.js"
import { type Metric, type SearchHit, type VectorRecord, VectorStore } from "../services/VectorStore.js"
import { Filter } from "../vector/index.js"
import { equal, failsWith, fresh, property, type Suite } from "./Case.js"

const withCollection = (
  dimension: number,
  test: (store: VectorStore["Type"], collection: string) => Effect.Effect<void, unknown, Backend>,
  metric: Metric = "cosine"
): Effect.Effect<void, unknown, Backend | VectorStore> =>
  Effect.gen(function* () {
    const store = yield* VectorStore
    const collection = yield* fresh("vectors")
    yield* store.createCollection(collection, { dimension, metric })
    yield* test(store, collection)
  })

const idsOf = (hits: ReadonlyArray<SearchHit>) => hits.map(({ id }) => id)

/** The definition of each metric in the plainest words, on the 32-bit values that are stored. */
const score = (metric: Metric, a: ReadonlyArray<number>, b: ReadonlyArray<number>): number => {
  const [x, y] = [Float32Array.from(a), Float32Array.from(b)]
  let [dot, xx, yy, distance] = [0, 0, 0, 0]
  for (let i = 0; i < x.length; i++) {
    dot += x[i]! * y[i]!
    xx += x[i]! ** 2
    yy += y[i]! ** 2
    distance += (x[i]! - y[i]!) ** 2
  }
  return metric === "cosine" ? dot / Math.sqrt(xx * yy) : metric === "dot" ? dot : -Math.sqrt(distance)
}

const close = (actual: number, expected: number): boolean =>
  Math.abs(actual - expected) <= 1e-5 * (1 + Math.abs(expected))

/** Exactly k, in order, and none left out that is closer than the last: true whatever ties and rounding do. */
const isTopK = (
  hits: ReadonlyArray<SearchHit>,
  matching: ReadonlyArray<VectorRecord>,
  scoreOf: (record: VectorRecord) => number,
  k: number
): void => {
  const scores = new Map(matching.map((record) => [record.id, scoreOf(record)]))
  const best = Array.from(scores.values()).sort((a, b) => b - a)
  NodeAssert.equal(hits.length, Math.min(k, matching.length))
  NodeAssert.equal(new Set(idsOf(hits)).size, hits.length)
  for (const [index, hit] of hits.entries()) {
    const expected = scores.get(hit.id)
    NodeAssert.ok(expected !== undefined, `${hit.id} does not match`)
    NodeAssert.ok(close(hit.score, expected), `score ${hit.score}, not ${expected}`)
    NodeAssert.ok(close(hit.score, best[index]!), `rank ${index} has ${hit.score}, the best left has ${best[index]}`)
    const before = hits[index - 1]
    if (before !== undefined) {
      NodeAssert.ok(before.score > hit.score || (before.score === hit.score && before.id < hit.id))
    }
  }
}

const component = FastCheck.integer({ min: -20, max: 20 }).map((n) => n / 8)
const vectorOf = (dimension: number) =>
  FastCheck.array(component, { minLength: dimension, maxLength: dimension }).filter((vector) =>
    vector.some((value) => value !== 0)
  )

const metadata = FastCheck.record(
  {
    n: FastCheck.oneof(FastCheck.integer({ min: -3, max: 3 }), FastCheck.constant(null), FastCheck.boolean()),
    tag: FastCheck.constantFrom("a", "b", "é", "ab"),
    deep: FastCheck.record({ list: FastCheck.array(FastCheck.constantFrom("x", "y", 1), { maxLength: 3 }) })
  },
  { requiredKeys: [] }
)

const condition = FastCheck.oneof(
  FastCheck.record({ n: FastCheck.integer({ min: -3, max: 3 }) }),
  FastCheck.constant({ n: null }),
  FastCheck.record({ n: FastCheck.record({ $gte: FastCheck.integer({ min: -3, max: 3 }) }) }),
  FastCheck.record({ tag: FastCheck.record({ $in: FastCheck.array(FastCheck.constantFrom("a", "b", "é")) }) }),
  FastCheck.record({ tag: FastCheck.record({ $ne: FastCheck.constantFrom("a", "é") }) }),
  FastCheck.record({ "deep.list": FastCheck.record({ $contains: FastCheck.constantFrom("x", 1) }) }),
  FastCheck.record({ deep: FastCheck.record({ $exists: FastCheck.boolean() }) })
)

const filter = FastCheck.oneof(
  condition,
  FastCheck.record({ $or: FastCheck.tuple(condition, condition) }),
  FastCheck.record({ $and: FastCheck.tuple(condition, FastCheck.record({ $not: condition })) })
)

const collectionOfRecords = FastCheck.record({
  records: FastCheck.array(FastCheck.record({ vector: vectorOf(5), metadata }), { minLength: 1, maxLength: 40 }),
  query: vectorOf(5),
  k: FastCheck.integer({ min: 1, max: 12 }),
  filter
})

const matchesNaiveSearch = (metric: Metric) =>
  property(collectionOfRecords, (sample) =>
    Effect.gen(function* () {
      const store = yield* VectorStore
      const collection = yield* fresh("property")
      yield* store.createCollection(collection, { dimension: 5, metric })
      const records = sample.records.map((record, index) => ({ ...record, id: `r${index}` }))
      yield* store.insertMany(collection, records)
      const scoreOf = (record: VectorRecord) => score(metric, sample.query, Array.from(record.vector))
      const all = yield* store.search(collection, sample.query, { k: sample.k })
      const parsed = yield* Filter.parse(sample.filter)
      const matching = records.filter((record) => Filter.matches(parsed)(record.metadata))
      const filtered = yield* store.search(collection, sample.query, { k: sample.k, filter: sample.filter })
      yield* Effect.sync(() => {
        isTopK(all, records, scoreOf, sample.k)
        isTopK(filtered, matching, scoreOf, sample.k)
      })
      yield* equal(yield* store.count(collection, sample.filter), matching.length)
      yield* store.dropCollection(collection)
    })
  )

/**
 * What every `VectorStore` promises.
 *
 * @since 0.1.0
 * @category suites
 */
export const vectorSuite: Suite = {
  "the nearest come first, with score, metadata and text": withCollection(3, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insertMany(collection, [
        { id: "x", vector: [1, 0, 0], metadata: { axis: "x" }, text: "along x" },
        { id: "y", vector: [0, 1, 0] },
        { id: "xy", vector: [1, 1, 0] }
      ])
      const hits = yield* store.search(collection, [1, 0.1, 0], { k: 2 })
      yield* equal(idsOf(hits), ["x", "xy"])
      yield* equal(
        [hits[0]!.metadata, hits[0]!.text, hits[1]!.metadata, hits[1]!.text],
        [{ axis: "x" }, "along x", {}, null]
      )
    })
  ),

  "collections do not see each other's records, also under one id": Effect.gen(function* () {
    const store = yield* VectorStore
    const [a, b] = [yield* fresh("a"), yield* fresh("b")]
    for (const name of [a, b]) yield* store.createCollection(name, { dimension: 2 })
    yield* store.insert(a, { id: "same", vector: [1, 0], text: "in a" })
    yield* store.insert(b, { id: "same", vector: [0, 1], text: "in b" })
    const texts = (hits: ReadonlyArray<SearchHit>) => hits.map(({ text }) => text)
    yield* equal([texts(yield* store.search(a, [1, 1])), texts(yield* store.search(b, [1, 1]))], [["in a"], ["in b"]])
    yield* store.delete(a, ["same"])
    yield* equal([yield* store.count(a), yield* store.count(b)], [0, 1])
  }),

  "a record is replaced whole by another of its id": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insert(collection, { id: "a", vector: [1, 0], metadata: { v: 1 }, text: "old" })
      yield* store.search(collection, [1, 0])
      yield* store.insert(collection, { id: "a", vector: [0, 1] })
      const [record] = yield* store.get(collection, ["a"])
      yield* equal([Array.from(record!.vector), record!.metadata, record!.text], [[0, 1], {}, null])
      yield* equal((yield* store.search(collection, [0, 1])).length, 1)
    })
  ),

  "vectors keep their 32-bit values, small and large": withCollection(3, (store, collection) =>
    Effect.gen(function* () {
      const vector = Float32Array.from([1e-30, 0.123456789, -3.4e38])
      yield* store.insert(collection, { id: "a", vector })
      const [record] = yield* store.get(collection, ["a", "missing"])
      yield* equal(Array.from(record!.vector), Array.from(vector))
    })
  ),

  "cosine does not depend on length": withCollection(3, (store, collection) =>
    Effect.gen(function* () {
      for (const length of [1e-15, 1e-6, 1, 1e6, 1e15]) {
        yield* store.insert(collection, { id: `${length}`, vector: [length, 2 * length, -length] })
      }
      const hits = yield* store.search(collection, [1e-9, 2e-9, -1e-9], { k: 5 })
      yield* equal(hits.length, 5)
      yield* Effect.sync(() => {
        for (const hit of hits) NodeAssert.ok(Math.abs(hit.score - 1) < 1e-6, `${hit.id}: ${hit.score}`)
      })
    })
  ),

  "negative scores are kept, and minScore leaves out what is below": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insertMany(collection, [
        { id: "same", vector: [1, 0] },
        { id: "opposite", vector: [-1, 0] }
      ])
      const hits = yield* store.search(collection, [1, 0])
      yield* equal(
        hits.map(({ id, score }) => [id, Math.round(score)]),
        [
          ["same", 1],
          ["opposite", -1]
        ]
      )
      yield* equal(idsOf(yield* store.search(collection, [1, 0], { minScore: 0 })), ["same"])
    })
  ),

  "equal scores are ordered by id": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      for (const id of ["c", "a", "d", "b"]) yield* store.insert(collection, { id, vector: [1, 1] })
      yield* equal(idsOf(yield* store.search(collection, [1, 0], { k: 3 })), ["a", "b", "c"])
    })
  ),

  "exactly k come back when k match, also more than forty and under a narrow filter": withCollection(
    4,
    (store, collection) =>
      Effect.gen(function* () {
        yield* store.insertMany(
          collection,
          Array.from({ length: 1_000 }, (_, n) => ({
            id: String(n).padStart(4, "0"),
            vector: [Math.sin(n), Math.cos(n), Math.sin(3 * n), 1],
            metadata: { n, even: n % 2 === 0 }
          }))
        )
        const count = (options: Parameters<typeof store.search>[2]) =>
          Effect.map(store.search(collection, [1, 0, 0, 0], options), (hits) => hits.length)
        yield* equal(
          [
            yield* count({ k: 100 }),
            yield* count({ k: 2_000 }),
            yield* count({ k: 300, filter: { even: true } }),
            yield* count({ k: 10, filter: { n: { $gte: 990 } } }),
            yield* count({ k: 10, filter: { n: { $gte: 995 } } }),
            yield* count({ k: 10, filter: { n: -1 } })
          ],
          [100, 1_000, 300, 10, 5, 0]
        )
      })
  ),

  "cosine search equals a naive loop, filtered or not": matchesNaiveSearch("cosine"),
  "dot search equals a naive loop, filtered or not": matchesNaiveSearch("dot"),
  "l2 search equals a naive loop, filtered or not": matchesNaiveSearch("l2"),

  "vectors of the wrong dimension are refused": withCollection(3, (store, collection) =>
    Effect.gen(function* () {
      const error = yield* failsWith("DimensionMismatch", store.insert(collection, { id: "a", vector: [1, 2] }))
      yield* equal([(error as { expected?: number }).expected, (error as { actual?: number }).actual], [3, 2])
      yield* failsWith("DimensionMismatch", store.search(collection, [1, 2, 3, 4]))
    })
  ),

  "NaN, infinity and the zero vector are refused, in records and in queries": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      for (const vector of [
        [Number.NaN, 1],
        [1, Number.POSITIVE_INFINITY],
        [1e39, 0],
        [0, 0]
      ]) {
        yield* failsWith("InvalidInput", store.insert(collection, { id: "a", vector }))
        yield* failsWith("InvalidInput", store.search(collection, vector))
      }
      yield* equal(yield* store.count(collection), 0)
    })
  ),

  "k below 1 and unknown filter operators are refused": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      for (const k of [0, -1, 1.5, Number.NaN])
        yield* failsWith("InvalidInput", store.search(collection, [1, 0], { k }))
      yield* failsWith("InvalidInput", store.search(collection, [1, 0], { filter: { a: { $near: 1 } } }))
      yield* failsWith("InvalidInput", store.deleteWhere(collection, { $where: "1" }))
    })
  ),

  "insertMany is all or nothing": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      yield* Effect.flip(
        store.insertMany(collection, [
          { id: "a", vector: [1, 0] },
          { id: "b", vector: [1, 0, 0] }
        ])
      )
      yield* equal(yield* store.count(collection), 0)
      yield* store.insertMany(collection, [])
    })
  ),

  "delete and deleteWhere tell how many records they took": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insertMany(
        collection,
        Array.from({ length: 10 }, (_, n) => ({ id: `${n}`, vector: [1, n], metadata: { n } }))
      )
      yield* store.search(collection, [1, 0])
      yield* equal(yield* store.delete(collection, ["1", "2", "missing"]), 2)
      yield* equal(yield* store.deleteWhere(collection, { n: { $gt: 6 } }), 3)
      yield* equal(idsOf(yield* store.search(collection, [1, 0], { k: 20 })).sort(), ["0", "3", "4", "5", "6"])
      yield* equal([yield* store.deleteWhere(collection, {}), yield* store.count(collection)], [5, 0])
    })
  ),

  "vectors belong to the transaction they are written in": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* store.insert(collection, { id: "before", vector: [1, 0] })
      yield* store.search(collection, [1, 0])
      yield* Effect.ignore(
        backend.transaction(
          Effect.gen(function* () {
            yield* store.insert(collection, { id: "inside", vector: [1, 0] })
            yield* store.delete(collection, ["before"])
            yield* equal(idsOf(yield* store.search(collection, [1, 0])), ["inside"])
            return yield* Effect.fail("undo")
          })
        )
      )
      yield* equal(idsOf(yield* store.search(collection, [1, 0])), ["before"])
      yield* backend.transaction(store.insert(collection, { id: "after", vector: [1, 0] }))
      yield* equal(idsOf(yield* store.search(collection, [1, 0])), ["after", "before"])
    })
  ),

  "a collection made anew under its old name is empty": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      yield* store.insert(collection, { id: "old", vector: [1, 0] })
      yield* store.search(collection, [1, 0])
      yield* store.dropCollection(collection)
      yield* failsWith("NotFound", store.search(collection, [1, 0]))
      yield* store.createCollection(collection, { dimension: 3 })
      yield* equal(yield* store.search(collection, [1, 0, 0]), [])
    })
  ),

  "a collection keeps its settings; the same again is fine, others are a conflict": Effect.gen(function* () {
    const store = yield* VectorStore
    const name = yield* fresh("settings")
    yield* store.createCollection(name, { dimension: 8, metric: "dot", model: "m1" })
    yield* store.createCollection(name, { dimension: 8, metric: "dot", model: "m1" })
    yield* failsWith("DbConflict", store.createCollection(name, { dimension: 8, metric: "dot", model: "m2" }))
    yield* failsWith("DbConflict", store.createCollection(name, { dimension: 9, metric: "dot", model: "m1" }))
    const info = (yield* store.collections).find((collection) => collection.name === name)
    yield* equal(
      { name: info?.name, dimension: info?.dimension, metric: info?.metric, model: info?.model, count: info?.count },
      { name, dimension: 8, metric: "dot", model: "m1", count: 0 }
    )
    for (const dimension of [0, -1, 1.5, 70_000]) {
      yield* failsWith("InvalidInput", store.createCollection(`${name}_${dimension}`, { dimension }))
    }
  }),

  "a collection whose name was misspelt: the error tells which was meant": withCollection(2, (store, collection) =>
    Effect.gen(function* () {
      const { message } = yield* failsWith("NotFound", store.search(`${collection}x`, [1, 0]))
      NodeAssert.ok(message.includes(`did you mean ${collection}`), message)
    })
  ),

  "an unknown collection is NotFound for every operation": Effect.gen(function* () {
    const store = yield* VectorStore
    for (const operation of [
      store.insert("nowhere", { id: "a", vector: [1] }),
      store.search("nowhere", [1]),
      store.get("nowhere", ["a"]),
      store.delete("nowhere", ["a"]),
      store.count("nowhere"),
      store.dropCollection("nowhere")
    ]) {
      yield* failsWith("NotFound", operation)
    }
  })
}
