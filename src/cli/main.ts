/**
 * The entry of `db-hub`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { fromProcess, Io } from "./Io.js"
import { run } from "./run.js"

// A reader that stops early, such as `head`, is no fault.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
  })
}

// No handler for SIGINT: a statement that runs long blocks the event loop, and only the default ends it.
process.exitCode = await Effect.runPromise(Effect.provideService(run(process.argv.slice(2)), Io, fromProcess()))
