/** Processes that are started first and begin together: the side of the process. */
import { once } from "node:events"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** Says that it is up, and waits for the word to begin. */
const told: Effect.Effect<string> = Effect.promise(async () => {
  process.stdout.write("ready\n")
  const [word] = await once(process.stdin, "data")
  return String(word).trim()
})

/** Runs with the word to begin, asked for where the process is ready for it, and prints its report as a line of JSON. */
export const report = async <A, E>(run: (told: Effect.Effect<string>) => Effect.Effect<A, E>): Promise<void> => {
  const exit = await Effect.runPromiseExit(run(told))
  if (Exit.isSuccess(exit)) process.stdout.write(`${JSON.stringify(exit.value ?? null)}\n`, () => process.exit(0))
  else process.stderr.write(`${Cause.pretty(exit.cause)}\n`, () => process.exit(1))
}
