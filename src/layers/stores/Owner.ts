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
 * Proves that a conversation is a user's: `NotFound` if it is not, or there is none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofConversation =
  ({ name, query }: Pick<BackendShape, "name" | "query">) =>
  (user: string, conversation: string, operation: string): Effect.Effect<void, DbError> =>
    Effect.flatMap(
      query("SELECT id FROM db_hub_conversations WHERE id = ? AND user_id = ?", [conversation, user]),
      ([found]) => Effect.asVoid(Rows.orNotFound(name, operation, "conversation")(found))
    )

/**
 * One writer at a time of what a user has: holds the user's row of `table`, which has no other column, until the end of the transaction; makes it if need be.
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
