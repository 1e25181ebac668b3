/**
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { DbUnsupported } from "../../errors/index.js"
import type { VectorStore } from "../../services/VectorStore.js"
import type { SqliteClient } from "./SqliteClient.js"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  _client: SqliteClient,
  options: { readonly backend: string; readonly memoryBytes: number }
): Context.Tag.Service<VectorStore> => {
  const fail = () => Effect.fail(new DbUnsupported({ backend: options.backend, operation: "VectorStore", message: "" }))
  return {
    supportsVector: false,
    createCollection: fail,
    insert: fail,
    insertMany: fail,
    search: fail,
    get: fail,
    delete: fail,
    deleteWhere: fail,
    count: fail,
    collections: fail(),
    dropCollection: fail
  }
}
