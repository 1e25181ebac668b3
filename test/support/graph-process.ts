/**
 * Searches a collection as another process, with graphs from 500 vectors on: `graph-process.ts FILE COLLECTION`. Prints
 * the index once it has searched, and again, with what it finds, once nothing is built any more.
 */
import * as Effect from "effect/Effect"
import * as SqliteVectorStore from "../../src/layers/sqlite/SqliteVectorStore.js"
import { openClient } from "./index.js"

const [path = "", collection = ""] = process.argv.slice(2)

const query = Float32Array.from({ length: 16 }, (_, i) => Math.sin(i + 1))

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* openClient({ path })
      const store = yield* SqliteVectorStore.make(client, { memoryBytes: 2 ** 26, graphFrom: 500 })
      const say = Effect.gen(function* () {
        const hits = yield* store.search(collection, query)
        const [info] = yield* store.collections
        process.stdout.write(`${JSON.stringify({ ids: hits.map(({ id }) => id), index: info?.index })}\n`)
      })
      yield* say
      // What is built does not keep the process.
      const stay = setInterval(() => {}, 1000)
      yield* store.settled
      yield* say
      clearInterval(stay)
    })
  )
)
