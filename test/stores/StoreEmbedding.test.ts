import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { Backend, Embeddings, HashingEmbeddings, SqliteMemory } from "../../src/index.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import {
  ConversationStore,
  MemoryStore,
  StoreEmbedding,
  StoreEmbeddingBackground,
  StoreEmbeddingLive,
  StoresLive
} from "../../src/stores.js"
import { temporaryFolder } from "../support/index.js"

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

  it.scopedLive("waits for nobody who writes where there is nothing to embed", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const Stores = StoresLive.pipe(Layer.provideMerge(Sqlite.layer({ path: `${folder}/hub.db` })))
      yield* Effect.gen(function* () {
        const { transaction } = yield* Backend
        const { store } = yield* MemoryStore
        const { embedPending } = yield* StoreEmbedding
        yield* store({ user: "ada", content: " " })
        const begun = yield* Deferred.make<void>()
        const writing = yield* Effect.fork(
          transaction(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never))
        )
        yield* Deferred.await(begun)
        assert.deepStrictEqual(yield* embedPending(), { embedded: 0, refused: 0, pending: 0 })
        yield* Fiber.interrupt(writing)
      }).pipe(
        Effect.provide(StoreEmbeddingLive.pipe(Layer.provideMerge(Layer.merge(Stores, HashingEmbeddings.layer()))))
      )
    })
  )

  it.scopedLive("tells in the log when nothing gets a vector any more", () =>
    Effect.gen(function* () {
      const told = yield* Deferred.make<unknown>()
      const broken = Layer.succeed(Embeddings, {
        ...(yield* HashingEmbeddings.make()),
        embedMany: () => Effect.die("the model is broken")
      })
      const logger = Logger.make(({ cause, logLevel, message }) =>
        Deferred.unsafeDone(told, Effect.succeed([logLevel.label, String(message), Cause.pretty(cause)]))
      )
      const Written = Layer.effectDiscard(
        Effect.flatMap(MemoryStore, ({ store }) => store({ user: "ada", content: "the harbour" }))
      ).pipe(Layer.provideMerge(StoresLive), Layer.provideMerge(SqliteMemory))
      yield* Layer.launch(StoreEmbeddingBackground.pipe(Layer.provide(Layer.merge(Written, broken)))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger)),
        Effect.forkScoped
      )
      const [level, message, cause] = (yield* Deferred.await(told)) as ReadonlyArray<string>
      assert.deepStrictEqual([level, message], ["ERROR", "Texts get no vectors any more"])
      assert.include(cause!, "the model is broken")
    })
  )
})
