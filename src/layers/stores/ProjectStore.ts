/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type SqlValue } from "../../services/Backend.js"
import {
  CreateProject,
  DeleteProject,
  MarkProjectInitialized,
  MarkProjectOpened,
  Project,
  ProjectStore,
  RenameProject,
  SetProjectStatus
} from "../../services/ProjectStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_projects"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<ProjectStore, never, Backend | WriteChannel> = Layer.effect(
  ProjectStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const projects = Table.make(backend, table, Project)

    const one = (operation: string, where: string, params: ReadonlyArray<SqlValue>) =>
      Effect.flatMap(projects.first(`WHERE ${where}`, params), Rows.orNotFound(backend.name, operation, "project"))

    const set = (operation: string, user: string, id: string, fields: Table.Fields) =>
      Effect.gen(function* () {
        yield* projects.update({ ...fields, updatedAt: yield* Fresh.now }, "id = ? AND user_id = ?", [id, user])
        const project = yield* one(operation, "id = ? AND user_id = ?", [id, user])
        return { result: project, ids: [id] }
      })

    return {
      create: channel.handle(CreateProject, ({ user, id, ...given }) =>
        Effect.gen(function* () {
          const now = yield* Fresh.now
          const project: Project = {
            status: "idle",
            ...given,
            id: id ?? Fresh.id(),
            userId: user,
            initialized: false,
            agentPid: null,
            agentPort: null,
            lastOpenedAt: now,
            createdAt: now,
            updatedAt: now
          }
          yield* projects.insert(project)
          return { result: project, ids: [project.id] }
        })
      ),
      rename: channel.handle(RenameProject, ({ id, name, user }) => set(RenameProject._tag, user, id, { name })),
      setStatus: channel.handle(SetProjectStatus, ({ agentPid = null, agentPort = null, id, status, user }) =>
        set(SetProjectStatus._tag, user, id, { status, agentPid, agentPort })
      ),
      markOpened: channel.handle(MarkProjectOpened, ({ id, user }) =>
        Effect.flatMap(Fresh.now, (lastOpenedAt) => set(MarkProjectOpened._tag, user, id, { lastOpenedAt }))
      ),
      markInitialized: channel.handle(MarkProjectInitialized, ({ id, user }) =>
        set(MarkProjectInitialized._tag, user, id, { initialized: true })
      ),
      delete: channel.handle(DeleteProject, (payload) => projects.deleteOwn(DeleteProject._tag, "project", payload)),
      get: (user, id) => one("ProjectStore.get", "id = ? AND user_id = ?", [id, user]),
      getByPath: (user, path) => one("ProjectStore.getByPath", "user_id = ? AND path = ?", [user, path]),
      list: (user, options = {}) =>
        projects.newest("ProjectStore.list", "lastOpenedAt", [["user_id = ?", user]], options)
    }
  })
)
