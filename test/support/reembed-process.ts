/**
 * Moves a collection to another model as another process: `reembed-process.ts sqlite|postgresql PLACE COLLECTION`. Says
 * how many texts the model is asked for, and from the third time on waits without end.
 */
import * as NodeFs from "node:fs"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { drawn } from "./drawnEmbeddings.js"

const [kind, place = "", collection = ""] = process.argv.slice(2)

let times = 0
const model = drawn("new", 48, (texts) => {
  NodeFs.writeSync(1, `${texts.length}\n`)
  times += 1
  return times < 3 ? Effect.void : Effect.never
})

const backend = kind === "sqlite" ? Sqlite.make({ path: place }) : Postgres.make({ url: Redacted.make(place) })

await Effect.runPromise(
  Effect.scoped(Effect.flatMap(backend, (backend) => SearchLive.make(backend, model).reembed(collection)))
)
