/**
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { ConfigError, type DbCorrupt, type DbError, invalidInput } from "../../errors/index.js"
import { Backend } from "../../services/Backend.js"
import { Key, type UnreadableRow, UserId } from "../../services/Model.js"
import {
  DeleteSecret,
  PutSecret,
  previousSecretsKeys,
  RecordSecretUse,
  SealedSecret,
  SecretInfo,
  SecretStore,
  SecretStoreAdmin,
  secretsKey
} from "../../services/SecretStore.js"
import { IdempotencyKey, operation, WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Seal from "./SecretSeal.js"
import * as Table from "./Table.js"

const table = "db_hub_secrets"

const SecretRow = Schema.Struct({
  ...SecretInfo.fields,
  userId: UserId,
  salt: Schema.Uint8ArrayFromSelf,
  data: Schema.Uint8ArrayFromSelf
})

/** Replaces what is sealed, unless it was put anew since it was read. */
const ResealSecret = operation("SecretStoreAdmin.rotate", {
  payload: { user: UserId, name: Key, before: Schema.Uint8ArrayFromBase64, sealed: SealedSecret },
  success: Schema.Boolean
})

/** Secrets that are read at once to be sealed anew. */
const batch = 100

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SecretStore | SecretStoreAdmin, never, Backend | WriteChannel> = Layer.effectContext(
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const key = ["user_id", "name"]
    const secrets = Table.make(backend, table, SecretRow, { key })
    const infos = Table.make(backend, table, SecretInfo, { key })

    const orNotFound = (operation: string) => Rows.orNotFound(backend.name, operation, "secret")

    const put = channel.handle(PutSecret, ({ expiresAt = null, name, provider = null, sealed, user }) =>
      Effect.gen(function* () {
        const now = yield* Fresh.now
        const change = { ...sealed, provider, expiresAt, updatedAt: now }
        const fresh = { ...change, userId: user, name, usageCount: 0, createdAt: now }
        const where = "user_id = ? AND name = ?"
        const made = yield* secrets.firstOrInsert(PutSecret._tag, fresh, key, where, [user, name])
        if ("found" in made) yield* secrets.update(change, where, [user, name])
        const { createdAt, lastUsedAt, usageCount } = "found" in made ? made.found : { ...fresh, lastUsedAt: null }
        const { keyId } = sealed
        return {
          result: { name, provider, keyId, usageCount, createdAt, updatedAt: now, expiresAt, lastUsedAt },
          ids: [idOf(user, name)]
        }
      })
    )

    const reseal = channel.handle(ResealSecret, ({ before, name, sealed, user }) =>
      Effect.map(secrets.update(sealed, "user_id = ? AND name = ? AND salt = ?", [user, name, before]), (updated) => ({
        result: updated === 1,
        ids: updated === 1 ? [idOf(user, name)] : []
      }))
    )

    const open = (
      operation: string,
      ring: Seal.KeyRing,
      secret: typeof SecretRow.Type
    ): Effect.Effect<Redacted.Redacted, ConfigError | DbCorrupt> => {
      const master = ring.byId.get(secret.keyId)
      if (master === undefined) return Effect.fail(unknownKey(backend.name, operation, secret.keyId))
      const value = Seal.open(master, { user: secret.userId, name: secret.name }, secret)
      return value === undefined
        ? Effect.fail(secrets.unreadable(secret.name, "cannot be opened, since it is not what was sealed"))
        : Effect.succeed(value)
    }

    /** Seals one secret anew; succeeds with whether it did, or with what is wrong with it. */
    const rotateOne = (
      ring: Seal.KeyRing,
      secret: typeof SecretRow.Type
    ): Effect.Effect<boolean | UnreadableRow, DbError> =>
      Effect.matchEffect(open(ResealSecret._tag, ring, secret), {
        onFailure: ({ message }) => Effect.succeed({ table, id: secret.name, problem: message }),
        onSuccess: (value) => {
          const { name, salt, userId: user } = secret
          return reseal({ user, name, before: salt, sealed: Seal.seal(ring.present, { user, name }, value, undefined) })
        }
      })

    const rotate = Effect.gen(function* () {
      const ring = yield* Seal.keyRing
      const unreadable: Array<UnreadableRow> = []
      let rotated = 0
      for (let after: ReadonlyArray<string> = ["", ""]; ; ) {
        const rest = `WHERE (user_id, name) > (?, ?) ORDER BY user_id, name LIMIT ${batch}`
        const names = yield* backend.query(`SELECT user_id, name FROM ${table} ${rest}`, after)
        const read = yield* secrets.readable(rest, after)
        unreadable.push(...read.unreadable)
        for (const secret of read.rows.filter(({ keyId }) => keyId !== ring.present.id)) {
          const done = yield* rotateOne(ring, secret)
          if (typeof done === "object") unreadable.push(done)
          else if (done) rotated++
        }
        const last = names.at(-1)
        if (last === undefined || names.length < batch) return { rotated, unreadable }
        after = [String(last["user_id"]), String(last["name"])]
      }
    })

    const store: SecretStore["Type"] = {
      put: ({ value, ...secret }) =>
        Effect.gen(function* () {
          const ring = yield* Seal.keyRing
          if (!Redacted.isRedacted(value) || typeof Redacted.value(value) !== "string") {
            return yield* refused("is no redacted text", backend.name)
          }
          if (!Redacted.value(value).isWellFormed()) return yield* refused("has a lone surrogate", backend.name)
          return yield* put({ ...secret, sealed: Seal.seal(ring.present, secret, value, yield* IdempotencyKey) })
        }),
      recordUse: channel.handle(RecordSecretUse, ({ name, user }) =>
        Effect.gen(function* () {
          const { rowsAffected } = yield* backend.execute(
            `UPDATE ${table} SET usage_count = usage_count + 1, last_used_at = ? WHERE user_id = ? AND name = ?`,
            [yield* Fresh.now, user, name]
          )
          yield* orNotFound(RecordSecretUse._tag)(rowsAffected === 0 ? undefined : name)
          return { result: undefined, ids: [idOf(user, name)] }
        })
      ),
      deleteIfExists: channel.handle(DeleteSecret, ({ name, user }) =>
        Effect.map(
          backend.execute(`DELETE FROM ${table} WHERE user_id = ? AND name = ?`, [user, name]),
          ({ rowsAffected }) => ({ result: rowsAffected === 1, ids: rowsAffected === 1 ? [idOf(user, name)] : [] })
        )
      ),
      get: (user, name) =>
        Effect.gen(function* () {
          const operation = "SecretStore.get"
          const found = yield* secrets.first("WHERE user_id = ? AND name = ?", [user, name])
          const now = yield* Fresh.now
          const alive = found?.expiresAt != null && found.expiresAt <= now ? undefined : found
          const secret = yield* orNotFound(operation)(alive)
          return yield* open(operation, yield* Seal.keyRing, secret)
        }),
      info: (user, name) =>
        Effect.flatMap(infos.first("WHERE user_id = ? AND name = ?", [user, name]), orNotFound("SecretStore.info")),
      list: (user) => infos.all("WHERE user_id = ? ORDER BY name", [user])
    }

    return Context.make(SecretStore, store).pipe(Context.add(SecretStoreAdmin, { rotate }))
  })
)

/** A secret has no id of its own; in the change feed it is named by its owner and name. */
const idOf = (user: string, name: string): string => JSON.stringify([user, name])

const refused = (problem: string, backend: string) =>
  invalidInput({ operation: PutSecret._tag, backend }, "value", problem, "Redacted.make of well-formed text")

const unknownKey = (backend: string, operation: string, keyId: string) =>
  new ConfigError({
    backend,
    operation,
    key: previousSecretsKeys,
    code: "HUB_SECRETS_KEY",
    message: `The secret was sealed with master key ${keyId}, which is neither in ${secretsKey} nor in ${previousSecretsKeys}`
  })
