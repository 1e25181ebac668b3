import * as NodeProcess from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import * as Reactivity from "@effect/experimental/Reactivity"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as SqliteClient from "../../src/layers/sqlite/SqliteClient.js"
import { resolve, type SqliteOptions } from "../../src/layers/sqlite/SqliteOptions.js"

/** A folder that goes with the scope. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => NodeFs.mkdtempSync(NodePath.join(NodeOs.tmpdir(), "effect-db-hub-"))),
  (folder) => Effect.sync(() => NodeFs.rmSync(folder, { recursive: true, force: true }))
)

export const temporaryFile = Effect.map(temporaryFolder, (folder) => NodePath.join(folder, "hub.db"))

export const openClient = (options: SqliteOptions) =>
  resolve(options).pipe(Effect.flatMap(SqliteClient.make), Effect.provide(Reactivity.layer))

/** The typed failure of an effect; a success or a defect fails the test. */
export const failureOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, never, R> =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return Effect.dieMessage("expected a failure, got a success")
    return Option.match(Cause.failureOption(exit.cause), {
      onNone: () => Effect.die(new Error(`expected a typed failure, got ${Cause.pretty(exit.cause)}`)),
      onSome: Effect.succeed
    })
  })

/** How often a 10 ms timer ticks while an effect runs. */
export const ticksDuring = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<readonly [number, A], E, R> =>
  Effect.suspend(() => {
    let ticks = 0
    const timer = setInterval(() => ticks++, 10)
    return Effect.map(
      Effect.ensuring(
        effect,
        Effect.sync(() => clearInterval(timer))
      ),
      (value) => [ticks, value] as const
    )
  })

/** The processes that a process has started, oldest first. */
export const childrenOf = (parent: number): ReadonlyArray<number> =>
  NodeProcess.execFileSync("ps", ["-A", "-o", "pid=,ppid="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number) as [number, number])
    .flatMap(([pid, ppid]) => (ppid === parent ? [pid] : []))

const otherProgram = fileURLToPath(new URL("./hold-lock.mjs", import.meta.url))

/**
 * Starts another process on a database file and waits until it says `ready`; it is killed with the scope.
 *
 * `hold` takes the write lock for so many milliseconds and then commits the row 1000 into `t`; `exec` runs SQL.
 */
export const otherProcess = (
  file: string,
  mode: "hold" | "exec",
  argument: string | number
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() =>
        NodeProcess.spawn(process.execPath, [otherProgram, file, mode, String(argument)], {
          stdio: ["ignore", "pipe", "inherit"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) =>
      Effect.async<void>((resume) => {
        let said = ""
        child.stdout.on("data", (data) => {
          said += String(data)
          if (said.includes("ready")) resume(Effect.void)
        })
        child.on("exit", (code) => {
          if (!said.includes("ready")) resume(Effect.dieMessage(`the other process ended with ${code}`))
        })
      })
  )

/** What another process finds when it asks for the write lock of a file: `held` or `free`. */
export const lockSeenByOthers = (file: string): Effect.Effect<string> =>
  Effect.sync(() =>
    NodeProcess.execFileSync(process.execPath, [otherProgram, file, "try"], { encoding: "utf8" }).trim()
  )

/** A client on a new file, with a table `t (id INTEGER PRIMARY KEY, x)`. */
export const fileClient = (options: Partial<SqliteOptions> = {}) =>
  Effect.gen(function* () {
    const path = yield* temporaryFile
    const client = yield* openClient({ path, ...options })
    yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    return client
  })

/** Sets the wall clock of this process by so many milliseconds, until the scope closes; timers go on. */
export const setClock = (millis: number): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { now } = Date
      Date.now = () => now() + millis
      return now
    }),
    (now) =>
      Effect.sync(() => {
        Date.now = now
      })
  )

/** Milliseconds that an effect takes. */
export const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<number, E, R> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(effect, () => performance.now() - started)
  })
