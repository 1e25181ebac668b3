/**
 * What agents have learned to do, and how well it works.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, Key, optional, type Page, type PageOptions, Text, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * What an agent has learned to do, and how often it worked.
 *
 * @since 0.1.0
 * @category models
 */
export const Skill = Schema.Struct({
  id: Id,
  userId: UserId,
  title: Key,
  content: Text,
  taskType: Key,
  sourceSessionId: Schema.NullOr(Id),
  sourceTemplateId: Schema.NullOr(Id),
  active: Schema.Boolean,
  usageCount: Count,
  successCount: Count,
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Skill = typeof Skill.Type

/**
 * The share of uses that succeeded, from 0 to 1; null before the first use.
 *
 * @since 0.1.0
 * @category getters
 */
export const successRate = ({ successCount, usageCount }: Pick<Skill, "successCount" | "usageCount">): number | null =>
  usageCount === 0 ? null : successCount / usageCount

/**
 * What a skill is ranked by: `(successes + 1) / (uses + 2)`, so that one which was never tried stands in the middle, and
 * one lucky use does not outweigh a hundred good ones.
 *
 * @since 0.1.0
 * @category getters
 */
export const skillMerit = ({ successCount, usageCount }: Pick<Skill, "successCount" | "usageCount">): number =>
  (successCount + 1) / (usageCount + 2)

const MaxActive = Schema.Int.pipe(Schema.between(1, 1000))

/**
 * Adds an active skill. With `maxActive`, the lowest of the others (by `skillMerit`, then uses, then age) are
 * deactivated in the same transaction until no more than that are active.
 *
 * @since 0.1.0
 * @category operations
 */
export const InsertSkill = operation("SkillStore.insert", {
  payload: {
    user: UserId,
    id: optional(Id),
    title: Key,
    content: Text,
    taskType: Key,
    sourceSessionId: optional(Id),
    sourceTemplateId: optional(Id),
    maxActive: optional(MaxActive)
  },
  success: Schema.Struct({ skill: Skill, deactivated: Schema.Array(Id) })
})

/**
 * Deactivates the lowest active skills until no more than `maxActive` are left; succeeds with their ids.
 *
 * @since 0.1.0
 * @category operations
 */
export const TrimSkills = operation("SkillStore.trim", {
  payload: { user: UserId, maxActive: MaxActive },
  success: Schema.Array(Id)
})

/**
 * Counts a use and whether it succeeded.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordSkillUse = operation("SkillStore.recordUse", {
  payload: { user: UserId, id: Id, succeeded: Schema.Boolean },
  success: Skill
})

/**
 * Takes a skill into use, or out of it. `NotFound` if there is none of the user's.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetSkillActive = operation("SkillStore.setActive", {
  payload: { user: UserId, id: Id, active: Schema.Boolean },
  success: Skill
})

/**
 * Deletes a skill. `NotFound` if there is none of the user's.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSkill = operation("SkillStore.delete", {
  payload: { user: UserId, id: Id }
})

/**
 * The skills of a user's agents; somebody else's, and missing ones, are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class SkillStore extends Context.Tag("effect-db-hub/SkillStore")<
  SkillStore,
  {
    readonly insert: Submit<typeof InsertSkill>
    readonly trim: Submit<typeof TrimSkills>
    readonly recordUse: Submit<typeof RecordSkillUse>
    readonly setActive: Submit<typeof SetSkillActive>
    readonly delete: Submit<typeof DeleteSkill>
    /** `NotFound` if there is none of the user's. */
    readonly get: (user: string, id: string) => Effect.Effect<Skill, DbError>
    /** The active ones, best first; with `taskType`, those for it. */
    readonly listActive: (
      user: string,
      options?: { readonly taskType?: string }
    ) => Effect.Effect<ReadonlyArray<Skill>, DbError>
    /** Active or not, newest first. */
    readonly list: (user: string, options?: PageOptions) => Effect.Effect<Page<Skill>, DbError>
  }
>() {}
