/**
 * What plain JavaScript passes, which TypeScript would not have let through.
 *
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as IngestLive from "../layers/ingest/IngestLive.js"
import * as SearchLive from "../layers/search/SearchLive.js"
import * as StoreEmbeddingLive from "../layers/stores/StoreEmbedding.js"
import { Backend } from "../services/Backend.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { Embeddings } from "../services/Embeddings.js"
import { MemoryStore } from "../services/MemoryStore.js"
import { SettingsStore } from "../services/SettingsStore.js"
import { StoreEmbedding } from "../services/StoreEmbedding.js"
import { WorkspaceStore } from "../services/WorkspaceStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"
import { scripted } from "./Scripted.js"

/** Values that are not of a kind. */
const wrong = {
  name: [undefined, null, 5, "", {}, []],
  names: [undefined, null, 5, {}, [], [null], [{}], ""],
  user: [undefined, null, 5, "", {}, { $ne: "nobody" }, []],
  options: [null, 5, "x", []],
  object: [undefined, null, 5, "x", []],
  given: [null, 5, "x", []],
  list: [undefined, null, 5, "x", {}],
  ids: [undefined, null, 5, "x", {}, [null], [5], [{}]],
  someList: [null, 5, "x", {}],
  record: [null, 5, "x", [], {}],
  vector: [undefined, null, 5, "x", {}, ["x"], [null]],
  someVector: [null, 5, "x", {}],
  text: [null, 5, {}, []],
  noVector: [5, "x", {}],
  nameOrNull: [5, {}, []],
  function: [null, 5, "x", {}],
  filter: [null, 5, "x", []],
  count: ["x", {}, [], -1, 0.5],
  score: [null, "x", {}, []],
  misspelt: [null, 5, "x"]
} as const

// The types are what is not kept to here.
// biome-ignore lint/suspicious/noExplicitAny: see above
type Any = any

type Call = readonly [kind: keyof typeof wrong, field: RegExp, call: (bad: Any) => Effect.Effect<unknown, unknown>]

/** Fails with `InvalidInput` for the field, whatever it is given. */
const refuses = (calls: Readonly<Record<string, Call>>): Effect.Effect<void> =>
  Effect.forEach(
    Object.entries(calls),
    ([name, [kind, field, call]]) =>
      Effect.forEach(wrong[kind], (bad) =>
        Effect.gen(function* () {
          const shown = `${name} with ${JSON.stringify(bad) ?? "undefined"}`
          // One that throws instead of failing is not caught here.
          const exit = yield* Effect.exit(call(bad))
          NodeAssert.ok(Exit.isFailure(exit), `${shown} succeeded`)
          const error = Cause.failureOption(exit.cause) as { readonly value?: { _tag?: string; field?: string } }
          NodeAssert.equal(error.value?._tag, "InvalidInput", `${shown}: ${Cause.pretty(exit.cause)}`)
          NodeAssert.match(error.value?.field ?? "", field, shown)
        })
      ),
    { discard: true }
  )

/**
 * @since 0.1.0
 * @category suites
 */
export const inputSuite: Suite = {
  "Search refuses what is of a wrong kind, and names it": Effect.gen(function* () {
    const backend = yield* Backend
    const { embeddings } = scripted(yield* fresh("model"))
    const search = SearchLive.make(backend, embeddings)
    const name = yield* fresh("input")
    yield* search.createCollection(name, { model: true })
    const record = { id: "a", text: "a" }
    const vector = Array.from({ length: embeddings.dimension }, () => 1)
    const find = (request: object) => search.search(name, { text: "a", vector, ...request })
    yield* refuses({
      "createCollection(name)": ["name", /^(collection|name)$/, (bad) => search.createCollection(bad)],
      "createCollection(options)": ["options", /^options$/, (bad) => search.createCollection(`${name}_2`, bad)],
      "createCollection(dimension)": [
        "count",
        /^dimension$/,
        (dimension) => search.createCollection(`${name}_2`, { dimension })
      ],
      "createCollection(metrik)": [
        "misspelt",
        /^metrik$/,
        (metrik) => search.createCollection(`${name}_2`, { dimension: 2, metrik } as object)
      ],
      "createCollection(model)": [
        "nameOrNull",
        /^model$/,
        (model) => search.createCollection(`${name}_2`, { dimension: 2, model })
      ],
      "index(collection)": ["name", /^collection$/, (bad) => search.index(bad, [record])],
      "index(records)": ["list", /^records$/, (bad) => search.index(name, bad)],
      "index(record)": ["record", /^records\[1\]/, (bad) => search.index(name, [record, bad])],
      "index(vector)": [
        "noVector",
        /^records\[1\]\.vector$/,
        (bad) => search.index(name, [record, { id: "b", text: "b", vector: bad }])
      ],
      "index(model)": ["text", /^records\[0\]\.model$/, (model) => search.index(name, [{ ...record, model }])],
      "index(metadata)": [
        "filter",
        /^records\[0\]\.metadata$/,
        (metadata) => search.index(name, [{ ...record, metadata: metadata ?? 5 }])
      ],
      "embed(collection)": ["name", /^collection$/, (bad) => search.embed(bad, [record])],
      "embed(records)": ["list", /^records$/, (bad) => search.embed(name, bad)],
      "embedPending(collection)": ["name", /^collection$/, (bad) => search.embedPending(bad)],
      "embedPending(options)": ["options", /^options$/, (bad) => search.embedPending(name, bad)],
      "embedPending(onProgress)": [
        "function",
        /^onProgress$/,
        (onProgress) => search.embedPending(name, { onProgress })
      ],
      "pending(collection)": ["name", /^collection$/, (bad) => search.pending(bad)],
      "reembed(collection)": ["name", /^collection$/, (bad) => search.reembed(bad)],
      "reembed(options)": ["options", /^options$/, (bad) => search.reembed(name, bad)],
      "reembed(embeddings)": ["given", /^embeddings$/, (bad) => search.reembed(name, { embeddings: bad })],
      "delete(collection)": ["name", /^collection$/, (bad) => search.delete(bad, ["a"])],
      "delete(ids)": ["ids", /^ids/, (bad) => search.delete(name, bad)],
      "dropCollection(name)": ["name", /^collection$/, (bad) => search.dropCollection(bad)],
      "search(collections)": ["names", /^collections?$/, (bad) => search.search(bad, { text: "a" })],
      "search(request)": ["object", /^request$/, (bad) => search.search(name, bad)],
      "search(limt)": ["misspelt", /^limt$/, (limt) => find({ limt })],
      "search(text)": ["text", /^text$/, (text) => find({ text })],
      "search(vector)": ["someVector", /^vector$/, (bad) => find({ vector: bad })],
      "search(mode)": ["score", /^mode$/, (mode) => find({ mode })],
      "search(limit)": ["count", /^limit$/, (limit) => find({ limit })],
      "search(preFusionLimit)": ["count", /^preFusionLimit$/, (preFusionLimit) => find({ preFusionLimit })],
      "search(filter)": ["filter", /^filter$/, (filter) => find({ filter })],
      "search(syntax)": ["score", /^syntax$/, (syntax) => find({ syntax })],
      "search(fusion)": ["given", /^fusion$/, (fusion) => find({ fusion })],
      "search(fusion.weight)": [
        "misspelt",
        /^fusion\.weight$/,
        (weight) => find({ fusion: { strategy: "rrf", weight } })
      ],
      "search(mmr.lamda)": ["misspelt", /^mmr\.lamda$/, (lamda) => find({ mmr: { lamda } })],
      "search(fusion.k)": ["score", /^fusion\.k$/, (k) => find({ fusion: { strategy: "rrf", k } })],
      "search(minSimilarity)": ["score", /^minSimilarity$/, (minSimilarity) => find({ minSimilarity })],
      "search(mmr)": ["given", /^mmr$/, (mmr) => find({ mmr })],
      "search(mmr.lambda)": [
        "count",
        /^mmr\.lambda$/,
        (lambda) => find({ mmr: { lambda: lambda === 0.5 ? 2 : lambda } })
      ]
    })
  }),

  "the vector store refuses what is of a wrong kind, and names it": Effect.gen(function* () {
    const { vector: store } = yield* Backend
    const name = yield* fresh("input")
    yield* store.createCollection(name, { dimension: 2 })
    const record = { id: "a", vector: [1, 0] }
    yield* refuses({
      "createCollection(name)": ["name", /^collection$/, (bad) => store.createCollection(bad, { dimension: 2 })],
      "createCollection(options)": ["object", /^options$/, (bad) => store.createCollection(`${name}_2`, bad)],
      "createCollection(metric)": [
        "score",
        /^metric$/,
        (metric) => store.createCollection(`${name}_2`, { dimension: 2, metric })
      ],
      "insert(collection)": ["name", /^collection$/, (bad) => store.insert(bad, record)],
      "insert(record)": ["record", /^record/, (bad) => store.insert(name, bad)],
      "insertMany(records)": ["list", /^records$/, (bad) => store.insertMany(name, bad)],
      "insertMany(record)": ["record", /^records\[0\]/, (bad) => store.insertMany(name, [bad])],
      "search(collection)": ["name", /^collection$/, (bad) => store.search(bad, [1, 0])],
      "search(vector)": ["vector", /^vector$/, (bad) => store.search(name, Array.isArray(bad) ? [bad[0], 1] : bad)],
      "search(options)": ["options", /^options$/, (bad) => store.search(name, [1, 0], bad)],
      "search(k)": ["count", /^k$/, (k) => store.search(name, [1, 0], { k })],
      "search(limit)": ["misspelt", /^limit$/, (limit) => store.search(name, [1, 0], { limit } as object)],
      "search(minScore)": ["score", /^minScore$/, (minScore) => store.search(name, [1, 0], { minScore })],
      "search(filter)": ["filter", /^filter$/, (filter) => store.search(name, [1, 0], { filter })],
      "get(collection)": ["name", /^collection$/, (bad) => store.get(bad, ["a"])],
      "get(ids)": ["ids", /^ids/, (bad) => store.get(name, bad)],
      "delete(ids)": ["ids", /^ids/, (bad) => store.delete(name, bad)],
      "deleteWhere(filter)": ["filter", /^filter$/, (bad) => store.deleteWhere(name, bad)],
      "count(collection)": ["name", /^collection$/, (bad) => store.count(bad)],
      "count(filter)": ["filter", /^filter$/, (bad) => store.count(name, bad)],
      "dropCollection(name)": ["name", /^collection$/, (bad) => store.dropCollection(bad)]
    })
  }),

  "the text store refuses what is of a wrong kind, and names it": Effect.gen(function* () {
    const { text: store } = yield* Backend
    const name = yield* fresh("input")
    yield* store.createCollection(name)
    yield* refuses({
      "createCollection(name)": ["name", /^collection$/, (bad) => store.createCollection(bad)],
      "createCollection(options)": ["options", /^options$/, (bad) => store.createCollection(`${name}_2`, bad)],
      "createCollection(language)": [
        "score",
        /^language$/,
        (language) => store.createCollection(`${name}_2`, { language })
      ],
      "insert(record)": ["record", /^record/, (bad) => store.insert(name, bad)],
      "insertMany(records)": ["list", /^records$/, (bad) => store.insertMany(name, bad)],
      "add(records)": ["list", /^records$/, (bad) => store.add(name, bad)],
      "search(collection)": ["name", /^collection$/, (bad) => store.search(bad, "a")],
      "search(text)": ["text", /^text$/, (bad) => store.search(name, bad)],
      "search(options)": ["options", /^options$/, (bad) => store.search(name, "a", bad)],
      "get(ids)": ["ids", /^ids/, (bad) => store.get(name, bad)],
      "delete(ids)": ["ids", /^ids/, (bad) => store.delete(name, bad)],
      "deleteWhere(filter)": ["filter", /^filter$/, (bad) => store.deleteWhere(name, bad)],
      "count(filter)": ["filter", /^filter$/, (bad) => store.count(name, bad)],
      "dropCollection(name)": ["name", /^collection$/, (bad) => store.dropCollection(bad)]
    })
  }),

  "a field of a write that is undefined is one that was left out, at any depth": Effect.gen(function* () {
    const user = yield* fresh("user")
    const write = <A>(call: (undefinedFields: Any) => Effect.Effect<A, unknown>, ...fields: ReadonlyArray<string>) =>
      call(Object.fromEntries(fields.map((field) => [field, undefined])))
    const memories = yield* MemoryStore
    const { id } = yield* write(
      (fields) => memories.store({ user, content: "tea", ...fields }),
      ...["id", "kind", "importance", "tags", "embedding", "expiresAt"]
    )
    yield* memories.update({ user, id, summary: "drinks" })
    yield* write((fields) => memories.update({ user, id, importance: 1, ...fields }), "content", "summary", "tags")
    const { content, importance, summary } = yield* memories.get(user, id)
    yield* equal([content, summary, importance], ["tea", "drinks", 1])
    const conversations = yield* ConversationStore
    const conversation = yield* write((fields) => conversations.create({ user, channel: "web", ...fields }), "title")
    const message = { role: "user" as const, content: "hello" }
    yield* write(
      (fields) => conversations.addMessages({ user, conversation, messages: [message, { ...message, ...fields }] }),
      ...["id", "name", "toolCalls", "finishedAt"]
    )
    yield* equal((yield* conversations.messages(user, conversation)).items.length, 2)
    const settings = yield* SettingsStore
    yield* write((fields) => settings.compareAndSet({ user, key: "once", value: 1, ...fields }), "expected")
    const required = [
      write((fields) => memories.store({ user, ...fields }), "content"),
      write((fields) => settings.set({ user, key: "k", value: fields }), "inJson")
    ]
    for (const call of required) yield* failsWith("InvalidInput", call)
  }),

  "searches of the stores refuse what is of a wrong kind, and name it": Effect.gen(function* () {
    const [memories, conversations, workspace] = [yield* MemoryStore, yield* ConversationStore, yield* WorkspaceStore]
    const user = yield* fresh("user")
    const request = { text: "a" }
    const embedding = { model: "m", vector: [1, 0] }
    yield* refuses({
      "memories.search(user)": ["user", /^user$/, (bad) => memories.search(bad, request)],
      "memories.search(request)": ["object", /^request$/, (bad) => memories.search(user, bad)],
      "memories.search(embedding)": [
        "record",
        /^embedding$/,
        (bad) => memories.search(user, { ...request, embedding: bad })
      ],
      "memories.search(embedding.vector)": [
        "noVector",
        /vector|embedding/,
        (vector) => memories.search(user, { embedding: { model: "m", vector } })
      ],
      "memories.search(kinds)": ["someList", /^kinds$/, (kinds) => memories.search(user, { ...request, kinds })],
      "memories.search(tags)": ["someList", /^tags$/, (tags) => memories.search(user, { ...request, tags })],
      "memories.search(minImportance)": [
        "score",
        /^minImportance$/,
        (minImportance) => memories.search(user, { ...request, minImportance })
      ],
      "memories.search(ranking)": ["given", /^ranking$/, (ranking) => memories.search(user, { ...request, ranking })],
      "memories.search(ranking.acces)": [
        "misspelt",
        /^ranking\.acces$/,
        (acces) => memories.search(user, { ...request, ranking: { acces } as object })
      ],
      "memories.search(filter)": [
        "misspelt",
        /^filter$/,
        (filter) => memories.search(user, { ...request, ...{ filter } })
      ],
      "memories.searchSimilar(tag)": [
        "misspelt",
        /^tag$/,
        (tag) => memories.searchSimilar(user, embedding, { tag } as object)
      ],
      "conversations.searchMessages(role)": [
        "misspelt",
        /^role$/,
        (role) => conversations.searchMessages(user, { ...request, ...{ role } })
      ],
      "workspace.search(folders)": [
        "misspelt",
        /^folders$/,
        (folders) => workspace.search(user, { ...request, ...{ folders } })
      ],
      "memories.search(fusion)": ["given", /^fusion$/, (fusion) => memories.search(user, { ...request, fusion })],
      "memories.searchSimilar(user)": ["user", /^user$/, (bad) => memories.searchSimilar(bad, embedding)],
      "memories.searchSimilar(embedding)": ["object", /^embedding$/, (bad) => memories.searchSimilar(user, bad)],
      "memories.searchSimilar(options)": [
        "options",
        /^options$/,
        (bad) => memories.searchSimilar(user, embedding, bad)
      ],
      "memories.searchSimilar(tags)": [
        "someList",
        /^tags$/,
        (tags) => memories.searchSimilar(user, embedding, { tags })
      ],
      "conversations.searchMessages(user)": ["user", /^user$/, (bad) => conversations.searchMessages(bad, request)],
      "conversations.searchMessages(request)": [
        "object",
        /^request$/,
        (bad) => conversations.searchMessages(user, bad)
      ],
      "conversations.searchMessages(conversation)": [
        "text",
        /^conversation$/,
        (conversation) => conversations.searchMessages(user, { ...request, conversation })
      ],
      "conversations.searchMessages(roles)": [
        "someList",
        /^roles$/,
        (roles) => conversations.searchMessages(user, { ...request, roles })
      ],
      "workspace.search(user)": ["user", /^user$/, (bad) => workspace.search(bad, request)],
      "workspace.search(request)": ["object", /^request$/, (bad) => workspace.search(user, bad)],
      "workspace.search(folder)": ["text", /^folder$/, (folder) => workspace.search(user, { ...request, folder })],
      "workspace.search(agent)": ["text", /^agent$/, (agent) => workspace.search(user, { ...request, agent })],
      "workspace.searchAcross(request)": ["object", /^request$/, (bad) => workspace.searchAcross(user, bad)]
    })
  }),

  "what embeds and ingests refuses what is of a wrong kind, and names it": Effect.gen(function* () {
    const backend = yield* Backend
    const { embeddings } = scripted(yield* fresh("model"))
    const layer = Layer.provide(StoreEmbeddingLive.layer, Layer.succeed(Embeddings, embeddings))
    const stores = yield* Effect.provide(StoreEmbedding, layer)
    const ingest = IngestLive.make(backend, SearchLive.make(backend, embeddings), true)
    yield* refuses({
      "pending(options)": ["options", /^options$/, (bad) => stores.pending(bad)],
      "pending(user)": ["text", /^user$/, (user) => stores.pending({ user })],
      "embedPending(options)": ["options", /^options$/, (bad) => stores.embedPending(bad)],
      "embedPending(user)": ["text", /^user$/, (user) => stores.embedPending({ user })],
      "embedPending(onProgress)": ["function", /^onProgress$/, (onProgress) => stores.embedPending({ onProgress })],
      "folder(path)": ["name", /^path$/, (bad) => ingest.folder(bad)],
      "folder(options)": ["options", /^options$/, (bad) => ingest.folder(".", bad)],
      "pending(users)": ["misspelt", /^users$/, (users) => stores.pending({ users } as object)],
      "folder(maxSize)": ["misspelt", /^maxSize$/, (maxSize) => ingest.folder(".", { maxSize } as object)],
      "folder(chunk.words)": [
        "misspelt",
        /^chunk\.words$/,
        (words) => ingest.folder(".", { chunk: { words } as object })
      ],
      "folder(chunk)": ["given", /^chunk$/, (chunk) => ingest.folder(".", { chunk })],
      "folder(collection)": ["text", /^collection$/, (collection) => ingest.folder(".", { collection })],
      "folder(language)": [
        "nameOrNull",
        /^language$/,
        (language) => ingest.folder(".", { collection: "input_language", language })
      ],
      "folder(onProgress)": ["function", /^onProgress$/, (onProgress) => ingest.folder(".", { onProgress })],
      "remove(path)": ["name", /^path$/, (bad) => ingest.remove(bad)],
      "remove(options)": ["options", /^options$/, (bad) => ingest.remove(".", bad)],
      "remove(collection)": ["text", /^collection$/, (collection) => ingest.remove(".", { collection })]
    })
  })
}
