/**
 * How secrets are sealed and opened.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { ConfigError } from "../../errors/index.js"
import { previousSecretsKeys, type SealedSecret, secretsKey } from "../../services/SecretStore.js"

/**
 * What a value is sealed for: it opens for nothing else.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  readonly user: string
  readonly name: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface MasterKey {
  readonly id: string
  readonly key: Redacted.Redacted<Buffer>
}

/**
 * The present master key, and all that open, by id.
 *
 * @since 0.1.0
 * @category models
 */
export interface KeyRing {
  readonly present: MasterKey
  readonly byId: ReadonlyMap<string, MasterKey>
}

const leastBytes = 32
const [keyBytes, nonceBytes, tagBytes] = [32, 12, 16]

const derive = (key: Buffer, salt: Uint8Array, purpose: string, length: number): Buffer =>
  Buffer.from(NodeCrypto.hkdfSync("sha256", key, salt, `effect-db-hub secrets ${purpose}`, length))

const refuse = (key: string, problem: string) =>
  new ConfigError({
    operation: "SecretStore",
    key,
    code: "HUB_SECRETS_KEY",
    message: `${key} ${problem}; a master key is a text of at least ${leastBytes} bytes, such as what \`openssl rand -base64 32\` prints`
  })

const masterKey = (variable: string, text: Redacted.Redacted): Effect.Effect<MasterKey, ConfigError> => {
  const key = Buffer.from(Redacted.value(text), "utf8")
  return key.length < leastBytes
    ? Effect.fail(refuse(variable, "is too short"))
    : Effect.succeed({ id: derive(key, Buffer.alloc(0), "id", 8).toString("hex"), key: Redacted.make(key) })
}

/** Only what is missing is unset: what cannot be read is no reason to go on without it. */
const given = <A>(name: string, config: Config.Config<A>): Effect.Effect<Option.Option<A>, ConfigError> =>
  Effect.mapError(Config.option(config), () => refuse(name, "cannot be read"))

/**
 * The master keys of the configuration.
 *
 * @since 0.1.0
 * @category constructors
 */
export const keyRing: Effect.Effect<KeyRing, ConfigError> = Effect.gen(function* () {
  const text = yield* given(secretsKey, Config.redacted(Config.nonEmptyString(secretsKey)))
  if (Option.isNone(text)) return yield* refuse(secretsKey, "is not set, and secrets need it")
  const present = yield* masterKey(secretsKey, text.value)
  const previous = yield* given(previousSecretsKeys, Config.array(Config.redacted(), previousSecretsKeys))
  const earlier = yield* Effect.forEach(
    Option.getOrElse(previous, () => []),
    (key) => masterKey(previousSecretsKeys, key)
  )
  return { present, byId: new Map([...earlier, present].map((key) => [key.id, key])) }
})

/** The key and the nonce of one secret: a salt is never used for two values. */
const keysOf = (master: MasterKey, salt: Uint8Array) => {
  const derived = derive(Redacted.value(master.key), salt, "sealing", keyBytes + nonceBytes)
  return { key: derived.subarray(0, keyBytes), nonce: derived.subarray(keyBytes) }
}

/** What is not secret and must be as it was. */
const bound = (keyId: string, { name, user }: Place): Buffer => Buffer.from(JSON.stringify([keyId, user, name]))

/**
 * Seals a value, each time with another salt; a write that is sent again under its idempotency key must be the same, and
 * so has a salt made of all that it is.
 *
 * @since 0.1.0
 * @category sealing
 */
export const seal = (
  master: MasterKey,
  place: Place,
  value: Redacted.Redacted,
  idempotencyKey: string | undefined
): SealedSecret => {
  const text = Redacted.value(value)
  const salt =
    idempotencyKey === undefined
      ? NodeCrypto.randomBytes(32)
      : NodeCrypto.createHmac("sha256", derive(Redacted.value(master.key), Buffer.alloc(0), "salts", keyBytes))
          .update(JSON.stringify([idempotencyKey, place.user, place.name, text]))
          .digest()
  const { key, nonce } = keysOf(master, salt)
  const cipher = NodeCrypto.createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(bound(master.id, place))
  const data = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()])
  return { keyId: master.id, salt, data }
}

/**
 * The value, or undefined if it was sealed with another key or for another place, or is not what was sealed.
 *
 * @since 0.1.0
 * @category sealing
 */
export const open = (
  master: MasterKey,
  place: Place,
  { data, keyId, salt }: SealedSecret
): Redacted.Redacted | undefined => {
  const end = data.length - tagBytes
  if (end < 0) return undefined
  const { key, nonce } = keysOf(master, salt)
  const decipher = NodeCrypto.createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(bound(keyId, place))
  decipher.setAuthTag(data.subarray(end))
  try {
    return Redacted.make(Buffer.concat([decipher.update(data.subarray(0, end)), decipher.final()]).toString("utf8"))
  } catch (_notAuthentic) {
    return undefined
  }
}
