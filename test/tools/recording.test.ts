import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { DbBusy } from "../../src/errors/index.js"
import type { AuditLog } from "../../src/services/AuditLog.js"
import * as Recording from "../../src/tools/Recording.js"

const entry = { tool: "db_hub_query", caller: "tester", level: "read", allowed: true } as const
const record = { ...entry, argumentSummary: "none", resultSummary: "ok" }

it.effect(
  "a server that goes on for long looks once an hour for what is too old, also after it could not be deleted",
  () =>
    Effect.gen(function* () {
      const before: Array<number> = []
      const log = {
        recordAll: () => Effect.succeed([]),
        prune: (asked: { readonly before: Date }) =>
          Effect.suspend(() =>
            before.push(asked.before.getTime()) === 1
              ? new DbBusy({ operation: "AuditLog.prune", message: "busy" })
              : Effect.succeed(1)
          )
      } as unknown as AuditLog["Type"]
      const audit = Recording.make(log, "1 days")
      for (const minutes of [0, 30, 29, 1, 59, 1]) {
        yield* TestClock.adjust(`${minutes} minutes`)
        yield* audit([record])
      }
      const day = 24 * 3_600_000
      assert.deepStrictEqual(before, [-day, 3_600_000 - day, 2 * 3_600_000 - day])
    })
)

it.effect("what is too old is deleted a page at a time, so that others can write in between", () =>
  Effect.gen(function* () {
    let left = 2500
    const pages: Array<number> = []
    const log = {
      recordAll: () => Effect.succeed([]),
      prune: ({ limit = left }: { readonly limit?: number }) =>
        Effect.sync(() => {
          const gone = Math.min(limit, left)
          left -= gone
          pages.push(gone)
          return gone
        })
    } as unknown as AuditLog["Type"]
    yield* Recording.make(log, "1 days")([record])
    assert.deepStrictEqual(pages, [1000, 1000, 500])
  })
)
