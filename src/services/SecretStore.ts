/**
 * Secrets of a user, such as tokens for other services: sealed before they leave the process that puts them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Key, optional, Timestamp, type UnreadableRow, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * The variable of the master key, which seals and opens secrets: at least 32 bytes of text, such as what
 * `openssl rand -base64 32` prints. It is read from the `ConfigProvider` whenever it is needed, and never kept.
 *
 * @since 0.1.0
 * @category constants
 */
export const secretsKey = "DB_HUB_SECRETS_KEY"

/**
 * The variable of earlier master keys, with commas between them: they open what they sealed until it is rotated.
 *
 * @since 0.1.0
 * @category constants
 */
export const previousSecretsKeys = "DB_HUB_SECRETS_PREVIOUS_KEYS"

/**
 * What is told of a secret: everything but its value.
 *
 * @since 0.1.0
 * @category models
 */
export const SecretInfo = Schema.Struct({
  name: Key,
  /** Whose secret it is to the world outside, such as `github`. */
  provider: Schema.NullOr(Key),
  /** Which master key sealed it; tells nothing else of the key. */
  keyId: Key,
  /** Uses that were recorded. */
  usageCount: Count,
  createdAt: Timestamp,
  /** When its value was last put. */
  updatedAt: Timestamp,
  expiresAt: Schema.NullOr(Timestamp),
  lastUsedAt: Schema.NullOr(Timestamp)
})

/**
 * @since 0.1.0
 * @category models
 */
export type SecretInfo = typeof SecretInfo.Type

/**
 * A value that only its master key opens, and only for the owner and name that it was sealed for: AES-256-GCM under a
 * key that HKDF makes of the master key and the salt.
 *
 * @since 0.1.0
 * @category models
 */
export const SealedSecret = Schema.Struct({
  keyId: Key,
  salt: Schema.Uint8ArrayFromBase64,
  data: Schema.Uint8ArrayFromBase64
})

/**
 * @since 0.1.0
 * @category models
 */
export type SealedSecret = typeof SealedSecret.Type

/**
 * A secret as it is put, before it is sealed.
 *
 * @since 0.1.0
 * @category models
 */
export interface NewSecret {
  readonly user: string
  readonly name: string
  /** Any text of well-formed Unicode. */
  readonly value: Redacted.Redacted
  readonly provider?: string | null
  readonly expiresAt?: Date | null
}

/**
 * Seals a value and puts it under its name, over the one that was there; uses go on being counted. Succeeds with what is
 * told of it. `ConfigError` without a master key.
 *
 * @since 0.1.0
 * @category operations
 */
export const PutSecret = operation("SecretStore.put", {
  payload: {
    user: UserId,
    name: Key,
    sealed: SealedSecret,
    provider: optional(Schema.NullOr(Key)),
    expiresAt: optional(Schema.NullOr(Timestamp))
  },
  success: SecretInfo
})

/**
 * Counts a use of a secret, as when it was sent to its provider.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordSecretUse = operation("SecretStore.recordUse", { payload: { user: UserId, name: Key } })

/**
 * Succeeds with whether there was one.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSecret = operation("SecretStore.deleteIfExists", {
  payload: { user: UserId, name: Key },
  success: Schema.Boolean
})

/**
 * The secrets of a user; somebody else's are `NotFound`. Neither a value nor a master key is ever in the database, the
 * change feed, a log or an error.
 *
 * @since 0.1.0
 * @category tags
 */
export class SecretStore extends Context.Tag("effect-db-hub/SecretStore")<
  SecretStore,
  {
    readonly put: (secret: NewSecret) => Effect.Effect<SecretInfo, DbError>
    readonly recordUse: Submit<typeof RecordSecretUse>
    readonly deleteIfExists: Submit<typeof DeleteSecret>
    /**
     * The value. `NotFound` if there is none, or it has expired; `ConfigError` without the master key that sealed it;
     * `DbCorrupt` if its row was changed since, or is that of another owner or name.
     */
    readonly get: (user: string, name: string) => Effect.Effect<Redacted.Redacted, DbError>
    /** What is told of one, expired or not; `NotFound` if there is none. */
    readonly info: (user: string, name: string) => Effect.Effect<SecretInfo, DbError>
    /** All of them, expired or not, by name. */
    readonly list: (user: string) => Effect.Effect<ReadonlyArray<SecretInfo>, DbError>
  }
>() {}

/**
 * The secrets of all users, for whoever keeps the master key.
 *
 * @since 0.1.0
 * @category tags
 */
export class SecretStoreAdmin extends Context.Tag("effect-db-hub/SecretStoreAdmin")<
  SecretStoreAdmin,
  {
    /**
     * Seals anew, under the present master key, what an earlier one sealed; succeeds with how many, and with those that
     * no key opens. Each is a write of its own, so what was cut short goes on where it stopped.
     */
    readonly rotate: Effect.Effect<
      { readonly rotated: number; readonly unreadable: ReadonlyArray<UnreadableRow> },
      DbError
    >
  }
>() {}
