/**
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { EmbeddingError } from "../../errors/DbError.js"
import type { IngestReport } from "../../services/Ingest.js"
import type * as TextAnalysis from "../../vector/TextAnalysis.js"
import { prepared, withSearch } from "../Backends.js"
import { withProgress } from "../Io.js"
import { collection, common, describe } from "../Options.js"
import { fileOf } from "../Place.js"
import { note, print } from "../Report.js"
import { bar, counted, printable } from "../Text.js"

const why = ({ message, reason }: EmbeddingError) => ({ reason, message })

const describeReport = (report: IngestReport): string => {
  const { added, changed, chunks, collection, embedded, moved, pending, refused, removed, skipped, unchanged } = report
  const files = `${counted(added, "file")} added, ${changed} changed, ${unchanged} unchanged, ${removed} removed${moved === 0 ? "" : `, ${moved} moved here from another folder`}`
  return [
    `${printable(collection)}: ${files}; ${counted(chunks, "chunk")}, ${embedded} embedded${pending === 0 ? "" : `, ${pending} pending`}`,
    ...skipped.map(({ path, reason }) => `  skipped ${printable(path)}: ${reason}`),
    ...refused.map(
      ({ error, folder, line, path }) =>
        `  no vector for ${printable(`${fileOf(folder, path)}:${line}`)}: ${printable(error.message)}`
    )
  ].join("\n")
}

/**
 * @since 0.1.0
 * @category commands
 */
export const ingest = Command.make(
  "ingest",
  {
    folder: Args.text({ name: "FOLDER" }).pipe(Args.withDescription("The folder of text files")),
    collection,
    language: Options.text("language").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription(
        "The language of a new collection, such as german, simple (words as they are) or trigram (any part of a word) (default: english)"
      ),
      Options.optional
    ),
    remove: Options.boolean("remove").pipe(
      Options.withDescription("Take what was ingested of the folder out again; the folder may be gone")
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const IngestLive = yield* Effect.promise(() => import("../../layers/ingest/IngestLive.js"))
      if (options.remove) {
        const removal = yield* withSearch(options, "write", (backend, search) =>
          Effect.zipRight(
            prepared("cli.ingest", backend, "write"),
            IngestLive.make(backend, search, true).remove(options.folder, { collection: options.collection })
          )
        )
        return yield* print(
          options.json,
          () => removal,
          () => `${printable(removal.collection)}: ${counted(removal.removed, "file")} removed`
        )
      }
      const report = yield* withSearch(options, "write", (backend, search) =>
        Effect.zipRight(
          prepared("cli.ingest", backend, "write"),
          withProgress((show) =>
            IngestLive.make(backend, search, true).folder(options.folder, {
              collection: options.collection,
              // The store knows which there are.
              ...(Option.isSome(options.language) ? { language: options.language.value as TextAnalysis.Language } : {}),
              onProgress: ({ done, phase, total }) => show(bar(phase === "files" ? "ingest" : "embed", done, total))
            })
          )
        )
      )
      yield* print(
        options.json,
        () => {
          const { failed, refused, ...rest } = report
          return {
            ...rest,
            refused: refused.map(({ error, ...place }) => ({ ...place, ...why(error) })),
            failed: failed === undefined ? null : why(failed)
          }
        },
        () => describeReport(report)
      )
      if (report.failed === undefined) return
      const again =
        report.pending > report.refused.length ? "texts are found, run this again" : "texts are found by words"
      yield* note(`${printable(report.failed.message)}; ${again}`)
    })
).pipe(
  Command.withDescription(
    describe(
      "Make the text files of a folder searchable, and keep them so: run it again after changes. Leaves out what " +
        ".gitignore names, node_modules, names that begin with a dot, binary files, files above 1 MiB and symbolic links.",
      "db-hub ingest ./docs",
      "db-hub ingest ~/notizen --collection notizen --language german",
      "db-hub ingest --remove ./docs"
    )
  )
)
