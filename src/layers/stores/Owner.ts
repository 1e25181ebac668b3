/**
 * What belongs to a user: proved, or held as a whole.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import * as Rows from "./Rows.js"

/**
 * Proves that a row of `table`, with an `id` and a `user_id`, is a user's: `NotFound` if it is not, or there is none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const proof =
  ({ name, query }: Pick<BackendShape, "name" | "query">, table: string, entity: string) =>
  (user: string, id: string, operation: string): Effect.Effect<void, DbError> =>
    Effect.flatMap(query(`SELECT id FROM ${table} WHERE id = ? AND user_id = ?`, [id, user]), ([found]) =>
      Effect.asVoid(Rows.orNotFound(name, operation, entity)(found))
    )

/**
 * One writer at a time of what a user has: holds the user's row of `table`, which has no other column, until the end of
 * the transaction; makes it if need be.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  { dialect, enqueue, query }: Pick<BackendShape, "dialect" | "enqueue" | "query">,
  table: string
): ((user: string) => Effect.Effect<void, DbError>) => {
  const insert = dialect.insertIfAbsent(table, ["user_id"], ["user_id"])
  const lock = `SELECT user_id FROM ${table} WHERE user_id = ?${dialect.forUpdate}`
  return (user) => Effect.asVoid(Effect.zipRight(enqueue(insert, [user]), query(lock, [user])))
}
