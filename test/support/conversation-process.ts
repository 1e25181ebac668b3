/** Opens a user's assistant conversation and writes to it: `conversation-process.ts PLACE USER NAME COUNT`. */
import * as Effect from "effect/Effect"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { report } from "./child.js"
import { storesOn } from "./place.js"

const [place = "", user = "", name = "", count = ""] = process.argv.slice(2)

const writing = Effect.gen(function* () {
  const conversations = yield* ConversationStore
  const conversation = yield* conversations.getOrCreateAssistant({ user, channel: "cli" })
  for (let n = 0; n < Number(count); n++) {
    yield* conversations.addMessage({ user, conversation, role: "user", content: `${name} ${n}` })
  }
  return conversation
})

const services = storesOn(place)
await report((told) => Effect.provide(Effect.zipRight(told, writing), services))
