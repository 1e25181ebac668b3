/** Opens the database named by its argument as every process of a program would: with its layer, which migrates it. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import { migrateApp } from "./app-steps.js"
import { report } from "./child.js"

const [url = ""] = process.argv.slice(2)

await report((told) =>
  Effect.zipRight(told, Effect.scoped(Effect.flatMap(Postgres.make({ url: Redacted.make(url) }), migrateApp)))
)
