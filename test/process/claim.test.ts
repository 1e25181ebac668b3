import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { JobStore, JobStoreAdmin } from "../../src/services/JobStore.js"
import { temporaryFile } from "../support/index.js"

const script = fileURLToPath(new URL("../support/claim-process.ts", import.meta.url))

/** A worker process that is up; `go` lets it work, and gives the ids of the jobs that it claimed. */
const start = async (path: string) => {
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, ["--import", "tsx", script, path])
  const output = { out: "", err: "" }
  child.stdout.on("data", (chunk) => {
    output.out += chunk
  })
  child.stderr.on("data", (chunk) => {
    output.err += chunk
  })
  await once(child.stdout, "data")
  return {
    go: async () => {
      const closed = once(child, "close")
      child.stdin.end("go\n")
      const [code] = await closed
      assert.strictEqual(code, 0, output.err)
      return JSON.parse(output.out.split("\n")[1]!) as ReadonlyArray<string>
    }
  }
}

const program = (path: string) =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const jobs = yield* JobStore
    const made = yield* backend.transaction(
      Effect.forEach(Array.from({ length: 1000 }), (_, n) =>
        jobs.save({ user: `user ${n % 3}`, title: `job ${n}`, description: "" })
      )
    )
    const workers = yield* Effect.promise(() => Promise.all([start(path), start(path)]))
    const claims = yield* Effect.promise(() => Promise.all(workers.map(({ go }) => go())))
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
