import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Schedule from "effect/Schedule"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as PostgresFilter from "../../src/layers/postgres/PostgresFilter.js"
import type { PostgresVectorOptions } from "../../src/layers/postgres/PostgresOptions.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { VectorStore } from "../../src/services/VectorStore.js"
import { Distance, Filter, type FilterInput, type Metric } from "../../src/vector/index.js"
import { client, noPooler, noServer, optionsFor, poolerUrl, serverUrl, temporaryDatabase } from "../support/postgres.js"
import * as Arbitraries from "../vector/filters.js"

const random = (seed: number) => () => {
  seed = (seed * 1_664_525 + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

/** Vectors in clusters, as embeddings are. */
const clustered = (count: number, dimension: number, seed = 1) => {
  const next = random(seed)
  const centres = Array.from({ length: 30 }, () => Float32Array.from({ length: dimension }, () => next() - 0.5))
  return Array.from({ length: count }, (_, n) => ({
    id: `v${String(n).padStart(6, "0")}`,
    vector: centres[n % 30]!.map((x) => x + (next() - 0.5) / 3),
    metadata: { n, group: n % 100 }
  }))
}

const opened = (vector: PostgresVectorOptions, url = serverUrl) =>
  Effect.flatMap(temporaryDatabase, (database) =>
    Postgres.make({ ...optionsFor(database, url), pooler: url === serverUrl ? "none" : "transaction", vector })
  )

const untilIndexed = (store: VectorStore["Type"], name: string) =>
  Effect.flatMap(store.collections, (all) => {
    const index = all.find((collection) => collection.name === name)?.index
    return index?.state === "ready" ? Effect.succeed(index) : Effect.fail("not yet")
  }).pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.timeout("60 seconds"))

const nearest = (
  records: ReturnType<typeof clustered>,
  query: Float32Array,
  metric: Metric,
  k: number,
  group?: number
) => {
  const score = Distance.scorer(metric, query)
  return records
    .filter(({ metadata }) => group === undefined || metadata.group === group)
    .map(({ id, vector }) => ({ id, score: score(vector) }))
    .sort((a, b) => b.score - a.score || (a.id < b.id ? -1 : 1))
    .slice(0, k)
}

const recall = (
  store: VectorStore["Type"],
  records: ReturnType<typeof clustered>,
  metric: Metric,
  k: number,
  group?: number
) =>
  Effect.gen(function* () {
    let found = 0
    const queries = clustered(20, records[0]!.vector.length, 1).map(({ vector }) =>
      vector.map((x, i) => x + Math.sin(i) / 20)
    )
    for (const query of queries) {
      const hits = yield* store.search("c", query, { k, ...(group === undefined ? {} : { filter: { group } }) })
      assert.strictEqual(hits.length, k)
      const expected = new Set(nearest(records, query, metric, k, group).map(({ id }) => id))
      found += hits.filter(({ id }) => expected.has(id)).length
    }
    return found / (k * queries.length)
  })

describe.skipIf(noServer)("PostgresFilter", () => {
  it.scopedLive(
    "matches what the predicate matches",
    () =>
      Effect.gen(function* () {
        const { query } = yield* client()
        const sample = FastCheck.sample(
          FastCheck.tuple(
            Arbitraries.filter,
            FastCheck.array(Arbitraries.metadata, { minLength: 40, maxLength: 40, size: "max" })
          ),
          { numRuns: 1200, seed: 7 }
        )
        let [found, missed] = [0, 0]
        for (const [input, metadata] of sample) {
          const filter = yield* Filter.parse(input)
          const { params, sql } = PostgresFilter.compile(filter)
          const texts = metadata.map((document) => JSON.stringify(document))
          const rows = yield* query(
            `SELECT (${sql}) AS found FROM jsonb_array_elements(?::jsonb) WITH ORDINALITY AS d (metadata, n) ORDER BY n`,
            [...params, `[${texts.join(",")}]`]
          )
          const matches = Filter.matches(filter)
          for (const [i, row] of rows.entries()) {
            const expected = matches(metadata[i]!)
            assert.strictEqual(row["found"], expected, `${JSON.stringify(input)} on ${texts[i]}`)
            expected ? found++ : missed++
          }
        }
        assert.isAbove(Math.min(found, missed), 10_000)
      }),
    120_000
  )
})

describe.skipIf(noServer)("PostgresVectorStore", () => {
  it.scopedLive(
    "gives the same records and scores as SQLite, on every metric",
    () =>
      Effect.gen(function* () {
        const postgres = (yield* opened({})).vector
        const sqlite = (yield* Sqlite.make({ path: ":memory:" })).vector
        const records = [
          ...clustered(500, 48),
          ...clustered(20, 48).map((record, n) => ({ ...record, id: `copy${n}` })),
          ...clustered(10, 48, 3).map(({ vector, ...record }, n) => ({
            ...record,
            id: `tiny${n}`,
            vector: vector.map((x) => x * 1e-25)
          }))
        ]
        for (const metric of ["cosine", "dot", "l2"] as const) {
          for (const store of [postgres, sqlite]) {
            yield* store.createCollection(metric, { dimension: 48, metric })
            yield* store.insertMany(metric, records)
          }
          for (const { vector } of clustered(10, 48, 9)) {
            for (const filter of [{}, { n: { $lt: 250 } }, { group: 7 }] as ReadonlyArray<FilterInput>) {
              const [mine, theirs] = [
                yield* postgres.search(metric, vector, { k: 30, filter }),
                yield* sqlite.search(metric, vector, { k: 30, filter })
              ]
              assert.deepStrictEqual(
                mine.map(({ id }) => id),
                theirs.map(({ id }) => id)
              )
              for (const [i, hit] of mine.entries()) assert.closeTo(hit.score, theirs[i]!.score, 1e-6)
            }
          }
        }
      }),
    60_000
  )

  const kinds: ReadonlyArray<readonly [string, PostgresVectorOptions, string]> = [
    ["hnsw", { index: "hnsw", indexAfter: 1_000 }, serverUrl],
    ["hnsw on halves", { index: "hnsw", storage: "halfvec", indexAfter: 1_000 }, serverUrl],
    ["hnsw on signs", { index: "hnsw", storage: "bit", indexAfter: 1_000, efSearch: 400 }, serverUrl],
    ["ivfflat", { index: "ivfflat", lists: 20, probes: 18, indexAfter: 1_000 }, serverUrl],
    ...(noPooler ? [] : [["hnsw through PgBouncer", { index: "hnsw", indexAfter: 1_000 }, poolerUrl] as const])
  ]
  for (const [kind, options, url] of kinds) {
    it.scopedLive(
      `finds exactly k, and the right ones, with ${kind}`,
      () =>
        Effect.gen(function* () {
          const { readOnly, vector: store } = yield* opened(options, url)
          const records = clustered(4_000, 64)
          yield* store.createCollection("c", { dimension: 64, metric: "cosine" })
          yield* store.insertMany("c", records)
          const index = yield* untilIndexed(store, "c")
          assert.strictEqual(index.kind, options.index)
          assert.isAbove(index.sizeBytes, 0)
          assert.isAtLeast(yield* recall(store, records, "cosine", 10), 0.95)
          assert.isAtLeast(yield* recall(store, records, "cosine", 100), 0.95)
          assert.isAtLeast(yield* recall(store, records, "cosine", 20, 17), 0.95)
          const { rows } = yield* readOnly(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname LIKE 'db_hub_vectors_%_index'"
          )
          assert.strictEqual(rows.length, 1)
          yield* store.dropCollection("c")
          const left = yield* readOnly("SELECT 1 FROM pg_class WHERE relname LIKE 'db_hub_vectors_%_index'")
          assert.deepStrictEqual(left.rows, [])
        }),
      120_000
    )
  }

  it.scopedLive("searches through the index, and several dimensions stand side by side", () =>
    Effect.gen(function* () {
      const { query, vector: store } = yield* opened({ indexAfter: 500 })
      for (const dimension of [3, 64, 1536, 3072]) {
        yield* store.createCollection(`d${dimension}`, { dimension, metric: "l2" })
        const records = clustered(dimension === 64 ? 15_000 : 5, dimension)
        yield* store.insertMany(`d${dimension}`, records)
        assert.strictEqual((yield* store.search(`d${dimension}`, records[2]!.vector, { k: 1 }))[0]!.id, records[2]!.id)
      }
      yield* untilIndexed(store, "d64")
      const scans = query(
        "SELECT sum(idx_scan)::int AS n FROM pg_stat_user_indexes WHERE indexrelname LIKE 'db_hub_vectors_%_index'"
      )
      yield* Effect.repeat(Effect.zipRight(store.search("d64", clustered(1, 64)[0]!.vector, { k: 10 }), scans), {
        until: ([row]) => Number(row!["n"]) > 0,
        schedule: Schedule.spaced("100 millis")
      }).pipe(Effect.timeout("20 seconds"))
    })
  )

  it.scopedLive("writers of the same ids in other orders do not block each other", () =>
    Effect.gen(function* () {
      const { vector: store } = yield* opened({})
      yield* store.createCollection("c", { dimension: 8 })
      const records = clustered(200, 8)
      yield* Effect.all(
        Array.from({ length: 8 }, (_, n) => store.insertMany("c", n % 2 === 0 ? records : records.slice().reverse())),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* store.count("c"), 200)
    })
  )

  it.scopedLive("another process's new collection of an old name is noticed at once", () =>
    Effect.gen(function* () {
      const database = yield* temporaryDatabase
      const [one, two] = [yield* Postgres.make(optionsFor(database)), yield* Postgres.make(optionsFor(database))]
      yield* one.vector.createCollection("c", { dimension: 2 })
      yield* one.vector.insert("c", { id: "old", vector: [1, 0] })
      assert.strictEqual((yield* two.vector.search("c", [1, 0])).length, 1)
      yield* one.vector.dropCollection("c")
      yield* one.vector.createCollection("c", { dimension: 3 })
      yield* two.vector.insert("c", { id: "new", vector: [1, 0, 0] })
      assert.deepStrictEqual(
        (yield* two.vector.search("c", [1, 0, 0])).map(({ id }) => id),
        ["new"]
      )
    })
  )
})
