import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { storesOn } from "../support/place.js"
import { places } from "../support/places.js"
import { runTogether, startProcess } from "../support/process.js"

const program = (place: string) =>
  Effect.gen(function* () {
    const names = Array.from({ length: 8 }, (_, n) => `process${n}`)
    const made = yield* runTogether(
      names.map((name) => startProcess<string>("conversation-process.ts", place, "ada", name, "20"))
    )
    assert.strictEqual(new Set(made).size, 1)
    const conversations = yield* ConversationStore
    const messages = Array.from(yield* Stream.runCollect(conversations.allMessages("ada", made[0]!)))
    assert.deepStrictEqual(
      messages.map(({ content }) => content).sort(),
      names.flatMap((name) => Array.from({ length: 20 }, (_, n) => `${name} ${n}`)).sort()
    )
    assert.deepStrictEqual(
      messages.map(({ seq }) => seq),
      messages.map((_, n) => n + 1)
    )
  })

for (const { engine, missing, place } of places) {
  describe.skipIf(missing)(`conversations of many processes on ${engine}`, () => {
    it.scopedLive(
      "eight that race for one conversation make one, and every message of theirs lands, in an order without gaps",
      () => Effect.flatMap(place, (at) => Effect.provide(program(at), storesOn(at))),
      60_000
    )
  })
}
