import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"
import { temporaryFile } from "../support/index.js"

const script = fileURLToPath(new URL("../support/workspace-process.ts", import.meta.url))

const other = (...args: ReadonlyArray<string>) =>
  Effect.promise(() => promisify(execFile)(process.execPath, ["--import", "tsx", script, ...args]))

describe("a workspace of many processes", () => {
  it.scopedLive("appends of four processes make one document, and none is lost", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const services = yield* Layer.build(Layer.provideMerge(StoresLive, Sqlite.layer({ path })))
      const workspace = Context.get(services, WorkspaceStore)
      const names = ["a", "b", "c", "d"]
      yield* Effect.forEach(names, (name) => other(path, "ada", name, "25"), { concurrency: "unbounded" })
      const { content, version } = yield* workspace.get("ada", "log")
      const lines = content.split("\n")
      for (const name of names) {
        const own = lines.filter((line) => line.startsWith(name))
        assert.deepStrictEqual(
          own,
          Array.from({ length: 25 }, (_, n) => `${name} ${n}`)
        )
      }
      assert.deepStrictEqual([lines.length, version], [100, 100])
    })
  )
})
