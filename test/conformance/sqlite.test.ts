import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { conformance } from "../../src/conformance/index.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { temporaryFile } from "../support/index.js"

const engines = {
  "SQLite file": Layer.unwrapScoped(Effect.map(temporaryFile, (path) => Sqlite.layer({ path }))),
  "SQLite file without WAL": Layer.unwrapScoped(
    Effect.map(temporaryFile, (path) => Sqlite.layer({ path, journalMode: "DELETE", synchronous: "FULL" }))
  ),
  "SQLite memory": Sqlite.SqliteMemory
}

for (const [engine, layer] of Object.entries(engines)) {
  for (const [service, cases] of Object.entries(conformance(layer))) {
    describe(`${service} on ${engine}`, () => {
      for (const { name, run } of cases) it.live(name, () => run)
    })
  }
}
