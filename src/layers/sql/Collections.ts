/**
 * What is wrong with a collection, in the words of the text and of the vector store.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type DbError, type ErrorContext, MigrationError, NotFound } from "../../errors/index.js"
import { didYouMean } from "../../errors/Nearest.js"
import type { BackendShape } from "../../services/Backend.js"

/**
 * Fails with a `NotFound` that tells the collections of similar names.
 *
 * @since 0.1.0
 * @category errors
 */
export const notFound = (
  backend: Pick<BackendShape, "query">,
  table: string,
  entity: string,
  name: string,
  at: ErrorContext
): Effect.Effect<never, DbError> =>
  Effect.flatMap(backend.query(`SELECT name FROM ${table} ORDER BY name LIMIT 1000`), (rows) => {
    const names = rows.map((row) => String(row["name"]))
    const message = `There is no such ${entity}; ${didYouMean(name, names, "create it first")}`
    return Effect.fail(new NotFound({ ...at, entity, message }))
  })

/**
 * @since 0.1.0
 * @category errors
 */
export const notMigrated = (store: string, at: ErrorContext): MigrationError =>
  new MigrationError({
    ...at,
    reason: "not-migrated",
    message: `The tables of the ${store} do not exist yet: run the migrations (\`db-hub migrate\`)`
  })
