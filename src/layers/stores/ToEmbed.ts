/**
 * Which of what a store keeps lacks a vector of a model, as conditions over its table.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import type { VectorModel } from "../../services/Embeddings.js"
import { Records } from "../../vector/index.js"
import * as EmbeddingPass from "../search/EmbeddingPass.js"
import type { Condition } from "./Page.js"

/** What `String.prototype.trim` takes away. */
const blanks =
  "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"

/**
 * There is something to embed: the opposite of `EmbeddingPass.isBlank`, of a column.
 *
 * @since 0.1.0
 * @category conditions
 */
export const notBlank = (text: string): Condition => [`TRIM(${text}, ?) <> ''`, blanks]

/**
 * The `EmbeddingPass.nameOf` of the model of a row of memories or chunks: '' while it waits.
 *
 * @since 0.1.0
 * @category statements
 */
export const embeddedBy = (alias = ""): string =>
  `COALESCE(${alias}embedding_model || ' ' || CAST(${alias}dimension AS TEXT), '')`

/**
 * There is something to embed, and no vector of this model; `InvalidInput` for what is no model.
 *
 * @since 0.1.0
 * @category conditions
 */
export const conditions = (
  by: VectorModel,
  field: string,
  text: string,
  at: ErrorContext
): Effect.Effect<ReadonlyArray<Condition>, InvalidInput> => {
  if (typeof by !== "object" || by === null) {
    return Effect.fail(
      invalidInput(at, field, "is not a model", "{ model, dimension }, such as the Embeddings at hand")
    )
  }
  const { dimension, model } = by
  if (!Records.isModel(model)) {
    return Effect.fail(invalidInput(at, `${field}.model`, "is not a name", "the name of a model, 1 to 200 characters"))
  }
  if (!Number.isInteger(dimension) || dimension < 1 || dimension > 65_535) {
    return Effect.fail(invalidInput(at, `${field}.dimension`, "is out of range", "a whole number from 1 to 65535"))
  }
  return Effect.succeed([[`${embeddedBy()} <> ?`, EmbeddingPass.nameOf(by)], notBlank(text)])
}
