/**
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeV8 from "node:v8"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { ConfigError, invalidInput } from "../../errors/DbError.js"
import { AuditLog } from "../../services/AuditLog.js"
import { Embeddings } from "../../services/Embeddings.js"
import { Hub } from "../../services/Hub.js"
import type { BackendConfig, HubConfig } from "../../services/HubConfig.js"
import { MemoryStore } from "../../services/MemoryStore.js"
import { type Group, tools } from "../../tools/Declarations.js"
import * as Recording from "../../tools/Recording.js"
import type { Toolkit } from "../../tools/Toolkit.js"
import { all, backupFolderOf, configuration, settingsOf } from "../Backends.js"
import { common, describe } from "../Options.js"
import { note, untilSignal } from "../Report.js"
import { version } from "../Version.js"

/**
 * Flags of V8: before Node 22 it counted what a function does, and counts how often it is called since. Of a Node that
 * nobody has tried there are none: V8 would tell on standard error what it does not know.
 *
 * @internal
 */
export const compiling = (version: string): string | undefined => {
  const major = Number.parseInt(version, 10)
  if (major < 22) return "--interrupt-budget=8000"
  return major <= 24 ? "--invocation-count-for-maglev=100 --minimum-invocations-after-ic-update=100" : undefined
}

/**
 * Agents make few calls, and Node compiles only what is called many hundreds of times: told to do so sooner, it takes
 * two thirds of the time for a call. Not before the first one: starting would take longer.
 */
const compiledSoon = (kit: Toolkit): Toolkit => {
  const flags = compiling(process.versions.node)
  if (flags === undefined) return kit
  let told = false
  const tell = () => {
    if (!told) NodeV8.setFlagsFromString(flags)
    told = true
  }
  return {
    ...kit,
    call: (...call) =>
      Effect.map(kit.call(...call), (answer) => {
        tell()
        return answer
      })
  }
}

/** The hub, and where calls are recorded: in its primary, unless nothing can be written there. */
const surroundings = (config: HubConfig) =>
  Layer.unwrapEffect(
    Effect.promise(async () => {
      const [live, audit, memories, writes] = await Promise.all([
        import("../../layers/HubLive.js"),
        import("../../layers/stores/AuditLog.js"),
        import("../../layers/stores/MemoryStore.js"),
        import("../../layers/write/LocalWrites.js")
      ])
      return Layer.merge(audit.layer, memories.layer).pipe(
        Layer.provideMerge(writes.layer),
        Layer.provideMerge(live.layer(config))
      )
    })
  )

const refuse = (option: string, problem: string, allowed: string) =>
  Effect.fail(invalidInput({ operation: "cli.mcp" }, option, problem, allowed))

/** `TOOL=N` as numbers by tool. */
const ratesOf = (rates: ReadonlyArray<string>) =>
  Effect.forEach(rates, (rate) => {
    const [, tool = "", text = ""] = /^(\w+)=(.+)$/.exec(rate) ?? []
    return Object.hasOwn(tools, tool) && Number(text) > 0 && Number(text) <= 1e6
      ? Effect.succeed([tool, Number(text)] as const)
      : refuse("rate", "is no tool with a number", `TOOL=N, TOOL one of ${Object.keys(tools).join(", ")}`)
  }).pipe(Effect.map(Object.fromEntries<number>))

/** Days, a hundred years. */
const longestAudit = 36_500

interface Asked {
  readonly allow: ReadonlyArray<"write" | "admin">
  readonly writes: "off" | "plan" | "direct"
  readonly dmlOnly: boolean
  readonly role: Option.Option<string>
}

/** What would be served otherwise than it was meant is not served. */
const consistent = (
  { allow, dmlOnly, role, writes }: Asked,
  served: ReadonlyArray<readonly [string, BackendConfig]>
) => {
  if (writes !== "off" && allow.length === 0) {
    return refuse("writes", `is ${writes}, and no tool writes`, "with --allow write or --allow admin")
  }
  if (dmlOnly && writes === "off") return refuse("dml-only", "is of no use", "with --writes plan or --writes direct")
  return Option.isSome(role) && served.some(([, { type }]) => type === "sqlite")
    ? refuse("role", "is of PostgreSQL, and a backend on SQLite would be served", "--backend NAME, one on PostgreSQL")
    : Effect.void
}

/**
 * @since 0.1.0
 * @category commands
 */
export const mcp = Command.make(
  "mcp",
  {
    allow: Options.choice("allow", ["write", "admin"] as const).pipe(
      Options.withDescription("Offer tools that write or administer, too; may be repeated"),
      Options.repeated
    ),
    writes: Options.choice("writes", ["off", "plan", "direct"] as const).pipe(
      Options.withDescription("What writes is refused, first planned and run by a code, or run at once (default: off)"),
      Options.withDefault("off" as const)
    ),
    dmlOnly: Options.boolean("dml-only").pipe(Options.withDescription("Rows may be changed, definitions may not")),
    http: Options.integer("http").pipe(
      Options.withPseudoName("PORT"),
      Options.withDescription(
        "Serve HTTP on 127.0.0.1 instead of standard input and output; clients send the token of DB_HUB_MCP_TOKEN"
      ),
      Options.optional
    ),
    user: Options.text("user").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("Whose memories are searched and kept (default: default)"),
      Options.withDefault("default")
    ),
    role: Options.text("role").pipe(
      Options.withPseudoName("ROLE"),
      Options.withDescription("The role of PostgreSQL that reading statements run as"),
      Options.optional
    ),
    rate: Options.text("rate").pipe(
      Options.withPseudoName("TOOL=N"),
      Options.withDescription(
        "At most N calls of a tool a second in each session (default: db_hub_raw=10); repeatable"
      ),
      Options.repeated
    ),
    keepAudit: Options.integer("keep-audit").pipe(
      Options.withPseudoName("DAYS"),
      Options.withDescription("Days that calls stay in the audit log (default: 90)"),
      Options.withDefault(90)
    ),
    ...common,
    backend: Options.text("backend").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("The one backend that the tools may use (default: all, and primary if none is named)"),
      Options.optional
    )
  },
  ({ allow, backend, config: file, dmlOnly, http, keepAudit, rate, role, user, writes }) =>
    Effect.gen(function* () {
      const config = yield* configuration(file)
      const callsPerSecond = yield* ratesOf(rate)
      if (keepAudit < 1 || keepAudit > longestAudit) {
        return yield* refuse("keep-audit", "is no number of days", `a whole number from 1 to ${longestAudit}`)
      }
      const chosen = yield* Effect.transposeMapOption(backend, (name) => settingsOf(config, name))
      const served = all(config).filter(([, settings]) => Option.isNone(chosen) || chosen.value === settings)
      yield* consistent({ allow, writes, dmlOnly, role }, served)
      // Loaded while the hub waits for its database.
      const modules = yield* Effect.fork(
        Effect.promise(() => Promise.all([import("../../tools/Mcp.js"), import("../../tools/Toolkit.js")]))
      )
      const serve = Effect.gen(function* () {
        const [server, toolkit] = yield* Fiber.join(modules)
        const hub = yield* Hub
        const log = yield* AuditLog
        const store = yield* MemoryStore
        const embeddings = yield* Embeddings
        const kit = yield* toolkit.make(hub, {
          groups: ["read", ...allow] as ReadonlyArray<Group>,
          writes,
          dmlOnly,
          backupFolder: backupFolderOf(config.primary),
          callsPerSecond,
          embeddings,
          memories: { store, user },
          ...(Option.isSome(role) ? { reading: { role: role.value } } : {}),
          ...(Option.isSome(chosen) ? { backends: served.map(([name]) => name) } : {}),
          ...(hub.primary.capabilities.writable ? { audit: Recording.make(log, Duration.days(keepAudit)) } : {})
        })
        if (Option.isNone(http)) return yield* server.stdio(compiledSoon(kit), version)
        const key = "DB_HUB_MCP_TOKEN"
        const given = yield* Effect.mapError(
          Config.option(Config.redacted(Config.nonEmptyString(key))),
          () => new ConfigError({ operation: "cli.mcp", key, message: `${key} cannot be read` })
        )
        const token = Option.getOrElse(given, () => Redacted.make(NodeCrypto.randomBytes(24).toString("base64url")))
        const port = yield* server.http(compiledSoon(kit), version, { port: http.value, token })
        yield* note(`serving http://127.0.0.1:${port}/mcp`)
        if (Option.isNone(given)) yield* note(`the token, of this process alone, is ${Redacted.value(token)}`)
        return yield* Effect.never
      })
      // What the tools keep is put down before the hub closes.
      yield* Effect.provide(Effect.scoped(serve), surroundings(config)).pipe(Effect.raceFirst(untilSignal))
    })
).pipe(
  Command.withDescription(
    describe(
      "Serve the db_hub tools to agents over the Model Context Protocol; without --allow they only read.",
      "db-hub mcp",
      "db-hub mcp --allow write --writes plan",
      "DB_HUB_MCP_TOKEN=… db-hub mcp --http 7420"
    )
  )
)
