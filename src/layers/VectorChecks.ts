/**
 * What every engine's vector store checks before it writes.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type ErrorContext, type InvalidInput, invalidInput, MigrationError } from "../errors/index.js"
import { Records } from "../vector/index.js"

/** Records checked between two pauses. */
const stretch = 64

/**
 * Checks all records of one call; an id that occurs twice is `InvalidInput`, since which of the two counts is anybody's
 * guess.
 *
 * @since 0.1.0
 * @category validation
 */
export const records = (
  input: ReadonlyArray<unknown>,
  fieldOf: (i: number) => string,
  collection: Parameters<typeof Records.checkRecord>[2],
  at: ErrorContext,
  pause: Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const checked: Array<Records.CheckedRecord> = []
    const positions = new Map<string, number>()
    for (let i = 0; i < input.length; i++) {
      const record = yield* Records.checkRecord(input[i], fieldOf(i), collection, at)
      const earlier = positions.get(record.id)
      if (earlier !== undefined) {
        const repeated: InvalidInput = invalidInput(
          at,
          `${fieldOf(i)}.id`,
          `repeats that of ${fieldOf(earlier)}`,
          "each id once"
        )
        return yield* repeated
      }
      positions.set(record.id, i)
      checked.push(record)
      if (i % stretch === stretch - 1) yield* pause
    }
    return checked
  })

/**
 * @since 0.1.0
 * @category errors
 */
export const notMigrated = (at: ErrorContext): MigrationError =>
  new MigrationError({
    ...at,
    reason: "not-migrated",
    message: "The tables of the vector store do not exist yet: run the migrations (`db-hub migrate`)"
  })
