/**
 * What the tables of engines' codes are written in.
 *
 * @since 0.1.0
 */
import { DbConflict, DbConstraint, type DbError, type ErrorContext } from "./DbError.js"

/**
 * What an entry of a table builds an error from: where it happened, the engine's code, and its message made safe.
 *
 * @since 0.1.0
 * @category models
 */
export interface Refusal extends ErrorContext {
  readonly code: string
  readonly message: string
  /** The constraint or the columns that the engine's message names. */
  readonly constraint?: string
}

type Make = (refusal: Refusal) => DbError

/**
 * The engine's message, and what to do about it.
 *
 * @since 0.1.0
 * @category entries
 */
export const says =
  (make: new (refusal: Refusal) => DbError, advice: string): Make =>
  (refusal) =>
    new make({ ...refusal, message: `${refusal.message}; ${advice}` })

/**
 * @since 0.1.0
 * @category entries
 */
export const conflict =
  (reason: DbConflict["reason"], advice: string, retryable: boolean): Make =>
  (refusal) =>
    new DbConflict({ ...refusal, reason, retryable, message: `${refusal.message}; ${advice}` })

/**
 * @since 0.1.0
 * @category entries
 */
export const constraint =
  (reason: DbConstraint["reason"], advice: string): Make =>
  (refusal) =>
    new DbConstraint({ ...refusal, reason, message: `${refusal.message}; ${advice}` })
