/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { AuditLog, maxSummary } from "../services/AuditLog.js"
import { Backend } from "../services/Backend.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const record = (caller: string, tool: string, allowed = true) =>
  Effect.flatMap(AuditLog, (log) => log.record({ tool, caller, level: "user", allowed }))

/**
 * @since 0.1.0
 * @category suites
 */
export const auditSuite: Suite = {
  "entries come back newest first, also those of one millisecond, and page by page": Effect.gen(function* () {
    const log = yield* AuditLog
    const caller = yield* fresh("caller")
    const ids = yield* Effect.forEach(["a", "b", "c", "d", "e"], (tool) => record(caller, tool))
    const first = yield* log.recent({ caller, limit: 3 })
    const rest = yield* log.recent({ caller, before: first[2]!.seq })
    yield* equal(
      [...first, ...rest].map(({ id }) => id),
      ids.toReversed()
    )
    yield* equal(
      [first[0]!.tool, first[0]!.level, first[0]!.allowed, first[0]!.argumentSummary],
      ["e", "user", true, null]
    )
    yield* failsWith("InvalidInput", log.recent({ caller, limit: 100_000 }))
  }),

  "entries recorded together keep their order, and none is there if one is refused": Effect.gen(function* () {
    const log = yield* AuditLog
    const caller = yield* fresh("caller")
    const entry = (tool: string) => ({ tool, caller, level: "user", allowed: true })
    const ids = yield* log.recordAll({ entries: [entry("a"), entry("b"), entry("c")] })
    yield* equal(
      (yield* log.recent({ caller })).map(({ id }) => id),
      ids.toReversed()
    )
    yield* failsWith("InvalidInput", log.recordAll({ entries: [entry("d"), entry("")] }))
    yield* equal(yield* log.count({ caller }), 3)
  }),

  "entries are found and counted by tool, caller and answer": Effect.gen(function* () {
    const log = yield* AuditLog
    const [ada, bob, tool] = [yield* fresh("ada"), yield* fresh("bob"), yield* fresh("tool")]
    yield* Effect.all([record(ada, tool), record(ada, tool, false), record(bob, tool), record(ada, "other")])
    yield* equal(
      (yield* log.recent({ tool, allowed: false })).map(({ caller }) => caller),
      [ada]
    )
    const counts = [log.count({ tool }), log.count({ caller: ada }), log.count({ tool, caller: ada, allowed: true })]
    yield* equal(yield* Effect.all(counts), [3, 3, 1])
    yield* equal((yield* log.count()) >= 4, true)
  }),

  "a summary keeps so many characters, and never half of one": Effect.gen(function* () {
    const log = yield* AuditLog
    const caller = yield* fresh("caller")
    yield* log.record({
      tool: "t",
      caller,
      level: "user",
      allowed: true,
      argumentSummary: `x${"\u{1F600}".repeat(2 * maxSummary)}`,
      resultSummary: "short"
    })
    const [entry] = yield* log.recent({ caller })
    yield* equal(entry!.argumentSummary, `x${"\u{1F600}".repeat(maxSummary - 1)}`)
    yield* equal(entry!.resultSummary, "short")
  }),

  "prune deletes by age and nothing younger": Effect.gen(function* () {
    const [log, backend] = [yield* AuditLog, yield* Backend]
    const caller = yield* fresh("caller")
    const [old, young] = [yield* record(caller, "old"), yield* record(caller, "young")]
    const long = new Date("2001-01-01T00:00:00Z")
    yield* backend.execute("UPDATE db_hub_audit SET created_at = ? WHERE id = ?", [long, old])
    yield* equal(yield* log.prune({ before: new Date(long.getTime() + 1) }), 1)
    yield* equal(yield* log.prune({ before: new Date(long.getTime() + 1) }), 0)
    yield* equal(
      (yield* log.recent({ caller })).map(({ id }) => id),
      [young]
    )
  }),

  "prune with a limit deletes so many, the oldest first": Effect.gen(function* () {
    const [log, backend] = [yield* AuditLog, yield* Backend]
    const caller = yield* fresh("caller")
    const ids = yield* Effect.forEach([3, 1, 2], (n) => record(caller, `tool ${n}`))
    const second = (n: number) => new Date(Date.UTC(2000, 0, 1, 0, 0, n))
    for (const [at, n] of [3, 1, 2].entries()) {
      yield* backend.execute("UPDATE db_hub_audit SET created_at = ? WHERE id = ?", [second(n), ids[at]!])
    }
    const prune = log.prune({ before: second(10), limit: 2 })
    yield* equal(yield* prune, 2)
    yield* equal(
      (yield* log.recent({ caller })).map(({ tool }) => tool),
      ["tool 3"]
    )
    yield* equal(yield* prune, 1)
    yield* equal(yield* prune, 0)
  }),

  "records of many at once all land": Effect.gen(function* () {
    const log = yield* AuditLog
    const caller = yield* fresh("caller")
    const racers = Array.from({ length: 20 }, (_, n) => record(caller, `tool ${n}`))
    yield* Effect.all(racers, { concurrency: "unbounded" })
    yield* equal(yield* log.count({ caller }), 20)
  })
}
