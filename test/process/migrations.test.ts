import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { temporaryFile } from "../support/index.js"
import { inDatabase, noServer, serverUrl, temporaryDatabase } from "../support/postgres.js"
import { runTogether, startProcess } from "../support/process.js"

interface Report {
  readonly applied: ReadonlyArray<number>
  readonly version: number
}

const eight = (script: string, database: string) =>
  runTogether(Array.from({ length: 8 }, () => startProcess<Report>(script, database)))

describe("migrations by many processes", () => {
  it.scopedLive(
    "eight processes that start at once on a fresh file run each step once, and all succeed",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const reports = yield* eight("migrate-process.ts", path)
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
        const reports = yield* eight("migrate-postgres.ts", url)
        assert.deepStrictEqual(reports.flatMap(({ applied }) => applied).sort(), [1, 2, 3])
        assert.deepStrictEqual(new Set(reports.map(({ version }) => version)), new Set([3]))
      }),
    60_000
  )
})
