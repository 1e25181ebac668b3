/**
 * The backends of a hub: opened side by side, found by name, closed with the hub.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import {
  DbConflict,
  DbConnection,
  type DbError,
  DbUnsupported,
  type ErrorContext,
  InvalidInput,
  invalidInput,
  NotFound
} from "../errors/index.js"
import { didYouMean } from "../errors/Nearest.js"
import type { BackendShape } from "../services/Backend.js"
import { HealthStatus } from "../services/HealthChecker.js"
import type { BackendFactory, BackendSettings, HubShape } from "../services/Hub.js"
import * as HubConfig from "../services/HubConfig.js"

/**
 * What a hub opens, and by which engines.
 *
 * @since 0.1.0
 * @category models
 */
export interface HubOptions {
  readonly primary: BackendSettings
  readonly connections?: Readonly<Record<string, BackendSettings>>
  /** Other names for backends, such as `memory` for the primary. */
  readonly aliases?: Readonly<Record<string, string>>
  readonly factories: Readonly<Record<string, BackendFactory>>
}

interface Entry {
  readonly backend: BackendShape
  readonly scope: Scope.CloseableScope
}

const primaryName = "primary"
const namePattern = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/
const namesAllowed = "a letter, then up to 62 letters, digits, _ or -"

/** How long `status` waits for a backend unless told otherwise. */
const statusTimeout = "5 seconds"

const hubClosed = (name: string): DbConnection =>
  new DbConnection({
    backend: name,
    operation: "Hub.add",
    code: "HUB_CLOSED",
    message: "The hub is closed: its layer or scope has ended"
  })

const unhealthy = (latency: number, error: string): HealthStatus =>
  new HealthStatus({
    healthy: false,
    latency,
    version: "",
    error,
    warnings: [],
    openConnections: 0,
    inUse: 0,
    idle: 0,
    waitCount: 0,
    waitDuration: 0,
    maxOpenConns: 0,
    maxIdleClosed: 0,
    maxLifetimeClosed: 0,
    schemaVersion: null,
    fileSize: null,
    walSize: null
  })

/**
 * What opens backends of a type: `DbUnsupported` for a type that configuration knows and nothing here opens,
 * `InvalidInput` for any other.
 *
 * @since 0.1.0
 * @category factories
 */
export const factoryOf = (
  factories: ReadonlyMap<string, BackendFactory>,
  type: string,
  at: ErrorContext
): Effect.Effect<BackendFactory, DbUnsupported | InvalidInput> => {
  const factory = factories.get(type)
  if (factory !== undefined) return Effect.succeed(factory)
  const types = Array.from(factories.keys())
  return Effect.fail(
    (HubConfig.backendTypes as ReadonlyArray<string>).includes(type)
      ? new DbUnsupported({
          ...at,
          message: `This version cannot open ${type} backends yet: use ${types.join(" or ")}`
        })
      : invalidInput(at, "type", "is no engine", types.join(", "))
  )
}

/**
 * Opens the primary and the named connections side by side; all are closed with the scope, the last first.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: HubOptions): Effect.Effect<HubShape, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const hubScope = yield* Effect.scope
    const factories = new Map(Object.entries(options.factories))
    const entries = new Map<string, Entry>()
    /** Names whose backend is still being opened. */
    const opening = new Set<string>()
    const aliases = new Map(Object.entries(options.aliases ?? {}))

    const open = (name: string, settings: BackendSettings): Effect.Effect<Entry, DbError> =>
      Effect.flatMap(factoryOf(factories, settings.type, { backend: name, operation: "Hub.add" }), (factory) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const scope = yield* Scope.fork(hubScope, hubScope.strategy)
            let closed = false
            yield* Scope.addFinalizer(
              scope,
              Effect.sync(() => {
                closed = true
              })
            )
            if (closed) return yield* hubClosed(name)
            const backend = yield* restore(Scope.extend(factory(name, settings), scope)).pipe(
              Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
            )
            return closed ? yield* hubClosed(name) : { backend, scope }
          })
        )
      )

    const reserveName = (name: string): Effect.Effect<void, DbError> => {
      if (!namePattern.test(name)) {
        return Effect.fail(
          new InvalidInput({
            operation: "Hub.add",
            field: "name",
            allowed: namesAllowed,
            message: `This is no name for a backend; allowed: ${namesAllowed}`
          })
        )
      }
      if (entries.has(name) || opening.has(name) || aliases.has(name)) {
        return Effect.fail(
          new DbConflict({
            backend: name,
            operation: "Hub.add",
            reason: "unique",
            message: `The hub has a backend named ${name} already: remove it first, or choose another name`
          })
        )
      }
      opening.add(name)
      return Effect.void
    }

    const add = (name: string, settings: BackendSettings): Effect.Effect<BackendShape, DbError> =>
      Effect.acquireUseRelease(
        Effect.suspend(() => reserveName(name)),
        () =>
          Effect.uninterruptibleMask((restore) =>
            Effect.map(restore(open(name, settings)), (entry) => {
              entries.set(name, entry)
              return entry.backend
            })
          ),
        () => Effect.sync(() => opening.delete(name))
      )

    const nameOf = (given: string): string => aliases.get(given) ?? given

    const find = (name: string): Effect.Effect<Entry, NotFound> =>
      Effect.suspend(() => {
        const entry = entries.get(nameOf(name))
        if (entry !== undefined) return Effect.succeed(entry)
        const names = Array.from(entries.keys())
        return Effect.fail(
          new NotFound({
            operation: "Hub.get",
            entity: "backend",
            message: `The hub has no backend of that name; ${didYouMean(name, names, `it has ${names.join(", ")}`)}`
          })
        )
      })

    const get = (name: string = primaryName) =>
      Effect.map(find(name === "" ? primaryName : name), ({ backend }) => backend)

    const primary = yield* open(primaryName, options.primary)
    entries.set(primaryName, primary)
    const connections = Object.entries(options.connections ?? {})
    yield* Effect.forEach(connections, ([name, settings]) => add(name, settings), { concurrency: "unbounded" })
    // Listed as they were written, not as they were opened.
    for (const [name] of connections) {
      const entry = entries.get(name)!
      entries.delete(name)
      entries.set(name, entry)
    }

    return {
      primary: primary.backend,
      get,
      add,
      remove: (name) =>
        Effect.uninterruptible(
          Effect.flatMap(find(name), (entry) => {
            if (entry === primary) {
              return Effect.fail(
                new InvalidInput({
                  operation: "Hub.remove",
                  field: "name",
                  allowed: "any backend but the primary",
                  message: "The primary cannot be removed: close the hub instead"
                })
              )
            }
            entries.delete(nameOf(name))
            return Scope.close(entry.scope, Exit.void)
          })
        ),
      list: Effect.sync(() => Array.from(entries.keys())),
      status: ({ timeout = statusTimeout } = {}) =>
        Effect.suspend(() => {
          const limit = Duration.decode(timeout)
          const asked = Array.from(entries, ([name, { backend }]) =>
            backend.health.status.pipe(
              // A check that cannot be interrupted is left behind rather than waited for.
              Effect.disconnect,
              Effect.timeoutTo({
                duration: limit,
                onSuccess: (status) => status,
                onTimeout: () =>
                  unhealthy(Duration.toMillis(limit), `${name} did not answer within ${Duration.format(limit)}`)
              }),
              // An engine of somebody else's may have a bug; the others are still asked.
              Effect.catchAllDefect(() =>
                Effect.succeed(unhealthy(0, `The health check of ${name} failed unexpectedly`))
              ),
              Effect.map((status) => [name, status] as const)
            )
          )
          return Effect.map(Effect.all(asked, { concurrency: "unbounded" }), Object.fromEntries)
        }),
      query: (sql, params, name) => Effect.flatMap(get(name), (backend) => backend.query(sql, params)),
      exec: (sql, params, name) => Effect.flatMap(get(name), (backend) => backend.execute(sql, params)),
      migrate: (migration, name) => Effect.flatMap(get(name), (backend) => backend.migrator.migrate(migration)),
      vectorSearch: (collection, vector, search, name) =>
        Effect.flatMap(get(name), (backend) => backend.vector.search(collection, vector, search)),
      registerFactory: (type, factory) => Effect.sync(() => void factories.set(type, factory))
    }
  })
