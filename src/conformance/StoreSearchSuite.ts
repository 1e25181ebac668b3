/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as StoreEmbeddingLive from "../layers/stores/StoreEmbedding.js"
import { Backend } from "../services/Backend.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { Embeddings } from "../services/Embeddings.js"
import { MemoryStore, type SearchMemoriesRequest } from "../services/MemoryStore.js"
import { StoreEmbedding } from "../services/StoreEmbedding.js"
import { type SearchDocumentsRequest, WorkspaceStore, WorkspaceStoreAdmin } from "../services/WorkspaceStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"
import { type Scripted, scripted, vectorOf } from "./Scripted.js"

const setup = Effect.gen(function* () {
  const [memories, conversations, workspace] = [yield* MemoryStore, yield* ConversationStore, yield* WorkspaceStore]
  const [user, other, model] = [yield* fresh("user"), yield* fresh("other"), yield* fresh("model")]
  const embed = (...vector: ReadonlyArray<number>) => ({ model, vector })
  return {
    memories,
    conversations,
    workspace,
    user,
    other,
    embed,
    admin: yield* WorkspaceStoreAdmin,
    /** The contents of the memories that are found. */
    memoriesOf: (user: string, request: SearchMemoriesRequest) =>
      Effect.map(memories.search(user, request), ({ failed, results }) => {
        NodeAssert.deepEqual(failed, [])
        return results.map(({ memory }) => memory.content)
      }),
    /** The contents of the messages that are found. */
    messagesOf: (user: string, text: string, conversation?: string) =>
      Effect.map(
        conversations.searchMessages(user, { text, ...(conversation === undefined ? {} : { conversation }) }),
        ({ results }) => results.map(({ message }) => message.content)
      ),
    /** The texts of the chunks that are found. */
    chunksOf: (user: string, request: SearchDocumentsRequest) =>
      Effect.map(workspace.search(user, request), ({ failed, results }) => {
        NodeAssert.deepEqual(failed, [])
        return results.map(({ chunk }) => chunk.text)
      })
  }
})

/** The same with a model at hand. */
const withModel = Effect.gen(function* () {
  const place = yield* setup
  const model = yield* Effect.map(fresh("model"), scripted)
  const { conversations, user } = place
  const embeddingOf = (text: string, { embeddings: { dimension, model: name } }: Scripted = model) => ({
    model: name,
    vector: Array.from(vectorOf(text, dimension))
  })
  const embedding = (by: Scripted = model) =>
    Effect.provide(StoreEmbedding, Layer.provide(StoreEmbeddingLive.layer, Layer.succeed(Embeddings, by.embeddings)))
  return {
    ...place,
    model,
    embeddingOf,
    conversation: yield* conversations.create({ user, channel: "web" }),
    embed: (by?: Scripted) => Effect.flatMap(embedding(by), (service) => service.embedPending({ user })),
    pending: (by?: Scripted) => Effect.flatMap(embedding(by), (service) => service.pending({ user })),
    /** The contents of the messages that are found by a vector, the nearest first. */
    nearest: (text: string, by?: Scripted, conversation?: string) =>
      Effect.map(
        conversations.searchMessages(user, {
          embedding: embeddingOf(text, by),
          mode: "vector",
          ...(conversation === undefined ? {} : { conversation })
        }),
        ({ failed, results }) => {
          NodeAssert.deepEqual(failed, [])
          return results.map(({ message }) => message.content)
        }
      )
  }
})

const hostile = [
  "",
  "what's new",
  "C++",
  "foo-bar",
  "mode?",
  "a: b",
  "(",
  '"',
  "AND",
  "x OR",
  "NEAR(",
  "*",
  "😀",
  "\ud800"
]

/**
 * @since 0.1.0
 * @category suites
 */
export const storeSearchSuite: Suite = {
  "a question in natural language finds memories that have some of its words": Effect.gen(function* () {
    const { memories, memoriesOf, user } = yield* setup
    yield* memories.store({ user, content: "User prefers detailed answers about green tea" })
    yield* memories.store({ user, content: "Nothing of the kind" })
    yield* memories.store({ user, content: "説明書は東京にあります", summary: "a manual", tags: ["travel plans"] })
    yield* equal(yield* memoriesOf(user, { text: "what does the user prefer?" }), [
      "User prefers detailed answers about green tea"
    ])
    for (const text of ["説明", "東京", "manuals", "travelling"]) {
      yield* equal(yield* memoriesOf(user, { text }), ["説明書は東京にあります"])
    }
    const [found] = (yield* memories.search(user, { text: "東京 manual" })).results
    yield* equal(
      found?.highlights.map(({ end, start }) => found.memory.content.slice(start, end)),
      ["東京"]
    )
  }),

  "no text that is looked for fails a search of a store": Effect.gen(function* () {
    const { conversations, memories, user, workspace } = yield* setup
    for (const text of hostile) {
      for (const syntax of ["plain", "advanced"] as const) {
        yield* memories.search(user, { text, syntax })
        yield* conversations.searchMessages(user, { text, syntax })
        yield* workspace.search(user, { text, syntax })
      }
    }
  }),

  "nobody finds what is somebody else's, however well it fits, and nobody's results are fewer for it": Effect.gen(
    function* () {
      const { chunksOf, conversations, embed, memories, memoriesOf, messagesOf, other, user, workspace } = yield* setup
      const theirs = yield* conversations.create({ user: other, channel: "web" })
      const mine = yield* conversations.create({ user, channel: "web" })
      for (let i = 0; i < 60; i++) {
        yield* memories.store({ user: other, content: `needle needle ${i}`, embedding: embed(1, i / 10_000) })
      }
      yield* conversations.addMessages({
        user: other,
        conversation: theirs,
        messages: Array.from({ length: 60 }, (_, i) => ({ role: "user", content: `needle needle ${i}` })) as never
      })
      yield* workspace.write({
        user: other,
        path: "a.md",
        content: "needles",
        chunks: Array.from({ length: 60 }, (_, i) => ({ text: `needle needle ${i}`, embedding: embed(1, i / 10_000) }))
      })
      for (let i = 0; i < 3; i++) {
        yield* memories.store({ user, content: `my one needle of hay ${i}`, embedding: embed(0.2, 1) })
        yield* conversations.addMessage({
          user,
          conversation: mine,
          role: "user",
          content: `my one needle of hay ${i}`
        })
      }
      yield* workspace.write({
        user,
        path: "a.md",
        content: "hay",
        chunks: Array.from({ length: 3 }, (_, i) => ({ text: `my one needle of hay ${i}`, embedding: embed(0.2, 1) }))
      })
      const expected = [0, 1, 2].map((i) => `my one needle of hay ${i}`)
      for (const request of [
        { text: "needle" },
        { embedding: embed(1, 0) },
        { text: "needle", embedding: embed(1, 0) }
      ]) {
        yield* equal((yield* memoriesOf(user, request)).toSorted(), expected)
        yield* equal((yield* chunksOf(user, request)).toSorted(), expected)
      }
      yield* equal((yield* messagesOf(user, "needle")).toSorted(), expected)
      yield* failsWith("NotFound", conversations.searchMessages(user, { text: "needle", conversation: theirs }))
      yield* equal((yield* messagesOf(other, "hay")).length, 0)
    }
  ),

  "memories are found by words and embedding as one ranking, each with its places": Effect.gen(function* () {
    const { embed, memories, user } = yield* setup
    yield* memories.store({ user, content: "green tea", embedding: embed(1, 0) })
    const id = yield* fresh("memory")
    yield* memories.store({ user, id: `${id}b`, content: "coffee", embedding: embed(0.9, 0.1) })
    yield* memories.store({ user, id: `${id}a`, content: "tea from abroad" })
    const { results } = yield* memories.search(user, { text: "green tea", embedding: embed(1, 0) })
    yield* equal(
      results.map(({ memory, scoreKind, textRank, vectorRank }) => [memory.content, scoreKind, textRank, vectorRank]),
      [
        ["green tea", "rrf", 1, 1],
        ["tea from abroad", "rrf", 2, undefined],
        ["coffee", "rrf", undefined, 2]
      ]
    )
    yield* equal(results[0]?.score, 2 / 61)
    const other = yield* memories.search(user, { text: "green tea", embedding: { model: "unheard of", vector: [1] } })
    yield* equal([other.failed, other.results.length], [[], 2])
  }),

  "a search is narrowed by kinds, tags and importance": Effect.gen(function* () {
    const { memories, memoriesOf, user } = yield* setup
    yield* memories.store({ user, content: "tea a", kind: "episodic", tags: ["x", "y"], importance: 0.9 })
    yield* memories.store({ user, content: "tea b", tags: ["x"], importance: 0.2 })
    yield* memories.store({ user, content: "tea c", expiresAt: new Date(Date.now() - 1000) })
    yield* equal((yield* memoriesOf(user, { text: "tea" })).toSorted(), ["tea a", "tea b"])
    yield* equal(yield* memoriesOf(user, { text: "tea", kinds: ["episodic"] }), ["tea a"])
    yield* equal(yield* memoriesOf(user, { text: "tea", tags: ["x", "y"] }), ["tea a"])
    yield* equal(yield* memoriesOf(user, { text: "tea", minImportance: 0.5 }), ["tea a"])
    yield* equal((yield* memoriesOf(user, { text: "tea", limit: 1 })).length, 1)
  }),

  "being found makes no memory better, and a ranking is from 0 to 1, not the numbers of a fusion": Effect.gen(
    function* () {
      const { memories, user } = yield* setup
      const { id } = yield* memories.store({ user, content: "tea tea", importance: 0 })
      yield* memories.store({ user, content: "tea with more words in it", importance: 1 })
      const before = yield* memories.search(user, { text: "tea" })
      for (let i = 0; i < 3; i++) yield* equal(yield* memories.search(user, { text: "tea" }), before)
      yield* equal(before.results[0]?.memory.id, id)
      yield* equal((yield* memories.get(user, id)).accessCount, 0)
      const ranked = yield* memories.search(user, { text: "tea", ranking: { importance: 0.4 } })
      yield* equal(
        ranked.results.map(({ score, scoreKind }) => [score, scoreKind]),
        [
          [0.8, "ranking"],
          [0.2, "ranking"]
        ]
      )
      yield* equal((yield* memories.search(user, { text: "tea", ranking: { importance: 1 } })).results[0]?.score, 0.5)
      yield* failsWith("InvalidInput", memories.search(user, { text: "tea", ranking: { decay: 2 } }))
    }
  ),

  "more results are found when more are asked for": Effect.gen(function* () {
    const { conversations, memoriesOf, memories, messagesOf, user } = yield* setup
    const conversation = yield* conversations.create({ user, channel: "web" })
    for (let i = 0; i < 20; i++) {
      yield* memories.store({ user, content: `word ${i}` })
      yield* conversations.addMessage({ user, conversation, role: "user", content: `word ${i}` })
    }
    for (const limit of [5, 20, 100]) {
      yield* equal((yield* memoriesOf(user, { text: "word", limit })).length, Math.min(limit, 20))
      const found = yield* conversations.searchMessages(user, { text: "word", limit })
      yield* equal(found.results.length, Math.min(limit, 20))
    }
    yield* equal((yield* messagesOf(user, "word")).length, 10)
  }),

  "what was changed, superseded, deleted or has expired is not found by its old words": Effect.gen(function* () {
    const { memories, memoriesOf, user } = yield* setup
    const { id } = yield* memories.store({ user, content: "old words" })
    yield* memories.update({ user, id, content: "new words", summary: "short" })
    yield* equal(yield* memoriesOf(user, { text: "old" }), [])
    yield* equal(yield* memoriesOf(user, { text: "short" }), ["new words"])
    yield* memories.update({ user, id, summary: null, importance: 0.9 })
    yield* equal(yield* memoriesOf(user, { text: "short" }), [])
    yield* equal(yield* memoriesOf(user, { text: "new", minImportance: 0.8 }), ["new words"])
    const next = yield* memories.store({ user, content: "last words", supersedes: id })
    yield* equal(yield* memoriesOf(user, { text: "words" }), ["last words"])
    yield* memories.delete({ user, id: next.id })
    yield* equal(yield* memoriesOf(user, { text: "words" }), [])
    yield* memories.store({ user, content: "brief words", expiresAt: new Date(Date.now() - 1) })
    yield* memories.prune({ user })
    const again = yield* memories.store({ user, content: "brief words" })
    yield* equal(yield* memoriesOf(user, { text: "brief" }), ["brief words"])
    yield* equal(again.duplicate, false)
  }),

  "messages are found in all conversations of a user or in one, and nothing of them stays behind": Effect.gen(
    function* () {
      const { conversations, messagesOf, user } = yield* setup
      const [one, two] = [
        yield* conversations.create({ user, channel: "web" }),
        yield* conversations.create({ user, channel: "web" })
      ]
      const add = (conversation: string, content: string, role = "user") =>
        conversations.addMessage({ user, conversation, role, content })
      const first = yield* add(one, "where is the harbour")
      const answer = yield* add(one, "the harbour is in the north", "assistant")
      yield* add(one, "")
      yield* add(two, "harbours at night")
      yield* equal((yield* messagesOf(user, "harbour")).length, 3)
      yield* equal(yield* messagesOf(user, "harbour", two), ["harbours at night"])
      const byRole = yield* conversations.searchMessages(user, { text: "harbour", roles: ["assistant"] })
      yield* equal(
        byRole.results.map(({ message }) => message),
        [yield* conversations.getMessage(user, one, answer.id)]
      )
      const branch = yield* conversations.fork({ user, conversation: one, message: first.id })
      yield* equal(yield* messagesOf(user, "harbour", branch), ["where is the harbour"])

      yield* conversations.updateMessage({
        user,
        conversation: one,
        id: answer.id,
        content: "the port is in the south"
      })
      yield* equal(yield* messagesOf(user, "north"), [])
      yield* equal(yield* messagesOf(user, "port", one), ["the port is in the south"])
      yield* conversations.compact({ user, conversation: one, summary: "about a quay", through: answer.seq })
      yield* equal(yield* messagesOf(user, "quay"), ["about a quay"])
      yield* conversations.dropCompacted({ user, conversation: one })
      yield* equal(yield* messagesOf(user, "port harbour", one), [])
      yield* conversations.deleteMessage({ user, conversation: branch, id: first.id })
      yield* equal(yield* messagesOf(user, "harbour"), ["harbours at night"])
      yield* conversations.rotate({ user, conversation: two, keep: 0 })
      yield* equal(yield* messagesOf(user, "harbour"), [])
      yield* conversations.clear({ user, conversation: one })
      yield* equal(yield* messagesOf(user, "quay"), [])
      yield* add(two, "gone with its conversation")
      yield* conversations.delete({ user, id: two })
      yield* equal(yield* messagesOf(user, "gone"), [])
    }
  ),

  "messages are found by their vectors once they are embedded, and by both as one ranking": Effect.gen(function* () {
    const { conversation, conversations, embed, embeddingOf, model, nearest, pending, user } = yield* withModel
    const add = (content: string, role = "user") => conversations.addMessage({ user, conversation, role, content })
    yield* add("the harbour")
    const answer = yield* add("the quay", "assistant")
    yield* add("   ")
    yield* equal(yield* nearest("the quay"), [])
    yield* equal(yield* pending(), 2)
    yield* equal(yield* embed(), { embedded: 2, refused: 0, pending: 0 })
    yield* equal(model.asked, ["the harbour", "the quay"])
    yield* equal(yield* nearest("the quay"), ["the quay", "the harbour"])
    const { failed, results } = yield* conversations.searchMessages(user, {
      text: "harbour",
      embedding: embeddingOf("the quay"),
      roles: ["user"]
    })
    yield* equal(failed, [])
    yield* equal(
      results.map(({ highlights, message, scoreKind, textRank, vectorRank }) => [
        message.content,
        scoreKind,
        textRank,
        vectorRank,
        highlights.length
      ]),
      [["the harbour", "rrf", 1, 1, 1]]
    )

    yield* add("a boat")
    yield* conversations.updateMessage({ user, conversation, id: answer.id, content: "the pier" })
    yield* equal((yield* nearest("the quay")).toSorted(), ["the harbour"])
    yield* equal(yield* embed(), { embedded: 2, refused: 0, pending: 0 })
    yield* equal((yield* nearest("the pier"))[0], "the pier")
    yield* conversations.updateMessage({ user, conversation, id: answer.id, finishedAt: new Date(0) })
    yield* equal(yield* embed(), { embedded: 0, refused: 0, pending: 0 })
  }),

  "nothing of a message stays behind in what is searched by vectors": Effect.gen(function* () {
    const { conversation, conversations, embed, model, nearest, user } = yield* withModel
    const add = (conversation: string, content: string) =>
      conversations.addMessage({ user, conversation, role: "user", content })
    const first = yield* add(conversation, "one")
    const second = yield* add(conversation, "two")
    yield* embed()
    const branch = yield* conversations.fork({ user, conversation, message: second.id })
    yield* equal(yield* nearest("one", model, branch), [])
    yield* equal(yield* embed(), { embedded: 2, refused: 0, pending: 0 })
    yield* equal(yield* nearest("one", model, branch), ["one", "two"])
    yield* conversations.deleteMessage({ user, conversation: branch, id: first.id })
    yield* equal(yield* nearest("one", model, branch), ["two"])
    yield* conversations.rotate({ user, conversation: branch, keep: 0 })
    yield* equal(yield* nearest("one", model, branch), [])
    yield* conversations.delete({ user, id: conversation })
    yield* equal(yield* nearest("one"), [])
    const { vector } = yield* Backend
    const [collection] = (yield* vector.collections).filter(({ model: name }) => name === model.embeddings.model)
    yield* equal(collection?.count, 0)
  }),

  "nobody finds messages of others by vectors": Effect.gen(function* () {
    const { conversation, conversations, embed, embeddingOf, other, user } = yield* withModel
    yield* conversations.addMessage({ user, conversation, role: "user", content: "the harbour" })
    yield* embed()
    const found = yield* conversations.searchMessages(other, { embedding: embeddingOf("the harbour") })
    yield* equal(found.results, [])
  }),

  "what waits for its vector gets it, whatever the store, and a model that fails loses nothing": Effect.gen(
    function* () {
      const { conversation, conversations, embed, embeddingOf, memories, memoriesOf, model, pending, user, workspace } =
        yield* withModel
      const { id } = yield* memories.store({ user, content: "likes tea" })
      yield* memories.store({ user, content: "gone", supersedes: (yield* memories.store({ user, content: "old" })).id })
      yield* conversations.addMessage({ user, conversation, role: "user", content: "the harbour" })
      yield* workspace.write({ user, path: "a.md", content: "a quay", chunks: [{ text: "a quay" }] })
      model.fails = () => "unavailable"
      const failing = yield* embed()
      yield* equal(
        [failing.embedded, failing.refused, failing.pending, failing.failed?.reason],
        [0, 0, 4, "unavailable"]
      )
      model.fails = (text) => (text === "the harbour" ? "refused" : undefined)
      const refusing = yield* embed()
      yield* equal(
        [refusing.embedded, refusing.refused, refusing.pending, refusing.failed?.reason],
        [3, 1, 1, "refused"]
      )
      const before = yield* memories.get(user, id)
      yield* equal([before.embeddingModel, before.updatedAt], [model.embeddings.model, before.createdAt])
      yield* equal((yield* memoriesOf(user, { embedding: embeddingOf("likes tea") }))[0], "likes tea")
      const [chunk] = (yield* workspace.search(user, { embedding: embeddingOf("a quay") })).results
      yield* equal(chunk?.chunk.text, "a quay")
      model.fails = () => undefined
      yield* equal(yield* embed(), { embedded: 1, refused: 0, pending: 0 })
      model.asked.length = 0
      yield* equal(yield* embed(), { embedded: 0, refused: 0, pending: 0 })
      yield* equal([model.asked, yield* pending()], [[], 0])
    }
  ),

  "what was embedded before a model failed is told with the failure": Effect.gen(function* () {
    const { conversation, conversations, embed, model, user } = yield* withModel
    for (const content of ["one", "two", "three", "four"]) {
      yield* conversations.addMessage({ user, conversation, role: "user", content })
    }
    model.fails = (text) => (text === "two" ? "refused" : text === "three" ? "unavailable" : undefined)
    const { embedded, failed, pending } = yield* embed()
    yield* equal([embedded, pending, failed?.reason], [1, 3, "unavailable"])
  }),

  "what is changed or deleted while it is embedded is not overwritten": Effect.gen(function* () {
    const { conversation, conversations, embed, memories, memoriesOf, embeddingOf, model, nearest, user } =
      yield* withModel
    const add = (content: string) => conversations.addMessage({ user, conversation, role: "user", content })
    const [changed, deleted] = [yield* add("first words"), yield* add("to be deleted")]
    const memory = yield* memories.store({ user, content: "likes tea" })
    const forgotten = yield* memories.store({ user, content: "forgotten" })
    model.meanwhile = Effect.gen(function* () {
      model.meanwhile = Effect.void
      yield* conversations.updateMessage({ user, conversation, id: changed.id, content: "other words" })
      yield* conversations.deleteMessage({ user, conversation, id: deleted.id })
      yield* memories.update({ user, id: memory.id, content: "likes coffee" })
      yield* memories.delete({ user, id: forgotten.id })
    })
    // Memories are first, messages are embedded as they are by then.
    yield* equal(yield* embed(), { embedded: 1, refused: 0, pending: 1 })
    yield* equal(yield* embed(), { embedded: 1, refused: 0, pending: 0 })
    yield* equal(yield* nearest("other words"), ["other words"])
    yield* equal(yield* memoriesOf(user, { embedding: embeddingOf("likes coffee") }), ["likes coffee"])

    const late = yield* add("late words")
    model.meanwhile = Effect.suspend(() => {
      model.meanwhile = Effect.void
      return conversations.updateMessage({ user, conversation, id: late.id, content: "later words" })
    })
    yield* equal(yield* embed(), { embedded: 0, refused: 0, pending: 1 })
    yield* embed()
    yield* equal((yield* nearest("later words"))[0], "later words")
  }),

  "what is blank is neither embedded nor waits": Effect.gen(function* () {
    const { conversation, conversations, embed, memories, model, pending, user, workspace } = yield* withModel
    // What JavaScript trims, and what SQL would not by itself.
    for (const blank of ["", " ", "\t\n", "\u00a0\u2003\u3000\ufeff"]) {
      yield* memories.store({ user, content: blank })
      yield* conversations.addMessage({ user, conversation, role: "user", content: blank })
      yield* workspace.write({ user, path: `a${blank.length}.md`, content: "a", chunks: [{ text: blank }] })
    }
    yield* memories.store({ user, content: "\u3000likes tea\u3000" })
    yield* equal(yield* pending(), 1)
    yield* equal(yield* embed(), { embedded: 1, refused: 0, pending: 0 })
    yield* equal([yield* pending(), model.asked.length], [0, 1])
  }),

  "another model embeds all anew, and until then the old vectors answer the old model": Effect.gen(function* () {
    const { conversation, conversations, embed, nearest, pending, user } = yield* withModel
    const newer = scripted(yield* fresh("newer"), 24)
    for (const content of ["one", "two"]) {
      yield* conversations.addMessage({ user, conversation, role: "user", content })
    }
    yield* embed()
    yield* equal([yield* nearest("two"), yield* nearest("two", newer)], [["two", "one"], []])
    yield* equal(yield* pending(newer), 2)
    yield* equal(yield* embed(newer), { embedded: 2, refused: 0, pending: 0 })
    yield* equal([yield* nearest("two"), yield* nearest("two", newer)], [[], ["two", "one"]])
  }),

  "a model that keeps its name and changes its dimension is another one": Effect.gen(function* () {
    const { chunksOf, conversation, conversations, embed, embeddingOf, memories, memoriesOf, model, nearest, ...rest } =
      yield* withModel
    const { pending, user, workspace } = rest
    const newer = scripted(model.embeddings.model, 24)
    yield* memories.store({ user, content: "likes tea" })
    yield* conversations.addMessage({ user, conversation, role: "user", content: "the harbour" })
    yield* workspace.write({ user, path: "a.md", content: "a quay", chunks: [{ text: "a quay" }] })
    const found = (by: Scripted) =>
      Effect.all([
        memoriesOf(user, { embedding: embeddingOf("likes tea", by) }),
        nearest("the harbour", by),
        chunksOf(user, { embedding: embeddingOf("a quay", by) })
      ])
    const all = [["likes tea"], ["the harbour"], ["a quay"]]
    yield* embed()
    yield* equal(
      [yield* found(model), yield* pending(), yield* found(newer), yield* pending(newer)],
      [all, 0, [[], [], []], 3]
    )
    yield* equal(yield* embed(newer), { embedded: 3, refused: 0, pending: 0 })
    yield* equal([yield* found(model), yield* found(newer)], [[[], [], []], all])
    const { vector } = yield* Backend
    const left = (yield* vector.collections).filter((each) => each.model === model.embeddings.model && each.count > 0)
    yield* equal(
      left.map(({ dimension }) => dimension),
      [24, 24, 24]
    )
  }),

  "what was embedded before a model's dimension was kept is found once the database is migrated": Effect.gen(
    function* () {
      const { chunksOf, embed, user, workspace } = yield* setup
      const { migrator, vector } = yield* Backend
      const chunks = [{ text: "the harbour", embedding: embed(1, 0) }]
      const { id } = yield* workspace.write({ user, path: "a.md", content: "the harbour", chunks })
      const { id: step } = (yield* migrator.history).find(({ name }) => name === "embedding dimensions")!
      yield* migrator.migrate({ target: step - 1 })
      const { model } = embed(1)
      yield* equal((yield* vector.search(`workspace:${model}`, [1, 0])).length, 1)
      yield* migrator.migrate()
      yield* equal(yield* chunksOf(user, { embedding: embed(1, 0) }), ["the harbour"])
      yield* equal(
        (yield* workspace.chunks(user, id)).map(({ dimension, embeddingModel }) => [embeddingModel, dimension]),
        [[model, 2]]
      )
    }
  ),

  "chunks are found with their documents, and replaced ones leave no hit": Effect.gen(function* () {
    const { chunksOf, embed, user, workspace } = yield* setup
    const write = (path: string, texts: ReadonlyArray<string>, agent?: string) =>
      workspace.write({
        user,
        path,
        content: texts.join("\n"),
        chunks: texts.map((text, i) => ({ text, embedding: embed(1, i) })),
        ...(agent === undefined ? {} : { agent })
      })
    const document = yield* write("notes/sea.md", ["the harbour", "the sea at night"])
    yield* write("other/sea.md", ["a sea of people"])
    yield* write("notes0", ["sea, but not in notes"])
    yield* write("mine.md", ["sea of an agent"], "agent")
    const { results } = yield* workspace.search(user, { text: "night sea", embedding: embed(1, 1), folder: "notes" })
    yield* equal(
      results.map(({ chunk, document, textRank, vectorRank }) => [
        chunk.text,
        document.path,
        chunk.chunkIndex,
        textRank,
        vectorRank
      ]),
      [
        ["the sea at night", "notes/sea.md", 1, 1, 1],
        ["the harbour", "notes/sea.md", 0, undefined, 2]
      ]
    )
    yield* equal(yield* chunksOf(user, { text: "sea", agent: "agent" }), ["sea of an agent"])
    yield* equal((yield* chunksOf(user, { text: "sea" })).length, 3)

    yield* workspace.replaceChunks({ user, id: document.id, version: document.version, chunks: [{ text: "a lake" }] })
    yield* equal(yield* chunksOf(user, { text: "harbour night lake", folder: "notes" }), ["a lake"])
    yield* workspace.append({ user, path: "notes/sea.md", text: "more" })
    yield* equal(yield* chunksOf(user, { text: "lake", folder: "notes" }), [])
    yield* workspace.delete({ user, path: "other/sea.md" })
    yield* equal(yield* chunksOf(user, { text: "sea" }), ["sea, but not in notes"])
  }),

  "writers of one document at once leave the chunks of one of them to be found": Effect.gen(function* () {
    const { chunksOf, user, workspace } = yield* setup
    yield* Effect.forEach(
      Array.from({ length: 8 }, (_, i) => i),
      (i) =>
        workspace.write({
          user,
          path: "a",
          content: `${i}`,
          chunks: [{ text: `word of ${i}` }, { text: `words ${i}` }]
        }),
      { concurrency: "unbounded" }
    )
    const { content } = yield* workspace.get(user, "a")
    yield* equal((yield* chunksOf(user, { text: "word" })).toSorted(), [`word of ${content}`, `words ${content}`])
  }),

  "several scopes are searched as one, with identity documents of the own scope alone": Effect.gen(function* () {
    const { admin, other: team, user, workspace } = yield* setup
    const stranger = yield* fresh("stranger")
    const write = (user: string, path: string, text: string) =>
      workspace.write({ user, path, content: text, chunks: [{ text }] })
    yield* write(team, "SOUL.md", "harbour harbour harbour")
    for (let i = 0; i < 12; i++) yield* write(team, `IDENTITY.md${i}`, "filler")
    yield* write(team, "team.md", "a harbour of the team")
    yield* write(user, "SOUL.md", "my harbour")
    yield* write(stranger, "b.md", "harbour harbour")
    yield* admin.setLayers({ user, layers: [{ name: "team", scope: team, writable: false, private: false }] })
    const { results } = yield* workspace.searchAcross(user, { text: "harbour", limit: 2 })
    yield* equal(
      results.map(({ document, textRank }) => [document.userId, document.path, textRank]),
      [
        [user, "SOUL.md", 1],
        [team, "team.md", 2]
      ]
    )
    yield* equal((yield* workspace.search(user, { text: "harbour" })).results.length, 1)
  }),

  "what is found belongs to the transaction that wrote it": Effect.gen(function* () {
    const { memories, memoriesOf, user } = yield* setup
    const backend = yield* Backend
    yield* Effect.ignore(
      backend.transaction(
        Effect.gen(function* () {
          yield* memories.store({ user, content: "written and undone" })
          yield* equal(yield* memoriesOf(user, { text: "undone" }), ["written and undone"])
          return yield* Effect.fail("undo")
        })
      )
    )
    yield* equal(yield* memoriesOf(user, { text: "undone" }), [])
  }),

  "the collections of the stores cannot be dropped by mistake": Effect.gen(function* () {
    const { text } = yield* Backend
    for (const name of ["db_hub_memories", "db_hub_messages", "db_hub_chunks"]) {
      yield* failsWith("InvalidInput", text.dropCollection(name))
    }
  }),

  "texts longer than the index takes are kept whole and found by their beginning": Effect.gen(function* () {
    const { conversations, memoriesOf, memories, messagesOf, user } = yield* setup
    const content = `beginning ${"説".repeat(100_000)} end`
    const conversation = yield* conversations.create({ user, channel: "web" })
    yield* conversations.addMessage({ user, conversation, role: "user", content })
    yield* memories.store({ user, content })
    yield* equal(yield* messagesOf(user, "beginning"), [content])
    yield* equal(yield* memoriesOf(user, { text: "beginning" }), [content])
    yield* equal(yield* memoriesOf(user, { text: "end" }), [])
  }),

  "what stores kept before they could be searched is found once the database is migrated": Effect.gen(function* () {
    const { chunksOf, conversations, memories, memoriesOf, messagesOf, user, workspace } = yield* setup
    const { migrator, ...backend } = yield* Backend
    const conversation = yield* conversations.create({ user, channel: "web" })
    yield* conversations.addMessages({
      user,
      conversation,
      messages: Array.from({ length: 600 }, (_, i) => ({ role: "user", content: `number${i} harbour` })) as never
    })
    const { id } = yield* memories.store({ user, content: "harbour", tags: ["night"] })
    yield* workspace.write({ user, path: "a.md", content: "harbour", chunks: [{ text: "harbour" }] })
    const step = (yield* migrator.history).find(({ name }) => name === "texts of stores")!
    yield* migrator.migrate({ target: step.id - 1 })
    // As a program of before would write.
    yield* backend.execute("UPDATE db_hub_memories SET content = 'quay' WHERE id = ?", [id])
    yield* migrator.migrate()
    yield* equal(yield* memoriesOf(user, { text: "harbour" }), [])
    yield* equal(yield* memoriesOf(user, { text: "quay" }), ["quay"])
    yield* equal(yield* memoriesOf(user, { text: "night", tags: ["night"] }), ["quay"])
    yield* equal(yield* messagesOf(user, "number599"), ["number599 harbour"])
    yield* equal((yield* conversations.searchMessages(user, { text: "harbour", limit: 1000 })).results.length, 600)
    yield* equal(yield* chunksOf(user, { text: "harbour" }), ["harbour"])
  })
}
