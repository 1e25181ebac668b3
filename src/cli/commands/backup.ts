/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Actions from "../../tools/Actions.js"
import { outputFile } from "../../tools/BackupFile.js"
import { backupFolderOf, fileOf, open, selected } from "../Backends.js"
import { withProgress } from "../Io.js"
import { common, describe } from "../Options.js"
import { print, untilSignal } from "../Report.js"
import { bar, bytes, printable } from "../Text.js"

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
        const folder = backupFolderOf(settings)
        const output = yield* Effect.transposeMapOption(options.output, (given) =>
          outputFile(given, folder, options.allowOutside)
        )
        const backend = yield* open(name, settings, "read")
        const made = yield* withProgress((show) =>
          Actions.backup(backend, {
            folder,
            database: database ?? name,
            ...(Option.isSome(output) ? { file: output.value } : {}),
            onProgress: ({ done, total }) => Effect.runSync(show(bar("backup", done, total)))
          })
        ).pipe(Effect.raceFirst(untilSignal))
        yield* print(
          options.json,
          () => made,
          () => `${printable(made.backup_path)} (${bytes(made.size_bytes)}, verified)`
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
