/**
 * Whose documents a user reads and writes besides the own ones.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type DbError, DbReadOnly, invalidInput, NotFound } from "../../errors/index.js"
import { type BackendShape, Json } from "../../services/Backend.js"
import { UserId } from "../../services/Model.js"
import { identityPaths, normalizePath, WorkspaceLayer } from "../../services/WorkspaceStore.js"

import * as Table from "./Table.js"

const LayersRow = Schema.Struct({ userId: UserId, layers: Schema.Array(WorkspaceLayer) })

/**
 * A write into a layer.
 *
 * @since 0.1.0
 * @category models
 */
export interface LayerTarget {
  readonly user: string
  readonly layer: string
  readonly path: string
  readonly sensitive?: boolean
  readonly force?: boolean
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: BackendShape) => {
  const rows = Table.make(backend, "db_hub_workspace_layers", LayersRow, { key: ["user_id"] })
  const upsert = backend.dialect.upsert("db_hub_workspace_layers", ["user_id", "layers"], ["user_id"])

  const of = (user: string) => Effect.map(rows.first("WHERE user_id = ?", [user]), (row) => row?.layers ?? [])

  /** The users whose documents a user reads, the user first. */
  const scopesOf = (user: string) =>
    Effect.map(of(user), (layers) => Array.from(new Set([user, ...layers.map(({ scope }) => scope)])))

  /** The layer that a write goes to. */
  const choose = (operation: string, payload: LayerTarget): Effect.Effect<WorkspaceLayer, DbError> =>
    Effect.gen(function* () {
      const at = { operation, backend: backend.name }
      const layers = yield* of(payload.user)
      const asked = layers.find((layer) => layer.name === payload.layer)
      if (asked === undefined) {
        return yield* new NotFound({ ...at, entity: "layer", message: "The user has no such layer" })
      }
      if (!asked.writable) {
        return yield* new DbReadOnly({ ...at, message: "The layer is not writable: choose another" })
      }
      const redirect = payload.sensitive === true && !asked.private && payload.force !== true
      const target = redirect ? layers.find((layer) => layer.private && layer.writable) : asked
      if (target === undefined) {
        return yield* invalidInput(at, "layer", "is read by others", "a private layer, or `force`")
      }
      if (target.scope !== payload.user && identityPaths.has(normalizePath(payload.path))) {
        return yield* invalidInput(at, "path", "says who another agent is", "other paths, or the own scope")
      }
      return target
    })

  const set = (operation: string, user: string, layers: ReadonlyArray<WorkspaceLayer>): Effect.Effect<void, DbError> =>
    new Set(layers.map(({ name }) => name)).size < layers.length
      ? Effect.fail(invalidInput({ operation, backend: backend.name }, "layers", "repeat a name", "each name once"))
      : backend.enqueue(upsert, [user, new Json(layers)])

  return { of, scopesOf, choose, set }
}
