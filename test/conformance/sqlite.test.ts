import { describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { conformance } from "../../src/conformance/index.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { SqliteVectorStore } from "../../src/layers/sqlite/SqliteVectorStore.js"
import { VectorStore } from "../../src/services/VectorStore.js"
import { temporaryFile } from "../support/index.js"

const engines = {
  "SQLite file": Layer.unwrapScoped(Effect.map(temporaryFile, (path) => Sqlite.layer({ path }))),
  "SQLite file without WAL": Layer.unwrapScoped(
    Effect.map(temporaryFile, (path) => Sqlite.layer({ path, journalMode: "DELETE", synchronous: "FULL" }))
  ),
  "SQLite memory": Sqlite.SqliteMemory
}

/** Every search outside of a transaction goes through a graph of all that was there when it was first searched. */
const withGraphs = Layer.map(
  Layer.unwrapScoped(Effect.map(temporaryFile, (path) => Sqlite.layer({ path, vectorGraphFrom: 1 }))),
  (services) => {
    const store = Context.get(services, VectorStore) as SqliteVectorStore
    const search: SqliteVectorStore["search"] = (...args) =>
      Effect.zipRight(Effect.zipRight(store.search(...args), store.settled), store.search(...args))
    return Context.add(services, VectorStore, { ...store, search })
  }
)

describe("VectorStore on SQLite file with graphs", () => {
  for (const { name, run } of conformance(withGraphs).VectorStore ?? []) it.live(name, () => run, 120_000)
})

for (const [engine, layer] of Object.entries(engines)) {
  for (const [service, cases] of Object.entries(conformance(layer))) {
    describe(`${service} on ${engine}`, () => {
      for (const { name, run } of cases) it.live(name, () => run)
    })
  }
}
