/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type DbError, NotFound } from "../errors/index.js"
import { nearest } from "../errors/nearest.js"
import type { BackendShape, TableInfo } from "../services/Backend.js"

/**
 * A backend's `schema` from a function that describes all of its tables.
 *
 * @since 0.1.0
 * @category schema
 */
export const schemaOf =
  (
    backend: string,
    describe: (internal: boolean) => Effect.Effect<ReadonlyArray<TableInfo>, DbError>
  ): BackendShape["schema"] =>
  ({ internal = false, table } = {}) =>
    table === undefined
      ? describe(internal)
      : Effect.flatMap(describe(true), (all) => {
          const found = all.filter(({ name }) => name === table)
          if (found.length > 0) return Effect.succeed(found)
          const near = nearest(
            table,
            all.map(({ name }) => name)
          )
          return Effect.fail(
            new NotFound({
              backend,
              operation: "schema",
              entity: "table",
              message: `There is no such table${near.length === 0 ? "" : `; did you mean ${near.join(", ")}?`}`
            })
          )
        })
