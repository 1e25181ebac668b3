/**
 * What a vector store accepts: the same names, ids, records and options on every engine.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import { type DimensionMismatch, type ErrorContext, type InvalidInput, invalidInput } from "../errors/index.js"
import type { Metric } from "./Distance.js"
import * as Filter from "./Filter.js"
import { isStorableText, parseJsonObject } from "./Json.js"
import { parseVector } from "./Vectors.js"

export { parseVector }

/**
 * @since 0.1.0
 * @category models
 */
export interface CollectionSettings {
  readonly dimension: number
  readonly metric: Metric
  readonly model: string | null
}

/**
 * A record that was checked, with its metadata as JSON text.
 *
 * @since 0.1.0
 * @category models
 */
export interface CheckedRecord {
  readonly id: string
  readonly vector: Float32Array
  readonly metadata: string
  readonly text: string | null
}

/**
 * Options of a search that were checked, with defaults filled in.
 *
 * @since 0.1.0
 * @category models
 */
export interface CheckedSearch {
  readonly k: number
  readonly minScore: number | undefined
  readonly filter: Filter.Filter | undefined
}

type Checked<A, E = InvalidInput> = Either.Either<A, E>

const check = <A>(ok: boolean, value: A, problem: () => InvalidInput): Checked<A> =>
  ok ? Either.right(value) : Either.left(problem())

/**
 * Options, or a request: an object that is no list, with these fields and no others.
 *
 * @since 0.1.0
 * @category validation
 */
export const checkObject = <A>(
  given: A,
  field: string,
  origin: Partial<ErrorContext> & Pick<ErrorContext, "operation">,
  fields: ReadonlyArray<string>
): Checked<A> => {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    return Either.left(invalidInput(origin, field, "is not an object", "an object of options"))
  }
  const unknown = Object.entries(given).find(([name, value]) => value !== undefined && !fields.includes(name))?.[0]
  if (unknown === undefined) return Either.right(given)
  const path = field === "options" || field === "request" ? unknown : `${field}.${unknown}`
  return Either.left(invalidInput(origin, path, "is unknown", fields.join(", ")))
}

const metrics: ReadonlyArray<Metric> = ["cosine", "dot", "l2"]

/**
 * @since 0.1.0
 * @category validation
 */
export const checkName = (name: unknown, origin: ErrorContext): Checked<string> =>
  check(
    typeof name === "string" && name.length >= 1 && name.length <= 200 && !/[\p{Cc}\p{Surrogate}]/u.test(name),
    name as string,
    () => invalidInput(origin, "collection", "is not a name", "1 to 200 characters without control characters")
  )

/**
 * The name of an embedding model.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isModel = (model: unknown): model is string =>
  typeof model === "string" && model.length >= 1 && model.length <= 200 && isStorableText(model)

/**
 * @since 0.1.0
 * @category validation
 */
export const checkSettings = (
  settings: { readonly dimension: number; readonly metric?: Metric; readonly model?: string },
  origin: ErrorContext
): Checked<CollectionSettings> =>
  Either.gen(function* () {
    const {
      dimension,
      metric = "cosine",
      model = null
    } = yield* checkObject(settings, "options", origin, ["dimension", "metric", "model"])
    yield* check(Number.isInteger(dimension) && dimension >= 1 && dimension <= 65535, undefined, () =>
      invalidInput(origin, "dimension", "is out of range", "a whole number from 1 to 65535")
    )
    yield* check(metrics.includes(metric), undefined, () =>
      invalidInput(origin, "metric", "is unknown", metrics.join(", "))
    )
    yield* check(model === null || isModel(model), undefined, () =>
      invalidInput(origin, "model", "is not a name", "1 to 200 characters of well-formed Unicode without U+0000")
    )
    return { dimension, metric, model }
  })

/**
 * What the names of collections begin with that the hub keeps for itself: lists of collections leave them out.
 *
 * @since 0.1.0
 * @category constants
 */
export const ownPrefix = "db_hub_"

/**
 * @since 0.1.0
 * @category predicates
 */
export const isOwn = (collection: string): boolean => collection.startsWith(ownPrefix)

const checkId = (id: unknown, field: string, origin: ErrorContext): Checked<string> =>
  check(
    typeof id === "string" && id.length >= 1 && Buffer.byteLength(id) <= 512 && isStorableText(id),
    id as string,
    () => invalidInput(origin, field, "is not an id", "1 to 512 bytes of well-formed Unicode without U+0000")
  )

/**
 * @since 0.1.0
 * @category validation
 */
export const checkIds = (ids: unknown, origin: ErrorContext): Checked<ReadonlyArray<string>> =>
  Array.isArray(ids)
    ? Either.all(ids.map((id, i) => checkId(id, `ids[${i}]`, origin)))
    : Either.left(invalidInput(origin, "ids", "is not a list", "a list of ids"))

/**
 * Only that it is one: each record is checked as its turn comes.
 *
 * @since 0.1.0
 * @category validation
 */
export const checkList = <A>(records: ReadonlyArray<A>, origin: ErrorContext): Checked<ReadonlyArray<A>> =>
  check(Array.isArray(records), records, () => invalidInput(origin, "records", "is not a list", "a list of records"))

/**
 * @since 0.1.0
 * @category validation
 */
export const checkRecord = (
  record: unknown,
  field: string,
  collection: CollectionSettings & { readonly name: string },
  origin: ErrorContext
): Checked<CheckedRecord, InvalidInput | DimensionMismatch> =>
  Either.gen(function* () {
    const { id, metadata, text, vector } = yield* check(
      typeof record === "object" && record !== null,
      record as { readonly [field: string]: unknown },
      () => invalidInput(origin, field, "is not a record", "{ id, vector, metadata?, text? }")
    )
    return {
      id: yield* checkId(id, `${field}.id`, origin),
      vector: yield* parseVector(vector, `${field}.vector`, collection, origin),
      metadata: JSON.stringify(yield* parseJsonObject(metadata ?? {}, `${field}.metadata`, origin)),
      text: yield* check(
        text === undefined || text === null || (typeof text === "string" && isStorableText(text)),
        (text as string | undefined) ?? null,
        () => invalidInput(origin, `${field}.text`, "cannot be stored", "well-formed Unicode text without U+0000")
      )
    }
  })

/**
 * @since 0.1.0
 * @category validation
 */
export const checkSearch = (
  options: { readonly k?: number; readonly minScore?: number; readonly filter?: Filter.FilterInput },
  origin: ErrorContext
): Checked<CheckedSearch> => {
  const given = checkObject(options, "options", origin, ["k", "minScore", "filter"])
  if (Either.isLeft(given)) return Either.left(given.left)
  const { filter, k = 10, minScore } = given.right
  if (!Number.isSafeInteger(k) || k < 1) {
    return Either.left(invalidInput(origin, "k", "is not a number of results", "a whole number from 1"))
  }
  if (minScore !== undefined && (typeof minScore !== "number" || Number.isNaN(minScore))) {
    return Either.left(invalidInput(origin, "minScore", "is not a score", "a number"))
  }
  if (filter === undefined) return Either.right({ k, minScore, filter })
  return Either.map(Filter.parse(filter, origin), (filter) => ({ k, minScore, filter }))
}

/**
 * A text record that was checked, with its metadata as JSON text.
 *
 * @since 0.1.0
 * @category models
 */
export interface CheckedText {
  readonly id: string
  readonly text: string
  readonly metadata: string
}

/**
 * The bytes of a text at most: PostgreSQL has room for a megabyte of terms in a row, and pairs of characters take thrice
 * what they are made from.
 *
 * @since 0.1.0
 * @category constants
 */
export const longestText = 262_144

/**
 * @since 0.1.0
 * @category validation
 */
export const checkText = (record: unknown, field: string, origin: ErrorContext): Checked<CheckedText> =>
  Either.gen(function* () {
    const { id, metadata, text } = yield* check(
      typeof record === "object" && record !== null,
      record as { readonly [field: string]: unknown },
      () => invalidInput(origin, field, "is not a record", "{ id, text, metadata? }")
    )
    return {
      id: yield* checkId(id, `${field}.id`, origin),
      text: yield* check(
        typeof text === "string" && isStorableText(text) && Buffer.byteLength(text) <= longestText,
        text as string,
        () =>
          invalidInput(
            origin,
            `${field}.text`,
            "cannot be stored",
            `well-formed Unicode text without U+0000 of at most ${longestText} bytes: cut longer ones into chunks`
          )
      ),
      metadata: JSON.stringify(yield* parseJsonObject(metadata ?? {}, `${field}.metadata`, origin))
    }
  })

/**
 * The number of results to give, at least 1.
 *
 * @since 0.1.0
 * @category validation
 */
export const checkLimit = (limit: unknown, field: string, origin: ErrorContext): Checked<number> =>
  check(Number.isSafeInteger(limit) && (limit as number) >= 1 && (limit as number) <= 10_000, limit as number, () =>
    invalidInput(origin, field, "is not a number of results", "a whole number from 1 to 10000")
  )
