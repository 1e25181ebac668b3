/**
 * What a store asks of an index in memory. The index holds what it needs to find candidates; the vectors themselves stay
 * with the store, which scores them by key.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type { Scored } from "./TopK.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface IndexSearch<E, R> {
  readonly query: Float32Array
  /** At least 1. */
  readonly k: number
  readonly minScore?: number | undefined
  /** Search only these keys, each of them. */
  readonly within?: ReadonlySet<number> | undefined
  /** The most keys to fetch before giving up with `OutOfCandidates`. */
  readonly limit?: number | undefined
  /**
   * The exact scores of these keys, in any order, without those that shall not be found. Called several times with few
   * keys each.
   */
  readonly fetch: (keys: ReadonlyArray<number>) => Effect.Effect<ReadonlyArray<Scored>, E, R>
  /** Between two parts of a search that takes long; lets others have their turn, if that is due. */
  readonly pause?: Effect.Effect<void> | undefined
}

/**
 * The index cannot tell the best k within the limit: search within the keys that shall be found.
 *
 * @since 0.1.0
 * @category errors
 */
export class OutOfCandidates extends Data.TaggedError("OutOfCandidates") {}

/**
 * @since 0.1.0
 * @category models
 */
export interface VectorIndex {
  readonly size: () => number
  /** Memory held, in bytes. */
  readonly bytes: () => number
  /** The best by score, then id. The index may not change while a search is running, which may begin at once. */
  readonly search: <E, R>(request: IndexSearch<E, R>) => Effect.Effect<ReadonlyArray<Scored>, E | OutOfCandidates, R>
}
