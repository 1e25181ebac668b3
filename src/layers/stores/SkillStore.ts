/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend } from "../../services/Backend.js"
import {
  DeleteSkill,
  InsertSkill,
  RecordSkillUse,
  SetSkillActive,
  Skill,
  SkillStore,
  skillMerit,
  TrimSkills
} from "../../services/SkillStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { compareCodePoints } from "../../vector/index.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_skills"

/** One row per user, locked by whoever counts that user's active skills. */
const libraries = "db_hub_skill_libraries"

const lowestFirst = (a: Skill, b: Skill): number =>
  skillMerit(a) - skillMerit(b) ||
  a.usageCount - b.usageCount ||
  a.createdAt.getTime() - b.createdAt.getTime() ||
  compareCodePoints(a.id, b.id)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SkillStore, never, Backend | WriteChannel> = Layer.effect(
  SkillStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const skills = Table.make(backend, table, Skill)

    const own = (operation: string, user: string, id: string) =>
      Effect.flatMap(
        skills.first("WHERE id = ? AND user_id = ?", [id, user]),
        Rows.orNotFound(backend.name, operation, "skill")
      )

    const active = (user: string, taskType?: string) =>
      skills.all(`WHERE user_id = ? AND active = ?${taskType === undefined ? "" : " AND task_type = ?"}`, [
        user,
        true,
        ...(taskType === undefined ? [] : [taskType])
      ])

    const lock = Owner.make(backend, libraries)

    /** Deactivates the lowest of a locked library, so that `keep` is not one of them. */
    const trim = (user: string, maxActive: number, keep?: string) =>
      Effect.gen(function* () {
        const all = yield* active(user)
        const excess = all
          .filter(({ id }) => id !== keep)
          .sort(lowestFirst)
          .slice(0, Math.max(0, all.length - maxActive))
          .map(({ id }) => id)
        const updatedAt = yield* Fresh.now
        yield* Effect.forEach(excess, (id) => skills.set(id, { active: false, updatedAt }))
        return excess
      })

    return {
      insert: channel.handle(InsertSkill, ({ id, maxActive, user, ...given }) =>
        Effect.gen(function* () {
          const now = yield* Fresh.now
          const skill: Skill = {
            sourceSessionId: null,
            sourceTemplateId: null,
            ...given,
            id: id ?? Fresh.id(),
            userId: user,
            active: true,
            usageCount: 0,
            successCount: 0,
            createdAt: now,
            updatedAt: now
          }
          yield* lock(user)
          yield* skills.insert(skill)
          const deactivated = maxActive === undefined ? [] : yield* trim(user, maxActive, skill.id)
          return { result: { skill, deactivated }, ids: [skill.id, ...deactivated] }
        })
      ),
      trim: channel.handle(TrimSkills, ({ maxActive, user }) =>
        Effect.map(Effect.zipRight(lock(user), trim(user, maxActive)), (ids) => ({ result: ids, ids }))
      ),
      recordUse: channel.handle(RecordSkillUse, ({ id, succeeded, user }) =>
        Effect.gen(function* () {
          yield* backend.enqueue(
            `UPDATE ${table} SET usage_count = usage_count + 1, success_count = success_count + ?, updated_at = ?
             WHERE id = ? AND user_id = ?`,
            [succeeded ? 1 : 0, yield* Fresh.now, id, user]
          )
          return { result: yield* own(RecordSkillUse._tag, user, id), ids: [id] }
        })
      ),
      setActive: channel.handle(SetSkillActive, ({ active, id, user }) =>
        Effect.gen(function* () {
          yield* lock(user)
          yield* skills.update({ active, updatedAt: yield* Fresh.now }, "id = ? AND user_id = ?", [id, user])
          return { result: yield* own(SetSkillActive._tag, user, id), ids: [id] }
        })
      ),
      delete: channel.handle(DeleteSkill, (payload) => skills.deleteOwn(DeleteSkill._tag, "skill", payload)),
      get: (user, id) => own("SkillStore.get", user, id),
      listActive: (user, { taskType } = {}) =>
        Effect.map(active(user, taskType), (all) => all.toSorted((a, b) => lowestFirst(b, a))),
      list: (user, options = {}) => skills.newest("SkillStore.list", "createdAt", [["user_id = ?", user]], options)
    }
  })
)
