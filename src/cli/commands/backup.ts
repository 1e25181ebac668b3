/**
 * @since 0.1.0
 */
import * as NodePath from "node:path"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { type DbError, DbUnsupported } from "../../errors/DbError.js"
import type { BackendShape } from "../../services/Backend.js"
import { defaultName, outputFile } from "../../tools/backupFile.js"
import { fileOf, open, selected } from "../Backends.js"
import { withProgress } from "../Io.js"
import { common, describe } from "../options.js"
import { ExitWith, print } from "../report.js"
import { bar, bytes, printable } from "../text.js"

const copy = (backend: BackendShape, file: string) =>
  withProgress((show) =>
    backend.backup(file, { onProgress: ({ done, total }) => Effect.runSync(show(bar("backup", done, total))) })
  )

/** Two backups within one second, also of two processes, get names of their own. */
const copyNamed = (backend: BackendShape, nameOf: (n: number) => string, n = 1): ReturnType<typeof copy> =>
  Effect.catchIf(
    copy(backend, nameOf(n)),
    (error: DbError) => error._tag === "InvalidInput" && error.field === "file" && n < 1000,
    () => copyNamed(backend, nameOf, n + 1)
  )

/** Stops an effect at a signal, so that what it has begun is cleared away; then exits as shells expect. */
const untilSignal = Effect.async<never, ExitWith>((resume) => {
  const stop = (code: number) => () => resume(new ExitWith({ code }))
  const [interrupt, terminate] = [stop(130), stop(143)]
  process.once("SIGINT", interrupt).once("SIGTERM", terminate)
  return Effect.sync(() => process.off("SIGINT", interrupt).off("SIGTERM", terminate))
})

/**
 * @since 0.1.0
 * @category commands
 */
export const backup = Command.make(
  "backup",
  {
    output: Options.text("output").pipe(
      Options.withPseudoName("FILE"),
      Options.withDescription(
        "The file to write, under the backups folder beside the database (default: NAME-YYYYMMDD-HHMMSS.db, in UTC)"
      ),
      Options.optional
    ),
    allowOutside: Options.boolean("allow-outside").pipe(Options.withDescription("Accept an absolute path in --output")),
    ...common
  },
  (options) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { name, settings } = yield* selected(options)
        const database = fileOf(settings)
        if (settings.type === "sqlite" && database === undefined) {
          return yield* new DbUnsupported({
            backend: name,
            operation: "backup",
            message: "A database in memory has nothing to back up: it is gone when the program that made it ends"
          })
        }
        const folder = NodePath.resolve(NodePath.dirname(database ?? "data/hub.db"), "backups")
        const at = new Date(yield* Clock.currentTimeMillis)
        const output = yield* Effect.transposeMapOption(options.output, (given) =>
          outputFile(given, folder, options.allowOutside)
        )
        const backend = yield* open(name, settings, "read")
        const made = yield* Effect.raceFirst(
          Option.match(output, {
            onNone: () => copyNamed(backend, (n) => NodePath.join(folder, defaultName(database ?? name, at, n))),
            onSome: (file) => copy(backend, file)
          }),
          untilSignal
        )
        yield* print(
          options.json,
          () => ({
            backend: name,
            backup_path: made.file,
            size_bytes: made.sizeBytes,
            verified: true,
            timestamp: at
          }),
          () => `${printable(made.file)} (${bytes(made.sizeBytes)}, verified)`
        )
      })
    )
).pipe(
  Command.withDescription(
    describe(
      "Copy the live database to a new file, reopen the copy and check it. Never overwrites a file.",
      "db-hub backup",
      "db-hub backup --output before-upgrade.db",
      "db-hub backup --output /mnt/disk/hub.db --allow-outside"
    )
  )
)
