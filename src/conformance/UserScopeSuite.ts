/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as UserScopes from "../layers/stores/UserScope.js"
import { SettingsStore } from "../services/SettingsStore.js"
import { UserScope } from "../services/UserScope.js"
import { WorkspaceStore } from "../services/WorkspaceStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/**
 * @since 0.1.0
 * @category suites
 */
export const userScopeSuite: Suite = {
  "a handler writes and reads what is its user's, without naming the user": Effect.gen(function* () {
    const user = yield* fresh("user")
    const handler = Effect.gen(function* () {
      const { settings, workspace } = yield* UserScope
      yield* settings.set({ key: "k", value: 1 })
      const { id } = yield* workspace.write({ path: "a/b", content: "text", agent: "x" })
      yield* workspace.patch({ id, edits: [{ find: "text", replace: "new" }] })
      yield* equal(yield* workspace.listPaths(), [])
      const [listed] = (yield* workspace.listDocuments({ agent: "x" })).items
      return { setting: yield* settings.get("k"), document: yield* workspace.get("a/b", "x"), listed }
    })
    const { document, listed, setting } = yield* Effect.provide(handler, UserScopes.layer(user))
    yield* equal([document.content, listed?.id], ["new", document.id])
    yield* equal(yield* (yield* SettingsStore).get(user, "k"), setting)
    yield* equal(yield* (yield* WorkspaceStore).get(user, "a/b", "x"), document)
  }),

  "another user's things are out of its reach, whatever it names": Effect.gen(function* () {
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const [his, hers] = [yield* UserScopes.make(bob), yield* UserScopes.make(ada)]
    const { id } = yield* hers.workspace.write({ path: "secret", content: "" })
    yield* failsWith("NotFound", his.workspace.getById(id))
    yield* failsWith("NotFound", his.workspace.update({ id, content: "x" }))
    // @ts-expect-error: there is no user to name
    yield* his.settings.set({ user: ada, key: "k", value: 1 })
    yield* equal([yield* hers.settings.has(), yield* his.settings.has()], [false, true])
    yield* failsWith("NotFound", his.workspace.get(ada, "secret"))
    yield* failsWith("NotFound", his.workspace.get("secret"))
  }),

  "a scope is somebody's": failsWith("InvalidInput", UserScopes.make(""))
}
