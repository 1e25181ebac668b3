/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { all, configuration, configurationFile, settingsOf, source } from "../Backends.js"
import { Io } from "../Io.js"
import { stringify } from "../Json.js"
import { common, describe } from "../Options.js"
import { print } from "../Report.js"
import { counted, printable } from "../Text.js"

const check = Command.make("check", common, (options) =>
  Effect.gen(function* () {
    const from = yield* source(options.config)
    const config = yield* Effect.tapError(configuration(options.config), ({ message }) =>
      options.json
        ? print(
            true,
            () => ({ valid: false, source: from, problems: message.split("\n") }),
            () => ""
          )
        : Effect.void
    )
    if (Option.isSome(options.backend)) yield* settingsOf(config, options.backend.value)
    const backends = all(config)
    yield* print(
      options.json,
      () => ({
        valid: true,
        source: from,
        problems: [],
        backends: backends.map(([name, { type }]) => ({ name, type }))
      }),
      () =>
        `ok: valid, from ${printable(from.description)}; ${counted(backends.length, "backend")}: ` +
        backends.map(([name, { type }]) => `${name} (${type})`).join(", ")
    )
  })
).pipe(
  Command.withDescription(
    describe(
      "Tell where the configuration comes from and that it is valid, or every problem it has. Opens no database.",
      "db-hub config check",
      "db-hub config check --config production.yaml"
    )
  )
)

const show = Command.make("print", common, (options) =>
  Effect.gen(function* () {
    const config = yield* configuration(options.config)
    if (Option.isSome(options.backend)) yield* settingsOf(config, options.backend.value)
    const text = yield* Effect.flatMap(configurationFile, (file) => file.print(config))
    const Yaml = yield* Effect.promise(() => import("../../layers/config/Yaml.js"))
    yield* print(
      options.json,
      (): unknown => Yaml.parse(text),
      () => text.trimEnd().split("\n").map(printable).join("\n")
    )
  })
).pipe(
  Command.withDescription(
    describe(
      "Print the configuration with every default filled in, as YAML or JSON; secrets are never printed.",
      "db-hub config print",
      "db-hub config print --json"
    )
  )
)

const schema = Command.make("schema", common, () =>
  Effect.gen(function* () {
    const { jsonSchema } = yield* configurationFile
    const io = yield* Io
    yield* io.out(stringify(jsonSchema))
  })
).pipe(
  Command.withDescription(
    describe("Print the JSON Schema of the configuration, for editors.", "db-hub config schema > config.schema.json")
  )
)

/**
 * @since 0.1.0
 * @category commands
 */
export const config = Command.make("config").pipe(
  Command.withDescription("Check and print the configuration"),
  Command.withSubcommands([check, show, schema])
)
