/**
 * Values as JSON text, only where that says the same.
 *
 * @since 0.1.0
 */

/** What `JSON.stringify` would turn into null, or into an empty object, without a word. */
const isLost = (value: unknown, inArray: boolean): boolean => {
  switch (typeof value) {
    case "number":
      return !Number.isFinite(value)
    case "undefined":
      // As a property it is as good as absent.
      return inArray
    case "function":
    case "symbol":
      return true
    case "object": {
      if (value === null || Array.isArray(value)) return false
      const prototype: unknown = Object.getPrototypeOf(value)
      return prototype !== null && prototype !== Object.prototype
    }
    default:
      return false
  }
}

/**
 * A value as JSON text, or undefined if its JSON would say something else: NaN, infinities, Maps, Sets, bytes, other
 * class instances without a `toJSON`, bigints, cycles. Dates become ISO 8601 text.
 *
 * @since 0.1.0
 * @category encoding
 */
export const jsonText = (value: unknown): string | undefined => {
  let lost = false
  try {
    const text = JSON.stringify(value, function (this: unknown, _key, inner: unknown) {
      if (isLost(inner, Array.isArray(this))) lost = true
      return inner
    })
    return lost ? undefined : text
  } catch (_cycleOrBigint) {
    return undefined
  }
}
