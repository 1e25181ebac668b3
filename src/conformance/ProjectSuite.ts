/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Backend } from "../services/Backend.js"
import { ProjectStore } from "../services/ProjectStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/**
 * @since 0.1.0
 * @category suites
 */
export const projectSuite: Suite = {
  "a project comes back as it was made, and a path is one project of a user": Effect.gen(function* () {
    const projects = yield* ProjectStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const made = yield* projects.create({ user: ada, name: "hub", path: "/src/hub" })
    yield* equal(yield* projects.get(ada, made.id), made)
    yield* equal(yield* projects.getByPath(ada, "/src/hub"), made)
    yield* failsWith("DbConflict", projects.create({ user: ada, name: "again", path: "/src/hub" }))
    yield* projects.create({ user: bob, name: "hub", path: "/src/hub" })
  }),

  "a project's name, status and marks change one by one": Effect.gen(function* () {
    const projects = yield* ProjectStore
    const user = yield* fresh("user")
    const { id } = yield* projects.create({ user, name: "hub", path: "/p" })
    yield* projects.rename({ user, id, name: "hub 2" })
    yield* projects.setStatus({ user, id, status: "running", agentPid: 4242, agentPort: 40_001 })
    const now = yield* projects.markInitialized({ user, id })
    yield* equal(
      [now.name, now.status, now.agentPid, now.agentPort, now.initialized],
      ["hub 2", "running", 4242, 40_001, true]
    )
    const idle = yield* projects.setStatus({ user, id, status: "idle" })
    yield* equal([idle.agentPid, idle.agentPort, idle.initialized], [null, null, true])
    yield* equal(yield* projects.get(user, id), idle)
  }),

  "the last opened project comes first, page by page, also among equal times": Effect.gen(function* () {
    const [projects, backend] = [yield* ProjectStore, yield* Backend]
    const user = yield* fresh("user")
    const ids = yield* Effect.forEach(["a", "b", "c", "d"], (path) =>
      Effect.map(projects.create({ user, name: path, path }), ({ id }) => id)
    )
    yield* backend.execute("UPDATE db_hub_projects SET last_opened_at = ? WHERE user_id = ?", [new Date(0), user])
    yield* projects.markOpened({ user, id: ids[2]! })
    const first = yield* projects.list(user, { limit: 2 })
    const second = yield* projects.list(user, { limit: 2, cursor: first.cursor! })
    yield* equal([first.items[0]!.id, second.cursor], [ids[2], null])
    yield* equal([...first.items, ...second.items].map(({ id }) => id).sort(), ids.toSorted())
    yield* failsWith("InvalidInput", projects.list(user, { cursor: "somewhere" }))
  }),

  "a project of somebody else, or none, is NotFound": Effect.gen(function* () {
    const projects = yield* ProjectStore
    const [ada, user] = [yield* fresh("ada"), yield* fresh("bob")]
    const { id } = yield* projects.create({ user: ada, name: "hub", path: "/p" })
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      projects.get(user, id),
      projects.getByPath(user, "/p"),
      projects.rename({ user, id, name: "mine" }),
      projects.setStatus({ user, id, status: "mine" }),
      projects.markOpened({ user, id }),
      projects.markInitialized({ user, id }),
      projects.delete({ user, id })
    ]
    yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
    yield* equal((yield* projects.get(ada, id)).name, "hub")
    yield* projects.delete({ user: ada, id })
    yield* failsWith("NotFound", projects.delete({ user: ada, id }))
  })
}
