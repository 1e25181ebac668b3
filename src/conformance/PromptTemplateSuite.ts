/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { PromptTemplateStore } from "../services/PromptTemplateStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const save = (user: string, name: string, content: string, options: { readonly activate?: boolean } = {}) =>
  Effect.flatMap(PromptTemplateStore, (prompts) => prompts.save({ user, name, section: "system", content, ...options }))

/**
 * @since 0.1.0
 * @category suites
 */
export const promptTemplateSuite: Suite = {
  "each save is a version, and the last one is active unless it says otherwise": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    yield* save(user, "greeting", "one")
    const two = yield* save(user, "greeting", "two")
    yield* save(user, "greeting", "three", { activate: false })
    yield* equal(yield* prompts.getActive(user, "greeting"), two)
    const page = yield* prompts.versions(user, "greeting", { limit: 2 })
    const rest = yield* prompts.versions(user, "greeting", { before: page[1]!.version })
    yield* equal(
      [...page, ...rest].map(({ content, isActive, version }) => [version, content, isActive]),
      [
        [3, "three", false],
        [2, "two", true],
        [1, "one", false]
      ]
    )
  }),

  "an older version can be made active again, and then it is the only one": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    const one = yield* save(user, "greeting", "one")
    yield* save(user, "greeting", "two")
    const other = yield* save(user, "parting", "bye")
    yield* equal((yield* prompts.activate({ user, id: one.id })).isActive, true)
    const active = yield* prompts.listActive(user)
    yield* equal(
      active.map(({ id }) => id),
      [one.id, other.id]
    )
  }),

  "racing saves have versions of their own, and one is active": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    const racers = Array.from({ length: 10 }, (_, n) => save(user, "greeting", `text ${n}`))
    const saved = yield* Effect.all(racers, { concurrency: "unbounded" })
    yield* equal(
      saved.map(({ version }) => version).sort((a, b) => a - b),
      Array.from({ length: 10 }, (_, n) => n + 1)
    )
    const activations = saved.map(({ id }) => prompts.activate({ user, id }))
    yield* Effect.all(activations, { concurrency: "unbounded" })
    const versions = yield* prompts.versions(user, "greeting")
    yield* equal(versions.filter(({ isActive }) => isActive).length, 1)
  }),

  "the number of a deleted version is not used again": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    yield* save(user, "greeting", "one")
    const two = yield* save(user, "greeting", "two")
    yield* prompts.delete({ user, id: two.id })
    yield* failsWith("NotFound", prompts.getActive(user, "greeting"))
    yield* equal((yield* save(user, "greeting", "three")).version, 3)
  }),

  "active prompts are listed by code point of their names": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    for (const name of ["b", "B", "\u{1F600}", "ä", "a", "\uFF5E"]) yield* save(user, name, "text")
    yield* equal(
      (yield* prompts.listActive(user)).map(({ name }) => name),
      ["B", "a", "b", "ä", "\uFF5E", "\u{1F600}"]
    )
  }),

  "active prompts are listed by section": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const user = yield* fresh("user")
    yield* save(user, "greeting", "one")
    const made = yield* prompts.save({ user, name: "b", section: "tools", content: "use them", isDefault: true })
    yield* equal(yield* prompts.listActive(user, { section: "tools" }), [made])
    yield* equal(yield* prompts.listActive(user, { section: "none" }), [])
  }),

  "a prompt of somebody else, or none, is NotFound": Effect.gen(function* () {
    const prompts = yield* PromptTemplateStore
    const [ada, user] = [yield* fresh("ada"), yield* fresh("bob")]
    const { id } = yield* save(ada, "greeting", "hers")
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      prompts.get(user, id),
      prompts.getActive(user, "greeting"),
      prompts.activate({ user, id }),
      prompts.delete({ user, id })
    ]
    yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
    yield* equal(yield* prompts.versions(user, "greeting"), [])
    yield* equal((yield* save(user, "greeting", "his")).version, 1)
    yield* equal((yield* prompts.getActive(ada, "greeting")).content, "hers")
  })
}
