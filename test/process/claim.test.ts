import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Backend } from "../../src/services/Backend.js"
import { JobStore, JobStoreAdmin } from "../../src/services/JobStore.js"
import { storesOn } from "../support/place.js"
import { places } from "../support/places.js"
import { runTogether, startProcess } from "../support/process.js"

const count = 600

const program = (place: string) =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const jobs = yield* JobStore
    const made = yield* backend.transaction(
      Effect.forEach(Array.from({ length: count }), (_, n) =>
        jobs.save({ user: `user ${n % 3}`, title: `job ${n}`, description: "" })
      )
    )
    const worker = startProcess<ReadonlyArray<string>>("claim-process.ts", place)
    const claims = yield* runTogether([worker, worker])
    assert.deepStrictEqual(claims.flat().sort(), [...made].sort())
    for (const claimed of claims) assert.isAbove(claimed.length, 0)
    const { completed, total } = yield* (yield* JobStoreAdmin).summary
    assert.deepStrictEqual([completed, total], [count, count])
    assert.deepStrictEqual(yield* backend.query("SELECT claims, count(*) AS n FROM db_hub_jobs GROUP BY claims"), [
      { claims: 1, n: count }
    ])
  })

for (const { engine, missing, place } of places) {
  describe.skipIf(missing)(`claims by many processes on ${engine}`, () => {
    it.scopedLive(
      "two workers claim 600 jobs, each exactly once",
      () => Effect.flatMap(place, (at) => Effect.provide(program(at), storesOn(at))),
      120_000
    )
  })
}
