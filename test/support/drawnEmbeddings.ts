/** A model of embeddings that draws each vector by its text, so that every process has the same one. */
import * as Effect from "effect/Effect"
import type { EmbeddingsShape } from "../../src/services/Embeddings.js"

const vectorOf = (text: string, dimension: number): Float32Array => {
  let state = 1
  for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0)!, 0x01000193)
  return Float32Array.from({ length: dimension }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0
    return (state >> 8) / 2 ** 23
  })
}

/** `before` runs before each answer, and is told the texts. */
export const drawn = (
  model: string,
  dimension: number,
  before: (texts: ReadonlyArray<string>) => Effect.Effect<void> = () => Effect.void
): EmbeddingsShape => ({
  model,
  dimension,
  embed: (text) => Effect.sync(() => vectorOf(text, dimension)),
  embedMany: (texts) =>
    Effect.as(
      before(texts),
      texts.map((text) => vectorOf(text, dimension))
    )
})
