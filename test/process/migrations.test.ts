import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { temporaryFile } from "../support/index.js"
import { inDatabase, noServer, serverUrl, temporaryDatabase } from "../support/postgres.js"

const start = async (path: string, script = "migrate-process.ts") => {
  const file = fileURLToPath(new URL(`../support/${script}`, import.meta.url))
  const child: ChildProcessWithoutNullStreams = spawn(process.execPath, ["--import", "tsx", file, path])
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
      return JSON.parse(output.out.split("\n")[1]!) as { applied: ReadonlyArray<number>; version: number }
    }
  }
}

describe("migrations by many processes", () => {
  it.scopedLive(
    "eight processes that start at once on a fresh file run each step once, and all succeed",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const processes = yield* Effect.promise(() => Promise.all(Array.from({ length: 8 }, () => start(path))))
        const reports = yield* Effect.promise(() => Promise.all(processes.map(({ go }) => go())))
        assert.deepStrictEqual(reports.flatMap(({ applied }) => applied).sort(), [1, 2, 3])
        assert.deepStrictEqual(new Set(reports.map(({ version }) => version)), new Set([3]))
        const backend = yield* Sqlite.make({ path })
        assert.deepStrictEqual(
          yield* backend.query("SELECT scope, count(*) AS n FROM db_hub_migrations GROUP BY scope ORDER BY scope"),
          [
            { scope: "app", n: 3 },
            { scope: "hub", n: yield* backend.migrator.currentVersion }
          ]
        )
        assert.deepStrictEqual(yield* backend.query("SELECT n FROM step_2"), [{ n: 2 }])
      }),
    60_000
  )

  it.scopedLive.skipIf(noServer)(
    "and so do eight on a fresh PostgreSQL database",
    () =>
      Effect.gen(function* () {
        const url = inDatabase(serverUrl, yield* temporaryDatabase)
        const processes = yield* Effect.promise(() =>
          Promise.all(Array.from({ length: 8 }, () => start(url, "migrate-postgres.ts")))
        )
        const reports = yield* Effect.promise(() => Promise.all(processes.map(({ go }) => go())))
        assert.deepStrictEqual(reports.flatMap(({ applied }) => applied).sort(), [1, 2, 3])
        assert.deepStrictEqual(new Set(reports.map(({ version }) => version)), new Set([3]))
      }),
    60_000
  )
})
