/**
 * PGlite: PostgreSQL with pgvector in this process, nothing to install. One session, so that statements take turns; what
 * runs cannot be cancelled; vectors are searched exactly.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import type { PGlite } from "@electric-sql/pglite"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { DbConnection, type DbError, DbLocked, DbUnsupported } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { type BackendServices, fromBackend } from "../BackendLayer.js"
import { PgliteStream } from "./PgliteStream.js"
import { openResolved } from "./Postgres.js"
import { resolve } from "./PostgresOptions.js"

/**
 * PostgreSQL inside the process: where its data are.
 *
 * @since 0.1.0
 * @category models
 */
export interface PgliteOptions {
  /** The folder of the data, made if absent; without one they die with the layer. */
  readonly dataDir?: string
  /** The name in errors, spans and the hub; default `primary`. */
  readonly name?: string
  /** Bring the hub's own tables up to date when the layer is built; default true. */
  readonly migrate?: boolean
}

const operation = "pglite.open"

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "EPERM"
  }
}

/** Two processes in one folder damage it without a word, so the second is refused by a file with the first one's id. */
const lockFolder = (folder: string, backend: string): Effect.Effect<void, DbError, Scope.Scope> => {
  const attempt = Effect.try({
    try: () => {
      NodeFs.mkdirSync(folder, { recursive: true, mode: 0o700 })
      // However the path is spelled, one folder has one lock.
      const file = `${NodeFs.realpathSync(folder)}.lock`
      const take = () => NodeFs.writeFileSync(file, String(process.pid), { flag: "wx", mode: 0o600 })
      try {
        take()
      } catch (cause) {
        if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
        const holder = Number(NodeFs.readFileSync(file, "utf8"))
        if (holder > 0 && isAlive(holder)) {
          throw new DbLocked({
            backend,
            operation,
            code: "HUB_DATA_DIR_IN_USE",
            retryable: false,
            message: `Process ${holder} has this data folder open, and PGlite can have it open once: close it there first`
          })
        }
        NodeFs.rmSync(file)
        take()
      }
      return file
    },
    catch: (cause) => {
      if (cause instanceof DbLocked) return cause
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
      return new DbConnection({ backend, operation, code, message: `The data folder cannot be used (${code})` })
    }
  })
  return Effect.acquireRelease(attempt, (file) => Effect.sync(() => NodeFs.rmSync(file, { force: true })))
}

const openEngine = (dataDir: string | undefined, backend: string): Effect.Effect<PGlite, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const [{ PGlite }, { vector }] = yield* Effect.tryPromise({
      try: () => Promise.all([import("@electric-sql/pglite"), import("@electric-sql/pglite-pgvector")]),
      catch: () =>
        new DbUnsupported({
          backend,
          operation,
          code: "HUB_DRIVER_MISSING",
          message: "PGlite is not installed: npm install @electric-sql/pglite @electric-sql/pglite-pgvector"
        })
    })
    return yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => PGlite.create({ ...(dataDir === undefined ? {} : { dataDir }), extensions: { vector } }),
        catch: () =>
          new DbConnection({
            backend,
            operation,
            code: "HUB_PGLITE",
            message: "PGlite cannot open its data: check the folder, and that the same version of PGlite made it"
          })
      }),
      (engine) => Effect.ignore(Effect.tryPromise(() => engine.close()))
    )
  })

/**
 * Opens a database; it is closed with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: PgliteOptions = {}): Effect.Effect<BackendShape, DbError, Scope.Scope> =>
  Effect.gen(function* () {
    const { dataDir, migrate = true, name = "primary" } = options
    if (dataDir !== undefined) yield* lockFolder(dataDir, name)
    const engine = yield* openEngine(dataDir, name)
    const resolved = yield* resolve({
      host: "pglite",
      database: "postgres",
      user: "postgres",
      sslMode: "disable",
      name,
      migrate,
      maxOpenConns: 1,
      connMaxLifetime: 0,
      connMaxIdleTime: 0,
      vector: { index: "none" }
    })
    const reset = async () => {
      for (const sql of ["ROLLBACK", "DISCARD ALL", "SET TimeZone = 'UTC'", "SET DateStyle = 'ISO'"]) {
        await engine.exec(sql)
      }
    }
    const stream = () => new PgliteStream({ reset, answer: (messages) => engine.execProtocolRaw(messages) })
    const { backend } = yield* openResolved({ ...resolved, stream })
    const { alone: _ofServers, ...rest } = backend
    return {
      ...rest,
      kind: "pglite",
      capabilities: { ...backend.capabilities, concurrentReads: false, persistent: dataDir !== undefined }
    } satisfies BackendShape
  })

/**
 * PostgreSQL inside the process, open as long as the layer is.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: PgliteOptions = {}): Layer.Layer<BackendServices, DbError> => fromBackend(make(options))

/**
 * A database in memory that dies with the layer.
 *
 * @since 0.1.0
 * @category layers
 */
export const PgliteLive: Layer.Layer<BackendServices, DbError> = layer()
