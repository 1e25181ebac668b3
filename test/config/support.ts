import * as Path from "@effect/platform/Path"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type { ConfigError } from "../../src/errors/DbError.js"
import * as HubConfigFile from "../../src/layers/config/HubConfigFile.js"
import type * as HubConfig from "../../src/services/HubConfig.js"

export type Variables = Readonly<Record<string, string>>

export const withVariables =
  (variables: Variables) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withConfigProvider(effect, ConfigProvider.fromMap(new Map(Object.entries(variables))))

/** Reads text as if it stood in /etc/hub. */
export const parse = (
  text: string,
  variables: Variables = {},
  format: HubConfigFile.Format = "yaml"
): Effect.Effect<HubConfig.HubConfig, ConfigError> =>
  HubConfigFile.parse(text, { format, directory: "/etc/hub", source: "db-hub.yaml" }).pipe(
    withVariables(variables),
    Effect.provide(Path.layer)
  )

export const refusal = (text: string, variables?: Variables, format?: HubConfigFile.Format) =>
  Effect.flip(parse(text, variables, format))

/** The primary, as the engine that the test is about. */
export const primary = <T extends HubConfig.BackendConfig["type"]>(config: HubConfig.HubConfig, type: T) =>
  config.primary.type === type
    ? Effect.succeed(config.primary as Extract<HubConfig.BackendConfig, { readonly type: T }>)
    : Effect.dieMessage(`the primary is ${config.primary.type}`)
