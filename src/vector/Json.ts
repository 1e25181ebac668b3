/**
 * JSON values as the hub stores them.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type ErrorContext, type InvalidInput, invalidInput } from "../errors/index.js"

/**
 * @since 0.1.0
 * @category models
 */
export type JsonScalar = string | number | boolean | null

/**
 * @since 0.1.0
 * @category models
 */
export type JsonValue = JsonScalar | ReadonlyArray<JsonValue> | JsonObject

/**
 * What metadata may be: a plain object of JSON values. Numbers are finite; strings and keys are well-formed Unicode
 * without U+0000, which not every engine can store; at most 32 levels deep.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonObject = { readonly [key: string]: JsonValue }

/**
 * Levels that metadata and filters may nest.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxDepth = 32

/**
 * Plain objects of any realm: nothing but `Object.prototype` or null above them.
 *
 * @since 0.1.0
 * @category guards
 */
export const isPlainObject = (u: unknown): u is { readonly [key: string]: unknown } => {
  if (typeof u !== "object" || u === null || Array.isArray(u)) return false
  const prototype: unknown = Object.getPrototypeOf(u)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/**
 * Whether every engine stores the string and gives the same one back.
 *
 * @since 0.1.0
 * @category guards
 */
export const isStorableText = (text: string): boolean => !text.includes("\u0000") && text.isWellFormed()

const check = (value: unknown, field: string, depth: number, origin: ErrorContext): InvalidInput | undefined => {
  if (value === null || typeof value === "boolean") return undefined
  if (typeof value === "string") {
    return isStorableText(value)
      ? undefined
      : invalidInput(origin, field, "cannot be stored as text", "well-formed Unicode without U+0000")
  }
  if (typeof value === "number") {
    return Number.isFinite(value) ? undefined : invalidInput(origin, field, "is not finite", "finite numbers")
  }
  if (depth >= maxDepth) return invalidInput(origin, field, "is nested too deeply", `at most ${maxDepth} levels`)
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const problem = check(value[i], `${field}[${i}]`, depth + 1, origin)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  if (isPlainObject(value)) {
    for (const key of Object.keys(value)) {
      if (!isStorableText(key)) {
        return invalidInput(origin, field, "has a key that cannot be stored", "well-formed Unicode without U+0000")
      }
      const problem = check(value[key], `${field}.${key}`, depth + 1, origin)
      if (problem !== undefined) return problem
    }
    return undefined
  }
  return invalidInput(
    origin,
    field,
    `is ${value === undefined ? "undefined" : `a ${typeof value} that is not JSON`}`,
    "strings, finite numbers, booleans, null, arrays and plain objects"
  )
}

/**
 * Accepts an object that JSON can carry without loss; `InvalidInput` names the field that it cannot.
 *
 * @since 0.1.0
 * @category validation
 */
export const parseJsonObject = (
  input: unknown,
  field: string,
  origin: ErrorContext = { operation: "parseJsonObject", backend: "primary" }
): Either.Either<JsonObject, InvalidInput> => {
  if (!isPlainObject(input)) return Either.left(invalidInput(origin, field, "is not an object", "a plain object"))
  const problem = check(input, field, 0, origin)
  return problem === undefined ? Either.right(input as JsonObject) : Either.left(problem)
}
