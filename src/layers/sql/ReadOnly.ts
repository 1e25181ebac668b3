/**
 * What the doors that only read have in common: how many rows they give.
 *
 * @since 0.1.0
 */
import { type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { ReadOnlyResult } from "../../services/Backend.js"
import { distinct } from "./SqlTemplates.js"

/** With one more, which tells that there are others, the most that engines count to. */
const mostRows = 2 ** 31 - 2

/**
 * Why so many rows cannot be asked for, if they cannot.
 *
 * @since 0.1.0
 * @category checks
 */
export const refusedRows = (maxRows: number, at: ErrorContext): InvalidInput | undefined =>
  Number.isInteger(maxRows) && maxRows >= 1 && maxRows <= mostRows
    ? undefined
    : invalidInput(at, "maxRows", "is no row count", `a whole number from 1 to ${mostRows}`)

/**
 * The answer made of up to one row more than were asked for.
 *
 * @since 0.1.0
 * @category constructors
 */
export const resultOf = (
  columns: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<unknown>>,
  maxRows: number
): ReadOnlyResult => ({
  columns: distinct(columns),
  rows: rows.slice(0, maxRows),
  truncated: rows.length > maxRows
})
