/**
 * @since 0.1.0
 */
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Backend } from "../services/Backend.js"
import { previousSecretsKeys, SecretStore, SecretStoreAdmin, secretsKey } from "../services/SecretStore.js"
import { WriteChannel, withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/** The master keys of a program: the present one first. */
const withKeys = (...keys: ReadonlyArray<string>) => {
  const [present, ...previous] = keys
  const variables = new Map<string, string>()
  if (present !== undefined) variables.set(secretsKey, present)
  if (previous.length > 0) variables.set(previousSecretsKeys, previous.join(","))
  return Effect.withConfigProvider(ConfigProvider.fromMap(variables))
}

const aKey = Effect.map(fresh("key"), (key) => key.padEnd(40, "0"))

const put = (user: string, name: string, value: string) =>
  Effect.flatMap(SecretStore, (secrets) => secrets.put({ user, name, value: Redacted.make(value) }))

const value = (user: string, name: string) =>
  Effect.flatMap(SecretStore, (secrets) => Effect.map(secrets.get(user, name), Redacted.value))

const row = (user: string, name: string) =>
  Effect.flatMap(Backend, (backend) =>
    Effect.map(
      backend.query("SELECT salt, data FROM db_hub_secrets WHERE user_id = ? AND name = ?", [user, name]),
      ([row]) => ({ salt: row!["salt"] as Uint8Array, data: row!["data"] as Uint8Array })
    )
  )

/** Everything in a failure that somebody may print. */
const printed = (error: unknown): string => `${String(error)} ${JSON.stringify(error)} ${(error as Error).stack}`

/**
 * @since 0.1.0
 * @category suites
 */
export const secretSuite: Suite = {
  "a value comes back as it was put, redacted, and is told of without it": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const user = yield* fresh("user")
    yield* Effect.gen(function* () {
      for (const text of ["hunter2", "", " \n", "пароль 🔑", "x".repeat(1_000_000)]) {
        yield* put(user, "n", text)
        yield* equal(yield* value(user, "n"), text)
      }
      const expiresAt = new Date("2100-01-02T03:04:05.678Z")
      const given = { user, name: "github", provider: "GitHub", value: Redacted.make("hunter2"), expiresAt }
      const told = yield* secrets.put(given)
      yield* equal(yield* secrets.info(user, "github"), told)
      yield* equal(
        [told.name, told.provider, told.expiresAt, told.usageCount, told.lastUsedAt, told.keyId.length],
        ["github", "GitHub", expiresAt, 0, null, 16]
      )
      yield* equal(String(yield* secrets.get(user, "github")), "<redacted>")
      yield* equal(JSON.stringify(yield* secrets.list(user)).includes("hunter2"), false)
    }).pipe(withKeys(yield* aKey))
  }),

  "the same value is sealed differently each time, and is nowhere in its row": Effect.gen(function* () {
    const user = yield* fresh("user")
    const text = "a value that would be seen"
    yield* Effect.forEach(["a", "b"], (name) => put(user, name, text)).pipe(withKeys(yield* aKey))
    const [a, b] = [yield* row(user, "a"), yield* row(user, "b")]
    yield* equal([Buffer.compare(a.data, b.data) === 0, Buffer.compare(a.salt, b.salt) === 0], [false, false])
    yield* equal([a.data.length, Buffer.from(a.data).includes("value")], [Buffer.byteLength(text) + 16, false])
  }),

  "a value is replaced, and its uses go on being counted, none lost": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const user = yield* fresh("user")
    yield* Effect.gen(function* () {
      const first = yield* put(user, "n", "one")
      yield* Effect.replicateEffect(secrets.recordUse({ user, name: "n" }), 8, { concurrency: "unbounded" })
      const second = yield* put(user, "n", "two")
      yield* equal([second.createdAt, second.usageCount, second.lastUsedAt !== null], [first.createdAt, 8, true])
      yield* equal(yield* secrets.list(user), [second])
      yield* equal(yield* value(user, "n"), "two")
      const racers = Array.from({ length: 8 }, (_, n) => put(user, "raced", `value ${n}`))
      yield* Effect.all(racers, { concurrency: "unbounded" })
      yield* equal((yield* value(user, "raced")).startsWith("value "), true)
      yield* failsWith("NotFound", secrets.recordUse({ user, name: "none" }))
    }).pipe(withKeys(yield* aKey))
  }),

  "secrets are listed by name, and deleted once": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const user = yield* fresh("user")
    yield* Effect.forEach(["b", "B", "ä", "a"], (name) => put(user, name, "x")).pipe(withKeys(yield* aKey))
    yield* equal(
      (yield* secrets.list(user)).map(({ name }) => name),
      ["B", "a", "b", "ä"]
    )
    const remove = secrets.deleteIfExists({ user, name: "a" })
    yield* equal([yield* remove, yield* remove], [true, false])
    yield* failsWith("NotFound", secrets.info(user, "a"))
  }),

  "what has expired is told of, but its value is NotFound": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const user = yield* fresh("user")
    yield* Effect.gen(function* () {
      const expired = { user, name: "n", value: Redacted.make("x"), expiresAt: new Date(0) }
      yield* secrets.put(expired)
      yield* failsWith("NotFound", secrets.get(user, "n"))
      yield* equal((yield* secrets.info(user, "n")).expiresAt, new Date(0))
      yield* put(user, "n", "anew")
      yield* equal([yield* value(user, "n"), (yield* secrets.info(user, "n")).expiresAt], ["anew", null])
    }).pipe(withKeys(yield* aKey))
  }),

  "a secret of somebody else is NotFound": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const [ada, user] = [yield* fresh("ada"), yield* fresh("bob")]
    yield* Effect.gen(function* () {
      yield* put(ada, "n", "hers")
      const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
        secrets.get(user, "n"),
        secrets.info(user, "n"),
        secrets.recordUse({ user, name: "n" })
      ]
      yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
      yield* equal([yield* secrets.deleteIfExists({ user, name: "n" }), yield* secrets.list(user)], [false, []])
      yield* put(user, "n", "his")
      yield* equal([yield* value(ada, "n"), yield* value(user, "n")], ["hers", "his"])
    }).pipe(withKeys(yield* aKey))
  }),

  "a row that was changed, or is another owner's or name's, does not open": Effect.gen(function* () {
    const [secrets, backend] = [yield* SecretStore, yield* Backend]
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    yield* Effect.gen(function* () {
      for (const [user, name] of [
        [ada, "a"],
        [ada, "b"],
        [bob, "a"]
      ] as const) {
        yield* put(user, name, "hers")
      }
      const stolen = yield* row(ada, "a")
      const flipped = (bytes: Uint8Array, at: number) => bytes.with(at, bytes[at]! ^ 1)
      const set = (user: string, name: string, { data, salt }: typeof stolen) =>
        backend.execute("UPDATE db_hub_secrets SET salt = ?, data = ? WHERE user_id = ? AND name = ?", [
          salt,
          data,
          user,
          name
        ])
      yield* set(bob, "a", stolen)
      yield* set(ada, "b", stolen)
      for (const [user, name] of [
        [bob, "a"],
        [ada, "b"]
      ] as const) {
        const error = yield* failsWith("DbCorrupt", secrets.get(user, name))
        yield* equal((error as Error).message.startsWith(`db_hub_secrets ${name}: `), true)
      }
      for (const changed of [
        { ...stolen, data: flipped(stolen.data, 0) },
        { ...stolen, data: flipped(stolen.data, stolen.data.length - 1) },
        { ...stolen, salt: flipped(stolen.salt, 5) },
        { ...stolen, data: stolen.data.slice(1) },
        { ...stolen, data: stolen.data.slice(0, 3) },
        { ...stolen, data: new Uint8Array() }
      ]) {
        yield* set(ada, "a", changed)
        yield* failsWith("DbCorrupt", secrets.get(ada, "a"))
      }
      yield* put(ada, "a", "mended")
      yield* equal(yield* value(ada, "a"), "mended")
    }).pipe(withKeys(yield* aKey))
  }),

  "without its master key a secret neither goes in nor comes out, but is told of and deleted": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const user = yield* fresh("user")
    yield* failsWith("ConfigError", put(user, "n", "x").pipe(withKeys()))
    yield* failsWith("ConfigError", put(user, "n", "x").pipe(withKeys("")))
    const short = yield* failsWith("ConfigError", put(user, "n", "x").pipe(withKeys("s3cret".padEnd(31, "!"))))
    yield* equal([printed(short).includes("s3cret"), printed(short).includes(secretsKey)], [false, true])
    for (const length of [32, 128]) yield* put(user, "n", "x").pipe(withKeys("k".repeat(length)))
    yield* failsWith("ConfigError", secrets.get(user, "n").pipe(withKeys()))
    const other = yield* failsWith("ConfigError", secrets.get(user, "n").pipe(withKeys(yield* aKey)))
    const { keyId } = yield* secrets.info(user, "n")
    yield* equal([printed(other).includes(keyId), (yield* secrets.list(user)).length], [true, 1])
    yield* equal(yield* secrets.deleteIfExists({ user, name: "n" }).pipe(withKeys()), true)
  }),

  "an earlier master key opens what it sealed, until everything is sealed anew": Effect.gen(function* () {
    const [secrets, admin, backend] = [yield* SecretStore, yield* SecretStoreAdmin, yield* Backend]
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const [old, now] = [yield* aKey, yield* aKey]
    yield* Effect.all([put(ada, "a", "1"), put(ada, "b", "2"), put(bob, "a", "3")]).pipe(withKeys(old))
    const before = yield* secrets.info(ada, "a")
    yield* Effect.gen(function* () {
      yield* equal(yield* value(ada, "a"), "1")
      yield* put(ada, "b", "new")
      yield* put(ada, "broken", "x")
      yield* backend.execute("UPDATE db_hub_secrets SET data = ?, key_id = ? WHERE user_id = ? AND name = 'broken'", [
        new Uint8Array(20),
        before.keyId,
        ada
      ])
      const first = yield* admin.rotate
      yield* equal(first.rotated, 2)
      yield* equal(
        first.unreadable.filter(({ id }) => id === "broken").map(({ table }) => table),
        ["db_hub_secrets"]
      )
      yield* equal((yield* admin.rotate).rotated, 0)
    }).pipe(withKeys(now, old))
    yield* Effect.gen(function* () {
      yield* equal([yield* value(ada, "a"), yield* value(ada, "b"), yield* value(bob, "a")], ["1", "new", "3"])
    }).pipe(withKeys(now))
    yield* failsWith("ConfigError", secrets.get(bob, "a").pipe(withKeys(old)))
    const after = yield* secrets.info(ada, "a")
    yield* equal({ ...after, keyId: before.keyId }, before)
    yield* equal(after.keyId === before.keyId, false)
    yield* secrets.deleteIfExists({ user: ada, name: "broken" })
  }),

  "a value that is put while everything is sealed anew stays": Effect.gen(function* () {
    const admin = yield* SecretStoreAdmin
    const user = yield* fresh("user")
    const [old, now] = [yield* aKey, yield* aKey]
    const names = Array.from({ length: 12 }, (_, n) => `n${n}`)
    yield* Effect.forEach(names, (name) => put(user, name, "old")).pipe(withKeys(old))
    const puts = Effect.forEach(names, (name) => put(user, name, `new ${name}`), { concurrency: "unbounded" })
    yield* Effect.all([admin.rotate, puts, admin.rotate], { concurrency: "unbounded" }).pipe(withKeys(now, old))
    const values = yield* Effect.forEach(names, (name) => value(user, name)).pipe(withKeys(now))
    yield* equal(
      values,
      names.map((name) => `new ${name}`)
    )
  }),

  "a put and a use that are sent again under their keys are done once": Effect.gen(function* () {
    const secrets = yield* SecretStore
    const [user, first, second] = [yield* fresh("user"), yield* fresh("key"), yield* fresh("key")]
    yield* Effect.gen(function* () {
      const once = (text: string) => withIdempotencyKey(first)(put(user, "n", text))
      const told = yield* once("one")
      yield* put(user, "n", "two")
      yield* equal(yield* once("one"), told)
      yield* equal(yield* value(user, "n"), "two")
      yield* failsWith("InvalidInput", once("three"))
      const use = withIdempotencyKey(second)(secrets.recordUse({ user, name: "n" }))
      yield* Effect.replicateEffect(use, 3)
      yield* equal((yield* secrets.info(user, "n")).usageCount, 1)
    }).pipe(withKeys(yield* aKey))
  }),

  "neither the change feed nor a failure has a value in it": Effect.gen(function* () {
    const [channel, secrets] = [yield* WriteChannel, yield* SecretStore]
    const user = yield* fresh("user")
    yield* Effect.gen(function* () {
      const latest = yield* channel.latest
      yield* put(user, "n", "s3cret")
      const changes = Stream.filter(channel.changes(latest), ({ ids }) => ids.includes(JSON.stringify([user, "n"])))
      const change = yield* Effect.flatten(Stream.runHead(changes))
      yield* equal([change.store, change.operation, printed(change).includes("s3cret")], ["SecretStore", "put", false])
      for (const attempt of [
        put(user, "", "s3cret"),
        put(user, "n", "s3cret \ud800"),
        secrets.put({ user, name: "n", value: "s3cret" as unknown as Redacted.Redacted })
      ]) {
        yield* equal(printed(yield* failsWith("InvalidInput", attempt)).includes("s3cret"), false)
      }
    }).pipe(withKeys(yield* aKey))
  })
}
