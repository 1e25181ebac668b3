import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as PathPatch from "effect/ConfigProviderPathPatch"
import * as Effect from "effect/Effect"
import * as HashSet from "effect/HashSet"
import * as SecretSeal from "../../src/layers/stores/SecretSeal.js"
import { cli, document, emptyPlace, errorOf } from "./support.js"

const text = "ghp_a value that would be seen"

const [old, now] = ["old".padEnd(40, "o"), "new".padEnd(40, "n")]

const withKey = (key: string, stdin = "") => ({ stdin, variables: { DB_HUB_SECRETS_KEY: key } })

const bytesIn = (folder: string): Buffer =>
  Buffer.concat(
    NodeFs.readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => NodeFs.readFileSync(NodePath.join(entry.parentPath, entry.name)))
  )

describe("secrets", () => {
  it.scoped("a secret is set from standard input, listed without its value, and deleted", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* emptyPlace
      const args = ["secrets", "set", "github", "--provider", "GitHub", "--expires", "2100-01-31"]
      const set = yield* hub([...args, "--json"], withKey(now, `${text}\n`))
      assert.strictEqual(set.code, 0, set.err)
      assert.deepInclude(document(set), { name: "github", provider: "GitHub", usage_count: 0, last_used_at: null })
      const listed = yield* hub(["secrets", "list"])
      assert.match(listed.out, /^name +provider +expires .*\n-+ .*\ngithub +GitHub +2100-01-31/)
      const { secrets } = document(yield* hub(["secrets", "list", "--json"]))
      assert.deepStrictEqual(secrets, [document(set)])
      assert.deepStrictEqual(document(yield* hub(["secrets", "list", "--user", "ada", "--json"])).secrets, [])
      const read = yield* hub(["query", "SELECT * FROM db_hub_secrets"])
      assert.include(read.out, "github")
      for (const { err, out } of [set, listed, read]) assert.notInclude(out + err, "ghp_")
      assert.isFalse(bytesIn(folder).includes("ghp_"))
      assert.isFalse(bytesIn(folder).includes(now))
      assert.strictEqual((yield* hub(["secrets", "rm", "github"])).code, 0)
      const again = yield* hub(["secrets", "rm", "github"])
      assert.deepStrictEqual([again.code, again.err.includes("no secret of that name")], [1, true])
    })
  )

  it.scoped("secrets are sealed anew after a change of the master key", () =>
    Effect.gen(function* () {
      const { hub } = yield* emptyPlace
      for (const name of ["a", "b"]) yield* hub(["secrets", "set", name], withKey(old, text))
      const before = document(yield* hub(["secrets", "list", "--json"])).secrets
      const stuck = yield* hub(["secrets", "rotate"], withKey(now))
      assert.strictEqual(stuck.code, 1)
      assert.include(stuck.out, "0 secrets sealed anew")
      assert.include(stuck.err, `master key ${before[0].key_id}`)
      const variables = { DB_HUB_SECRETS_KEY: now, DB_HUB_SECRETS_PREVIOUS_KEYS: old }
      const done = yield* hub(["secrets", "rotate", "--json"], { variables })
      assert.deepStrictEqual([done.code, document(done)], [0, { rotated: 2, unreadable: [] }])
      const after = document(yield* hub(["secrets", "list", "--json"])).secrets
      assert.notStrictEqual(after[0].key_id, before[0].key_id)
    })
  )

  it.scoped("a master key that cannot be read is not taken for one that is not set", () =>
    Effect.gen(function* () {
      const error = ConfigError.SourceUnavailable([], "the vault is down", Cause.empty)
      const down = ConfigProvider.fromFlat(
        ConfigProvider.makeFlat({
          load: (path, config) =>
            path[0] === "DB_HUB_SECRETS_PREVIOUS_KEYS"
              ? Effect.fail(error)
              : Effect.map(config.parse(now), (key) => [key]),
          enumerateChildren: () => Effect.succeed(HashSet.empty()),
          patch: PathPatch.empty
        })
      )
      const failed = yield* Effect.flip(Effect.withConfigProvider(SecretSeal.keyRing, down))
      assert.deepStrictEqual([failed.key, failed.code], ["DB_HUB_SECRETS_PREVIOUS_KEYS", "HUB_SECRETS_KEY"])
      assert.include(failed.message, "cannot be read")
    })
  )

  it.scoped("what cannot be done is said with what to do, and without the value or the key", () =>
    Effect.gen(function* () {
      const { hub } = yield* emptyPlace
      const unset = yield* hub(["secrets", "set", "a", "--json"], { stdin: text })
      assert.strictEqual(unset.code, 1)
      assert.deepInclude(errorOf(unset), { type: "ConfigError", key: "DB_HUB_SECRETS_KEY", applied: "no" })
      assert.include(errorOf(unset).message, "openssl rand -base64 32")
      const short = yield* hub(["secrets", "set", "a"], withKey("too short", text))
      assert.deepStrictEqual([short.code, short.err.includes("is too short")], [1, true])
      assert.notInclude(unset.err + short.err, "ghp_")
      assert.notInclude(short.err, 'too short"')
      for (const [args, stdin] of [
        [["secrets", "set", "a"], ""],
        [["secrets", "set", "a", "--expires", "soon"], text],
        [["secrets", "set", ""], text],
        [["secrets", "set"], text],
        [["secrets", "get", "a"], text]
      ] as const) {
        assert.strictEqual((yield* hub(args, withKey(now, stdin))).code, 2, args.join(" "))
      }
      assert.include((yield* cli(["secrets"])).out, "db-hub secrets rotate")
    })
  )
})
