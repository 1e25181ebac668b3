/**
 * Which tools fail, for a process that repairs them. Tools belong to the installation, not to a user.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, JsonValue, Key, optional, type Readable, Text, Timestamp } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * A tool that failed, how often, and what was tried to repair it.
 *
 * @since 0.1.0
 * @category models
 */
export const ToolFailure = Schema.Struct({
  tool: Key,
  /** What the last failure said. */
  errorMessage: Text,
  /** Failures since the tool first failed, or since its last repair. */
  errorCount: Count,
  firstFailure: Timestamp,
  lastFailure: Timestamp,
  /** Null while the tool is not repaired. */
  repairedAt: Schema.NullOr(Timestamp),
  /** Attempts to repair this breakage. */
  repairAttempts: Count,
  /** What the last attempt left, if it said so. */
  lastBuildResult: Schema.NullOr(JsonValue)
})

/**
 * @since 0.1.0
 * @category models
 */
export type ToolFailure = typeof ToolFailure.Type

/**
 * Counts a failure. A tool that was repaired begins a new breakage: its count is 1, its repair attempts are 0.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordToolFailure = operation("ToolFailureStore.record", {
  payload: { tool: Key, error: Text }
})

/**
 * The tool works again; `NotFound` if it never failed.
 *
 * @since 0.1.0
 * @category operations
 */
export const MarkToolRepaired = operation("ToolFailureStore.markRepaired", { payload: { tool: Key } })

/**
 * Counts an attempt to repair the tool, and keeps the attempt's result if there is one; `NotFound` if it never failed.
 *
 * @since 0.1.0
 * @category operations
 */
export const IncrementRepairAttempts = operation("ToolFailureStore.incrementRepairAttempts", {
  payload: { tool: Key, buildResult: optional(JsonValue) }
})

/**
 * A tool that never failed is `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class ToolFailureStore extends Context.Tag("effect-db-hub/ToolFailureStore")<
  ToolFailureStore,
  {
    readonly record: Submit<typeof RecordToolFailure>
    readonly markRepaired: Submit<typeof MarkToolRepaired>
    readonly incrementRepairAttempts: Submit<typeof IncrementRepairAttempts>
    /** Tools that failed at least `threshold` times and are not repaired, the most broken first. */
    readonly broken: (threshold: number) => Effect.Effect<Readable<ToolFailure>, DbError>
    /** `NotFound` if the tool never failed. */
    readonly get: (tool: string) => Effect.Effect<ToolFailure, DbError>
  }
>() {}
