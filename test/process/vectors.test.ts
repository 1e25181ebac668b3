import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { temporaryFile } from "../support/index.js"

const script = fileURLToPath(new URL("../support/vector-process.ts", import.meta.url))

const other = (...args: ReadonlyArray<string>) =>
  Effect.promise(() => promisify(execFile)(process.execPath, ["--import", "tsx", script, ...args]))

describe("vectors of many processes", () => {
  it.scopedLive("the next search finds what another process has committed, and no more what it has deleted", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const { vector } = yield* Sqlite.make({ path })
      yield* vector.createCollection("shared", { dimension: 2 })
      yield* vector.insert("shared", { id: "own", vector: [0, 1] })
      const nearest = Effect.map(vector.search("shared", [1, 0]), (hits) => hits.map(({ id }) => id))
      assert.deepStrictEqual(yield* nearest, ["own"])
      yield* other(path, "insert", "theirs")
      assert.deepStrictEqual(yield* nearest, ["theirs", "own"])
      yield* other(path, "delete", "own")
      assert.deepStrictEqual(yield* nearest, ["theirs"])
    })
  )
})
