import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend } from "../../src/services/Backend.js"
import { ConversationStore, MemoryStore, StoresLive, WorkspaceStore } from "../../src/stores.js"
import { openAi, server } from "../embeddings/server.js"
import { document, emptyPlace, type Place } from "./support.js"

/** What two users keep, without vectors. */
const fill = ({ using }: Place) =>
  using((backend) =>
    Effect.gen(function* () {
      const [memories, conversations] = [yield* MemoryStore, yield* ConversationStore]
      const workspace = yield* WorkspaceStore
      yield* memories.store({ user: "ada", content: "likes tea" })
      yield* memories.store({ user: "bob", content: "likes coffee" })
      const conversation = yield* conversations.create({ user: "ada", channel: "web" })
      yield* conversations.addMessage({ user: "ada", conversation, role: "user", content: "the harbour" })
      yield* workspace.write({ user: "ada", path: "a.md", content: "a quay", chunks: [{ text: "a quay" }] })
    }).pipe(Effect.provide(Layer.provide(StoresLive, Layer.succeed(Backend, backend))))
  )

describe("db-hub vector embed", { timeout: 60_000 }, () => {
  it.scopedLive("gives what the stores keep its vectors, of one user or of all, and says how far it is", () =>
    Effect.gen(function* () {
      const place = yield* emptyPlace
      const { hub, using } = place
      const before = yield* hub(["vector", "embed", "--json"])
      assert.deepStrictEqual(document(before), { embedded: 0, refused: 0, pending: 0, failed: null })
      yield* fill(place)
      const one = yield* hub(["vector", "embed", "--user", "ada", "--json"])
      assert.deepStrictEqual([one.code, document(one)], [0, { embedded: 3, refused: 0, pending: 0, failed: null }])
      const all = yield* hub(["vector", "embed"], { watched: true })
      assert.deepStrictEqual([all.code, all.out, all.err], [0, "1 embedded, 0 pending\n", ""])
      assert.include(all.progress[0], "100%")
      const collections = yield* using((backend) => backend.vector.collections)
      assert.deepStrictEqual(
        collections.map(({ count, dimension, model }) => [count, dimension, model]),
        [1, 2, 1].map((count) => [count, 384, "hashing-384"])
      )
    })
  )

  it.scopedLive("exits with 1 where the model refuses a text or is down, and goes on when it is run again", () =>
    Effect.gen(function* () {
      const place = yield* emptyPlace
      const { folder, hub } = place
      yield* fill(place)
      const refusing = { input: "the harbour" }
      const { stop, url } = yield* server((asked) =>
        asked.input.includes(refusing.input) ? { status: 400, body: {} } : openAi(asked)
      )
      const embeddings = { type: "openai", url, model: "small", dimension: 3, retries: 0, cache_size: 0 }
      const settings = { hub: { sqlite: { path: "data/hub.db" }, embeddings } }
      NodeFs.writeFileSync(NodePath.join(folder, "db-hub.json"), JSON.stringify({ database: settings }))
      const some = yield* hub(["vector", "embed"])
      assert.deepStrictEqual([some.code, some.out], [1, "3 embedded, 1 pending, 1 of them refused\n"])
      assert.match(some.err, /^note: The embedding model small refused the request: .* \(HTTP 400\)\n$/)
      refusing.input = "nothing"
      assert.strictEqual((yield* hub(["vector", "embed"])).out, "1 embedded, 0 pending\n")
      yield* fill(place)
      yield* stop
      const down = yield* hub(["vector", "embed", "--json"])
      assert.deepInclude(document(down), { embedded: 0, refused: 0, pending: 2 })
      assert.strictEqual(down.code, 1)
    })
  )
})
