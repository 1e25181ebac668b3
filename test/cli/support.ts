import { execFile } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { Io } from "../../src/cli/Io.js"
import { run } from "../../src/cli/Run.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { BackendShape } from "../../src/services/Backend.js"
import { temporaryFolder } from "../support/index.js"

export interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
  /** What was shown as progress. */
  readonly progress: ReadonlyArray<string>
}

export interface Surroundings {
  readonly stdin?: string
  readonly columns?: number
  readonly colors?: boolean
  readonly watched?: boolean
  readonly variables?: Readonly<Record<string, string>>
}

/** The real command. */
export const bin = NodePath.resolve("bin/db-hub")

export interface Run {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** Runs the real command in a folder. */
export const hub = (
  folder: string,
  args: ReadonlyArray<string>,
  options: { stdin?: string; env?: Record<string, string>; program?: string } = {}
) =>
  Effect.async<Run>((resume) => {
    const { DATABASE_URL: _, ...env } = process.env
    const child = execFile(
      process.execPath,
      [options.program ?? bin, ...args],
      { cwd: folder, env: { ...env, ...options.env } },
      (error, out, err) => resume(Effect.succeed({ code: typeof error?.code === "number" ? error.code : 0, out, err }))
    )
    child.stdin?.on("error", () => {}).end(options.stdin ?? "")
  })

/** Runs the command in this process. */
export const cli = (args: ReadonlyArray<string>, surroundings: Surroundings = {}): Effect.Effect<Outcome> =>
  Effect.suspend(() => {
    const texts = { out: "", err: "" }
    const progress: Array<string> = []
    const write = (stream: keyof typeof texts) => (text: string) =>
      Effect.sync(() => {
        texts[stream] += `${text}\n`
      })
    return run(args).pipe(
      Effect.provideService(Io, {
        out: write("out"),
        err: write("err"),
        stdin: Effect.succeed(surroundings.stdin ?? ""),
        columns: surroundings.columns,
        colors: surroundings.colors ?? false,
        errorColors: false,
        progress: surroundings.watched === true ? (line) => progress.push(line) : undefined
      }),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(surroundings.variables ?? {})))),
      Effect.map((code) => ({ code, ...texts, progress }))
    )
  })

/** The document that a command writes with `--json`. */
export const document = (outcome: Pick<Outcome, "out">) => JSON.parse(outcome.out)

/** The error that a command writes with `--json`. */
export const errorOf = (outcome: Pick<Outcome, "err">) => JSON.parse(outcome.err).error

export interface Place {
  readonly folder: string
  readonly database: string
  readonly backups: string
  /** Runs a command on the configuration of this place. */
  readonly hub: (args: ReadonlyArray<string>, surroundings?: Surroundings) => Effect.Effect<Outcome>
  /** Works on a backend with the library. */
  readonly using: <A, E>(use: (backend: BackendShape) => Effect.Effect<A, E>) => Effect.Effect<A>
}

/** A folder with a configuration and, yet to be made, `data/hub.db`. */
export const emptyPlace = Effect.map(temporaryFolder, (folder): Place => {
  const config = NodePath.join(folder, "db-hub.json")
  const database = NodePath.join(folder, "data", "hub.db")
  NodeFs.writeFileSync(
    config,
    JSON.stringify({
      database: { hub: { sqlite: { path: "data/hub.db" }, connections: { archive: { type: "sqlite", path: "a.db" } } } }
    })
  )
  return {
    folder,
    database,
    backups: NodePath.join(folder, "data", "backups"),
    hub: (args, surroundings) => {
      const end = args.includes("--") ? args.indexOf("--") : args.length
      return cli([...args.slice(0, end), "--config", config, ...args.slice(end)], surroundings)
    },
    using: (use) => Effect.orDie(Effect.scoped(Effect.flatMap(Sqlite.make({ path: database }), use)))
  }
})

/** The same with a migrated database of one table, `users`, of three rows. */
export const place = Effect.tap(emptyPlace, ({ using }) =>
  using((backend) =>
    Effect.gen(function* () {
      yield* backend.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, score REAL)")
      yield* backend.execute("INSERT INTO users (name, score) VALUES ('Ada', 1.5), ('', NULL), (NULL, 10)")
    })
  )
)
