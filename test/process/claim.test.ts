import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { JobStore, JobStoreAdmin } from "../../src/services/JobStore.js"
import { temporaryFile } from "../support/index.js"
import { runTogether, startProcess } from "../support/process.js"

const program = (path: string) =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const jobs = yield* JobStore
    const made = yield* backend.transaction(
      Effect.forEach(Array.from({ length: 1000 }), (_, n) =>
        jobs.save({ user: `user ${n % 3}`, title: `job ${n}`, description: "" })
      )
    )
    const worker = startProcess<ReadonlyArray<string>>("claim-process.ts", path)
    const claims = yield* runTogether([worker, worker])
    assert.deepStrictEqual(claims.flat().sort(), [...made].sort())
    for (const claimed of claims) assert.isAbove(claimed.length, 0)
    const { completed, total } = yield* (yield* JobStoreAdmin).summary
    assert.deepStrictEqual([completed, total], [1000, 1000])
    assert.deepStrictEqual(yield* backend.query("SELECT claims, count(*) AS n FROM db_hub_jobs GROUP BY claims"), [
      { claims: 1, n: 1000 }
    ])
  })

describe("claims by many processes", () => {
  it.scopedLive(
    "two workers on one file claim 1,000 jobs, each exactly once",
    () =>
      Effect.flatMap(temporaryFile, (path) =>
        Effect.provide(program(path), Layer.provideMerge(StoresLive, Sqlite.layer({ path })))
      ),
    120_000
  )
})
