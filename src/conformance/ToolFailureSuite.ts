/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Backend } from "../services/Backend.js"
import { ToolFailureStore } from "../services/ToolFailureStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const failing = (tool: string, times: number) =>
  Effect.flatMap(ToolFailureStore, (failures) => Effect.replicateEffect(failures.record({ tool, error: "no" }), times))

const isBroken = (tool: string, threshold: number) =>
  Effect.map(
    Effect.flatMap(ToolFailureStore, (failures) => failures.broken(threshold)),
    ({ rows }) => rows.some((failure) => failure.tool === tool)
  )

/**
 * @since 0.1.0
 * @category suites
 */
export const toolFailureSuite: Suite = {
  "a tool that failed as often as the threshold is broken, the most broken first": Effect.gen(function* () {
    const failures = yield* ToolFailureStore
    const [often, seldom] = [yield* fresh("tool"), yield* fresh("tool")]
    yield* failing(seldom, 1)
    yield* failing(often, 3)
    yield* failures.record({ tool: often, error: "the last word" })
    yield* equal([yield* isBroken(often, 2), yield* isBroken(seldom, 2)], [true, false])
    const order = (yield* failures.broken(1)).rows.map(({ tool }) => tool)
    yield* equal(order.indexOf(often) < order.indexOf(seldom), true)
    const failure = yield* failures.get(often)
    yield* equal([failure.errorCount, failure.errorMessage], [4, "the last word"])
  }),

  "a repaired tool that fails again is broken again, counted anew": Effect.gen(function* () {
    const failures = yield* ToolFailureStore
    const tool = yield* fresh("tool")
    yield* failing(tool, 3)
    yield* failures.incrementRepairAttempts({ tool })
    yield* failures.markRepaired({ tool })
    const repaired = yield* failures.get(tool)
    yield* equal([repaired.errorCount, repaired.repairAttempts, repaired.repairedAt !== null], [0, 1, true])
    yield* equal(yield* isBroken(tool, 0), false)
    yield* failing(tool, 1)
    const again = yield* failures.get(tool)
    yield* equal([again.errorCount, again.repairAttempts, again.repairedAt], [1, 0, null])
    yield* equal([yield* isBroken(tool, 1), yield* isBroken(tool, 2)], [true, false])
    yield* equal(again.firstFailure >= repaired.lastFailure, true)
    yield* failing(tool, 1)
    yield* equal(yield* isBroken(tool, 2), true)
  }),

  "attempts to repair are counted, and the last result is kept": Effect.gen(function* () {
    const failures = yield* ToolFailureStore
    const tool = yield* fresh("tool")
    yield* failing(tool, 1)
    yield* failures.incrementRepairAttempts({ tool, buildResult: { ok: false, log: ["ü"] } })
    yield* failures.incrementRepairAttempts({ tool })
    const failure = yield* failures.get(tool)
    yield* equal([failure.repairAttempts, failure.lastBuildResult], [2, { ok: false, log: ["ü"] }])
  }),

  "a record that cannot be read is named, and hides no broken tool": Effect.gen(function* () {
    const [failures, backend] = [yield* ToolFailureStore, yield* Backend]
    const [spoilt, good] = [yield* fresh("tool"), yield* fresh("tool")]
    for (const tool of [spoilt, good]) yield* failing(tool, 2)
    yield* backend.execute("UPDATE db_hub_tool_failures SET repair_attempts = -1 WHERE tool = ?", [spoilt])
    const { rows, unreadable } = yield* failures.broken(2)
    yield* equal(
      [rows.map(({ tool }) => tool), unreadable.map(({ id }) => id)].map((tools) =>
        tools.filter((tool) => tool === spoilt || tool === good)
      ),
      [[good], [spoilt]]
    )
    yield* failsWith("DbCorrupt", failures.get(spoilt))
    yield* backend.execute("DELETE FROM db_hub_tool_failures WHERE tool = ?", [spoilt])
  }),

  "a tool that never failed is NotFound": Effect.gen(function* () {
    const failures = yield* ToolFailureStore
    const tool = yield* fresh("tool")
    yield* failsWith("NotFound", failures.get(tool))
    yield* failsWith("NotFound", failures.markRepaired({ tool }))
    yield* failsWith("NotFound", failures.incrementRepairAttempts({ tool }))
  }),

  "failures that race are all counted": Effect.gen(function* () {
    const failures = yield* ToolFailureStore
    const tool = yield* fresh("tool")
    yield* Effect.all(
      Array.from({ length: 20 }, (_, n) => failures.record({ tool, error: `failure ${n}` })),
      { concurrency: "unbounded" }
    )
    yield* equal((yield* failures.get(tool)).errorCount, 20)
  })
}
