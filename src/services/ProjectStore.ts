/**
 * The folders that a user's agents work in.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, Key, optional, type Page, type PageOptions, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * A folder that a user works in, by its path.
 *
 * @since 0.1.0
 * @category models
 */
export const Project = Schema.Struct({
  id: Id,
  userId: UserId,
  name: Key,
  path: Key,
  /** What the program says of it, such as `idle` or `running`. */
  status: Key,
  initialized: Schema.Boolean,
  /** The agent process that serves the project, and its port. */
  agentPid: Schema.NullOr(Count),
  agentPort: Schema.NullOr(Count),
  lastOpenedAt: Timestamp,
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Project = typeof Project.Type

/**
 * A project that has just been opened and is not initialized; `DbConflict` if the user has one with that path.
 *
 * @since 0.1.0
 * @category operations
 */
export const CreateProject = operation("ProjectStore.create", {
  payload: { user: UserId, id: optional(Id), name: Key, path: Key, status: optional(Key) },
  success: Project
})

/**
 * Gives a project another name.
 *
 * @since 0.1.0
 * @category operations
 */
export const RenameProject = operation("ProjectStore.rename", {
  payload: { user: UserId, id: Id, name: Key },
  success: Project
})

/**
 * Sets the status and the agent's process; a process that is left out is gone.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetProjectStatus = operation("ProjectStore.setStatus", {
  payload: { user: UserId, id: Id, status: Key, agentPid: optional(Count), agentPort: optional(Count) },
  success: Project
})

/**
 * Moves a project to the top of the list.
 *
 * @since 0.1.0
 * @category operations
 */
export const MarkProjectOpened = operation("ProjectStore.markOpened", {
  payload: { user: UserId, id: Id },
  success: Project
})

/**
 * Says that a project has been initialized.
 *
 * @since 0.1.0
 * @category operations
 */
export const MarkProjectInitialized = operation("ProjectStore.markInitialized", {
  payload: { user: UserId, id: Id },
  success: Project
})

/**
 * Deletes a project; `NotFound` if there is none.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteProject = operation("ProjectStore.delete", {
  payload: { user: UserId, id: Id }
})

/**
 * The projects of a user; somebody else's, and missing ones, are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class ProjectStore extends Context.Tag("effect-db-hub/ProjectStore")<
  ProjectStore,
  {
    readonly create: Submit<typeof CreateProject>
    readonly rename: Submit<typeof RenameProject>
    readonly setStatus: Submit<typeof SetProjectStatus>
    readonly markOpened: Submit<typeof MarkProjectOpened>
    readonly markInitialized: Submit<typeof MarkProjectInitialized>
    readonly delete: Submit<typeof DeleteProject>
    /** `NotFound` if there is none. */
    readonly get: (user: string, id: string) => Effect.Effect<Project, DbError>
    /** The user's project at a path; `NotFound` if there is none. */
    readonly getByPath: (user: string, path: string) => Effect.Effect<Project, DbError>
    /** The last opened first. */
    readonly list: (user: string, options?: PageOptions) => Effect.Effect<Page<Project>, DbError>
  }
>() {}
