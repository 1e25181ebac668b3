import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Sqlite } from "effect-db-hub"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { Backend } from "../../src/services/Backend.js"
import { otherProcess, temporaryFile, ticksDuring } from "../support/index.js"
import { ledger } from "../support/ledger.js"

describe("writes of a process that shares its file", () => {
  it.scopedLive(
    "while a stranger holds the lock for 2 seconds, writes wait, none fails, and the event loop runs on",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const services = Layer.provideMerge(ForwardingWrites.layer(), Sqlite.layer({ path }))
        yield* Effect.provide(
          Effect.gen(function* () {
            const backend = yield* Backend
            const append = yield* ledger
            yield* backend.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
            yield* append({ id: "first", process: "here" })
            yield* otherProcess(path, "hold", 2_000)
            const writes = Effect.forEach(
              Array.from({ length: 20 }, (_, n) => `${n}`),
              (id) => append({ id, process: "here" }),
              { concurrency: "unbounded" }
            )
            // 200 ticks of 10 ms fit into the wait; a loop that stood still would have a handful.
            const [ticks] = yield* ticksDuring(writes)
            assert.isAbove(ticks, 40)
            const [row] = yield* backend.query("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM ledger")
            assert.deepStrictEqual(row, { n: 21, ids: 21 })
            assert.deepStrictEqual(yield* backend.query("SELECT id FROM t"), [{ id: 1000 }])
          }),
          services
        )
      }),
    60_000
  )
})
