/** Opens the database named by its argument as every process of a program would: with its layer, which migrates it. */
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { migrateApp } from "./app-steps.js"
import { report } from "./child.js"

const [path = ""] = process.argv.slice(2)

await report((told) => Effect.zipRight(told, Effect.scoped(Effect.flatMap(Sqlite.make({ path }), migrateApp))))
