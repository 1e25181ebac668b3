/**
 * Which tool was called by whom, and whether it was allowed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, Key, optional, Text, Timestamp } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * The most characters (code points) that a summary keeps.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxSummary = 1000

/**
 * A call of a tool: who made it, whether it was allowed, and what came of it.
 *
 * @since 0.1.0
 * @category models
 */
export const AuditEntry = Schema.Struct({
  id: Id,
  /** Counts up; the order of the log. */
  seq: Count,
  tool: Key,
  caller: Key,
  /** The level of permission that the tool asks for, such as `user` or `admin`. */
  level: Key,
  allowed: Schema.Boolean,
  argumentSummary: Schema.NullOr(Text),
  resultSummary: Schema.NullOr(Text),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type AuditEntry = typeof AuditEntry.Type

/**
 * Which entries; what is left out does not matter.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuditFilter {
  readonly tool?: string
  readonly caller?: string
  readonly allowed?: boolean
}

const record = {
  tool: Key,
  caller: Key,
  level: Key,
  allowed: Schema.Boolean,
  argumentSummary: optional(Text),
  resultSummary: optional(Text)
}

/**
 * Adds an entry and succeeds with its id. Of a longer summary the first 1,000 characters are kept.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordAudit = operation("AuditLog.record", { payload: record, success: Id })

/**
 * Adds entries in their order, all or none, and succeeds with their ids.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordAudits = operation("AuditLog.recordAll", {
  payload: { entries: Schema.NonEmptyArray(Schema.Struct(record)) },
  success: Schema.Array(Id)
})

/**
 * Deletes the entries made before a time, or the oldest `limit` of them; succeeds with how many went. One write deletes
 * them all, and who shares the file waits for it: a log of millions is better pruned with a limit, until fewer go.
 *
 * @since 0.1.0
 * @category operations
 */
export const PruneAudit = operation("AuditLog.prune", {
  payload: { before: Timestamp, limit: optional(Schema.Int.pipe(Schema.positive())) },
  success: Count
})

/**
 * The log of all callers, for administration: an entry is never changed, and stays until it is pruned, as `db-hub mcp`
 * does after 90 days.
 *
 * @since 0.1.0
 * @category tags
 */
export class AuditLog extends Context.Tag("effect-db-hub/AuditLog")<
  AuditLog,
  {
    readonly record: Submit<typeof RecordAudit>
    readonly recordAll: Submit<typeof RecordAudits>
    readonly prune: Submit<typeof PruneAudit>
    /** Newest first, 50 by default; `before` takes the `seq` of the last one seen. */
    readonly recent: (
      options?: AuditFilter & { readonly limit?: number; readonly before?: number }
    ) => Effect.Effect<ReadonlyArray<AuditEntry>, DbError>
    /** How many entries match the filter. */
    readonly count: (filter?: AuditFilter) => Effect.Effect<number, DbError>
  }
>() {}
