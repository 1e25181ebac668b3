/**
 * Sums that are kept with what they are the sums of: a row may hold no more than its model can read.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import * as Decimals from "../../services/Decimals.js"
import { Cost } from "../../services/Model.js"

const isCost = Schema.is(Cost)

const tooLarge = (at: ErrorContext, field: string) =>
  Effect.fail(invalidInput(at, field, "makes the total too large", "a smaller one"))

/**
 * A whole number and what is added to it.
 *
 * @since 0.1.0
 * @category sums
 */
export const count = (
  at: ErrorContext,
  field: string,
  before: number,
  ...added: ReadonlyArray<number>
): Effect.Effect<number, InvalidInput> => {
  const total = added.reduce((sum, each) => sum + each, before)
  return Number.isSafeInteger(total) ? Effect.succeed(total) : tooLarge(at, field)
}

/**
 * A cost and what is added to it, exactly.
 *
 * @since 0.1.0
 * @category sums
 */
export const cost = (
  at: ErrorContext,
  before: string,
  ...added: ReadonlyArray<string>
): Effect.Effect<string, InvalidInput> => {
  const total = added.reduce(Decimals.sum, before)
  return isCost(total) ? Effect.succeed(total) : tooLarge(at, "cost")
}
