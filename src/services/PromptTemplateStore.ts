/**
 * Prompts by name, in versions of which one is active.
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
 * One version of a prompt.
 *
 * @since 0.1.0
 * @category models
 */
export const PromptTemplate = Schema.Struct({
  id: Id,
  userId: UserId,
  name: Key,
  /** The part of the conversation that it is for, such as `system`. */
  section: Key,
  content: Text,
  /** Versions of a name count from 1; the number of a deleted one is not used again. */
  version: Count,
  isActive: Schema.Boolean,
  /** Whether the program brought it along. */
  isDefault: Schema.Boolean,
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type PromptTemplate = typeof PromptTemplate.Type

/**
 * Adds a version, and makes it the active one unless `activate` is false.
 *
 * @since 0.1.0
 * @category operations
 */
export const SavePromptTemplate = operation("PromptTemplateStore.save", {
  payload: {
    user: UserId,
    id: optional(Id),
    name: Key,
    section: Key,
    content: Text,
    activate: optional(Schema.Boolean),
    isDefault: optional(Schema.Boolean)
  },
  success: PromptTemplate
})

/**
 * Makes a version the active one of its name.
 *
 * @since 0.1.0
 * @category operations
 */
export const ActivatePromptTemplate = operation("PromptTemplateStore.activate", {
  payload: { user: UserId, id: Id },
  success: PromptTemplate
})

/**
 * Deletes a version. After the active one, its name has none until another is activated.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeletePromptTemplate = operation("PromptTemplateStore.delete", {
  payload: { user: UserId, id: Id }
})

/**
 * The prompts of a user; somebody else's, and missing ones, are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class PromptTemplateStore extends Context.Tag("effect-db-hub/PromptTemplateStore")<
  PromptTemplateStore,
  {
    readonly save: Submit<typeof SavePromptTemplate>
    readonly activate: Submit<typeof ActivatePromptTemplate>
    readonly delete: Submit<typeof DeletePromptTemplate>
    /** `NotFound` if there is none of the user's. */
    readonly get: (user: string, id: string) => Effect.Effect<PromptTemplate, DbError>
    /** The version of that name that is in use; `NotFound` if none is. */
    readonly getActive: (user: string, name: string) => Effect.Effect<PromptTemplate, DbError>
    /** The active version of each name, ordered by name; with `section`, those for it. */
    readonly listActive: (
      user: string,
      options?: { readonly section?: string }
    ) => Effect.Effect<ReadonlyArray<PromptTemplate>, DbError>
    /** Newest first, 50 by default; `before` takes the last version seen. */
    readonly versions: (
      user: string,
      name: string,
      options?: { readonly limit?: number; readonly before?: number }
    ) => Effect.Effect<ReadonlyArray<PromptTemplate>, DbError>
  }
>() {}
