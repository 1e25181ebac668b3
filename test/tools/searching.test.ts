import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { EmbeddingError } from "../../src/errors/index.js"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend, type SqlValue } from "../../src/services/Backend.js"
import type { EmbeddingsShape } from "../../src/services/Embeddings.js"
import { MemoryStore } from "../../src/services/MemoryStore.js"
import type { Search } from "../../src/services/Search.js"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"
import * as Searching from "../../src/tools/Searching.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { temporaryFolder } from "../support/index.js"

interface Found {
  readonly results: ReadonlyArray<Readonly<Record<string, unknown>>>
  readonly failed?: ReadonlyArray<Readonly<Record<string, unknown>>>
}

const caller = { name: "tester", session: "s1" }

/** A model that may be down: "warm" and "hot" mean the same to it. */
const makeModel = () => {
  const self = {
    down: undefined as EmbeddingError["reason"] | undefined,
    asked: [] as Array<string>
  }
  const embedMany: EmbeddingsShape["embedMany"] = (texts) =>
    Effect.suspend(() => {
      self.asked.push(...texts)
      if (self.down !== undefined) {
        return new EmbeddingError({ operation: "test", message: "the model is down", reason: self.down, model: "m" })
      }
      return Effect.succeed(texts.map((text) => Float32Array.of(/warm|hot/.test(text) ? 1 : 0.1, 0.5)))
    })
  const embeddings: EmbeddingsShape = {
    model: "m",
    dimension: 2,
    embed: (text) => Effect.map(embedMany([text]), ([vector]) => vector!),
    embedMany
  }
  return Object.assign(self, { embeddings })
}

/** A hub with what agents search: `prepare` fills it. */
const opened = (prepare: (search: Search["Type"]) => Effect.Effect<unknown, unknown> = () => Effect.void) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const hub = yield* HubMake.make({ primary: { type: "sqlite", path: `${folder}/hub.db` } as never, factories })
    const model = makeModel()
    yield* prepare(SearchLive.make(hub.primary, model.embeddings))
    const stores = yield* Layer.build(Layer.provide(StoresLive, Layer.succeed(Backend, hub.primary)))
    const store = Context.get(stores, MemoryStore)
    const kit = yield* Toolkit.make(hub, {
      groups: ["read", "write"],
      embeddings: model.embeddings,
      memories: { store, user: "ada" }
    })
    const call = (name: string, args: unknown) => kit.call(name, args, caller)
    const search = (args: unknown) =>
      Effect.map(call("db_hub_search", args), (answer) => {
        if (!answer.ok) throw new Error(JSON.stringify(answer.error))
        return answer.value as unknown as Found
      })
    const refused = (args: unknown) =>
      Effect.map(call("db_hub_search", args), (answer) => {
        if (answer.ok) throw new Error(`answered ${JSON.stringify(answer.value)}`)
        return answer.error
      })
    const remember = (content: string) =>
      Effect.map(call("db_hub_remember", { content }), (answer) => {
        if (!answer.ok) throw new Error(JSON.stringify(answer.error))
        return answer.value
      })
    return { hub, model, store, workspace: Context.get(stores, WorkspaceStore), search, refused, remember }
  })

const placesOf = ({ results }: Found) => results.map((result) => `${String(result["in"])} ${String(result["id"])}`)

const embedded = (search: Search["Type"], name: string, texts: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    yield* search.createCollection(name, { model: true })
    yield* search.index(
      name,
      Object.entries(texts).map(([id, text]) => ({ id, text, metadata: { kind: id.slice(0, 1) } }))
    )
  })

describe("what agents search", { timeout: 60_000 }, () => {
  it.scopedLive("a collection of texts alone does not keep the others from being searched by meaning", () =>
    Effect.gen(function* () {
      const { model, search } = yield* opened((search) =>
        Effect.gen(function* () {
          yield* embedded(search, "weather", { a: "a hot day", b: "a cold day" })
          yield* search.createCollection("plain")
          yield* search.index("plain", [{ id: "p", text: "warm words" }])
        })
      )
      model.asked.length = 0
      const found = yield* search({ query: "warm" })
      assert.deepStrictEqual(placesOf(found).sort(), ["plain p", "weather a", "weather b"])
      assert.isUndefined(found.failed)
      assert.deepStrictEqual(model.asked, ["warm"])
      assert.deepStrictEqual(placesOf(yield* search({ query: "warm", mode: "vector" })), ["weather a", "weather b"])
      assert.deepStrictEqual(placesOf(yield* search({ query: "warm", mode: "text" })), ["plain p"])
      assert.deepStrictEqual(placesOf(yield* search({ vector: [1, 0.5] })), ["weather a", "weather b"])
    })
  )

  it.scopedLive("a model that is down costs the meaning, not the words, and is said to be", () =>
    Effect.gen(function* () {
      const { model, refused, remember, search } = yield* opened((search) =>
        embedded(search, "weather", { a: "a hot day", b: "a cold day" })
      )
      yield* remember("Ada likes hot tea")
      model.down = "unavailable"
      const found = yield* search({ query: "hot" })
      assert.deepStrictEqual(
        found.results.map((result) => result["text"]),
        ["a hot day", "Ada likes hot tea"]
      )
      assert.deepStrictEqual(found.failed, [
        { collection: "weather", leg: "vector", error: "the model is down" },
        { collection: "memories", leg: "vector", error: "the model is down" }
      ])
      assert.strictEqual((yield* refused({ query: "hot", mode: "vector" })).type, "EmbeddingError")
    })
  )

  it.scopedLive("memories are found by words and by meaning, in turn with records, no more than asked for", () =>
    Effect.gen(function* () {
      const { remember, search } = yield* opened((search) =>
        embedded(search, "weather", { a: "a hot day", b: "a warm day", c: "a warm night" })
      )
      for (const content of ["Ada likes hot tea", "Ada rides a horse", "Ada wears warm socks"]) yield* remember(content)
      const found = yield* search({ query: "warm", limit: 3 })
      assert.lengthOf(found.results, 3)
      assert.deepStrictEqual(
        found.results.map((result) => result["in"]),
        ["weather", "memories", "weather"]
      )
      const words = yield* search({ query: "horses", mode: "text" })
      assert.deepStrictEqual(
        words.results.map((result) => result["text"]),
        ["Ada rides a horse"]
      )
      const tea = yield* search({ query: "warm", mode: "vector", in: ["memories"], limit: 2 })
      assert.sameMembers(
        tea.results.map((result) => result["text"]),
        ["Ada likes hot tea", "Ada wears warm socks"]
      )
    })
  )

  it.scopedLive("a filter holds in collections; asked of memories it is refused, and they are left out otherwise", () =>
    Effect.gen(function* () {
      const { refused, remember, search } = yield* opened((search) =>
        embedded(search, "weather", { a: "a hot day", b: "a warm day" })
      )
      yield* remember("Ada likes hot tea")
      assert.deepStrictEqual(placesOf(yield* search({ query: "hot", filter: { kind: "b" } })), ["weather b"])
      const error = yield* refused({ query: "hot", in: ["memories"], filter: { kind: "b" } })
      assert.deepStrictEqual([error.type, /filter/.test(error.message)], ["InvalidInput", true])
    })
  )

  it.scopedLive("collections that the hub keeps for itself are neither searched nor named", () =>
    Effect.gen(function* () {
      const { hub, model, refused, remember, search, workspace } = yield* opened((search) =>
        embedded(search, "weather", { a: "a hot day" })
      )
      yield* remember("Ada likes hot tea")
      // A move to another model that stopped half-way leaves a collection behind.
      const next: EmbeddingsShape = {
        model: "next",
        dimension: 2,
        embed: () => Effect.die("unused"),
        embedMany: () =>
          new EmbeddingError({ operation: "test", message: "down", reason: "unavailable", model: "next" })
      }
      yield* SearchLive.make(hub.primary, model.embeddings).reembed("weather", { embeddings: next })
      const chunks = [{ text: "a hot secret", embedding: { model: "m", vector: [1, 0.5] } }]
      yield* workspace.write({ user: "bob", path: "a.md", content: "a hot secret", chunks })
      const found = yield* search({ query: "hot" })
      assert.isUndefined(found.failed)
      assert.deepStrictEqual(
        found.results.map((result) => result["text"]),
        ["a hot day", "Ada likes hot tea"]
      )
      const error = yield* refused({ query: "hot", in: ["xyz"] })
      assert.match(error.message, /there are weather$/)
      for (const name of ["db_hub_memories", "db_hub_chunks"]) {
        assert.strictEqual((yield* refused({ query: "hot", in: [name] })).type, "NotFound")
      }
    })
  )

  it.scopedLive("collections of another model are found by their words, and say that meaning failed", () =>
    Effect.gen(function* () {
      const { search } = yield* opened((search) =>
        Effect.gen(function* () {
          yield* search.createCollection("other", { dimension: 3, model: "another" })
          yield* search.index("other", [{ id: "o", text: "hot words", vector: [1, 0, 0] }])
        })
      )
      const found = yield* search({ query: "hot" })
      assert.deepStrictEqual(placesOf(found), ["other o"])
      assert.deepStrictEqual(
        found.failed?.map(({ collection, leg }) => [collection, leg]),
        [["other", "vector"]]
      )
    })
  )
})

describe("what agents remember", { timeout: 60_000 }, () => {
  it.scopedLive("is kept when the model is down, found by its words, and by its meaning once the model answers", () =>
    Effect.gen(function* () {
      const { model, remember, search, store } = yield* opened()
      model.down = "unavailable"
      const kept = yield* remember("Ada likes hot tea")
      assert.deepStrictEqual([kept["pending"], kept["reason"]], [true, "the model is down"])
      assert.deepStrictEqual(placesOf(yield* search({ query: "tea", mode: "text" })), [
        `memories ${String(kept["id"])}`
      ])
      model.down = undefined
      const next = yield* remember("Ada rides a horse")
      assert.isUndefined(next["pending"])
      const { items } = yield* store.list("ada")
      assert.deepStrictEqual(
        items.map(({ embeddingModel }) => embeddingModel),
        ["m", "m"]
      )
      const [best] = (yield* search({ query: "warm", mode: "vector" })).results
      assert.strictEqual(best?.["text"], "Ada likes hot tea")
    })
  )

  it.scopedLive("what waits is not counted, which would read all of it, to give some of it vectors", () =>
    Effect.gen(function* () {
      const { hub, model, store } = yield* opened()
      yield* store.store({ user: "ada", content: "Ada likes hot tea" })
      const read: Array<string> = []
      const watched = {
        query: (sql: string, params?: ReadonlyArray<SqlValue>) =>
          Effect.suspend(() => {
            read.push(sql)
            return hub.primary.query(sql, params)
          })
      }
      yield* Searching.remembering(
        watched,
        { store, user: "ada" },
        model.embeddings
      )({
        content: "Ada rides a horse"
      })
      const { items } = yield* store.list("ada")
      assert.deepStrictEqual(
        items.map(({ embeddingModel }) => embeddingModel),
        ["m", "m"]
      )
      assert.isAbove(read.length, 0)
      assert.isEmpty(read.filter((sql) => /count\(/i.test(sql)))
    })
  )

  it.scopedLive("a memory of long ago that gets its vector beside a new one is no younger for it", () =>
    Effect.gen(function* () {
      const { hub, remember, search, store } = yield* opened()
      const { id } = yield* store.store({ user: "ada", content: "Ada likes hot tea" })
      const then = new Date("2020-01-02T03:04:05.678Z")
      yield* hub.primary.execute("UPDATE db_hub_memories SET created_at = ?, updated_at = ?", [then, then])
      yield* remember("Ada rides a horse")
      const memory = yield* store.get("ada", id)
      assert.deepStrictEqual(
        [memory.embeddingModel, memory.createdAt, memory.updatedAt, memory.accessCount],
        ["m", then, then, 0]
      )
      const [best] = (yield* search({ query: "warm", mode: "vector" })).results
      assert.strictEqual(best?.["id"], id)
    })
  )

  it.scopedLive("many that wait get their vectors beside several new ones, each asked for once", () =>
    Effect.gen(function* () {
      const { model, remember, store } = yield* opened()
      for (let i = 0; i < 100; i++) yield* store.store({ user: "ada", content: `number ${i}` })
      yield* store.store({ user: "bob", content: "of somebody else" })
      const waiting = Effect.map(
        store.list("ada", { notEmbeddedBy: model.embeddings, limit: 1000 }),
        ({ items }) => items.length
      )
      const left: Array<number> = []
      for (let i = 0; i < 3; i++) {
        yield* remember(`new ${i}`)
        left.push(yield* waiting)
      }
      assert.deepStrictEqual(left, [36, 0, 0])
      assert.lengthOf(model.asked, 103)
      assert.notInclude(model.asked, "of somebody else")
    })
  )

  it.scopedLive("a memory that the model refuses keeps no other one from its vector", () =>
    Effect.gen(function* () {
      const { model, remember, store } = yield* opened()
      model.down = "unavailable"
      yield* remember("one")
      yield* remember("poison")
      model.down = undefined
      const { embedMany } = model.embeddings
      Object.assign(model.embeddings, {
        embedMany: (texts: ReadonlyArray<string>) =>
          texts.includes("poison")
            ? new EmbeddingError({ operation: "test", message: "no", reason: "refused", model: "m", status: 400 })
            : embedMany(texts)
      })
      yield* remember("three")
      const { items } = yield* store.list("ada")
      assert.deepStrictEqual(items.map(({ content, embeddingModel }) => [content, embeddingModel]).sort(), [
        ["one", "m"],
        ["poison", null],
        ["three", "m"]
      ])
    })
  )
})
