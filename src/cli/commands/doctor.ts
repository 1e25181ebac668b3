/**
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as Command from "@effect/cli/Command"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { BackendShape } from "../../services/Backend.js"
import { type BackendConfig, type SqliteConfig, sqliteDefaults } from "../../services/HubConfig.js"
import { fileOf, open, selected, source } from "../Backends.js"
import { common, describe } from "../Options.js"
import { ExitWith, print } from "../Report.js"
import { bytes, counted, paint, printable, table } from "../Text.js"

interface Check {
  readonly name: string
  readonly status: "ok" | "warn" | "fail"
  readonly message: string
  /** What to do about it. */
  readonly action?: string
}

const ok = (name: string, message: string): Check => ({ name, status: "ok", message })
const warn = (name: string, message: string, action: string): Check => ({ name, status: "warn", message, action })
const fail = (name: string, message: string, action: string): Check => ({ name, status: "fail", message, action })

/** The oldest line of Node.js that the package supports. */
const oldestNode = 20

const nodeCheck = Effect.sync(() =>
  Number.parseInt(process.versions.node, 10) >= oldestNode
    ? ok("node", `Node.js ${process.versions.node}`)
    : fail("node", `Node.js ${process.versions.node} is too old`, `install Node.js ${oldestNode} or later`)
)

/** Asked in memory and without WAL, since a build with the bug refuses to open anything else. */
const sqliteChecks = Effect.gen(function* () {
  const { hasWalResetBug } = yield* Effect.promise(() => import("../../layers/sqlite/SqliteOpen.js"))
  const memory = yield* open("doctor", { ...sqliteDefaults, path: ":memory:", journalMode: "MEMORY" }, "write")
  const [row] = yield* memory.query("SELECT sqlite_version() AS version")
  const version = String(row?.["version"])
  return [
    ok("sqlite", `SQLite ${version}`),
    hasWalResetBug(version)
      ? fail("wal_reset_bug", `SQLite ${version} can lose commits in WAL mode`, "install better-sqlite3 12.6 or later")
      : ok("wal_reset_bug", "this build has the fix")
  ]
}).pipe(
  Effect.scoped,
  Effect.catchAllCause((cause) => {
    if (Cause.isInterrupted(cause)) return Effect.failCause(cause)
    const [reason] = Cause.prettyErrors(cause)
    return Effect.succeed([
      fail(
        "sqlite",
        `the SQLite driver does not work: ${reason?.message ?? Cause.pretty(cause)}`,
        "run `npm rebuild better-sqlite3`"
      )
    ])
  })
)

const modeOf = (path: string): Option.Option<number> =>
  Option.flatMapNullable(
    Option.liftThrowable(() => NodeFs.statSync(path, { throwIfNoEntry: false }))(),
    (stats) => stats?.mode
  )

const permissionCheck = (name: string, path: string, wanted: string): Check =>
  Option.match(modeOf(path), {
    onNone: () => fail(name, `${path} cannot be looked at`, "check that this user may enter its folder"),
    onSome: (mode) => {
      const octal = (mode & 0o777).toString(8).padStart(3, "0")
      if (process.platform === "win32") return ok(name, "left to Windows")
      return (mode & 0o077) === 0
        ? ok(name, `${octal}, for its owner alone`)
        : warn(
            name,
            `${path} has mode ${octal}: other users may get at it`,
            `chmod ${wanted} '${path.replaceAll("'", "'\\''")}'`
          )
    }
  })

const mayWrite = (path: string): boolean =>
  Option.isSome(
    Option.liftThrowable(() => {
      NodeFs.accessSync(path, NodeFs.constants.W_OK)
      return true
    })()
  )

const writableCheck = (file: string, settings: SqliteConfig): Check => {
  if (settings.readOnly) return ok("writable", "not asked for (read_only)")
  const closed = [file, NodePath.dirname(file)].filter((path) => !mayWrite(path))
  return closed.length === 0
    ? ok("writable", "file and folder")
    : fail(
        "writable",
        `this user may not write ${closed.join(" and ")}`,
        "change owner or mode, or set read_only: true"
      )
}

const integrityCheck = (backend: BackendShape) =>
  Effect.map(backend.readOnly("PRAGMA integrity_check(20)"), ({ rows }): Check => {
    const found = rows.map(([message]) => String(message))
    return found.length === 1 && found[0] === "ok"
      ? ok("integrity", "every page and index is sound")
      : fail(
          "integrity",
          `${counted(found.length, "fault")}: ${found[0]}`,
          "stop writing and `db-hub restore` a backup"
        )
  })

const foreignKeyCheck = (backend: BackendShape) =>
  Effect.map(backend.readOnly("PRAGMA foreign_key_check", { maxRows: 1000 }), ({ rows, truncated }): Check => {
    const tables = Array.from(new Set(rows.map(([table]) => String(table))))
    return rows.length === 0
      ? ok("foreign_keys", "every reference leads to a row")
      : fail(
          "foreign_keys",
          `${truncated ? "more than " : ""}${counted(rows.length, "row")} without the row referred to, in ${tables.join(", ")}`,
          "`db-hub query 'PRAGMA foreign_key_check'` lists them: add the missing rows or delete these"
        )
  })

const journalCheck = (backend: BackendShape, settings: SqliteConfig) =>
  Effect.map(backend.query("PRAGMA journal_mode"), ([row]): Check => {
    const mode = String(row?.["journal_mode"]).toUpperCase()
    return mode === settings.journalMode
      ? ok("journal_mode", mode)
      : warn(
          "journal_mode",
          `the file is in mode ${mode}, the configuration says ${settings.journalMode}`,
          "the next program that opens it for writing changes it; set journal_mode if that is not wanted"
        )
  })

const walCheck = (file: string, settings: SqliteConfig): Check => {
  const size = NodeFs.statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0
  return size <= Math.max(settings.journalSizeLimit, 4 * 1024 ** 2)
    ? ok("wal_size", bytes(size))
    : warn(
        "wal_size",
        `the write-ahead log has ${bytes(size)}`,
        "look for a program that keeps a read transaction open, which stops checkpoints"
      )
}

const migrationCheck = ({ migrator }: BackendShape) =>
  Effect.map(
    Effect.all([migrator.currentVersion, migrator.plan()]),
    ([version, pending]): Check =>
      pending.length === 0
        ? ok("migrations", `version ${version}, nothing pending`)
        : warn("migrations", `version ${version}, ${counted(pending.length, "step")} pending`, "run `db-hub migrate`")
  )

const guardedMigrations = (backend: BackendShape) =>
  Effect.catchAll(migrationCheck(backend), (error) =>
    Effect.succeed(fail("migrations", error.message, "use the version of this program that the database was made with"))
  )

const primaryCheck = (backend: BackendShape) =>
  Effect.promise(() => import("../../layers/write/PrimaryProbe.js")).pipe(
    Effect.flatMap(({ probePrimary }) => probePrimary(backend)),
    Effect.map(({ completed, depth, dropped, epoch, failed, maxDepth, overloaded, pid }) => {
      const turnedAway = `${failed} failed, ${dropped} dropped, ${overloaded} overloaded`
      const queue = `${depth} waiting (at most ${maxDepth}), ${completed} done, ${turnedAway}`
      return ok("primary", `process ${pid} writes for the others, epoch ${epoch}; its queue: ${queue}`)
    }),
    Effect.catchIf(
      ({ code }) => code === "HUB_NO_PRIMARY",
      () => Effect.succeed(ok("primary", "no process writes for others at the moment"))
    ),
    Effect.catchAll((error) => {
      const stopped = "look at the process that holds the file: kill -CONT if it was stopped"
      const advice = error.code === "HUB_OTHER_PROTOCOL" ? "end the processes of the older version" : stopped
      return Effect.succeed(warn("primary", error.message, advice))
    })
  )

const databaseChecks = (name: string, settings: SqliteConfig, file: string) =>
  Effect.gen(function* () {
    if (!NodeFs.existsSync(file)) {
      return [
        fail("file", `there is no database at ${file}`, "run `db-hub migrate` to make it, or correct the configuration")
      ]
    }
    const outside = [
      ok("file", file),
      permissionCheck("file_mode", file, "600"),
      permissionCheck("folder_mode", NodePath.dirname(file), "700"),
      writableCheck(file, settings),
      walCheck(file, settings)
    ]
    const backend = yield* Effect.either(open(name, settings, "read"))
    if (backend._tag === "Left") {
      return [...outside, fail("open", backend.left.message, "`db-hub restore` a backup if the file is damaged")]
    }
    const guarded = (name: string, check: ReturnType<typeof integrityCheck>) =>
      Effect.catchAll(check, (error) =>
        Effect.succeed(fail(name, error.message, "stop writing and `db-hub restore` a backup"))
      )
    const inside = yield* Effect.all([
      guarded("integrity", integrityCheck(backend.right)),
      guarded("foreign_keys", foreignKeyCheck(backend.right)),
      guarded("journal_mode", journalCheck(backend.right, settings)),
      guardedMigrations(backend.right),
      primaryCheck(backend.right)
    ])
    return [...outside, ...inside]
  }).pipe(Effect.scoped)

/** A server is examined as far as it tells: the rest is in the hands of who runs it. */
const serverChecks = (name: string, settings: BackendConfig) =>
  Effect.gen(function* () {
    const backend = yield* open(name, settings, "read")
    const { error, healthy, latency, version, warnings } = yield* backend.health.status
    if (!healthy) return [fail("open", error ?? "not healthy", "see the server's own log")]
    return [
      ok("open", `version ${version}, answers in ${latency.toFixed(1)} ms`),
      ...warnings.map((warning) => warn("server", warning, "do what the warning says")),
      yield* guardedMigrations(backend)
    ]
  }).pipe(
    Effect.scoped,
    Effect.catchAll((error) => Effect.succeed([fail("open", error.message, "correct the configuration")]))
  )

/**
 * @since 0.1.0
 * @category commands
 */
export const doctor = Command.make("doctor", common, (options) =>
  Effect.gen(function* () {
    const from = yield* source(options.config)
    const chosen = yield* Effect.either(selected(options))
    const driver = yield* sqliteChecks
    const checks: ReadonlyArray<Check> = [
      yield* nodeCheck,
      ...driver,
      ...(yield* Effect.gen(function* () {
        if (chosen._tag === "Left") {
          // A wrong --backend is no finding about the machine.
          if (chosen.left._tag === "NotFound") return yield* chosen.left
          const problems = chosen.left.message.split("\n")
          return problems.map((problem) => fail("config", problem, "`db-hub config schema` describes every key"))
        }
        const { name, settings } = chosen.right
        const file = fileOf(settings)
        const found = ok("config", from.description)
        // Nothing can be said of a database without what opens it.
        if (settings.type === "sqlite" && driver.some(({ name, status }) => name === "sqlite" && status === "fail")) {
          return [found]
        }
        return settings.type === "sqlite" && file !== undefined
          ? [found, ...(yield* databaseChecks(name, settings, file))]
          : [found, ...(yield* serverChecks(name, settings))]
      }))
    ]
    const failed = checks.some(({ status }) => status === "fail")
    yield* print(
      options.json,
      () => ({ ok: !failed, checks }),
      (io) => {
        const colors = { ok: "green", warn: "yellow", fail: "red" } as const
        const todo = new Set(
          checks.flatMap(({ action, name, status }) =>
            action === undefined ? [] : [`${paint(io.colors, colors[status], `${name}:`)} ${printable(action)}`]
          )
        )
        const rows = checks.map(({ message, name, status }) => [status, name, message])
        return [table(["", "check", "finding"], rows, io), ...(todo.size === 0 ? [] : ["", "To do:", ...todo])].join(
          "\n"
        )
      }
    )
    if (failed) yield* new ExitWith({ code: 1 })
  })
).pipe(
  Command.withDescription(
    describe(
      "Examine versions, configuration, permissions, the whole database file and pending migrations. Exits with 1 on a failure.",
      "db-hub doctor",
      "db-hub doctor --backend memory --json"
    )
  )
)
