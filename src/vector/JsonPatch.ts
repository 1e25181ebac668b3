/**
 * The two ways in which stored JSON is changed in part, the same on every engine, null included.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type ErrorContext, type InvalidInput, invalidInput } from "../errors/index.js"
import { isPlainObject, type JsonObject, type JsonValue, parseJsonObject } from "./Json.js"

const isObject = (value: JsonValue | undefined): value is JsonObject => isPlainObject(value)

/** Of own properties only: keys such as `constructor` are absent until somebody sets them. */
const own = (target: JsonObject, key: string): JsonValue | undefined =>
  Object.hasOwn(target, key) ? target[key] : undefined

const put = (target: JsonObject, [key, ...rest]: ReadonlyArray<string>, value: JsonValue): JsonObject | undefined => {
  if (key === undefined) return undefined
  if (rest.length === 0) return { ...target, [key]: value }
  const inner = own(target, key) ?? (Object.hasOwn(target, key) ? null : {})
  const changed = isObject(inner) ? put(inner, rest, value) : undefined
  return changed === undefined ? undefined : { ...target, [key]: changed }
}

/**
 * Replaces what is at one path (keys, outermost first) by a value, null like any other, and touches nothing else.
 * Objects that are missing on the way are made; anything else on the way is refused, since it would be lost.
 *
 * @since 0.1.0
 * @category editing
 */
export const setField = (
  target: JsonObject,
  path: ReadonlyArray<string>,
  value: JsonValue,
  origin: ErrorContext
): Either.Either<JsonObject, InvalidInput> => {
  const changed = put(target, path, value)
  return changed === undefined
    ? Either.left(
        invalidInput(origin, "path", "does not lead through objects", "at least one key; objects all the way")
      )
    : parseJsonObject(changed, "value", origin)
}

/**
 * JSON Merge Patch (RFC 7396): objects merge key by key and deeply, null takes a key away, everything else replaces.
 *
 * @since 0.1.0
 * @category editing
 */
export const merge = (target: JsonValue, patch: JsonValue): JsonValue => {
  if (!isObject(patch)) return patch
  return mergeObject(isObject(target) ? target : {}, patch)
}

/**
 * `merge` of an object by an object, which is an object.
 *
 * @since 0.1.0
 * @category editing
 */
export const mergeObject = (target: JsonObject, patch: JsonObject): JsonObject => {
  const merged = new Map(Object.entries(target))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, merge(own(target, key) ?? null, value))
  }
  return Object.fromEntries(merged)
}
