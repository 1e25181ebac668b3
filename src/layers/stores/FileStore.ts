/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type SqlValue } from "../../services/Backend.js"
import {
  DeleteFile,
  DeleteSessionFiles,
  FileStore,
  FileVersion,
  SaveFile,
  SessionFile
} from "../../services/FileStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_files"
const versionsTable = "db_hub_file_versions"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<FileStore, never, Backend | WriteChannel> = Layer.effect(
  FileStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect } = backend
    const files = Table.make(backend, table, SessionFile)
    const versions = Table.make(backend, versionsTable, FileVersion, { key: ["version", "file_id"] })

    const one = (operation: string, where: string, params: ReadonlyArray<SqlValue>, lock = "") =>
      Effect.flatMap(files.first(`WHERE ${where}${lock}`, params), Rows.orNotFound(backend.name, operation, "file"))

    const own = (operation: string, user: string, id: string, lock = "") =>
      one(operation, "id = ? AND user_id = ?", [id, user], lock)

    const byPath = "user_id = ? AND session_id = ? AND path = ?"

    /** Deletes locked files. */
    const remove = (ids: ReadonlyArray<string>) =>
      Effect.forEach(
        ids,
        (id) =>
          Effect.zipRight(
            backend.enqueue(`DELETE FROM ${versionsTable} WHERE file_id = ?`, [id]),
            backend.enqueue(`DELETE FROM ${table} WHERE id = ?`, [id])
          ),
        { discard: true }
      )

    return {
      save: channel.handle(SaveFile, ({ content, isNew = false, path, sessionId, user }) =>
        Effect.gen(function* () {
          const now = yield* Fresh.now
          const first: SessionFile = {
            id: Fresh.id(),
            userId: user,
            sessionId,
            path,
            isNew,
            version: 1,
            createdAt: now,
            updatedAt: now
          }
          const saved = yield* files.firstOrInsert(SaveFile._tag, first, ["user_id", "session_id", "path"], byPath, [
            user,
            sessionId,
            path
          ])
          const file = "found" in saved ? saved.found : first
          const version = "found" in saved ? file.version + 1 : 1
          if ("found" in saved) yield* files.set(file.id, { version, updatedAt: now })
          yield* versions.insert({ fileId: file.id, version, content, createdAt: now })
          return { result: { ...file, version, updatedAt: now }, ids: [file.id] }
        })
      ),
      delete: channel.handle(DeleteFile, ({ id, user }) =>
        Effect.gen(function* () {
          const lock = `SELECT id FROM ${table} WHERE id = ? AND user_id = ?${dialect.forUpdate}`
          const [held] = yield* backend.query(lock, [id, user])
          yield* Rows.orNotFound(backend.name, DeleteFile._tag, "file")(held)
          yield* remove([id])
          return { result: undefined, ids: [id] }
        })
      ),
      deleteSession: channel.handle(DeleteSessionFiles, ({ sessionId, user }) =>
        Effect.gen(function* () {
          const found = yield* backend.query(
            `SELECT id FROM ${table} WHERE user_id = ? AND session_id = ? ORDER BY path${dialect.forUpdate}`,
            [user, sessionId]
          )
          const ids = found.map(({ id }) => String(id))
          yield* remove(ids)
          return { result: ids.length, ids }
        })
      ),
      get: (user, id) => own("FileStore.get", user, id),
      getByPath: (user, sessionId, path) => one("FileStore.getByPath", byPath, [user, sessionId, path]),
      read: (user, id, version) =>
        Effect.gen(function* () {
          const file = yield* own("FileStore.read", user, id)
          const found = yield* versions.first("WHERE file_id = ? AND version = ?", [id, version ?? file.version])
          return yield* Rows.orNotFound(backend.name, "FileStore.read", "version of the file")(found)
        }),
      versions: (user, id, { before = Number.MAX_SAFE_INTEGER, limit } = {}) =>
        Effect.gen(function* () {
          const operation = "FileStore.versions"
          const size = yield* Page.limit(limit, 50, { backend: backend.name, operation })
          yield* own(operation, user, id)
          const page = "WHERE file_id = ? AND version < ? ORDER BY version DESC LIMIT ?"
          return yield* versions.all(page, [id, before, size])
        }),
      list: (user, sessionId, { isNew } = {}) =>
        isNew === undefined
          ? files.all("WHERE user_id = ? AND session_id = ? ORDER BY path", [user, sessionId])
          : files.all("WHERE user_id = ? AND session_id = ? AND is_new = ? ORDER BY path", [user, sessionId, isNew])
    }
  })
)
