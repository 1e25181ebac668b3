/**
 * Settings of a user: any JSON under a key.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { DbError } from "../errors/index.js"
import { JsonValue, Key, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * A value that a user has set.
 *
 * @since 0.1.0
 * @category models
 */
export const Setting = Schema.Struct({
  key: Key,
  value: JsonValue,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Setting = typeof Setting.Type

/**
 * Writes one setting, new or not.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetSetting = operation("SettingsStore.set", {
  payload: { user: UserId, key: Key, value: JsonValue }
})

/**
 * Writes a setting only if it has the value `expected` (absent = only if it is not there yet); else `DbConflict`.
 *
 * @since 0.1.0
 * @category operations
 */
export const CompareAndSetSetting = operation("SettingsStore.compareAndSet", {
  payload: {
    user: UserId,
    key: Key,
    expected: Schema.optionalWith(JsonValue, { exact: true }),
    value: JsonValue
  }
})

/**
 * Writes each of the settings and leaves the others as they are.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetManySettings = operation("SettingsStore.setMany", {
  payload: { user: UserId, settings: Schema.Record({ key: Key, value: JsonValue }) }
})

/**
 * Makes the given settings all that the user has.
 *
 * @since 0.1.0
 * @category operations
 */
export const ReplaceAllSettings = operation("SettingsStore.replaceAll", {
  payload: { user: UserId, settings: Schema.Record({ key: Key, value: JsonValue }) }
})

/**
 * Succeeds with whether there was one.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSetting = operation("SettingsStore.delete", {
  payload: { user: UserId, key: Key },
  success: Schema.Boolean
})

/**
 * A setting that is not there is `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class SettingsStore extends Context.Tag("effect-db-hub/SettingsStore")<
  SettingsStore,
  {
    readonly set: Submit<typeof SetSetting>
    readonly compareAndSet: Submit<typeof CompareAndSetSetting>
    readonly setMany: Submit<typeof SetManySettings>
    readonly replaceAll: Submit<typeof ReplaceAllSettings>
    readonly delete: Submit<typeof DeleteSetting>
    /** `NotFound` if there is none. */
    readonly get: (user: string, key: string) => Effect.Effect<Setting, DbError>
    /** Ordered by key. */
    readonly list: (user: string) => Effect.Effect<ReadonlyArray<Setting>, DbError>
    /** Whether the user has any setting. */
    readonly has: (user: string) => Effect.Effect<boolean, DbError>
    /** The settings that change, as they are after each change; one that was deleted is left out. */
    readonly watch: (user: string, key?: string) => Stream.Stream<Setting, DbError>
  }
>() {}
