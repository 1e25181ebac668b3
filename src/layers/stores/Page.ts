/**
 * Lists that are read page by page.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { Row, SqlValue } from "../../services/Backend.js"

/** The most that one page holds. */
const maxLimit = 1000

/**
 * The size of a page, checked.
 *
 * @since 0.1.0
 * @category validation
 */
export const limit = (
  wanted: number | undefined,
  standard: number,
  at: ErrorContext
): Effect.Effect<number, InvalidInput> =>
  wanted === undefined
    ? Effect.succeed(standard)
    : Number.isInteger(wanted) && wanted >= 1 && wanted <= maxLimit
      ? Effect.succeed(wanted)
      : Effect.fail(invalidInput(at, "limit", "is out of range", `a whole number from 1 to ${maxLimit}`))

/**
 * A place in a list that is ordered by an instant, then by id.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  /** As the engine has it: what others wrote may be finer than a `Date`, and rows would be missed or met twice. */
  readonly at: string
  readonly id: string
}

const instant = /^([+-]\d{6}|\d{4,6})-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d(:\d\d)?)?$/

/**
 * The place that a cursor stands for.
 *
 * @since 0.1.0
 * @category cursors
 */
export const parseCursor = (
  text: string | undefined,
  at: ErrorContext
): Effect.Effect<Place | undefined, InvalidInput> => {
  if (text === undefined) return Effect.succeed(undefined)
  const [, time, id] = /^([^|]+)\|(.+)$/s.exec(text) ?? []
  return time === undefined || id === undefined || !instant.test(time)
    ? Effect.fail(invalidInput(at, "cursor", "is no place in the list", "the cursor of the page before"))
    : Effect.succeed({ at: time, id })
}

/**
 * A condition and what stands for its placeholders.
 *
 * @since 0.1.0
 * @category models
 */
export type Condition = readonly [sql: string, ...params: ReadonlyArray<SqlValue>]

/**
 * Several conditions as one.
 *
 * @since 0.1.0
 * @category combinators
 */
export const all = (
  conditions: ReadonlyArray<Condition>
): { readonly where: string; readonly params: ReadonlyArray<SqlValue> } => ({
  where: conditions.map(([sql]) => sql).join(" AND "),
  params: conditions.flatMap(([, ...params]) => params)
})

/**
 * What comes after a place, of rows that are ordered by a column and id, the newest first; an index serves it as it is.
 *
 * @since 0.1.0
 * @category cursors
 */
export const older = (column: string, { at, id }: Place): Condition => [
  `${column} <= ? AND (${column} < ? OR id < ?)`,
  at,
  at,
  id
]

/**
 * The rows of a query for one more than fit on the page, each with its `place`, as the page and the cursor of the next
 * one (null: no more).
 *
 * @since 0.1.0
 * @category constructors
 */
export const of = (
  rows: ReadonlyArray<Row>,
  limit: number
): { readonly items: ReadonlyArray<Row>; readonly cursor: string | null } => {
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return { items, cursor: last === undefined || rows.length <= limit ? null : `${last["place"]}|${last["id"]}` }
}
