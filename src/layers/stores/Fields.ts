/**
 * The fields of a payload on their way into a row.
 *
 * @since 0.1.0
 */
import { Json, type SqlValue } from "../../services/Backend.js"
import type { Fields } from "./Table.js"

/**
 * Fields of which some may be left out: undefined is none, null is a value.
 *
 * @since 0.1.0
 * @category models
 */
export type Optional = Readonly<Record<string, SqlValue | undefined>>

/**
 * Those that have a value.
 *
 * @since 0.1.0
 * @category constructors
 */
export const given = (fields: Optional): Fields =>
  Object.fromEntries(Object.entries(fields).filter((field): field is [string, SqlValue] => field[1] !== undefined))

/**
 * A JSON value for a column that may be null: JSON's null is NULL.
 *
 * @since 0.1.0
 * @category constructors
 */
export const json = (value: unknown): SqlValue | undefined =>
  value === undefined ? undefined : value === null ? null : new Json(value)
