/**
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { invalidInput, NotFound } from "../../errors/DbError.js"
import { Backend } from "../../services/Backend.js"
import { type SecretInfo, SecretStore, SecretStoreAdmin } from "../../services/SecretStore.js"
import { prepared, withBackend } from "../Backends.js"
import { type Common, common, describe, textOf } from "../Options.js"
import { ExitWith, note, print } from "../Report.js"
import { counted, printable, table } from "../Text.js"

const user = Options.text("user").pipe(
  Options.withPseudoName("NAME"),
  Options.withDescription("Whose secrets they are (default: default)"),
  Options.withDefault("default")
)

const name = Args.text({ name: "NAME" }).pipe(Args.withDescription("The name that programs ask for"))

const withSecrets = <A, E, R>(
  options: Common,
  access: "read" | "write",
  use: Effect.Effect<A, E, R | SecretStore | SecretStoreAdmin>
) =>
  withBackend(options, access, (backend) =>
    Effect.gen(function* () {
      yield* prepared("cli.secrets", backend, access)
      const [SecretsLive, LocalWrites] = yield* Effect.promise(() =>
        Promise.all([import("../../layers/stores/SecretStore.js"), import("../../layers/write/LocalWrites.js")])
      )
      const layer = SecretsLive.layer.pipe(
        Layer.provide(LocalWrites.layer),
        Layer.provide(Layer.succeed(Backend, backend))
      )
      return yield* Effect.provide(use, layer)
    })
  )

const documentOf = (info: SecretInfo) => ({
  name: info.name,
  provider: info.provider,
  key_id: info.keyId,
  usage_count: info.usageCount,
  created_at: info.createdAt,
  updated_at: info.updatedAt,
  expires_at: info.expiresAt,
  last_used_at: info.lastUsedAt
})

const instant = (text: string) => {
  const at = new Date(text)
  return Number.isNaN(at.getTime())
    ? Effect.fail(
        invalidInput({ operation: "cli.secrets" }, "expires", "is no time", "a time such as 2027-01-31T12:00:00Z")
      )
    : Effect.succeed(at)
}

const set = Command.make(
  "set",
  {
    name,
    user,
    provider: Options.text("provider").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("Whose secret it is to the world outside, such as github"),
      Options.optional
    ),
    expires: Options.text("expires").pipe(
      Options.withPseudoName("TIME"),
      Options.withDescription("When it ends, such as 2027-01-31T12:00:00Z (default: never)"),
      Options.optional
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const expiresAt = yield* Effect.transposeMapOption(options.expires, instant)
      // What `echo` adds is no part of the value.
      const value = (yield* textOf("the value", "-")).replace(/\r?\n$/, "")
      const told = yield* withSecrets(
        options,
        "write",
        Effect.flatMap(SecretStore, (secrets) =>
          secrets.put({
            user: options.user,
            name: options.name,
            value: Redacted.make(value),
            provider: Option.getOrNull(options.provider),
            expiresAt: Option.getOrNull(expiresAt)
          })
        )
      )
      yield* print(
        options.json,
        () => documentOf(told),
        () => `${printable(told.name)} is set, sealed with master key ${told.keyId}`
      )
    })
).pipe(
  Command.withDescription(
    describe(
      "Seal a secret with the master key of DB_HUB_SECRETS_KEY and keep it, over the one of that name. Its value is read " +
        "from standard input, since arguments are seen by everybody on the machine.",
      "db-hub secrets set github < token.txt",
      "pass show github | db-hub secrets set github --user ada --provider github --expires 2027-01-31"
    )
  )
)

const list = Command.make("list", { user, ...common }, (options) =>
  Effect.gen(function* () {
    const all = yield* withSecrets(
      options,
      "read",
      Effect.flatMap(SecretStore, (secrets) => secrets.list(options.user))
    )
    yield* print(
      options.json,
      () => ({ secrets: all.map(documentOf) }),
      (io) =>
        table(
          ["name", "provider", "expires", "uses", "last used", "set", "key"],
          all.map((each) => [
            each.name,
            each.provider ?? "",
            each.expiresAt ?? "never",
            each.usageCount,
            each.lastUsedAt ?? "never",
            each.updatedAt,
            each.keyId
          ]),
          io
        )
    )
  })
).pipe(
  Command.withDescription(
    describe("List the secrets of a user, never their values.", "db-hub secrets list", "db-hub secrets list --user ada")
  )
)

const rm = Command.make("rm", { name, user, ...common }, (options) =>
  Effect.gen(function* () {
    const secrets = Effect.flatMap(SecretStore, (store) =>
      store.deleteIfExists({ user: options.user, name: options.name })
    )
    const removed = yield* withSecrets(options, "write", secrets)
    if (!removed) {
      return yield* new NotFound({
        operation: "cli.secrets",
        entity: "secret",
        message: "The user has no secret of that name"
      })
    }
    yield* print(
      options.json,
      () => ({ removed: options.name }),
      () => `${printable(options.name)} is gone`
    )
  })
).pipe(
  Command.withDescription(
    describe("Delete a secret.", "db-hub secrets rm github", "db-hub secrets rm github --user ada")
  )
)

const rotate = Command.make("rotate", common, (options) =>
  Effect.gen(function* () {
    const { rotated, unreadable } = yield* withSecrets(
      options,
      "write",
      Effect.flatMap(SecretStoreAdmin, (admin) => admin.rotate)
    )
    yield* print(
      options.json,
      () => ({ rotated, unreadable }),
      () => `${counted(rotated, "secret")} sealed anew`
    )
    if (unreadable.length === 0) return
    for (const { problem } of unreadable) yield* note(printable(problem))
    return yield* new ExitWith({ code: 1 })
  })
).pipe(
  Command.withDescription(
    describe(
      "Seal the secrets of all users anew with the master key of DB_HUB_SECRETS_KEY. Those of an earlier one need it in " +
        "DB_HUB_SECRETS_PREVIOUS_KEYS, until this has run. Exits with 1 if some cannot be opened.",
      "DB_HUB_SECRETS_KEY=new… DB_HUB_SECRETS_PREVIOUS_KEYS=old… db-hub secrets rotate"
    )
  )
)

/**
 * @since 0.1.0
 * @category commands
 */
export const secrets = Command.make("secrets").pipe(
  Command.withDescription("Secrets of users, sealed with a master key"),
  Command.withSubcommands([set, list, rm, rotate])
)
