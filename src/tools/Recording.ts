/**
 * Calls of tools in the audit log, which would grow for ever.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { AuditLog } from "../services/AuditLog.js"
import type { ToolkitOptions } from "./Toolkit.js"

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
    // The calls are recorded, and what stays too long is met an hour later.
    return Effect.ignoreLogged(log.prune({ before: new Date(now - Duration.toMillis(keep)) }))
  })
  return (entries) => Effect.zipRight(log.recordAll({ entries }), forget)
}
