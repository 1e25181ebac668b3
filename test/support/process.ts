/** Processes that are started first and begin together: the side of the test. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { bundled } from "./bundle.js"

export interface Started<A> {
  /** Lets it begin, and succeeds with its report once it has ended well. */
  readonly go: (word: string) => Effect.Effect<A>
}

/** A script of this folder in a process of its own, up and waiting; killed with the scope. */
export const startProcess = <A>(
  script: string,
  ...args: ReadonlyArray<string>
): Effect.Effect<Started<A>, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const child = spawn(process.execPath, [await bundled(script), ...args])
        const output = { out: "", err: "" }
        child.stdout.on("data", (chunk) => {
          output.out += chunk
        })
        child.stderr.on("data", (chunk) => {
          output.err += chunk
        })
        await Promise.race([once(child.stdout, "data"), once(child, "close")])
        return { child, output }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    ({ child, output }) => ({
      go: (word) =>
        Effect.promise(async () => {
          const closed = once(child, "close")
          child.stdin.end(`${word}\n`)
          const [code] = await closed
          assert.strictEqual(code, 0, output.err)
          return JSON.parse(output.out.split("\n")[1]!) as A
        })
    })
  )

/** Several that begin together, when all are up; their reports in order. */
export const runTogether = <A>(processes: ReadonlyArray<Effect.Effect<Started<A>, never, Scope.Scope>>) =>
  Effect.flatMap(Effect.all(processes, { concurrency: "unbounded" }), (started) =>
    Effect.all(
      started.map(({ go }) => go("go")),
      { concurrency: "unbounded" }
    )
  )
