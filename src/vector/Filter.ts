/**
 * Filters over metadata: one small language with one meaning, whatever engine evaluates it.
 *
 * A filter is an object. Each key is a path such as `"author.name"` (through objects only; a key that itself holds a dot
 * cannot be reached) and each value a scalar, short for `$eq`, or an object of operators which must all hold. `{}`
 * matches everything.
 *
 * - `$eq` takes a string, a finite number, a boolean or null, and is strict: `1`, `"1"` and `true` differ. Null matches
 *   null and a missing path. An array or object equals no scalar.
 * - `$ne`, `$nin`, `$not` are the exact complement of `$eq`, `$in` and what they hold, so they match missing paths too.
 * - `$gt $gte $lt $lte` compare numbers with numbers, and strings with strings by code point; across types they do not
 *   hold.
 * - `$in` takes a list of scalars; an empty one matches nothing.
 * - `$exists` is whether the path is there, with null as with any other value.
 * - `$contains` holds for an array with that scalar among its elements, or a string with that substring (case-sensitive).
 * - `$and` and `$or` take lists of at least one filter, `$not` takes a filter or, under a path, operators.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type ErrorContext, type InvalidInput, invalidInput } from "../errors/index.js"
import { compareCodePoints } from "./CodePoint.js"
import { isPlainObject, isStorableText, type JsonObject, type JsonScalar, maxDepth } from "./Json.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface FieldOperators {
  readonly $eq?: JsonScalar
  readonly $ne?: JsonScalar
  readonly $gt?: string | number
  readonly $gte?: string | number
  readonly $lt?: string | number
  readonly $lte?: string | number
  readonly $in?: ReadonlyArray<JsonScalar>
  readonly $nin?: ReadonlyArray<JsonScalar>
  readonly $exists?: boolean
  readonly $contains?: JsonScalar
  readonly $not?: FieldOperators
}

/**
 * A filter as written. The types catch most mistakes; `parse` catches all.
 *
 * @since 0.1.0
 * @category models
 */
export interface FilterInput {
  readonly $and?: ReadonlyArray<FilterInput>
  readonly $or?: ReadonlyArray<FilterInput>
  readonly $not?: FilterInput
  readonly [path: string]: JsonScalar | FieldOperators | FilterInput | ReadonlyArray<FilterInput>
}

/**
 * The keys that lead to a value, outermost first; at least one.
 *
 * @since 0.1.0
 * @category models
 */
export type Path = ReadonlyArray<string>

/**
 * A filter as engines compile it. `And` of nothing holds always.
 *
 * @since 0.1.0
 * @category models
 */
export type Filter =
  | { readonly _tag: "And"; readonly filters: ReadonlyArray<Filter> }
  | { readonly _tag: "Or"; readonly filters: ReadonlyArray<Filter> }
  | { readonly _tag: "Not"; readonly filter: Filter }
  | { readonly _tag: "Equals"; readonly path: Path; readonly value: JsonScalar }
  | { readonly _tag: "In"; readonly path: Path; readonly values: ReadonlyArray<JsonScalar> }
  | { readonly _tag: "Compare"; readonly path: Path; readonly operator: Comparison; readonly value: string | number }
  | { readonly _tag: "Exists"; readonly path: Path }
  | { readonly _tag: "Contains"; readonly path: Path; readonly value: JsonScalar }

/**
 * @since 0.1.0
 * @category models
 */
export type Comparison = "gt" | "gte" | "lt" | "lte"

/**
 * The filter that matches everything.
 *
 * @since 0.1.0
 * @category models
 */
export const everything: Filter = { _tag: "And", filters: [] }

const maxConditions = 1000

const fieldOperators = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains, $not"
const scalarAllowed = "a string of well-formed Unicode without U+0000, a finite number, a boolean or null"

type Parsed<A = Filter> = Either.Either<A, InvalidInput>

const not = (filter: Filter): Filter => ({ _tag: "Not", filter })

const isScalar = (u: unknown): u is JsonScalar =>
  u === null ||
  typeof u === "boolean" ||
  (typeof u === "number" && Number.isFinite(u)) ||
  (typeof u === "string" && isStorableText(u))

/**
 * Reads a filter. Fails with `InvalidInput`, which names the field and what is allowed there, on an unknown operator, an
 * operand of a wrong type (also `undefined`), an empty path, more than 32 levels or more than 1000 conditions.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parse = (
  input: unknown,
  origin: ErrorContext = { operation: "Filter.parse", backend: "primary" }
): Parsed => {
  let conditions = 0

  const fail = (field: string, problem: string, allowed: string): Parsed<never> =>
    Either.left(invalidInput(origin, field, problem, allowed))

  const object = (value: unknown, field: string, depth: number, allowed: string) =>
    depth > maxDepth
      ? fail(field, "is nested too deeply", `at most ${maxDepth} levels`)
      : isPlainObject(value)
        ? Either.right(Object.entries(value))
        : fail(field, "is not an object", allowed)

  const scalar = (value: unknown, field: string): Parsed<JsonScalar> =>
    isScalar(value) ? Either.right(value) : fail(field, "is not a scalar", scalarAllowed)

  const scalars = (value: unknown, field: string): Parsed<ReadonlyArray<JsonScalar>> =>
    Array.isArray(value)
      ? Either.all(Array.from(value, (item, i) => scalar(item, `${field}[${i}]`)))
      : fail(field, "is not a list", "a list of scalars")

  const comparison = (path: Path, operator: Comparison, value: unknown, field: string): Parsed =>
    (typeof value === "string" || typeof value === "number") && isScalar(value)
      ? Either.right({ _tag: "Compare", path, operator, value })
      : fail(field, "cannot be compared", "a finite number, or a string of well-formed Unicode without U+0000")

  const operator = (path: Path, name: string, value: unknown, field: string, depth: number): Parsed => {
    if (++conditions > maxConditions) return fail("filter", "is too large", `at most ${maxConditions} conditions`)
    switch (name) {
      case "$eq":
      case "$ne":
        return Either.map(scalar(value, field), (value) => {
          const equals: Filter = { _tag: "Equals", path, value }
          return name === "$eq" ? equals : not(equals)
        })
      case "$in":
      case "$nin":
        return Either.map(scalars(value, field), (values) => {
          const within: Filter = { _tag: "In", path, values }
          return name === "$in" ? within : not(within)
        })
      case "$gt":
        return comparison(path, "gt", value, field)
      case "$gte":
        return comparison(path, "gte", value, field)
      case "$lt":
        return comparison(path, "lt", value, field)
      case "$lte":
        return comparison(path, "lte", value, field)
      case "$contains":
        return Either.map(scalar(value, field), (value): Filter => ({ _tag: "Contains", path, value }))
      case "$exists": {
        if (typeof value !== "boolean") return fail(field, "is not a boolean", "true or false")
        const exists: Filter = { _tag: "Exists", path }
        return Either.right(value ? exists : not(exists))
      }
      case "$not":
        return Either.map(operators(path, value, field, depth + 1), not)
      default:
        return fail(field, "is not an operator", fieldOperators)
    }
  }

  const operators = (path: Path, value: unknown, field: string, depth: number): Parsed => {
    const allowed = `an object of the operators ${fieldOperators}`
    return Either.flatMap(object(value, field, depth, allowed), (entries) =>
      entries.length === 0
        ? fail(field, "has no operator", allowed)
        : all(entries.map(([name, operand]) => operator(path, name, operand, `${field}.${name}`, depth)))
    )
  }

  const condition = (key: string, value: unknown, field: string, depth: number): Parsed => {
    const path = key.split(".")
    if (key.startsWith("$")) return fail(field, "is not an operator", "paths, $and, $or and $not")
    if (path.includes("") || path.length > maxDepth || !isStorableText(key)) {
      return fail(field, "is not a path", `1 to ${maxDepth} keys joined by dots, none of them empty`)
    }
    return isPlainObject(value) ? operators(path, value, field, depth + 1) : operator(path, "$eq", value, field, depth)
  }

  const list = (value: unknown, field: string, depth: number): Parsed<ReadonlyArray<Filter>> =>
    Array.isArray(value) && value.length > 0
      ? Either.all(Array.from(value, (item, i) => filter(item, `${field}[${i}]`, depth + 1)))
      : fail(field, "is not a list of filters", "a list of at least one filter")

  const filter = (value: unknown, field: string, depth: number): Parsed =>
    Either.flatMap(object(value, field, depth, "an object of paths and operators"), (entries) =>
      all(
        entries.map(([key, operand]) => {
          const at = `${field}.${key}`
          switch (key) {
            case "$and":
              return Either.flatMap(list(operand, at, depth), (filters) => all(filters.map(Either.right)))
            case "$or":
              return Either.map(list(operand, at, depth), (filters): Filter => ({ _tag: "Or", filters }))
            case "$not":
              return Either.map(filter(operand, at, depth + 1), not)
            default:
              return condition(key, operand, at, depth)
          }
        })
      )
    )

  return filter(input, "filter", 0)
}

const all = (filters: ReadonlyArray<Parsed>): Parsed =>
  Either.map(Either.all(filters), (filters) => (filters.length === 1 ? filters[0]! : { _tag: "And", filters }))

const lookup = (metadata: JsonObject, path: Path): unknown => {
  let value: unknown = metadata
  for (const key of path) {
    if (!isPlainObject(value) || !Object.hasOwn(value, key)) return undefined
    value = value[key]
  }
  return value
}

const holds: { readonly [C in Comparison]: (order: number) => boolean } = {
  gt: (order) => order > 0,
  gte: (order) => order >= 0,
  lt: (order) => order < 0,
  lte: (order) => order <= 0
}

const order = (a: unknown, b: string | number): number | undefined =>
  typeof a === "number" && typeof b === "number"
    ? a - b
    : typeof a === "string" && typeof b === "string"
      ? compareCodePoints(a, b)
      : undefined

/**
 * The filter as a predicate over metadata.
 *
 * @since 0.1.0
 * @category evaluation
 */
export const matches = (filter: Filter): ((metadata: JsonObject) => boolean) => {
  switch (filter._tag) {
    case "And": {
      const parts = filter.filters.map(matches)
      return (metadata) => parts.every((part) => part(metadata))
    }
    case "Or": {
      const parts = filter.filters.map(matches)
      return (metadata) => parts.some((part) => part(metadata))
    }
    case "Not": {
      const part = matches(filter.filter)
      return (metadata) => !part(metadata)
    }
    case "Equals":
      return (metadata) => (lookup(metadata, filter.path) ?? null) === filter.value
    case "In": {
      const values = new Set<unknown>(filter.values)
      return (metadata) => values.has(lookup(metadata, filter.path) ?? null)
    }
    case "Compare": {
      const hold = holds[filter.operator]
      return (metadata) => {
        const found = order(lookup(metadata, filter.path), filter.value)
        return found !== undefined && hold(found)
      }
    }
    case "Exists":
      return (metadata) => lookup(metadata, filter.path) !== undefined
    case "Contains":
      return (metadata) => {
        const value = lookup(metadata, filter.path)
        return typeof value === "string"
          ? typeof filter.value === "string" && value.includes(filter.value)
          : Array.isArray(value) && value.includes(filter.value)
      }
  }
}
