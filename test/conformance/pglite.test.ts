import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll } from "vitest"
import { conformance } from "../../src/conformance/index.js"
import { servicesOf } from "../../src/layers/BackendLayer.js"
import * as Pglite from "../../src/layers/postgres/Pglite.js"
import type { BackendShape } from "../../src/services/Backend.js"
import { failureOf, temporaryFolder } from "../support/index.js"

describe("PGlite", () => {
  const scope = Effect.runSync(Scope.make())
  let backend: BackendShape
  // Opening takes seconds, so the cases share one.
  beforeAll(async () => {
    backend = await Effect.runPromise(Scope.extend(Pglite.make(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  for (const [service, cases] of Object.entries(
    conformance(Layer.suspend(() => Layer.succeedContext(servicesOf(backend))))
  )) {
    describe(service, () => {
      for (const { name, run } of cases) it.live(name, () => run)
    })
  }

  it.scopedLive(
    "keeps its data in a folder, which one process may have open",
    () =>
      Effect.gen(function* () {
        const dataDir = NodePath.join(yield* temporaryFolder, "data")
        yield* Effect.scoped(
          Effect.gen(function* () {
            const kept = yield* Pglite.make({ dataDir })
            yield* kept.execute("CREATE TABLE kept (n INT)")
            const link = `${dataDir}-link`
            NodeFs.symlinkSync(dataDir, link)
            for (const spelled of [dataDir, `${dataDir}/`, `${dataDir}/.`, link]) {
              const error = yield* failureOf(Pglite.make({ dataDir: spelled }))
              assert.deepStrictEqual([error._tag, error.code], ["DbLocked", "HUB_DATA_DIR_IN_USE"], spelled)
            }
          })
        )
        const again = yield* Pglite.make({ dataDir })
        assert.deepStrictEqual(yield* again.query("SELECT n FROM kept"), [])
        assert.deepInclude(again.capabilities, { concurrentReads: false, persistent: true })
      }),
    60_000
  )
})
