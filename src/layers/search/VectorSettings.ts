/**
 * What collections of vectors were made with.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Metric } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface VectorSettings {
  readonly metric: Metric
  readonly dimension: number
  readonly model: string | null
}

/**
 * The vector collections among these, or all of them, without the counts that listing them would cost.
 *
 * @since 0.1.0
 * @category accessors
 */
export const settingsOf = (
  backend: Pick<BackendShape, "query">,
  collections?: ReadonlyArray<string>
): Effect.Effect<ReadonlyMap<string, VectorSettings>, DbError> => {
  const which = collections === undefined ? "" : ` WHERE name IN (${marks(collections)})`
  return Effect.map(
    backend.query(`SELECT name, metric, dimension, model FROM db_hub_collections${which}`, collections ?? []),
    (rows) =>
      new Map(
        rows.map(({ dimension, metric, model, name }) => [
          String(name),
          { metric: metric as Metric, dimension: Number(dimension), model: model === null ? null : String(model) }
        ])
      )
  )
}
