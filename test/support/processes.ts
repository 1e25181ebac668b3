import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { bundled } from "./bundle.js"

export interface OtherProcess {
  readonly child: ChildProcessWithoutNullStreams
  /** The n-th line that it says, counted from 0; null if it ends before. */
  readonly line: (n: number) => Effect.Effect<string | null>
  readonly tell: (text: string) => Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** Starts a script of this folder; the process is killed with the scope. */
export const startScript = (
  script: string,
  ...args: ReadonlyArray<string | number | object>
): Effect.Effect<OtherProcess, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const texts = args.map((arg) => (typeof arg === "object" ? JSON.stringify(arg) : String(arg)))
        const child = spawn(process.execPath, [await bundled(script), ...texts])
        child.stderr.on("data", (data) => process.stderr.write(data))
        child.stdin.on("error", () => {})
        return child
      }),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) => {
      let said = ""
      let over = false
      const waiting = new Set<() => void>()
      const tellWaiting = () => {
        for (const look of Array.from(waiting)) look()
      }
      child.stdout.on("data", (data) => {
        said += String(data)
        tellWaiting()
      })
      child.on("close", () => {
        over = true
        tellWaiting()
      })
      const until = <A>(look: () => A | undefined) =>
        Effect.async<A>((resume) => {
          const again = () => {
            const found = look()
            if (found === undefined) return
            waiting.delete(again)
            resume(Effect.succeed(found))
          }
          waiting.add(again)
          again()
        })
      return {
        child,
        line: (n) =>
          until(() => {
            const lines = said.split("\n")
            return lines.length > n + 1 ? (lines[n] ?? null) : over ? null : undefined
          }),
        tell: (text) => Effect.sync(() => void child.stdin.write(text)),
        ended: Effect.asVoid(until(() => (over ? true : undefined)))
      }
    }
  )

/** A process that writes to a shared database; see `forward-process.ts`. */
export const startWriter = (...args: ReadonlyArray<string | number | object>) =>
  startScript("forward-process.ts", ...args)
