/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import {
  IncrementRepairAttempts,
  MarkToolRepaired,
  RecordToolFailure,
  ToolFailure,
  ToolFailureStore
} from "../../services/ToolFailureStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<ToolFailureStore, never, Backend | WriteChannel> = Layer.effect(
  ToolFailureStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const failures = Table.make(backend, "db_hub_tool_failures", ToolFailure, { key: ["tool"] })

    const orNotFound = (operation: string) => Rows.orNotFound(backend.name, operation, "tool failure")

    /** Changes the row of a tool in one statement, or fails with `NotFound`. */
    const change = (operation: string, tool: string, assignments: string, values: ReadonlyArray<SqlValue>) =>
      Effect.flatMap(
        backend.execute(`UPDATE db_hub_tool_failures SET ${assignments} WHERE tool = ?`, [...values, tool]),
        ({ rowsAffected }) => orNotFound(operation)(rowsAffected === 1 ? { result: undefined, ids: [tool] } : undefined)
      )

    return {
      record: channel.handle(RecordToolFailure, ({ error, tool }) =>
        Effect.gen(function* () {
          const now = yield* Fresh.now
          yield* failures.insertIfAbsent(
            { tool, errorMessage: error, errorCount: 0, firstFailure: now, lastFailure: now, repairAttempts: 0 },
            ["tool"]
          )
          // `repaired_at` comes last: an engine may see the new values of the assignments before it.
          return yield* change(
            RecordToolFailure._tag,
            tool,
            `error_message = ?, last_failure = ?,
             error_count = CASE WHEN repaired_at IS NULL THEN error_count + 1 ELSE 1 END,
             first_failure = CASE WHEN repaired_at IS NULL THEN first_failure ELSE ? END,
             repair_attempts = CASE WHEN repaired_at IS NULL THEN repair_attempts ELSE 0 END,
             repaired_at = NULL`,
            [error, now, now]
          )
        })
      ),
      markRepaired: channel.handle(MarkToolRepaired, ({ tool }) =>
        Effect.flatMap(Fresh.now, (now) =>
          change(MarkToolRepaired._tag, tool, "repaired_at = ?, error_count = 0", [now])
        )
      ),
      incrementRepairAttempts: channel.handle(IncrementRepairAttempts, ({ tool, ...rest }) =>
        "buildResult" in rest
          ? change(IncrementRepairAttempts._tag, tool, "repair_attempts = repair_attempts + 1, last_build_result = ?", [
              new Json(rest.buildResult)
            ])
          : change(IncrementRepairAttempts._tag, tool, "repair_attempts = repair_attempts + 1", [])
      ),
      broken: (threshold) =>
        failures.readable("WHERE repaired_at IS NULL AND error_count >= ? ORDER BY error_count DESC, tool", [
          threshold
        ]),
      get: (tool) => Effect.flatMap(failures.first("WHERE tool = ?", [tool]), orNotFound("ToolFailureStore.get"))
    }
  })
)
