/**
 * The entry of `db-hub`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { fromProcess, Io } from "./Io.js"
import { run } from "./Run.js"

for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", ({ code }: NodeJS.ErrnoException) => {
    // A reader that stops early, such as `head`, is no fault.
    if (code === "EPIPE") return
    if (stream === process.stdout) process.stderr.write(`error: the output cannot be written (${code})\n`)
    process.exit(1)
  })
}

// No handler for SIGINT but where something is to be put down or cleared away: a statement that runs long blocks the
// event loop, and only the default ends it.
process.exitCode = await Effect.runPromise(Effect.provideService(run(process.argv.slice(2)), Io, fromProcess()))
