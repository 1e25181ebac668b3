/**
 * How results and failures are told: to people on two streams, to programs as JSON documents.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { DbError } from "../errors/DbError.js"
import { Io } from "./Io.js"
import { stringify } from "./Json.js"
import { paint, printable } from "./Text.js"

/**
 * Ends the command with an exit code when everything has been said already.
 *
 * @since 0.1.0
 * @category errors
 */
export class ExitWith extends Data.TaggedError("ExitWith")<{ readonly code: number }> {}

/**
 * For a race with an effect: stops it at a signal, so that what it has begun is cleared away; then exits as shells
 * expect.
 *
 * @since 0.1.0
 * @category signals
 */
export const untilSignal = Effect.async<never, ExitWith>((resume) => {
  const stop = (code: number) => () => resume(new ExitWith({ code }))
  const [hangUp, interrupt, terminate] = [stop(129), stop(130), stop(143)]
  process.once("SIGHUP", hangUp).once("SIGINT", interrupt).once("SIGTERM", terminate)
  return Effect.sync(() => process.off("SIGHUP", hangUp).off("SIGINT", interrupt).off("SIGTERM", terminate))
})

/**
 * Writes the result: the document with `--json`, else the text.
 *
 * @since 0.1.0
 * @category output
 */
export const print = (json: boolean, document: () => unknown, text: (io: typeof Io.Service) => string) =>
  Effect.flatMap(Io, (io) => io.out(json ? stringify(document()) : text(io)))

/**
 * A remark that is no part of the result.
 *
 * @since 0.1.0
 * @category output
 */
export const note = (text: string): Effect.Effect<void, never, Io> =>
  Effect.flatMap(Io, (io) => io.err(`note: ${text}`))

const byEntity: Record<string, string> = {
  backend: "`db-hub backends` lists what is configured",
  table: "`db-hub schema` lists the tables",
  collection: "`db-hub vector collections` lists the collections",
  secret: "`db-hub secrets list` lists what a user has",
  "text collection": "`db-hub ingest FOLDER` makes one"
}

const byCode: Record<string, string> = {
  HUB_NO_FILE:
    "`db-hub migrate` or `db-hub ingest FOLDER` makes the database; `db-hub config check` tells which configuration is in use",
  HUB_NO_PRIMARY:
    "a program that opens the database with StoresShared() becomes the primary; none is needed to read or write",
  HUB_PRIMARY_HANGS:
    "a process that writes takes its place after some seconds, unless the hanging one is in a transaction",
  HUB_PARAMETERS: "give one --param per ? in the statement, such as --param 1 --param '\"text\"'",
  HUB_READ_ONLY: "`db-hub execute` runs statements that write"
}

const hintOf = (error: DbError): string | undefined => {
  if (error.code !== undefined && error.code in byCode) return byCode[error.code]
  switch (error._tag) {
    case "NotFound":
      return byEntity[error.entity]
    case "InvalidInput":
      return error.operation === "Ingest.folder" && error.code === "ENOENT"
        ? "`db-hub ingest --remove FOLDER` takes out what was ingested of a folder that is gone"
        : undefined
    case "DbReadOnly":
      // What cannot be opened says itself what it needs.
      if (error.operation.endsWith(".open")) return undefined
      return "`db-hub execute` runs statements that write, unless the configuration says read_only"
    case "ConfigError":
      if (error.code === "HUB_SECRETS_KEY") return "`db-hub secrets --help` tells of master keys"
      return "`db-hub config schema` describes every key"
    case "MigrationError":
      // That of a database which was never migrated says what to do itself.
      return error.reason === "not-migrated" ? undefined : "`db-hub doctor` looks at the database and its version"
    case "DbCorrupt":
      return "`db-hub doctor` looks at the whole file"
    case "ModelMismatch":
      return "`db-hub vector reembed COLLECTION` moves it to the configured model"
    case "EmbeddingError":
      return "`db-hub config print` shows the model that is configured"
    case "DbQuery":
      return "`db-hub schema` lists tables and columns"
    default:
      return undefined
  }
}

const tell = (json: boolean, document: Readonly<Record<string, unknown>>, message: string, hint: string | undefined) =>
  Effect.flatMap(Io, (io) => {
    if (json) return io.err(stringify({ error: { ...document, ...(hint === undefined ? {} : { hint }) } }))
    const lines = message.split("\n").map((line) => `${paint(io.errorColors, "red", "error:")} ${printable(line)}`)
    return io.err([...lines, ...(hint === undefined ? [] : [`hint: ${hint}`])].join("\n"))
  })

/**
 * Tells what failed; succeeds with the exit code.
 *
 * @since 0.1.0
 * @category errors
 */
export const failed = (json: boolean, error: DbError): Effect.Effect<number, never, Io> => {
  const { _tag: type, ...fields } = Schema.encodeSync(DbError)(error)
  // What the engine refuses while opening was not in an argument.
  const usage = error._tag === "InvalidInput" && error.operation !== "sqlite.open"
  return Effect.as(tell(json, { type, ...fields }, error.message, hintOf(error)), usage ? 2 : 1)
}

/**
 * Tells that the command line is wrong; succeeds with the exit code.
 *
 * @since 0.1.0
 * @category errors
 */
export const misused = (json: boolean, message: string, command: string): Effect.Effect<number, never, Io> =>
  Effect.as(tell(json, { type: "Usage", message }, message, `run \`${command} --help\``), 2)

/**
 * Tells of a fault in this program; succeeds with the exit code.
 *
 * @since 0.1.0
 * @category errors
 */
export const crashed = (json: boolean, details: string): Effect.Effect<number, never, Io> => {
  const message = "an unexpected fault of db-hub: please report it with what follows"
  return Effect.zipRight(
    tell(json, { type: "Unexpected", message, details }, message, undefined),
    json
      ? Effect.succeed(1)
      : Effect.flatMap(Io, (io) => Effect.as(io.err(details.split("\n").map(printable).join("\n")), 1))
  )
}
