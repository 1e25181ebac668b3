/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Struct from "effect/Struct"
import type { BackendConfig } from "../../services/HubConfig.js"
import * as Actions from "../../tools/Actions.js"
import { all, configuration, locationOf, open, settingsOf } from "../Backends.js"
import { common, describe } from "../Options.js"
import { print } from "../Report.js"
import { table } from "../Text.js"

const readOnly = (settings: BackendConfig) => "readOnly" in settings && settings.readOnly

const look = (name: string, settings: BackendConfig) =>
  Effect.map(Effect.scoped(Actions.abilities(name, open(name, settings, "read"))), ({ capabilities, ...found }) => ({
    ...found,
    // As it is opened here, nothing can be written.
    capabilities: capabilities === null ? null : Struct.omit(capabilities, "writable"),
    type: settings.type,
    location: locationOf(settings),
    read_only: readOnly(settings)
  }))

/**
 * @since 0.1.0
 * @category commands
 */
export const backends = Command.make("backends", common, (options) =>
  Effect.gen(function* () {
    const config = yield* configuration(options.config)
    const named = Option.isSome(options.backend)
      ? [[options.backend.value, yield* settingsOf(config, options.backend.value)] as const]
      : all(config)
    const looked = yield* Effect.forEach(named, ([name, settings]) => look(name, settings), {
      concurrency: "unbounded"
    })
    yield* print(
      options.json,
      () => ({ backends: looked }),
      (io) =>
        table(
          ["name", "type", "opens", "can", "location"],
          looked.map(({ capabilities, location, name, opens, read_only, type }) => [
            name,
            type,
            opens ? "yes" : "no",
            [
              "read",
              ...(read_only ? [] : ["write"]),
              ...(capabilities?.vector ? ["vector"] : []),
              ...(capabilities?.backup ? ["backup"] : [])
            ]
              .filter(() => capabilities !== null)
              .join(", "),
            location
          ]),
          io
        )
    )
  })
).pipe(
  Command.withDescription(
    describe(
      "List the backends of the configuration, where they are and what they can do.",
      "db-hub backends",
      "db-hub backends --config production.yaml --json"
    )
  )
)
