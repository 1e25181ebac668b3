/**
 * Changes of JSON values: the same on every engine, since no engine makes them.
 *
 * @since 0.1.0
 */
import { isPlainObject, type JsonObject, type JsonValue } from "./Json.js"

/** A spread or an assignment would take a key `__proto__` for the prototype; this keeps it a key. */
const withEntry = (object: JsonObject, key: string, value: JsonValue): JsonObject =>
  Object.fromEntries([...Object.entries(object), [key, value]])

const objectOr = (value: JsonValue | undefined): JsonObject => (isPlainObject(value) ? (value as JsonObject) : {})

/**
 * The object with exactly one path replaced, null included. Objects on the way that are missing, or are no objects, are
 * made. An empty path changes nothing.
 *
 * @since 0.1.0
 * @category editing
 */
export const setField = (object: JsonObject, path: ReadonlyArray<string>, value: JsonValue): JsonObject => {
  const [key, ...rest] = path
  if (key === undefined) return object
  if (rest.length === 0) return withEntry(object, key, value)
  const inner = Object.hasOwn(object, key) ? object[key] : undefined
  return withEntry(object, key, setField(objectOr(inner), rest, value))
}

/**
 * JSON Merge Patch, RFC 7396: objects are merged, null takes a key away, anything else replaces.
 *
 * @since 0.1.0
 * @category editing
 */
export const merge = (target: JsonObject, patch: JsonObject): JsonObject => {
  const merged = new Map(Object.entries(target))
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key)
    else merged.set(key, isPlainObject(value) ? merge(objectOr(merged.get(key)), value as JsonObject) : value)
  }
  return Object.fromEntries(merged)
}
