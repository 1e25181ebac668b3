/**
 * The files that a session works on, and every version of them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, Key, optional, Text, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * A file that a session made or changed.
 *
 * @since 0.1.0
 * @category models
 */
export const SessionFile = Schema.Struct({
  id: Id,
  userId: UserId,
  sessionId: Id,
  path: Key,
  /** Whether the session made the file, rather than found it. */
  isNew: Schema.Boolean,
  /** The latest version; versions of a file in a session count from 1. */
  version: Count,
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type SessionFile = typeof SessionFile.Type

/**
 * What a file was at one time.
 *
 * @since 0.1.0
 * @category models
 */
export const FileVersion = Schema.Struct({
  fileId: Id,
  version: Count,
  content: Text,
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type FileVersion = typeof FileVersion.Type

/**
 * Adds a version of a file of a session. `isNew` counts for the first one only, and is false by default.
 *
 * @since 0.1.0
 * @category operations
 */
export const SaveFile = operation("FileStore.save", {
  payload: { user: UserId, sessionId: Id, path: Key, content: Text, isNew: optional(Schema.Boolean) },
  success: SessionFile
})

/**
 * Deletes a file of a session with all its versions.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteFile = operation("FileStore.delete", {
  payload: { user: UserId, id: Id }
})

/**
 * Deletes the files of a session, if it has any; succeeds with their number.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSessionFiles = operation("FileStore.deleteSession", {
  payload: { user: UserId, sessionId: Id },
  success: Count
})

/**
 * The files of a user's sessions. A session sees its own versions only, whatever others do to the same path; files of
 * somebody else are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class FileStore extends Context.Tag("effect-db-hub/FileStore")<
  FileStore,
  {
    readonly save: Submit<typeof SaveFile>
    readonly delete: Submit<typeof DeleteFile>
    readonly deleteSession: Submit<typeof DeleteSessionFiles>
    /** `NotFound` if there is none. */
    readonly get: (user: string, id: string) => Effect.Effect<SessionFile, DbError>
    /** The file of a session at a path; `NotFound` if there is none. */
    readonly getByPath: (user: string, sessionId: string, path: string) => Effect.Effect<SessionFile, DbError>
    /** A version, by default the latest. */
    readonly read: (user: string, id: string, version?: number) => Effect.Effect<FileVersion, DbError>
    /** Newest first, 50 by default; `before` takes the last version seen. */
    readonly versions: (
      user: string,
      id: string,
      options?: { readonly limit?: number; readonly before?: number }
    ) => Effect.Effect<ReadonlyArray<FileVersion>, DbError>
    /** The files of a session by path, each with its latest version; with `isNew`, those that it made or found. */
    readonly list: (
      user: string,
      sessionId: string,
      options?: { readonly isNew?: boolean }
    ) => Effect.Effect<ReadonlyArray<SessionFile>, DbError>
  }
>() {}
