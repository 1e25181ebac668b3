/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type DbError, DbTimeout } from "../../errors/DbError.js"
import { HealthStatus } from "../../services/HealthChecker.js"
import type { BackendConfig } from "../../services/HubConfig.js"
import { all, configuration, open, settingsOf } from "../Backends.js"
import { common, describe } from "../options.js"
import { ExitWith, print } from "../report.js"
import { bytes, paint, printable, table } from "../text.js"

/** How long one backend may take to open and answer. */
const timeout = "5 seconds"

const health = (name: string, settings: BackendConfig) =>
  Effect.scoped(Effect.flatMap(open(name, settings, "read"), (backend) => backend.health.status)).pipe(
    // What cannot be interrupted is left behind rather than waited for.
    Effect.disconnect,
    Effect.timeoutFail({
      duration: timeout,
      onTimeout: () =>
        new DbTimeout({ backend: name, operation: "cli.status", message: `${name} did not answer within ${timeout}` })
    }),
    Effect.either,
    Effect.map((outcome) => ({ name, settings, outcome }))
  )

type Asked = Effect.Effect.Success<ReturnType<typeof health>>

const isHealthy = ({ outcome }: Asked) => Either.isRight(outcome) && outcome.right.healthy

const errorOf = (outcome: Either.Either<HealthStatus, DbError>) =>
  Either.isLeft(outcome) ? outcome.left.message : outcome.right.error

const documentOf = ({ name, outcome, settings }: Asked) => ({
  name,
  type: settings.type,
  ...(Either.isRight(outcome)
    ? Schema.encodeSync(HealthStatus)(outcome.right)
    : { healthy: false, error: outcome.left.message, code: outcome.left.code ?? null })
})

const rowOf = ({ name, outcome, settings }: Asked): ReadonlyArray<unknown> => {
  if (Either.isLeft(outcome)) return [name, settings.type, "no", null, null, null, null, null]
  const { fileSize, healthy, latency, schemaVersion, version, walSize } = outcome.right
  return [
    name,
    settings.type,
    healthy ? "yes" : "no",
    Math.round(latency * 100) / 100,
    version,
    schemaVersion,
    fileSize === null ? null : bytes(fileSize),
    walSize === null ? null : bytes(walSize)
  ]
}

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
    const healthy = asked.every(isHealthy)
    yield* print(
      options.json,
      () => ({ healthy, backends: asked.map(documentOf) }),
      (io) => {
        const remarks = asked.flatMap(({ name, outcome }) => [
          ...[errorOf(outcome)].flatMap((error) =>
            error === undefined ? [] : [`${paint(io.colors, "red", `${name}:`)} ${printable(error)}`]
          ),
          ...(Either.isRight(outcome) ? outcome.right.warnings : []).map(
            (warning) => `${paint(io.colors, "yellow", `${name}:`)} ${printable(warning)}`
          )
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
