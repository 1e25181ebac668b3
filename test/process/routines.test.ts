import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { CronTrigger, LightweightAction, RoutineGuardrails, RoutineStore } from "../../src/services/RoutineStore.js"
import { temporaryFile } from "../support/index.js"

const script = fileURLToPath(new URL("../support/routine-process.ts", import.meta.url))
const seconds = 60

/** A scheduler that waits to be told when to begin; killed with the scope. */
const scheduler = (path: string, from: Date) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const args = ["--import", "tsx", script, path, from.toISOString(), String(seconds)]
        const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] })
        let out = ""
        child.stdout.on("data", (chunk) => {
          out += String(chunk)
        })
        await once(child.stdout, "data")
        return { child, said: () => out }
      }),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    ({ child, said }) =>
      (begin: number) =>
        Effect.promise(async () => {
          const closed = once(child, "close")
          child.stdin.end(`${begin}\n`)
          assert.deepStrictEqual(await closed, [0, null])
          return JSON.parse(said().split("\n")[1]!) as ReadonlyArray<string>
        })
  )

describe("routines of many processes", () => {
  it.scopedLive(
    "two schedulers on one file fire each due time of each routine exactly once",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const services = yield* Layer.build(Layer.provideMerge(StoresLive, Sqlite.layer({ path })))
        const routines = yield* Effect.provide(RoutineStore, services)
        const made = yield* Effect.forEach(["a", "b", "c"], (name) =>
          routines.create({
            user: "ada",
            name,
            trigger: CronTrigger.make({ schedule: "* * * * * *" }),
            action: LightweightAction.make({ prompt: "what is new?" }),
            guardrails: RoutineGuardrails.make({ cooldownSeconds: 0, maxConcurrent: 1000 })
          })
        )
        const from = new Date(Math.max(...made.map(({ nextFireAt }) => nextFireAt!.getTime())))
        const schedulers = yield* Effect.all([scheduler(path, from), scheduler(path, from)], { concurrency: 2 })
        const begin = Date.now() + 50
        const fired = (yield* Effect.forEach(schedulers, (run) => run(begin), { concurrency: 2 })).flat()
        assert.strictEqual(new Set(fired).size, fired.length)
        assert.strictEqual(fired.length, made.length * seconds)
        const counts = yield* Effect.forEach(made, ({ id }) => routines.get("ada", id))
        assert.deepStrictEqual(
          counts.map(({ runCount }) => runCount),
          made.map(() => seconds)
        )
      }),
    60_000
  )
})
