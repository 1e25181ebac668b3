/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { SkillStore, skillMerit, successRate } from "../services/SkillStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const insert = (user: string, title: string, maxActive?: number) =>
  Effect.flatMap(SkillStore, (skills) =>
    skills.insert({
      user,
      title,
      content: `how to ${title}`,
      taskType: "build",
      ...(maxActive === undefined ? {} : { maxActive })
    })
  )

const use = (user: string, id: string, outcomes: ReadonlyArray<boolean>) =>
  Effect.flatMap(SkillStore, (skills) =>
    Effect.forEach(outcomes, (succeeded) => skills.recordUse({ user, id, succeeded }), { discard: true })
  )

const activeTitles = (user: string) =>
  Effect.flatMap(SkillStore, (skills) => Effect.map(skills.listActive(user), (all) => all.map(({ title }) => title)))

/**
 * @since 0.1.0
 * @category suites
 */
export const skillSuite: Suite = {
  "a skill says which session and which template it comes from": Effect.gen(function* () {
    const skills = yield* SkillStore
    const user = yield* fresh("user")
    const what = { user, title: "t", content: "c", taskType: "build" }
    const origin = { sourceSessionId: "session", sourceTemplateId: "template" }
    const { skill } = yield* skills.insert({ ...what, ...origin })
    const stored = yield* skills.get(user, skill.id)
    yield* equal(stored, skill)
    yield* equal([stored.sourceSessionId, stored.sourceTemplateId], ["session", "template"])
    const plain = yield* skills.get(user, (yield* skills.insert(what)).skill.id)
    yield* equal([plain.sourceSessionId, plain.sourceTemplateId], [null, null])
  }),

  "uses and successes are counted, and none is lost in a race": Effect.gen(function* () {
    const skills = yield* SkillStore
    const user = yield* fresh("user")
    const { skill } = yield* insert(user, "compile")
    yield* equal([yield* skills.get(user, skill.id), successRate(skill)], [skill, null])
    const racers = Array.from({ length: 12 }, (_, n) => use(user, skill.id, [n % 4 === 0]))
    yield* Effect.all(racers, { concurrency: "unbounded" })
    const used = yield* skills.get(user, skill.id)
    yield* equal([used.usageCount, used.successCount, successRate(used), skillMerit(used)], [12, 3, 0.25, 4 / 14])
  }),

  "a use that is reported again under its key counts once": Effect.gen(function* () {
    const skills = yield* SkillStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const { skill } = yield* insert(user, "compile")
    const report = withIdempotencyKey(key)(skills.recordUse({ user, id: skill.id, succeeded: true }))
    yield* Effect.all([report, report, report], { concurrency: "unbounded" })
    yield* equal((yield* skills.get(user, skill.id)).usageCount, 1)
  }),

  "an insert beyond the limit deactivates the lowest, and never the new one": Effect.gen(function* () {
    const skills = yield* SkillStore
    const user = yield* fresh("user")
    const [good, bad, untried] = yield* Effect.forEach(["good", "bad", "untried"], (title) => insert(user, title, 3))
    yield* use(user, good!.skill.id, [true, true, true, false])
    yield* use(user, bad!.skill.id, [false, false, true, false, false])
    const fourth = yield* insert(user, "fourth", 3)
    yield* equal(fourth.deactivated, [bad!.skill.id])
    const [best, ...others] = yield* activeTitles(user)
    yield* equal([best, others.toSorted()], ["good", ["fourth", "untried"]])
    yield* equal((yield* insert(user, "only", 1)).deactivated.length, 3)
    yield* equal(yield* activeTitles(user), ["only"])
    yield* equal((yield* skills.list(user)).items.length, 5)
    yield* equal((yield* skills.get(user, untried!.skill.id)).active, false)
  }),

  "racing inserts never leave more active than the limit, nor fewer": Effect.gen(function* () {
    const user = yield* fresh("user")
    const racers = Array.from({ length: 10 }, (_, n) => insert(user, `skill ${n}`, 3))
    const inserted = yield* Effect.all(racers, { concurrency: "unbounded" })
    yield* equal((yield* activeTitles(user)).length, 3)
    yield* equal(new Set(inserted.flatMap(({ deactivated }) => deactivated)).size, 7)
  }),

  "a trim under its key deactivates once": Effect.gen(function* () {
    const skills = yield* SkillStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    yield* Effect.forEach(["a", "b", "c"], (title) => insert(user, title))
    const trim = withIdempotencyKey(key)(skills.trim({ user, maxActive: 2 }))
    yield* equal(yield* trim, yield* trim)
    yield* equal((yield* activeTitles(user)).length, 2)
  }),

  "skills are switched on and off, found by task, and paged": Effect.gen(function* () {
    const skills = yield* SkillStore
    const user = yield* fresh("user")
    const made = yield* Effect.forEach(["a", "b", "c"], (title) => insert(user, title))
    const off = yield* skills.setActive({ user, id: made[0]!.skill.id, active: false })
    yield* equal([off.active, (yield* activeTitles(user)).length], [false, 2])
    yield* equal((yield* skills.listActive(user, { taskType: "build" })).length, 2)
    yield* equal(yield* skills.listActive(user, { taskType: "other" }), [])
    const first = yield* skills.list(user, { limit: 2 })
    const second = yield* skills.list(user, { limit: 2, cursor: first.cursor! })
    yield* equal(new Set([...first.items, ...second.items].map(({ id }) => id)).size, 3)
    yield* equal([first.items.length, second.cursor], [2, null])
  }),

  "a skill of somebody else, or none, is NotFound": Effect.gen(function* () {
    const skills = yield* SkillStore
    const [ada, user] = [yield* fresh("ada"), yield* fresh("bob")]
    const { id } = (yield* insert(ada, "hers")).skill
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      skills.get(user, id),
      skills.recordUse({ user, id, succeeded: true }),
      skills.setActive({ user, id, active: false }),
      skills.delete({ user, id })
    ]
    yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
    yield* insert(user, "his", 1)
    const hers = yield* skills.get(ada, id)
    yield* equal([hers.active, hers.usageCount], [true, 0])
    yield* skills.delete({ user: ada, id })
    yield* failsWith("NotFound", skills.delete({ user: ada, id }))
  })
}
