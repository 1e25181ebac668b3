import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { temporaryFile } from "../support/index.js"
import { runTogether, startProcess } from "../support/process.js"

describe("conversations of many processes", () => {
  it.scopedLive(
    "eight that race for one conversation make one, and every message of theirs lands, in an order without gaps",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const names = Array.from({ length: 8 }, (_, n) => `process${n}`)
        const made = yield* runTogether(
          names.map((name) => startProcess<string>("conversation-process.ts", path, "ada", name, "20"))
        )
        assert.strictEqual(new Set(made).size, 1)
        const services = yield* Layer.build(Layer.provideMerge(StoresLive, Sqlite.layer({ path })))
        const conversations = yield* Effect.provide(ConversationStore, services)
        const messages = Array.from(yield* Stream.runCollect(conversations.allMessages("ada", made[0]!)))
        assert.deepStrictEqual(
          messages.map(({ content }) => content).sort(),
          names.flatMap((name) => Array.from({ length: 20 }, (_, n) => `${name} ${n}`)).sort()
        )
        assert.deepStrictEqual(
          messages.map(({ seq }) => seq),
          messages.map((_, n) => n + 1)
        )
      }),
    60_000
  )
})
