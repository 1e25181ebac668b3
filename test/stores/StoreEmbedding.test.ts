import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Embeddings, HashingEmbeddings, SqliteMemory } from "../../src/index.js"
import { ConversationStore, StoreEmbeddingBackground, StoresLive } from "../../src/stores.js"

const Live = StoreEmbeddingBackground.pipe(
  Layer.provideMerge(Layer.mergeAll(StoresLive.pipe(Layer.provideMerge(SqliteMemory)), HashingEmbeddings.layer()))
)

const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("what the stores keep", () => {
  it.scoped("gets its vectors while the program runs, within seconds after it was written", () =>
    Effect.gen(function* () {
      const conversations = yield* ConversationStore
      const { embed, model } = yield* Embeddings
      const vector = Array.from(yield* embed("the harbour at night"))
      const conversation = yield* conversations.create({ user: "ada", channel: "web" })
      const add = (content: string) => conversations.addMessage({ user: "ada", conversation, role: "user", content })
      const found = Effect.map(
        conversations.searchMessages("ada", { mode: "vector", embedding: { model, vector } }),
        ({ results }) => results.map(({ message }) => message.content)
      )
      for (const content of ["the harbour at night", "the harbour by day"]) {
        yield* add(content)
        const before = yield* found
        assert.notInclude(before, content)
        yield* TestClock.adjust("5 seconds")
        // The fiber beside this one has its turns until it has written.
        const after = yield* Effect.repeat(Effect.zipLeft(found, turn), {
          until: (contents) => contents.length > before.length
        })
        assert.include(after, content)
      }
    }).pipe(Effect.provide(Live))
  )
})
