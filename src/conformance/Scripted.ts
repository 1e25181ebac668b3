/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { EmbeddingError } from "../errors/index.js"
import type { EmbeddingsShape } from "../services/Embeddings.js"

/**
 * A model that tells what it was asked, and may be made to fail, or to wait for something.
 *
 * @since 0.1.0
 * @category models
 */
export interface Scripted {
  readonly embeddings: EmbeddingsShape
  readonly asked: Array<string>
  /** Whether it fails with this text among those it is asked. */
  fails: (text: string) => EmbeddingError["reason"] | undefined
  /** Runs before the model answers. */
  meanwhile: Effect.Effect<unknown, unknown>
}

/**
 * Same words, near vectors: counts of letters.
 *
 * @since 0.1.0
 * @category constructors
 */
export const vectorOf = (text: string, dimension: number): Float32Array => {
  const vector = new Float32Array(dimension)
  for (const letter of text) vector[(letter.codePointAt(0) ?? 0) % dimension]! += 1
  return vector
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const scripted = (model: string, dimension = 32): Scripted => {
  const self: Scripted = {
    asked: [],
    fails: () => undefined,
    meanwhile: Effect.void,
    embeddings: {
      model,
      dimension,
      embed: (text) => Effect.map(self.embeddings.embedMany([text]), ([vector]) => vector!),
      embedMany: (texts) =>
        Effect.gen(function* () {
          self.asked.push(...texts)
          yield* Effect.orDie(self.meanwhile)
          const reason = texts.map(self.fails).find((reason) => reason !== undefined)
          if (reason === undefined) return texts.map((text) => vectorOf(text, dimension))
          return yield* new EmbeddingError({ operation: "test", message: "scripted", reason, model, status: 400 })
        })
    }
  }
  return self
}
