/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BackendConfig } from "../../services/HubConfig.js"
import * as Actions from "../../tools/Actions.js"
import { all, configuration, open, settingsOf } from "../Backends.js"
import { common, describe } from "../Options.js"
import { ExitWith, print } from "../Report.js"
import { bytes, paint, printable, table } from "../Text.js"

const health = (name: string, settings: BackendConfig) =>
  Effect.scoped(Actions.health(name, open(name, settings, "read"))).pipe(
    Effect.map((status) => ({ ...status, name, type: settings.type }))
  )

type Asked = Actions.Health & { readonly type: string }

const rowOf = ({ file_size = null, healthy, latency, name, schema_version, type, version, wal_size = null }: Asked) => [
  name,
  type,
  healthy ? "yes" : "no",
  latency === undefined ? null : Math.round(latency * 100) / 100,
  version,
  schema_version,
  file_size === null ? null : bytes(file_size),
  wal_size === null ? null : bytes(wal_size)
]

const headings = ["name", "type", "healthy", "ms", "version", "schema", "size", "wal"]

/**
 * @since 0.1.0
 * @category commands
 */
export const status = Command.make("status", common, (options) =>
  Effect.gen(function* () {
    const config = yield* configuration(options.config)
    const backends = Option.isSome(options.backend)
      ? [[options.backend.value, yield* settingsOf(config, options.backend.value)] as const]
      : all(config)
    const asked = yield* Effect.forEach(backends, ([name, settings]) => health(name, settings), {
      concurrency: "unbounded"
    })
    const healthy = asked.every((one) => one.healthy)
    yield* print(
      options.json,
      () => ({ healthy, backends: asked }),
      (io) => {
        const remarks = asked.flatMap(({ error, name, warnings = [] }) => [
          ...(error === undefined ? [] : [`${paint(io.colors, "red", `${name}:`)} ${printable(error)}`]),
          ...warnings.map((warning) => `${paint(io.colors, "yellow", `${name}:`)} ${printable(warning)}`)
        ])
        return [table(headings, asked.map(rowOf), io, "-"), ...remarks].join("\n")
      }
    )
    if (!healthy) yield* new ExitWith({ code: 1 })
  })
).pipe(
  Command.withDescription(
    describe(
      "Ask every backend, or the one of --backend, how it is. Exits with 1 if any is not healthy.",
      "db-hub status",
      "db-hub status --backend primary --json"
    )
  )
)
