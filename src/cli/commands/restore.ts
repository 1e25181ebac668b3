/**
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { DbUnsupported, invalidInput } from "../../errors/DbError.js"
import { sqliteDefaults } from "../../services/HubConfig.js"
import { open, selected } from "../Backends.js"
import { withProgress } from "../Io.js"
import { common, describe } from "../Options.js"
import { print, untilSignal } from "../Report.js"
import { bar, bytes, printable } from "../Text.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const restore = Command.make(
  "restore",
  {
    file: Args.text({ name: "FILE" }).pipe(Args.withDescription("The backup, as `db-hub backup` made it")),
    ...common
  },
  (options) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { name, settings } = yield* selected(options)
        if (settings.type !== "sqlite" || settings.path === ":memory:") {
          return yield* new DbUnsupported({
            backend: name,
            operation: "restore",
            message: "Only a database in a file of SQLite is restored here; a server is restored on its own side"
          })
        }
        const at = { operation: "restore", backend: name }
        if (settings.readOnly) {
          return yield* invalidInput(at, "backend", "is configured with read_only", "a backend that may be written")
        }
        const file = NodePath.resolve(options.file)
        if (!NodeFs.existsSync(file)) return yield* invalidInput(at, "file", "is not there", "a backup")
        const { busyTimeout, path } = settings
        const source = yield* open(name, { ...sqliteDefaults, path: file }, "read")
        const { restore } = yield* Effect.promise(() => import("../../layers/sqlite/SqliteRestore.js"))
        const done = yield* withProgress((show) =>
          restore(source, file, {
            path,
            busyTimeout,
            onProgress: ({ done, total }) => Effect.runSync(show(bar("restore", done, total)))
          })
        ).pipe(Effect.raceFirst(untilSignal))
        yield* print(
          options.json,
          () => ({
            backend: name,
            database: done.file,
            restored_from: file,
            size_bytes: done.sizeBytes,
            kept: done.kept
          }),
          () =>
            `${printable(done.file)} is that of ${printable(file)} (${bytes(done.sizeBytes)}, verified)` +
            (done.kept === null ? "" : `\nwhat was there is ${printable(done.kept)}`)
        )
      })
    )
).pipe(
  Command.withDescription(
    describe(
      "Put a backup in the place of the database, once nothing else has it open. What was there is kept beside it.",
      "db-hub restore data/backups/hub-20260102-030405.db",
      "db-hub restore before-upgrade.db --backend archive"
    )
  )
)
