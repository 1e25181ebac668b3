/**
 * Finding and opening what the configuration names. The engines are imported when the first one is needed.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import type { FileSystem } from "@effect/platform/FileSystem"
import type { Path } from "@effect/platform/Path"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { type ConfigError, DbConnection, type DbError, MigrationError, NotFound } from "../errors/DbError.js"
import { didYouMean } from "../errors/Nearest.js"
import type { BackendShape } from "../services/Backend.js"
import type { EmbeddingsShape } from "../services/Embeddings.js"
import type { BackendSettings } from "../services/Hub.js"
import type { BackendConfig, HubConfig } from "../services/HubConfig.js"
import type { Search } from "../services/Search.js"
import type { Common } from "./Options.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly kind: "file" | "environment" | "defaults"
  /** A sentence part, such as a file name. */
  readonly description: string
}

/**
 * @since 0.1.0
 * @category configuration
 */
export const configurationFile = Effect.promise(() => import("../layers/config/HubConfigFile.js"))

/**
 * Where the configuration comes from: the file asked for, one that is found, `DATABASE_URL`, or the defaults.
 *
 * @since 0.1.0
 * @category configuration
 */
export const source = (file: Option.Option<string>): Effect.Effect<Source, never, FileSystem | Path> =>
  Effect.gen(function* () {
    const { find } = yield* configurationFile
    const found = Option.isSome(file) ? file : yield* find()
    if (Option.isSome(found)) return { kind: "file", description: found.value }
    const url = yield* Effect.option(Config.nonEmptyString("DATABASE_URL"))
    return Option.isSome(url)
      ? { kind: "environment", description: "DATABASE_URL" }
      : { kind: "defaults", description: "the defaults (no configuration file here, no DATABASE_URL)" }
  })

/**
 * @since 0.1.0
 * @category configuration
 */
export const configuration = (file: Option.Option<string>): Effect.Effect<HubConfig, ConfigError, FileSystem | Path> =>
  Effect.flatMap(configurationFile, ({ resolve }) => resolve(Option.getOrUndefined(file)))

/**
 * Every backend of a configuration, the primary first.
 *
 * @since 0.1.0
 * @category configuration
 */
export const all = (config: HubConfig): ReadonlyArray<readonly [string, BackendConfig]> => [
  ["primary", config.primary],
  ...Object.entries(config.connections)
]

/**
 * @since 0.1.0
 * @category configuration
 */
export const settingsOf = (config: HubConfig, name: string): Effect.Effect<BackendConfig, NotFound> => {
  const backends = all(config)
  const found = backends.find(([known]) => known === name)
  if (found !== undefined) return Effect.succeed(found[1])
  if (name === "memory") return Effect.succeed(config.primary)
  const names = backends.map(([known]) => known)
  return Effect.fail(
    new NotFound({
      operation: "cli.backend",
      entity: "backend",
      message: `The configuration has no backend of that name; ${didYouMean(name, names, `it has ${names.join(", ")}`)}`
    })
  )
}

/**
 * The backend that a command is about.
 *
 * @since 0.1.0
 * @category configuration
 */
export const selected = (options: Common) =>
  Effect.gen(function* () {
    const config = yield* configuration(options.config)
    const name = Option.getOrElse(options.backend, () => "primary")
    return { name, settings: yield* settingsOf(config, name) }
  })

/**
 * The database file of a backend, if it has one.
 *
 * @since 0.1.0
 * @category configuration
 */
export const fileOf = (settings: BackendConfig): string | undefined =>
  settings.type === "sqlite" && settings.path !== ":memory:" ? settings.path : undefined

/**
 * Where backups of a backend go unless told otherwise: beside its file.
 *
 * @since 0.1.0
 * @category configuration
 */
export const backupFolderOf = (settings: BackendConfig): string =>
  NodePath.resolve(NodePath.dirname(fileOf(settings) ?? "data/hub.db"), "backups")

/**
 * Where a backend keeps its data, without secrets.
 *
 * @since 0.1.0
 * @category configuration
 */
export const locationOf = (settings: BackendConfig): string =>
  settings.type === "sqlite" ? settings.path : `${settings.host}:${settings.port}/${settings.database}`

/**
 * Opens one backend and never migrates it. For reading, the engine itself refuses writes, and a file that is not there
 * is not made.
 *
 * @since 0.1.0
 * @category opening
 */
export const open = (
  name: string,
  settings: BackendConfig,
  access: "read" | "write"
): Effect.Effect<BackendShape, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const { factories } = yield* Effect.promise(() => import("../layers/HubLive.js"))
    const { factoryOf } = yield* Effect.promise(() => import("../layers/HubMake.js"))
    const at = { backend: name, operation: "cli.open" }
    const factory = yield* factoryOf(new Map(Object.entries(factories)), settings.type, at)
    const file = fileOf(settings)
    if (file !== undefined && access === "read" && !NodeFs.existsSync(file)) {
      return yield* new DbConnection({
        ...at,
        code: "HUB_NO_FILE",
        message: `There is no database at ${file}, and reading does not make one`
      })
    }
    // A database in memory is empty until it is written to, so it cannot be opened for reading only.
    const readOnly = access === "read" && !(settings.type === "sqlite" && file === undefined)
    const opening = { migrate: false, ...(readOnly ? { readOnly } : {}) }
    const options: BackendSettings = { ...settings, ...opening }
    return yield* factory(name, options)
  })

/**
 * Opens the backend that a command is about, for as long as `use` runs.
 *
 * @since 0.1.0
 * @category opening
 */
export const withBackend = <A, E, R>(
  options: Common,
  access: "read" | "write",
  use: (backend: BackendShape, settings: BackendConfig) => Effect.Effect<A, E, R>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const { name, settings } = yield* selected(options)
      return yield* use(yield* open(name, settings, access), settings)
    })
  )

/**
 * Brings the hub's tables to the version of this program where the database may be written, as a program does that opens
 * it: what another process has begun, or one that was killed, is finished. `MigrationError` (`not-migrated`) where it is
 * only read.
 *
 * @since 0.1.0
 * @category opening
 */
export const prepared = (
  operation: string,
  { migrator, name }: BackendShape,
  access: "read" | "write"
): Effect.Effect<void, DbError> =>
  Effect.gen(function* () {
    if (access === "write") return yield* Effect.asVoid(migrator.migrate())
    if ((yield* migrator.plan()).length === 0) return
    return yield* new MigrationError({
      backend: name,
      operation,
      reason: "not-migrated",
      message: "The database is not at the version of this program: run the migrations first (`db-hub migrate`)"
    })
  })

/**
 * The same with the configured embedding model.
 *
 * @since 0.1.0
 * @category opening
 */
export const withEmbeddings = <A, E, R>(
  options: Common,
  access: "read" | "write",
  use: (backend: BackendShape, embeddings: EmbeddingsShape) => Effect.Effect<A, E, R>
) =>
  withBackend(options, access, (backend) =>
    Effect.gen(function* () {
      const { embeddings } = yield* configuration(options.config)
      const ConfiguredEmbeddings = yield* Effect.promise(() => import("../layers/embeddings/ConfiguredEmbeddings.js"))
      return yield* use(backend, yield* ConfiguredEmbeddings.make(embeddings, backend))
    })
  )

/**
 * The same with `Search` over the backend, and the configured embedding model in it.
 *
 * @since 0.1.0
 * @category opening
 */
export const withSearch = <A, E, R>(
  options: Common,
  access: "read" | "write",
  use: (backend: BackendShape, search: Search["Type"]) => Effect.Effect<A, E, R>
) =>
  withEmbeddings(options, access, (backend, embeddings) =>
    Effect.gen(function* () {
      const SearchLive = yield* Effect.promise(() => import("../layers/search/SearchLive.js"))
      return yield* use(backend, SearchLive.make(backend, embeddings))
    })
  )
