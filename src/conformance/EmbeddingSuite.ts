/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as CachedEmbeddings from "../layers/embeddings/CachedEmbeddings.js"
import * as SearchLive from "../layers/search/SearchLive.js"
import { Backend } from "../services/Backend.js"
import type { Search, SearchAnswer } from "../services/Search.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"
import { type Scripted, scripted, vectorOf } from "./Scripted.js"

interface Place {
  readonly search: Search["Type"]
  readonly model: Scripted
  readonly collection: string
  readonly backend: Backend["Type"]
}

/** A collection of the model at hand. */
const withModel = (test: (place: Place) => Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const model = scripted(yield* fresh("model"))
    const search = SearchLive.make(backend, model.embeddings)
    const collection = yield* fresh("embedded")
    yield* search.createCollection(collection, { model: true })
    yield* test({ search, model, collection, backend })
  })

const idsOf = ({ results }: SearchAnswer) => results.map(({ id }) => id)

const animals = [
  { id: "cat", text: "The cat sleeps", metadata: { user: "ada" } },
  { id: "dog", text: "The dog barks", metadata: { user: "bob" } },
  { id: "fish", text: "Fish swim", metadata: { user: "ada" } }
]

/** The id whose vector is nearest to a text. */
const nearest = ({ collection, search }: Place, text: string) =>
  Effect.map(search.search(collection, { text, mode: "vector", limit: 1 }), ({ results: [first] }) => first?.id)

/**
 * @since 0.1.0
 * @category suites
 */
export const embeddingSuite: Suite = {
  "records and questions without vectors are embedded by the collection's model": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      yield* equal(yield* search.index(collection, animals), { embedded: 3, pending: 0 })
      const answer = yield* search.search(collection, { text: "cat" })
      yield* equal([answer.mode, answer.failed, idsOf(answer)[0]], ["hybrid", [], "cat"])
      NodeAssert.ok(answer.results.every(({ vectorRank }) => vectorRank !== undefined))
      yield* equal(yield* nearest(place, "Fish swim"), "fish")
      yield* equal(idsOf(yield* search.search(collection, { text: "dog", mode: "text" })), ["dog"])
      yield* equal(model.asked, [...animals.map(({ text }) => text), "cat", "Fish swim"])
    })
  ),

  "a text in the advanced syntax is looked for by its words alone, unless told otherwise": withModel((place) =>
    Effect.gen(function* () {
      const { collection, search } = place
      yield* search.index(collection, [
        { id: "one", text: "green tea" },
        { id: "two", text: "black tea" }
      ])
      const request = { text: "tea -black", syntax: "advanced" } as const
      const { mode, results } = yield* search.search(collection, request)
      yield* equal(mode, "text")
      yield* equal(
        results.map(({ id }) => id),
        ["one"]
      )
      yield* equal((yield* search.search(collection, { ...request, mode: "hybrid" })).mode, "hybrid")
    })
  ),
  "a text that is there already keeps its vector, and is not embedded again": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      yield* search.index(collection, animals)
      model.asked.length = 0
      const [cat, dog, fish] = animals
      const changed = [{ ...cat!, metadata: { user: "eve" } }, { ...dog!, text: "The dog howls" }, fish!]
      yield* equal(yield* search.index(collection, changed), { embedded: 1, pending: 0 })
      yield* equal(model.asked, ["The dog howls"])
      yield* equal(yield* nearest(place, "The dog howls"), "dog")
      const eves = yield* search.search(collection, { text: "cat", filter: { user: "eve" }, mode: "vector" })
      yield* equal(idsOf(eves), ["cat"])
    })
  ),

  "a model that fails loses no text: it is found, and gets its vector later": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      model.fails = () => "unavailable"
      const { failed, ...report } = yield* search.index(collection, animals)
      yield* equal([report, failed?.reason], [{ embedded: 0, pending: 3 }, "unavailable"])
      const answer = yield* search.search(collection, { text: "cat" })
      yield* equal(idsOf(answer), ["cat"])
      yield* equal(
        answer.failed.map(({ error, leg }) => [leg, error._tag]),
        [["vector", "EmbeddingError"]]
      )
      yield* failsWith("EmbeddingError", search.search(collection, { text: "cat", mode: "vector" }))
      yield* equal((yield* search.embedPending(collection)).pending, 3)
      model.fails = () => undefined
      yield* equal(yield* search.embedPending(collection), { embedded: 3, pending: 0 })
      yield* equal(yield* search.embedPending(collection), { embedded: 0, pending: 0 })
      yield* equal(yield* nearest(place, "Fish swim"), "fish")
      const adas = yield* search.search(collection, { text: "dog", filter: { user: "ada" }, mode: "vector" })
      yield* equal(idsOf(adas).sort(), ["cat", "fish"])
    })
  ),

  "a text that the model refuses keeps no other one from its vector": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      model.fails = (text) => (text.startsWith("Fish") ? "refused" : undefined)
      const { failed, refused, ...report } = yield* search.index(collection, animals)
      yield* equal([report, failed?.reason], [{ embedded: 2, pending: 1 }, "refused"])
      yield* equal(
        refused?.map(({ error, id }) => [id, error.reason]),
        [["fish", "refused"]]
      )
      yield* equal(yield* nearest(place, "The dog barks"), "dog")
      yield* equal(idsOf(yield* search.search(collection, { text: "fish" })).includes("fish"), true)
      model.fails = () => "unavailable"
      yield* search.index(collection, [{ id: "bird", text: "Birds fly" }])
      model.fails = (text) => (text.startsWith("Fish") ? "refused" : undefined)
      const progress: Array<number> = []
      const later = yield* search.embedPending(collection, {
        onProgress: ({ done, total }) => Effect.sync(() => progress.push(done, total))
      })
      yield* equal(
        [later.embedded, later.pending, later.refused?.map(({ id }) => id), later.failed?.reason, progress],
        [1, 1, ["fish"], "refused", [2, 2]]
      )
    })
  ),

  "how many wait is asked of collections that are there": withModel(({ backend, collection, search }) =>
    Effect.gen(function* () {
      const vectors = yield* fresh("vectors")
      yield* backend.vector.createCollection(vectors, { dimension: 2 })
      yield* equal([yield* search.pending(collection), yield* search.pending(vectors)], [0, 0])
      yield* failsWith("NotFound", search.pending(yield* fresh("unknown")))
    })
  ),

  "the name of a model is not empty": Effect.gen(function* () {
    const { vector } = yield* Backend
    const search = SearchLive.make(yield* Backend)
    const nameless = { model: "", dimension: 2 }
    for (const created of [
      vector.createCollection("nameless", nameless),
      search.createCollection("nameless", nameless)
    ]) {
      const error = yield* failsWith("InvalidInput", created)
      yield* equal(error._tag === "InvalidInput" && error.field, "model")
    }
  }),

  "what is changed or deleted while it is embedded is not overwritten": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      model.fails = () => "timeout"
      yield* search.index(collection, animals)
      model.fails = () => undefined
      model.meanwhile = Effect.gen(function* () {
        model.meanwhile = Effect.void
        yield* search.index(collection, [{ id: "cat", text: "A mouse hides", vector: null }])
        yield* search.delete(collection, ["dog"])
      })
      yield* equal(yield* search.embedPending(collection), { embedded: 1, pending: 1 })
      const all = { text: "x", mode: "vector" } as const
      yield* equal(idsOf(yield* search.search(collection, all)), ["fish"])
      yield* equal(yield* search.embedPending(collection), { embedded: 1, pending: 0 })
      yield* equal(yield* nearest(place, "A mouse hides"), "cat")
      yield* equal(idsOf(yield* search.search(collection, all)).sort(), ["cat", "fish"])
    })
  ),

  "another model than the collection's is refused, with the names of both": withModel((place) =>
    Effect.gen(function* () {
      const { backend, collection, model, search } = place
      yield* search.index(collection, animals)
      const other = scripted("another")
      const otherSearch = SearchLive.make(backend, other.embeddings)
      const error = yield* failsWith("ModelMismatch", otherSearch.index(collection, [{ id: "new", text: "new" }]))
      yield* equal(error._tag === "ModelMismatch" && [error.collection, error.expected, error.actual], [
        collection,
        model.embeddings.model,
        "another"
      ])
      yield* failsWith("ModelMismatch", otherSearch.embedPending(collection))
      yield* failsWith(
        "ModelMismatch",
        search.index(collection, [{ id: "a", text: "a", vector: [1], model: "another" }])
      )
      const answer = yield* otherSearch.search(collection, { text: "cat" })
      yield* equal(idsOf(answer), ["cat"])
      yield* equal(
        answer.failed.map(({ error }) => error._tag),
        ["ModelMismatch"]
      )
      yield* equal(idsOf(yield* otherSearch.search(collection, { text: "new", mode: "text" })), [])
      yield* equal(other.asked, [])
    })
  ),

  "a model that keeps its name and changes its dimension is refused, and collections move to it": withModel((place) =>
    Effect.gen(function* () {
      const { backend, collection, model, search } = place
      yield* search.index(collection, animals)
      const smaller = scripted(model.embeddings.model, 16)
      const moved = { ...place, search: SearchLive.make(backend, smaller.embeddings) }
      const error = yield* failsWith("DimensionMismatch", moved.search.index(collection, [{ id: "new", text: "new" }]))
      yield* equal([/by reembed$/.test(error.message), smaller.asked], [true, []])
      yield* failsWith("DimensionMismatch", moved.search.embedPending(collection))
      yield* failsWith("DimensionMismatch", moved.search.createCollection(collection, { model: true }))
      const before = yield* moved.search.search(collection, { text: "cat" })
      yield* equal([idsOf(before), before.failed.map(({ error }) => error._tag)], [["cat"], ["DimensionMismatch"]])
      smaller.meanwhile = Effect.gen(function* () {
        smaller.meanwhile = Effect.void
        yield* search.index(collection, [{ id: "bird", text: "Birds fly" }])
        // The process of the new dimension cannot search the old vectors, but may write.
        yield* moved.search.index(collection, [{ id: "ant", text: "Ants work" }])
        yield* equal(yield* nearest(place, "Birds fly"), "bird")
      })
      yield* equal(yield* moved.search.reembed(collection), { embedded: 5, pending: 0, moved: true })
      for (const [text, id] of [
        ["Fish swim", "fish"],
        ["Birds fly", "bird"],
        ["Ants work", "ant"]
      ] as const) {
        yield* equal(yield* nearest(moved, text), id)
      }
      const { dimension } = (yield* backend.vector.collections).find(({ name }) => name === collection)!
      yield* equal(dimension, 16)
      yield* failsWith("DimensionMismatch", search.index(collection, [{ id: "new", text: "new" }]))
    })
  ),

  "without a model at hand texts are found, and wait for one": withModel(({ backend, collection, search }) =>
    Effect.gen(function* () {
      const bare = SearchLive.make(backend)
      yield* equal(yield* bare.index(collection, animals), { embedded: 0, pending: 3 })
      const answer = yield* bare.search(collection, { text: "cat" })
      yield* equal([answer.mode, idsOf(answer), answer.failed], ["text", ["cat"], []])
      yield* failsWith("InvalidInput", bare.search(collection, { text: "cat", mode: "hybrid" }))
      yield* failsWith("DbUnsupported", bare.embedPending(collection))
      yield* failsWith("InvalidInput", bare.createCollection(`${collection}_2`, { model: true }))
      yield* equal(yield* search.embedPending(collection), { embedded: 3, pending: 0 })
    })
  ),

  "texts that were there before their collection had a model wait for it, and are embedded": Effect.gen(function* () {
    const backend = yield* Backend
    const model = scripted(yield* fresh("model"))
    const search = SearchLive.make(backend, model.embeddings)
    const collection = yield* fresh("later")
    yield* search.createCollection(collection)
    yield* search.index(collection, [...animals, { id: "blank", text: " " }])
    yield* equal(yield* search.pending(collection), 0)
    yield* search.createCollection(collection, { model: true })
    yield* search.createCollection(collection, { model: true })
    yield* search.index(collection, [{ id: "dog", text: "The dog howls" }])
    const answer = yield* search.search(collection, { text: "cat" })
    yield* equal([answer.failed, idsOf(answer).includes("cat")], [[], true])
    yield* equal(yield* search.embedPending(collection), { embedded: 2, pending: 0 })
    for (const [text, id] of [
      ["Fish swim", "fish"],
      ["The dog howls", "dog"]
    ] as const) {
      yield* equal(yield* nearest({ search, model, collection, backend }, text), id)
    }
  }),

  "a question is embedded once, however many collections of its model are searched": withModel((place) =>
    Effect.gen(function* () {
      const { collection, model, search } = place
      const other = `${collection}_2`
      yield* search.createCollection(other, { model: true })
      yield* search.index(collection, animals.slice(0, 2))
      yield* search.index(other, animals.slice(2))
      model.asked.length = 0
      const answer = yield* search.search([collection, other], { text: "Fish swim" })
      yield* equal([answer.failed, idsOf(answer)[0], model.asked], [[], "fish", ["Fish swim"]])
    })
  ),

  "records that cannot be stored are refused before the model is asked": withModel(({ collection, model, search }) =>
    Effect.gen(function* () {
      const bad = [
        { id: "a", text: "good" },
        { id: "", text: "bad" }
      ]
      const error = yield* failsWith("InvalidInput", search.index(collection, bad))
      yield* equal(error._tag === "InvalidInput" && error.field, "records[1].id")
      yield* equal(model.asked, [])
      yield* equal(yield* search.index(collection, [{ id: "blank", text: " \n" }]), { embedded: 0, pending: 0 })
      yield* equal(model.asked, [])
    })
  ),

  "embedded beforehand, records are written in a transaction without asking the model": withModel((place) =>
    Effect.gen(function* () {
      const { backend, collection, model, search } = place
      model.fails = (text) => (text.startsWith("Fish") ? "unavailable" : undefined)
      const { failed, records } = yield* search.embed(collection, animals.slice(0, 2))
      yield* equal(failed, undefined)
      const { records: waiting } = yield* search.embed(collection, animals.slice(2))
      yield* equal(idsOf(yield* search.search(collection, { text: "cat", mode: "text" })), [])
      model.asked.length = 0
      const report = yield* backend.transaction(search.index(collection, [...records, ...waiting]))
      yield* equal(report, { embedded: 0, pending: 1 })
      yield* equal(model.asked, [])
      yield* equal(yield* nearest(place, "The dog barks"), "dog")
    })
  ),

  "a collection moves to another model; the old vectors answer until it has": withModel((place) =>
    Effect.gen(function* () {
      const { backend, collection, search } = place
      yield* search.index(collection, animals)
      const next = scripted(yield* fresh("next"), 48)
      const nextSearch = SearchLive.make(backend, next.embeddings)
      const before: Array<string | undefined> = []
      next.meanwhile = Effect.gen(function* () {
        next.meanwhile = Effect.void
        before.push(yield* nearest(place, "Fish swim"))
        yield* search.index(collection, [{ id: "bird", text: "Birds fly" }])
        yield* search.index(collection, [{ id: "dog", text: "The dog howls" }])
        yield* search.delete(collection, ["cat"])
        before.push(yield* nearest(place, "Birds fly"))
        // What a move keeps meanwhile is the hub's own, and is listed with nothing else.
        const names = (yield* search.collections).map(({ name }) => name)
        yield* equal([names.includes(collection), names.filter((name) => /reembedding/.test(name))], [true, []])
        // The process of the new model cannot search the old vectors, but may write.
        yield* nextSearch.index(collection, [{ id: "ant", text: "Ants work" }])
      })
      const report = yield* search.reembed(collection, { embeddings: next.embeddings })
      yield* equal(report.moved, true)
      yield* equal([report.pending, before], [0, ["fish", "bird"]])
      const moved: Place = { ...place, search: nextSearch }
      for (const [text, id] of [
        ["Fish swim", "fish"],
        ["Birds fly", "bird"],
        ["The dog howls", "dog"],
        ["Ants work", "ant"]
      ] as const) {
        yield* equal([yield* nearest(moved, text), yield* nearest(place, text)], [id, id])
      }
      const all = yield* nextSearch.search(collection, { text: "cat", mode: "vector" })
      yield* equal(idsOf(all).sort(), ["ant", "bird", "dog", "fish"])
      const { model: settings } = (yield* backend.vector.collections).find(({ name }) => name === collection)!
      yield* equal(settings, next.embeddings.model)
      yield* equal(yield* nextSearch.reembed(collection), { embedded: 0, pending: 0, moved: true })
    })
  ),

  "a move that stopped goes on from there, and one to a third model begins anew": withModel((place) =>
    Effect.gen(function* () {
      const { backend, collection, search } = place
      const records = Array.from({ length: 600 }, (_, i) => ({ id: `r${i}`, text: `record number ${i}` }))
      yield* search.index(collection, records)
      const next = scripted(yield* fresh("next"))
      const nextSearch = SearchLive.make(backend, next.embeddings)
      let calls = 0
      next.fails = () => (calls > 1 ? "unavailable" : undefined)
      next.meanwhile = Effect.sync(() => {
        calls += 1
      })
      const stopped = yield* nextSearch.reembed(collection)
      yield* equal([stopped.moved, stopped.embedded, stopped.pending], [false, 256, 344])
      yield* equal(yield* nearest(place, "record number 77"), "r77")
      next.fails = () => undefined
      next.asked.length = 0
      const { embedded, moved, pending } = yield* nextSearch.reembed(collection)
      yield* equal([moved, embedded, pending, next.asked.length], [true, 344, 0, 344])
      yield* equal(yield* nearest({ ...place, search: nextSearch }, "record number 77"), "r77")

      const third = scripted(yield* fresh("third"))
      third.fails = () => "unavailable"
      yield* nextSearch.reembed(collection, { embeddings: third.embeddings })
      yield* equal((yield* search.reembed(collection)).embedded, 600)
      yield* equal(yield* nearest(place, "record number 77"), "r77")
      yield* search.dropCollection(collection)
      const left = yield* backend.query(
        "SELECT collection AS name FROM db_hub_reembeddings WHERE collection = ? UNION ALL SELECT collection FROM db_hub_pending_embeddings WHERE collection = ?",
        [collection, collection]
      )
      yield* equal(left, [])
    })
  ),

  "a cache answers for the model what it has embedded, and keeps to its bound": Effect.gen(function* () {
    const backend = yield* Backend
    const model = scripted(yield* fresh("cached"), 3)
    const cached = yield* CachedEmbeddings.make(model.embeddings, backend)
    const texts = ["one", "two", "one", "three"]
    const vectors = yield* cached.embedMany(texts)
    yield* equal(
      vectors,
      texts.map((text) => vectorOf(text, 3))
    )
    yield* equal(model.asked, ["one", "two", "three"])
    const again = yield* CachedEmbeddings.make(model.embeddings, backend)
    yield* equal(
      yield* again.embedMany(["two", "four"]),
      ["two", "four"].map((text) => vectorOf(text, 3))
    )
    yield* equal(Array.from(yield* again.embed("three")), Array.from(vectorOf("three", 3)))
    yield* equal(model.asked, ["one", "two", "three", "four"])
    yield* again.embed("a question")
    yield* again.embed("a question")
    yield* equal(model.asked.slice(4), ["a question"])

    const other = scripted(yield* fresh("other"), 3)
    yield* (yield* CachedEmbeddings.make(other.embeddings, backend)).embedMany(["one"])
    yield* equal(other.asked, ["one"])

    model.fails = () => "unavailable"
    yield* failsWith("EmbeddingError", again.embedMany(["five", "one"]))
    yield* equal((yield* again.embedMany(["one"])).length, 1)
    model.fails = () => undefined
    yield* (yield* CachedEmbeddings.make(model.embeddings, backend, { capacity: 2 })).embedMany(["six", "seven"])
    yield* equal((yield* backend.query("SELECT hash FROM db_hub_embedding_cache LIMIT 3")).length, 2)
  })
}
