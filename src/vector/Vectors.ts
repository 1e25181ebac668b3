/**
 * Vectors as they come in and as they are stored.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { DimensionMismatch, type ErrorContext, type InvalidInput, invalidInput } from "../errors/index.js"
import type { Metric } from "./Distance.js"

/**
 * Takes a vector into 32-bit floats, always as a copy. Fails with `DimensionMismatch`, or with `InvalidInput` for a
 * component that is not a finite 32-bit float, and for a zero vector under cosine, which has no direction.
 *
 * @since 0.1.0
 * @category validation
 */
export const parseVector = (
  input: unknown,
  field: string,
  collection: { readonly name: string; readonly dimension: number; readonly metric: Metric },
  origin: ErrorContext = { operation: "parseVector", backend: "primary" }
): Either.Either<Float32Array, InvalidInput | DimensionMismatch> => {
  const fail = (problem: string, allowed: string) => Either.left(invalidInput(origin, field, problem, allowed))
  if (!(input instanceof Float32Array) && !Array.isArray(input)) {
    return fail("is not a vector", "a Float32Array or an array of numbers")
  }
  if (input.length !== collection.dimension) {
    return Either.left(
      new DimensionMismatch({
        ...origin,
        collection: collection.name,
        expected: collection.dimension,
        actual: input.length,
        message: `${field} has ${input.length} dimensions, the collection has ${collection.dimension}; embed with the model that the collection was made for`
      })
    )
  }
  const numbers: ArrayLike<unknown> = input
  const vector = new Float32Array(input.length)
  let zero = true
  for (let i = 0; i < vector.length; i++) {
    const component = numbers[i]
    if (typeof component !== "number") return fail(`has a component ${i} that is not a number`, "numbers")
    const rounded = Math.fround(component)
    if (!Number.isFinite(rounded)) return fail(`has a component ${i} out of range`, "finite 32-bit floats")
    if (rounded !== 0) zero = false
    vector[i] = rounded
  }
  return zero && collection.metric === "cosine"
    ? fail("is a zero vector, which has no direction", "under cosine, a vector with a component other than 0")
    : Either.right(vector)
}

const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

const swapped = (bytes: Uint8Array): Uint8Array => {
  const copy = bytes.slice()
  for (let i = 0; i < copy.length; i += 4) copy.subarray(i, i + 4).reverse()
  return copy
}

/**
 * Little-endian 32-bit floats. On a little-endian machine the bytes share the vector's memory.
 *
 * @since 0.1.0
 * @category codecs
 */
export const toBytes = (vector: Float32Array): Uint8Array => {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)
  return littleEndian ? bytes : swapped(bytes)
}

/**
 * The numbers in the bytes, finite or not; undefined if there are not so many.
 *
 * @since 0.1.0
 * @category codecs
 */
export const floatsOf = (stored: Uint8Array, dimension: number): Float32Array | undefined => {
  if (stored.byteLength !== 4 * dimension) return undefined
  const bytes = littleEndian ? stored : swapped(stored)
  return bytes.byteOffset % 4 === 0
    ? new Float32Array(bytes.buffer, bytes.byteOffset, dimension)
    : new Float32Array(Uint8Array.from(bytes).buffer)
}

/**
 * The vector in the bytes, or undefined if they are no vector of that dimension with finite components.
 *
 * @since 0.1.0
 * @category codecs
 */
export const fromBytes = (stored: Uint8Array, dimension: number): Float32Array | undefined => {
  const vector = floatsOf(stored, dimension)
  if (vector === undefined) return undefined
  // One non-finite component makes the sum so; finite 32-bit floats cannot add up to an infinite 64-bit one.
  let sum = 0
  for (let i = 0; i < dimension; i++) sum += Math.abs(vector[i]!)
  return Number.isFinite(sum) ? vector : undefined
}
