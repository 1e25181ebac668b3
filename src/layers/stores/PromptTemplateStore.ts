/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type SqlValue } from "../../services/Backend.js"
import {
  ActivatePromptTemplate,
  DeletePromptTemplate,
  PromptTemplate,
  PromptTemplateStore,
  SavePromptTemplate
} from "../../services/PromptTemplateStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_prompt_templates"

/** One row per name: its last version, locked by whoever changes which one is active. */
const names = "db_hub_prompt_names"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<PromptTemplateStore, never, Backend | WriteChannel> = Layer.effect(
  PromptTemplateStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect } = backend
    const templates = Table.make(backend, table, PromptTemplate)
    const addName = dialect.insertIfAbsent(names, ["user_id", "name", "version"], ["user_id", "name"])

    const one = (operation: string, where: string, params: ReadonlyArray<SqlValue>) =>
      Effect.flatMap(
        templates.first(`WHERE ${where}`, params),
        Rows.orNotFound(backend.name, operation, "prompt template")
      )

    const own = (operation: string, user: string, id: string) => one(operation, "id = ? AND user_id = ?", [id, user])

    /** The last version of a name that is there. */
    const lock = (user: string, name: string) =>
      Effect.map(
        backend.query(`SELECT version FROM ${names} WHERE user_id = ? AND name = ?${dialect.forUpdate}`, [user, name]),
        ([row]) => Number(row?.["version"])
      )

    const deactivate = (user: string, name: string) =>
      templates.update({ isActive: false }, "user_id = ? AND name = ? AND is_active = ?", [user, name, true])

    return {
      save: channel.handle(SavePromptTemplate, ({ activate = true, isDefault = false, id, user, ...given }) =>
        Effect.gen(function* () {
          const { name } = given
          yield* backend.execute(addName, [user, name, 0])
          const version = (yield* lock(user, name)) + 1
          yield* backend.enqueue(`UPDATE ${names} SET version = ? WHERE user_id = ? AND name = ?`, [
            version,
            user,
            name
          ])
          if (activate) yield* deactivate(user, name)
          const template: PromptTemplate = {
            ...given,
            id: id ?? Fresh.id(),
            userId: user,
            version,
            isActive: activate,
            isDefault,
            createdAt: yield* Fresh.now
          }
          yield* templates.insert(template)
          return { result: template, ids: [template.id] }
        })
      ),
      activate: channel.handle(ActivatePromptTemplate, ({ id, user }) =>
        Effect.gen(function* () {
          const { name } = yield* own(ActivatePromptTemplate._tag, user, id)
          yield* lock(user, name)
          yield* deactivate(user, name)
          yield* templates.set(id, { isActive: true })
          return { result: yield* own(ActivatePromptTemplate._tag, user, id), ids: [id] }
        })
      ),
      delete: channel.handle(DeletePromptTemplate, (payload) =>
        templates.deleteOwn(DeletePromptTemplate._tag, "prompt template", payload)
      ),
      get: (user, id) => own("PromptTemplateStore.get", user, id),
      getActive: (user, name) =>
        one("PromptTemplateStore.getActive", "user_id = ? AND name = ? AND is_active = ?", [user, name, true]),
      listActive: (user, { section } = {}) =>
        templates.all(
          `WHERE user_id = ? AND is_active = ?${section === undefined ? "" : " AND section = ?"} ORDER BY name`,
          [user, true, ...(section === undefined ? [] : [section])]
        ),
      versions: (user, name, { before = Number.MAX_SAFE_INTEGER, limit } = {}) =>
        Effect.flatMap(
          Page.limit(limit, 50, { backend: backend.name, operation: "PromptTemplateStore.versions" }),
          (size) =>
            templates.all("WHERE user_id = ? AND name = ? AND version < ? ORDER BY version DESC LIMIT ?", [
              user,
              name,
              before,
              size
            ])
        )
    }
  })
)
