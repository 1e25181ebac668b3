/**
 * Calls of tools in the audit log, which would grow for ever.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { nextTurn } from "../layers/EventLoop.js"
import type { AuditLog } from "../services/AuditLog.js"
import type { ToolkitOptions } from "./Toolkit.js"

/** Entries deleted in one write: a log that was never pruned would keep all who write waiting. */
const pageSize = 1000

/** Milliseconds from one look at what is too old to the next. */
const hour = 3_600_000

/**
 * Records calls, and with the first of them, and then once an hour while there are more, deletes what is older than `keep`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (log: AuditLog["Type"], keep: Duration.DurationInput): NonNullable<ToolkitOptions["audit"]> => {
  let looked = Number.NEGATIVE_INFINITY
  const forget = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    if (now - looked < hour) return Effect.void
    looked = now
    const before = new Date(now - Duration.toMillis(keep))
    const page = Effect.zipRight(nextTurn, log.prune({ before, limit: pageSize }))
    // The calls are recorded, and what stays too long is met an hour later.
    return Effect.ignoreLogged(Effect.repeat(page, { while: (gone) => gone === pageSize }))
  })
  return (entries) => Effect.zipRight(log.recordAll({ entries }), forget)
}
