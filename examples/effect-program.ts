/** An Effect program that asks for services, and the layer that answers: SQLite here, another engine by another layer. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqliteLive } from "effect-db-hub"
import { Notes, NotesLive } from "./notes.js"

const program = Effect.gen(function* () {
  const notes = yield* Notes
  yield* notes.write("n1", "the user prefers metric units", [0.1, 0.9, 0.2])
  yield* notes.write("n2", "deploys happen on Tuesdays", [0.8, 0.1, 0.1])
  yield* Console.log(yield* notes.near([0.2, 0.8, 0.2], 1))
}).pipe(
  // Every failure of the hub has a type: handle the ones that you expect by their tag.
  Effect.catchTag("DbBusy", (error) => Console.error(`another process is writing, try again: ${error.message}`))
)

// SqliteLive reads the environment (`DB_HUB_SQLITE_PATH` …); its default is ./data/hub.db.
const MainLive = NotesLive.pipe(Layer.provide(SqliteLive))

NodeRuntime.runMain(Effect.provide(program, MainLive))
