import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { CronTrigger, LightweightAction, RoutineGuardrails, RoutineStore } from "../../src/services/RoutineStore.js"
import { temporaryFile } from "../support/index.js"
import { runTogether, startProcess } from "../support/process.js"

const seconds = 60

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
        const args = [path, from.toISOString(), String(seconds)]
        const scheduler = startProcess<ReadonlyArray<string>>("routine-process.ts", ...args)
        const fired = (yield* runTogether([scheduler, scheduler], () => String(Date.now() + 50))).flat()
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
