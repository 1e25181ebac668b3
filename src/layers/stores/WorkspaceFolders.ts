/**
 * What a user sees of the documents of one scope or several, as paths and folders.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { Timestamp } from "../../services/Model.js"
import { type DirectoryEntry, identityPaths, normalizePath } from "../../services/WorkspaceStore.js"
import { compareCodePoints } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"
import * as Rows from "./Rows.js"

const previewLength = 200

/** A document as a folder shows it. */
const Listed = Schema.Struct({
  userId: Schema.String,
  path: Schema.String,
  updatedAt: Timestamp,
  preview: Schema.NullOr(Schema.String)
})

/**
 * The rows that a user may see: identity documents only of the own scope.
 *
 * @since 0.1.0
 * @category filtering
 */
export const visible = <A extends { readonly userId: string; readonly path: string }>(
  user: string,
  rows: ReadonlyArray<A>
): ReadonlyArray<A> => rows.filter(({ path, userId }) => userId === user || !identityPaths.has(path))

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: BackendShape) => {
  const listed = Rows.make(backend, "db_hub_documents", Listed)

  const paths = (
    user: string,
    scopes: ReadonlyArray<string>,
    agent = ""
  ): Effect.Effect<ReadonlyArray<string>, DbError> =>
    Effect.map(
      backend.query(
        `SELECT user_id, path FROM db_hub_documents WHERE user_id IN (${marks(scopes)}) AND agent_id = ?
         ORDER BY path`,
        [...scopes, agent]
      ),
      (rows) => {
        const found = rows.map((row) => ({ userId: String(row["user_id"]), path: String(row["path"]) }))
        return Array.from(new Set(visible(user, found).map(({ path }) => path)))
      }
    )

  const directory = (
    user: string,
    scopes: ReadonlyArray<string>,
    folder: string,
    agent = ""
  ): Effect.Effect<ReadonlyArray<DirectoryEntry>, DbError> => {
    const normal = normalizePath(folder)
    const base = normal === "" ? "" : `${normal}/`
    // All that begin with `base`, as a range of the index: `0` is what comes after `/`.
    const range = base === "" ? "" : "AND path >= ? AND path < ?"
    const bounds = base === "" ? [] : [base, `${normal}0`]
    const rest = `substr(path, ${Array.from(base).length + 1})`
    return Effect.map(
      listed.all(
        `SELECT id, user_id, path, updated_at,
           CASE WHEN ${rest} LIKE '%/%' THEN NULL ELSE substr(content, 1, ${previewLength}) END AS preview
         FROM db_hub_documents WHERE user_id IN (${marks(scopes)}) AND agent_id = ? ${range}`,
        [...scopes, agent, ...bounds]
      ),
      (rows) => {
        // Of equally new documents, that of the first scope counts.
        const rank = new Map(scopes.map((scope, i) => [scope, i]))
        const ordered = visible(user, rows).toSorted((a, b) => (rank.get(a.userId) ?? 0) - (rank.get(b.userId) ?? 0))
        return entriesOf(ordered, base)
      }
    )
  }

  return {
    /** Every path, once. */
    paths,
    /** What lies directly in a folder. */
    directory
  }
}

/** What lies directly under `base`, of all that lies under it. */
const entriesOf = (rows: ReadonlyArray<typeof Listed.Type>, base: string): ReadonlyArray<DirectoryEntry> => {
  const entries = new Map<string, DirectoryEntry>()
  for (const { path, preview, updatedAt } of rows) {
    const slash = path.indexOf("/", base.length)
    const child = slash < 0 ? path : path.slice(0, slash)
    const other = entries.get(child)
    const newest = other === undefined || updatedAt > other.updatedAt
    const isDirectory = slash >= 0 || other?.isDirectory === true
    entries.set(child, {
      path: child,
      isDirectory,
      updatedAt: newest ? updatedAt : other.updatedAt,
      preview: isDirectory ? null : newest ? preview : other.preview
    })
  }
  return Array.from(entries.values()).sort((a, b) => compareCodePoints(a.path, b.path))
}
