import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { CronTrigger, LightweightAction, RoutineGuardrails, RoutineStore } from "../../src/services/RoutineStore.js"
import { storesOn } from "../support/place.js"
import { places } from "../support/places.js"
import { runTogether, startProcess } from "../support/process.js"

const seconds = 60

const program = (place: string) =>
  Effect.gen(function* () {
    const routines = yield* RoutineStore
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
    const args = [place, from.toISOString(), String(seconds)]
    const scheduler = startProcess<ReadonlyArray<string>>("routine-process.ts", ...args)
    const fired = (yield* runTogether([scheduler, scheduler])).flat()
    assert.strictEqual(new Set(fired).size, fired.length)
    assert.strictEqual(fired.length, made.length * seconds)
    const counts = yield* Effect.forEach(made, ({ id }) => routines.get("ada", id))
    assert.deepStrictEqual(
      counts.map(({ runCount }) => runCount),
      made.map(() => seconds)
    )
  })

for (const { engine, missing, place } of places) {
  describe.skipIf(missing)(`routines of many processes on ${engine}`, () => {
    it.scopedLive(
      "two schedulers fire each due time of each routine exactly once",
      () => Effect.flatMap(place, (at) => Effect.provide(program(at), storesOn(at))),
      60_000
    )
  })
}
