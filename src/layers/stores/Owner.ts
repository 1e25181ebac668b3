/**
 * One writer at a time of what a user has as a whole.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"

/**
 * Holds a user's row of `table`, which has no other column, until the end of the transaction; makes it if need be.
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
