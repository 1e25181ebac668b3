/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import { Backend } from "../services/Backend.js"
import {
  type FusionOptions,
  Search,
  type SearchAnswer,
  type SearchCollectionOptions,
  type SearchRequest
} from "../services/Search.js"
import * as StoreTexts from "../services/StoreTexts.js"
import { TextStore } from "../services/TextStore.js"
import { VectorStore } from "../services/VectorStore.js"
import { Filter, Fusion } from "../vector/index.js"
import { equal, failsWith, fresh, property, type Suite } from "./Case.js"
import * as Plain from "./Plain.js"

const withCollection = (
  test: (search: Search["Type"], collection: string) => Effect.Effect<void, unknown, Backend | TextStore | VectorStore>,
  options: SearchCollectionOptions = { dimension: 2 }
) =>
  Effect.gen(function* () {
    const search = yield* Search
    const collection = yield* fresh("search")
    yield* search.createCollection(collection, options)
    yield* test(search, collection)
  })

const idsOf = ({ results }: SearchAnswer) => results.map(({ id }) => id)

const animals = [
  { id: "cat", text: "The cat sleeps", vector: [1, 0], metadata: { user: "ada" } },
  { id: "dog", text: "The dog barks at the cat", vector: [0.9, 0.1], metadata: { user: "bob" } },
  { id: "fish", text: "Fish swim", vector: [0, 1], metadata: { user: "ada" } },
  { id: "bird", text: "Birds fly", vector: [-1, 0], metadata: { user: "ada" } },
  { id: "tree", text: "Trees grow", vector: [0.5, 0.5], metadata: { user: "bob" } }
]

const word = FastCheck.constantFrom("red", "green", "blue", "fish", "bird", "tree")
const component = FastCheck.integer({ min: -4, max: 4 })
const vector = FastCheck.tuple(component, component).filter(([x, y]) => x !== 0 || y !== 0)
const sample = FastCheck.record({
  records: FastCheck.array(
    FastCheck.record({
      text: FastCheck.array(word, { minLength: 1, maxLength: 5 }),
      vector,
      n: FastCheck.integer({ min: 0, max: 3 })
    }),
    { maxLength: 15 }
  ),
  text: FastCheck.array(word, { minLength: 1, maxLength: 3 }),
  vector,
  limit: FastCheck.integer({ min: 1, max: 8 }),
  filter: FastCheck.constantFrom({}, { n: { $gte: 2 } }, { n: 0 })
})

/**
 * @since 0.1.0
 * @category suites
 */
export const searchSuite: Suite = {
  "what the stores keep is written by them alone": Effect.gen(function* () {
    const search = yield* Search
    const own = StoreTexts.collections.memories
    for (const written of [
      search.createCollection(own),
      search.index(own, [{ id: "a", text: "a" }]),
      search.delete(own, ["a"]),
      search.reembed(own),
      search.dropCollection(own)
    ]) {
      const error = yield* failsWith("InvalidInput", written)
      yield* equal(error._tag === "InvalidInput" && error.field, "collection")
    }
  }),

  "text, vector and hybrid search each say what their scores are": withCollection((search, collection) =>
    Effect.gen(function* () {
      yield* search.index(collection, animals)
      const [text] = (yield* search.search(collection, { text: "sleeping cat" })).results
      const textScore = text?.score ?? 0
      yield* equal(text, {
        collection,
        id: "cat",
        score: textScore,
        scoreKind: "bm25",
        textRank: 1,
        bm25: textScore,
        text: "The cat sleeps",
        metadata: { user: "ada" },
        highlights: [
          { start: 4, end: 7 },
          { start: 8, end: 14 }
        ]
      })
      const [near] = (yield* search.search(collection, { vector: [0, 2] })).results
      yield* equal(near, {
        collection,
        id: "fish",
        score: 1,
        scoreKind: "cosine",
        vectorRank: 1,
        cosine: 1,
        text: "Fish swim",
        metadata: { user: "ada" },
        highlights: []
      })
      const { failed, results } = yield* search.search(collection, { text: "cat", vector: [0, 1], limit: 3 })
      yield* equal(failed, [])
      yield* equal(
        results.map(({ id, scoreKind, textRank, vectorRank }) => [id, scoreKind, textRank, vectorRank]),
        [
          ["dog", "rrf", 2, 3],
          ["cat", "rrf", 1, 5],
          ["fish", "rrf", undefined, 1]
        ]
      )
      yield* equal(results[0]?.score, 1 / 62 + 1 / 63)
    })
  ),

  "hybrid search is the fusion of what the legs find, to the last bit": withCollection((search, collection) =>
    Effect.gen(function* () {
      const [texts, vectors] = [yield* TextStore, yield* VectorStore]
      yield* property(sample, ({ filter, limit, records, text, vector }) =>
        Effect.gen(function* () {
          yield* texts.deleteWhere(collection, {})
          yield* vectors.deleteWhere(collection, {})
          yield* search.index(
            collection,
            records.map(({ n, text, vector }, i) => ({ id: `r${i}`, text: text.join(" "), vector, metadata: { n } }))
          )
          const question = text.join(" ")
          const byText = yield* texts.search(collection, question, { limit: 50, filter })
          const byVector = yield* vectors.search(collection, vector, { k: 50, filter })
          const legs = (weights: readonly [number, number]) => [
            {
              ranked: byText.map(({ bm25, id }) => ({ id: `${id}\u0000${collection}`, score: bm25 })),
              weight: weights[0]
            },
            { ranked: byVector.map(({ id, score }) => ({ id: `${id}\u0000${collection}`, score })), weight: weights[1] }
          ]
          const ways = [
            [{ strategy: "rrf" }, Fusion.reciprocalRank(legs([1, 1]))],
            [{ strategy: "weighted" }, Fusion.weighted(legs([0.3, 0.7]))],
            [{ strategy: "weighted", normalization: "z-score" }, Fusion.weighted(legs([0.3, 0.7]), "z-score")]
          ] as const
          for (const [fusion, expected] of ways) {
            const answer = yield* search.search(collection, { text: question, vector, limit, filter, fusion })
            yield* equal(
              answer.results.map(({ id, score }) => [id, score]),
              expected.slice(0, limit).map(({ id, score }) => [id.split("\u0000")[0], score])
            )
          }
        })
      )
    })
  ),

  "under a filter, each leg and their fusion are what a loop over all records finds": Effect.gen(function* () {
    const search = yield* Search
    const collection = yield* fresh("loop")
    yield* search.createCollection(collection, { dimension: 2, language: "simple" })
    yield* property(sample, ({ filter, limit, records, text, vector }) =>
      Effect.gen(function* () {
        const before = yield* search.search(collection, { vector: [1, 0], mode: "vector", limit: 100 })
        yield* search.delete(collection, idsOf(before))
        const named = records.map((record, i) => ({ ...record, id: `r${i}`, metadata: { n: record.n } }))
        yield* search.index(
          collection,
          named.map(({ id, metadata, text, vector }) => ({ id, text: text.join(" "), vector, metadata }))
        )
        const isMatch = Filter.matches(yield* Filter.parse(filter))
        const wanted = new Set(text)
        const all = named.map(({ text }) => text)
        const among = named.filter(({ metadata }) => isMatch(metadata))
        const plain = {
          text: new Map(
            among.flatMap((each) =>
              each.text.some((word) => wanted.has(word)) ? [[each.id, Plain.bm25(each.text, all, wanted)] as const] : []
            )
          ),
          vector: new Map(among.map((each) => [each.id, Plain.cosine(each.vector, vector)] as const))
        }
        const request = { text: text.join(" "), vector, filter }
        const legs: Array<ReadonlyArray<string>> = []
        for (const mode of ["text", "vector"] as const) {
          const scores = plain[mode]
          const best = Array.from(scores.values()).sort((a, b) => b - a)
          const { results } = yield* search.search(collection, { ...request, mode, limit })
          yield* equal(results.length, Math.min(limit, scores.size))
          results.forEach(({ id, score }, i) => {
            // Vectors are kept as 32-bit floats.
            for (const other of [scores.get(id)!, best[i]!])
              NodeAssert.ok(Math.abs(score - other) < 1e-6, `${mode} ${i}`)
          })
          legs.push(idsOf(yield* search.search(collection, { ...request, mode, limit: 50 })))
        }
        const { results } = yield* search.search(collection, { ...request, limit })
        yield* equal(
          results.map(({ id, score }) => [id, score]),
          Plain.fused(legs).slice(0, limit)
        )
      })
    )
  }),

  "the same legs give the same ranking, to the last bit, on every engine": withCollection((search, collection) =>
    Effect.gen(function* () {
      // One leg prefers the short text, the other one the near vector; the last two are equal in both.
      yield* search.index(collection, [
        { id: "a", text: "needle and some more words", vector: [1, 0] },
        { id: "b", text: "needle", vector: [1, 1] },
        { id: "c", text: "nothing", vector: [1, 0.5] },
        { id: "d", text: "far", vector: [-1, 0] },
        { id: "e", text: "far", vector: [-1, 0] }
      ])
      const found = yield* search.search(collection, { text: "needle", vector: [1, 0] })
      yield* equal(
        found.results.map(({ id, score }) => [id, score]),
        [
          ["a", 1 / 62 + 1 / 61],
          ["b", 1 / 61 + 1 / 63],
          ["c", 1 / 62],
          ["d", 1 / 64],
          ["e", 1 / 65]
        ]
      )
    })
  ),

  "with mmr, what says the same again comes after what says something else": withCollection((search, collection) =>
    Effect.gen(function* () {
      yield* search.index(collection, [
        { id: "a", text: "cat", vector: [1, 0] },
        { id: "again", text: "cat and more words", vector: [1, 0.01] },
        { id: "other", text: "cat and many more words", vector: [0.6, 0.8] },
        { id: "far", text: "dog", vector: [-1, 0] }
      ])
      const ids = (request: SearchRequest) => Effect.map(search.search(collection, request), idsOf)
      yield* equal(yield* ids({ vector: [1, 0], limit: 3 }), ["a", "again", "other"])
      yield* equal(yield* ids({ vector: [1, 0], limit: 2, mmr: {} }), ["a", "again"])
      yield* equal(yield* ids({ vector: [1, 0], limit: 2, mmr: { lambda: 0.4 } }), ["a", "far"])
      yield* equal(yield* ids({ text: "cat", limit: 2, mmr: { lambda: 0.1 } }), ["a", "other"])
      yield* equal(yield* ids({ text: "cat", vector: [1, 0], limit: 3, mmr: { lambda: 1 } }), ["a", "again", "other"])
      const texts = yield* fresh("no_vectors")
      yield* search.createCollection(texts)
      yield* search.index(texts, [{ id: "a", text: "cat" }])
      yield* failsWith("InvalidInput", search.search(texts, { text: "cat", mmr: {} }))
      yield* failsWith("InvalidInput", search.search(collection, { text: "cat", mmr: { lambda: 2 } }))
    })
  ),

  "where the model knows words only, words weigh more": withCollection(
    (search, collection) =>
      Effect.gen(function* () {
        yield* search.index(collection, animals)
        const request = { text: "cat", vector: [0, 1] }
        const found = (fusion?: FusionOptions) =>
          Effect.map(
            search.search(collection, { ...request, ...(fusion === undefined ? {} : { fusion }) }),
            ({ results }) => results
          )
        const byDefault = yield* found()
        yield* equal(byDefault, yield* found({ strategy: "weighted", textWeight: 0.7, vectorWeight: 0.3 }))
        yield* equal(byDefault[0]?.scoreKind, "weighted")
        yield* equal(byDefault, yield* found({ strategy: "weighted" }))
        yield* equal((yield* found({ strategy: "rrf" }))[0]?.scoreKind, "rrf")
      }),
    { dimension: 2, model: "hashing-2" }
  ),

  "a model that knows words only finds nothing that has none in common": withCollection(
    (search, collection) =>
      Effect.gen(function* () {
        yield* search.index(collection, [
          { id: "common", text: "boat", vector: [0.6, 0.8] },
          { id: "none", text: "tree", vector: [0, 1] },
          { id: "opposite", text: "stone", vector: [-1, 0] }
        ])
        for (const request of [
          { vector: [1, 0] },
          { text: "?", vector: [1, 0] },
          { vector: [1, 0], minSimilarity: -1 }
        ]) {
          yield* equal(idsOf(yield* search.search(collection, request)), ["common"])
        }
      }),
    { dimension: 2, model: "hashing-2" }
  ),
  "a filter holds in every leg, and does not cost results": withCollection((search, collection) =>
    Effect.gen(function* () {
      const others = Array.from({ length: 60 }, (_, i) => ({
        id: `other${i}`,
        text: "cat cat cat",
        vector: [1, 0.001 * i],
        metadata: { user: "eve" }
      }))
      yield* search.index(collection, [...animals, ...others])
      const request = { text: "cat", vector: [1, 0], filter: { user: "ada" }, limit: 5 }
      const answer = yield* search.search(collection, request)
      yield* equal(idsOf(answer), ["cat", "fish", "bird"])
      yield* equal(answer.results[0]?.vectorRank, 1)
    })
  ),

  "a limit above the depth of the legs raises it": withCollection((search, collection) =>
    Effect.gen(function* () {
      yield* search.index(
        collection,
        Array.from({ length: 120 }, (_, i) => ({ id: `r${i}`, text: "same words", vector: [1, i] }))
      )
      const request = { text: "words", vector: [1, 0] }
      const count = (limit: number, preFusionLimit?: number) =>
        Effect.map(
          search.search(collection, { ...request, limit, ...(preFusionLimit ? { preFusionLimit } : {}) }),
          ({ results }) => results.length
        )
      yield* equal(
        [yield* count(100), yield* count(120), yield* count(10, 3), yield* count(110, 3)],
        [100, 120, 10, 110]
      )
    })
  ),

  "the smallest similarity is of cosines only: matches by text stay": withCollection((search, collection) =>
    Effect.gen(function* () {
      yield* search.index(collection, animals)
      const minSimilarity = 0.95
      yield* equal(idsOf(yield* search.search(collection, { vector: [1, 0], minSimilarity })), ["cat", "dog"])
      yield* equal(idsOf(yield* search.search(collection, { text: "birds", vector: [1, 0], minSimilarity })), [
        "bird",
        "cat",
        "dog"
      ])
      const other = yield* fresh("dot")
      yield* search.createCollection(other, { dimension: 2, metric: "dot" })
      yield* failsWith("InvalidInput", search.search(other, { vector: [1, 0], minSimilarity }))
    })
  ),

  "a leg that fails is reported beside the results of the other": Effect.gen(function* () {
    const [search, texts, vectors] = [yield* Search, yield* TextStore, yield* VectorStore]
    const [textOnly, vectorOnly] = [yield* fresh("texts"), yield* fresh("vectors")]
    yield* texts.createCollection(textOnly)
    yield* texts.insert(textOnly, { id: "a", text: "word" })
    yield* vectors.createCollection(vectorOnly, { dimension: 2 })
    yield* vectors.insert(vectorOnly, { id: "b", vector: [1, 0], text: "its text" })
    const request = { text: "word", vector: [1, 0] }
    const report = ({ failed, results }: SearchAnswer) => [
      results.map(({ id, text }) => [id, text]),
      failed.map(({ collection, error, leg }) => [collection, leg, error._tag])
    ]
    yield* equal(report(yield* search.search(textOnly, request)), [[["a", "word"]], [[textOnly, "vector", "NotFound"]]])
    yield* equal(report(yield* search.search(vectorOnly, request)), [
      [["b", "its text"]],
      [[vectorOnly, "text", "NotFound"]]
    ])
    yield* failsWith("NotFound", search.search("nowhere", request))
    yield* failsWith("NotFound", search.search(textOnly, { vector: [1, 0] }))
  }),

  "several collections are ranked together in one fusion": Effect.gen(function* () {
    const search = yield* Search
    const name = yield* fresh("scope")
    const [one, two] = [`${name}_1`, `${name}_2`]
    const fillers = Array.from({ length: 6 }, (_, i) => ({ id: `f${i}`, text: "filler", vector: [-1, -i] }))
    for (const collection of [one, two]) yield* search.createCollection(collection, { dimension: 2 })
    yield* search.index(one, [{ id: "x", text: "needle", vector: [1, 0.5] }, ...fillers])
    yield* search.index(two, [
      { id: "x", text: "needle in a longer hay stack", vector: [1, 0] },
      { id: "y", text: "hay", vector: [0, 1] },
      ...fillers
    ])
    const answer = yield* search.search([one, two, one], { text: "needle", vector: [1, 0], limit: 2 })
    yield* equal(
      answer.results.map(({ collection, id, textRank, vectorRank }) => [collection, id, textRank, vectorRank]),
      [
        [one, "x", 1, 2],
        [two, "x", 2, 1]
      ]
    )
  }),

  "a text without a vector is found at once, and a changed one not by its old vector": withCollection(
    (search, collection) =>
      Effect.gen(function* () {
        yield* search.index(collection, [{ id: "a", text: "first" }])
        yield* equal(idsOf(yield* search.search(collection, { text: "first", vector: [1, 0] })), ["a"])
        yield* search.index(collection, [{ id: "a", text: "second", vector: [1, 0] }])
        yield* equal(idsOf(yield* search.search(collection, { vector: [1, 0] })), ["a"])
        yield* search.index(collection, [{ id: "a", text: "third" }])
        yield* equal(idsOf(yield* search.search(collection, { vector: [1, 0] })), [])
        yield* equal(idsOf(yield* search.search(collection, { text: "first second third" })), ["a"])
      })
  ),

  "text and vector are written together or not at all": withCollection((search, collection) =>
    Effect.gen(function* () {
      const bad = [
        { id: "a", text: "word", vector: [1, 0] },
        { id: "b", text: "word", vector: [1, 0, 0] }
      ]
      yield* failsWith("DimensionMismatch", search.index(collection, bad))
      yield* equal(idsOf(yield* search.search(collection, { text: "word" })), [])
      const backend = yield* Backend
      yield* Effect.ignore(backend.transaction(Effect.zipRight(search.index(collection, animals), Effect.fail("undo"))))
      yield* equal(idsOf(yield* search.search(collection, { text: "cat", vector: [1, 0] })), [])
      yield* search.index(collection, animals)
      yield* equal(yield* search.delete(collection, ["cat", "none"]), 1)
      NodeAssert.ok(!idsOf(yield* search.search(collection, { text: "cat", vector: [1, 0] })).includes("cat"))
      yield* search.dropCollection(collection)
      yield* failsWith("NotFound", search.search(collection, { text: "cat", vector: [1, 0] }))
    })
  ),

  "collections are listed with what they were made with, the hub's own left out": Effect.gen(function* () {
    const [search, texts, vectors] = [yield* Search, yield* TextStore, yield* VectorStore]
    const name = yield* fresh("listed")
    yield* search.createCollection(`${name}_c`, { dimension: 2, metric: "dot", model: "m", language: "simple" })
    yield* texts.createCollection(`${name}_b`)
    yield* vectors.createCollection(`${name}_a`, { dimension: 3 })
    const listed = yield* search.collections
    yield* equal(
      listed.filter((collection) => collection.name.startsWith(name)),
      [
        { name: `${name}_a`, language: null, dimension: 3, metric: "cosine", model: null },
        { name: `${name}_b`, language: "english", dimension: null, metric: null, model: null },
        { name: `${name}_c`, language: "simple", dimension: 2, metric: "dot", model: "m" }
      ]
    )
    yield* equal(
      listed.filter((collection) => collection.name.startsWith("db_hub_")),
      []
    )
    yield* failsWith("InvalidInput", search.createCollection(`db_hub_${name}`))
  }),

  "a request that cannot be answered is refused, with the field": withCollection((search, collection) =>
    Effect.gen(function* () {
      const both = { text: "a", vector: [1, 0] }
      for (const [field, request] of [
        ["vector", {}],
        ["vector", { mode: "vector", text: "a" }],
        ["vector", { mode: "hybrid", text: "a" }],
        ["mode", { mode: "fuzzy", text: "a" }],
        ["syntax", { text: "a", syntax: "fts5" }],
        ["limit", { text: "a", limit: 0 }],
        ["preFusionLimit", { ...both, preFusionLimit: -1 }],
        ["filter.a.$near", { ...both, filter: { a: { $near: 1 } } }],
        ["minSimilarity", { ...both, minSimilarity: 2 }],
        ["minSimilarity", { ...both, minSimilarity: "0.5" }],
        ["fusion", { ...both, fusion: { strategy: "weighted", textWeight: 0, vectorWeight: 0 } }],
        ["fusion", { ...both, fusion: { strategy: "rrf", textWeight: Number.NaN } }],
        ["fusion.strategy", { ...both, fusion: { strategy: "sum" } }],
        ["fusion.normalization", { ...both, fusion: { strategy: "weighted", normalization: "softmax" } }]
      ] as const) {
        const error = yield* failsWith("InvalidInput", search.search(collection, request as never))
        yield* equal("field" in error ? error.field : undefined, field)
      }
      yield* failsWith("DimensionMismatch", search.search(collection, { text: "a", vector: [1] }))
      yield* failsWith("InvalidInput", search.search([], { text: "a" }))
    })
  )
}
