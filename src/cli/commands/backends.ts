/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { BackendConfig } from "../../services/HubConfig.js"
import { all, configuration, locationOf, open, settingsOf } from "../Backends.js"
import { common, describe } from "../options.js"
import { print } from "../report.js"
import { table } from "../text.js"

const look = (name: string, settings: BackendConfig) =>
  Effect.scoped(Effect.map(open(name, settings, "read"), ({ capabilities }) => capabilities)).pipe(
    Effect.either,
    Effect.map((opened) => ({
      name,
      settings,
      capabilities: Either.getOrNull(opened),
      error: Either.isLeft(opened) ? opened.left.message : null
    }))
  )

type Looked = Effect.Effect.Success<ReturnType<typeof look>>

const readOnly = (settings: BackendConfig) => settings.type === "sqlite" && settings.readOnly

const documentOf = ({ capabilities, error, name, settings }: Looked) => ({
  name,
  type: settings.type,
  location: locationOf(settings),
  read_only: readOnly(settings),
  opens: error === null,
  capabilities:
    capabilities === null
      ? null
      : {
          concurrent_reads: capabilities.concurrentReads,
          persistent: capabilities.persistent,
          vector: capabilities.vector,
          backup: capabilities.backup
        },
  ...(error === null ? {} : { error })
})

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
      () => ({ backends: looked.map(documentOf) }),
      (io) =>
        table(
          ["name", "type", "opens", "can", "location"],
          looked.map(({ capabilities, error, name, settings }) => [
            name,
            settings.type,
            error === null ? "yes" : "no",
            [
              "read",
              ...(readOnly(settings) ? [] : ["write"]),
              ...(capabilities?.vector ? ["vector"] : []),
              ...(capabilities?.backup ? ["backup"] : [])
            ]
              .filter(() => capabilities !== null)
              .join(", "),
            locationOf(settings)
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
