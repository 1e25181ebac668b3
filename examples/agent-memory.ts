/** What an agent keeps between runs: a conversation, memories and settings, on the same layer as everything else. */
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { HubLive } from "effect-db-hub"
import { ConversationStore, MemoryStore, SettingsStore, StoresLive, withIdempotencyKey } from "effect-db-hub/stores"
import { HashingEmbedder } from "effect-db-hub/vector"

const user = "ada"

const program = Effect.gen(function* () {
  const conversations = yield* ConversationStore
  const memories = yield* MemoryStore
  const settings = yield* SettingsStore
  const embedder = yield* HashingEmbedder.make()

  yield* settings.set({ user, key: "units", value: "metric" })

  const conversation = yield* conversations.getOrCreateAssistant({ user, channel: "cli" })
  // Sent again after a lost answer, this is still one message.
  yield* withIdempotencyKey("turn-1")(
    conversations.addMessage({ user, conversation, role: "user", content: "I like short answers." })
  )

  const content = "Ada likes short answers."
  yield* memories.store({
    user,
    kind: "semantic",
    content,
    embedding: { model: embedder.model, vector: Array.from(embedder.embed(content)) }
  })
  const found = yield* memories.searchSimilar(user, {
    model: embedder.model,
    vector: Array.from(embedder.embed("short answers?"))
  })
  yield* Console.log(found.map(({ memory }) => memory.content))
})

Effect.runPromise(Effect.provide(program, StoresLive.pipe(Layer.provideMerge(HubLive))))
