/**
 * The `db-hub` command as a function from arguments to an exit code.
 *
 * @since 0.1.0
 */

import * as NodeUtil from "node:util"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as Descriptor from "@effect/cli/CommandDescriptor"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeTerminal from "@effect/platform-node/NodeTerminal"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { didYouMean } from "../errors/Nearest.js"
import { backends } from "./commands/backends.js"
import { backup } from "./commands/backup.js"
import { config } from "./commands/config.js"
import { doctor } from "./commands/doctor.js"
import { execute } from "./commands/execute.js"
import { ingest } from "./commands/ingest.js"
import { mcp } from "./commands/mcp.js"
import { migrate } from "./commands/migrate.js"
import { primary } from "./commands/primary.js"
import { query } from "./commands/query.js"
import { restore } from "./commands/restore.js"
import { schema } from "./commands/schema.js"
import { search } from "./commands/search.js"
import { secrets } from "./commands/secrets.js"
import { status } from "./commands/status.js"
import { vector } from "./commands/vector.js"
import { overview } from "./Help.js"
import { Io, type IoShape } from "./Io.js"
import { crashed, failed, misused } from "./Report.js"
import { version } from "./Version.js"

export { version } from "./Version.js"

const root = Command.make("db-hub").pipe(
  Command.withSubcommands([
    status,
    backends,
    query,
    execute,
    schema,
    migrate,
    backup,
    restore,
    ingest,
    search,
    vector,
    primary,
    secrets,
    config,
    doctor,
    mcp
  ])
)

const names: ReadonlyArray<string> = Array.from(HashMap.keys(Command.getSubcommands(root))).sort()

const cli = Command.run(root, { name: "db-hub", version })

const beforeDashes = (args: ReadonlyArray<string>) =>
  args.slice(0, args.includes("--") ? args.indexOf("--") : undefined)

const flags = new Set(["--json", "--dry-run", "--allow-outside", "--internal", "--dml-only", "--explain"])

/** Whether the argument at a place is the value of the option before it. */
const isValue = (args: ReadonlyArray<string>, i: number): boolean => {
  const before = args[i - 1] ?? ""
  return /^--?[a-z]/.test(before) && !/[\s=]/.test(before) && !flags.has(before)
}

/**
 * What the parser misreads, put the way it does not: a word such as `yes` after a flag is no value of the flag, a
 * repeated option may be written with `=`, options may follow `-` and text that begins with a dash, and `--k` is `-k`.
 */
const settled = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const options = beforeDashes(args)
  const split = options.flatMap((arg) => {
    if (flags.has(arg)) return `${arg}=true`
    const [, name, value] = /^(--[a-z-]+)=(.*)$/s.exec(arg) ?? []
    return name === undefined || value === undefined || flags.has(name) ? arg : [name, value]
  })
  const isText = split.map((arg, i) => arg === "-" || (/^-.*\s/s.test(arg) && !isValue(split, i)))
  const named = split.filter((_, i) => !isText[i]).map((arg) => (arg === "--k" ? "-k" : arg))
  const forced = [...split.filter((_, i) => isText[i]), ...args.slice(options.length + 1)]
  return forced.length === 0 ? named : [...named, "--", ...forced]
}

/** Drops the banner and the remarks on types that say nothing, and names the command in full. */
const tidied = (help: string, group: string): string =>
  help
    .replace(/^db-hub\n\ndb-hub \S+\n\n/, "")
    .replace(/^\$ /m, `db-hub ${group}`)
    .replace(/^ *(A user-defined piece of text|A true or false value|An integer|This setting is optional)\.\n\n?/gm, "")
    .replace(/\n\n( {2}\S)/g, "\n$1")

/** The parser's script for bash mixes up the names of what has a dash or a group, and does not find its options. */
const completing = (script: string): string =>
  script
    .replace('cmd="db-hub"', 'cmd="db__hub"')
    .replace(/^( +)db-hub\)$/m, "$1db__hub)")
    .replace(
      /^( +db__hub)((?:,\w+)*),(\w+)\)$/gm,
      (_, root: string, groups: string, word: string) =>
        `${root}${groups.replaceAll(",", "__")},${word.replaceAll("__", "-")})`
    )

/** What the parser prints: help without colours; its errors are told by `report`. */
const consoleOf = (io: IoShape, group: string): Console.Console => {
  const current = Effect.runSync(Effect.console)
  const log = (...texts: ReadonlyArray<unknown>) => {
    const text = NodeUtil.stripVTControlCharacters(texts.join(" ").trimEnd())
    if (text.startsWith("db-hub\n")) return io.out(tidied(`${text}\n`, group).trimEnd())
    return io.out(text.startsWith("function ") ? completing(text) : text)
  }
  return { ...current, log, error: () => Effect.void }
}

const plain = (doc: HelpDoc.HelpDoc) =>
  NodeUtil.stripVTControlCharacters(HelpDoc.toAnsiText(doc)).replace(/\s+/g, " ").trim()

const groups: Readonly<Record<string, ReadonlyArray<string>>> = {
  vector: ["collections", "search", "embed", "reembed"],
  primary: ["status", "step-down"],
  secrets: ["set", "list", "rm", "rotate"],
  config: ["check", "print", "schema"]
}

const isGroup = (name: string | undefined): name is string => name !== undefined && Object.hasOwn(groups, name)

const builtIns = /^(--version|--wizard|--completions|--log-level|--help|-h)(=|$)/

const misspelt = (word: string, known: ReadonlyArray<string>, what: string): string | undefined => {
  if (known.includes(word) || builtIns.test(word)) return undefined
  if (word === "" || word.startsWith("-")) return `The ${what} comes first: one of ${known.join(", ")}`
  return `There is no such ${what}; ${didYouMean(word, known, `there are ${known.join(", ")}`)}`
}

/** The parser would only say that none of the commands fits. */
const unknownCommand = ([name = "", part = ""]: ReadonlyArray<string>): string | undefined =>
  misspelt(name, names, "command") ?? (isGroup(name) ? misspelt(part, groups[name]!, `${name} command`) : undefined)

/** What the help of the command says that the arguments name. */
const helpOf = ([name = "", part = ""]: ReadonlyArray<string>): string => {
  const found = HashMap.get(Command.getSubcommands(root), name)
  const inGroup = isGroup(name)
    ? Option.flatMap(found, (group) => HashMap.get(Descriptor.getSubcommands(group), part))
    : found
  return Option.match(inGroup, {
    onNone: () => "",
    onSome: (command) => plain(Descriptor.getHelp(command, CliConfig.defaultConfig))
  })
}

/** The parser would blame what comes after text that it takes for an option. */
const noOption = (args: ReadonlyArray<string>): string | undefined => {
  const help = helpOf(args)
  const known = Array.from(new Set(help.match(/(?<![\w-])--?[a-z][a-z-]*/g)))
  const options = beforeDashes(args)
  const stray = options.find(
    (arg, i) => /^-./.test(arg) && !/\s/.test(arg) && !isValue(options, i) && !known.includes(arg.replace(/=.*/s, ""))
  )
  if (stray === undefined || builtIns.test(stray) || stray === "--k") return undefined
  const [name = ""] = stray.split("=")
  const meant = didYouMean(name, name.startsWith("--") ? known : [], "")
  const asText = help.includes("ARGUMENTS") ? "; text that begins with a dash comes last, after --" : ""
  return `${name} is no option of ${commandOf(args)}${meant === "" ? "" : ` (${meant})`}${asText}`
}

/** The parser would not say which option it is that has the wrong value, or none. */
const wrongValue = (args: ReadonlyArray<string>, told: string): string | undefined => {
  const help = helpOf(args)
  const words = new Map(
    Array.from(help.matchAll(/(--?[a-z-]+) ([\w-]+(?: \| [\w-]+)+)/g), ([, name, words]) => [name, words!.split(" | ")])
  )
  const [, noNumber] = /^'(.*)' is not a integer$/s.exec(told) ?? []
  const options = settled(beforeDashes(args))
  for (const [i, name] of options.entries()) {
    const value = options[i + 1]
    const allowed = words.get(name)
    if (allowed !== undefined && (value === undefined || !allowed.includes(value))) {
      return `${name} ${value === undefined ? "has no value" : "is unknown"}; allowed: ${allowed.join(", ")}`
    }
    if (name.startsWith("-") && value !== undefined && value === noNumber) {
      return `${name} is no number: ${value}; allowed: a whole number`
    }
  }
  return undefined
}

/** Help wins over whatever else is wrong or missing. */
const helpFirst = (args: ReadonlyArray<string>): ReadonlyArray<string> =>
  beforeDashes(args).some((arg) => arg === "--help" || arg === "-h")
    ? [...args.slice(0, isGroup(args[0]) ? 2 : 1), "--help"]
    : args

const commandOf = (args: ReadonlyArray<string>) => {
  const [name = "", part = ""] = args
  if (!names.includes(name)) return "db-hub"
  return isGroup(name) && groups[name]!.includes(part) ? `db-hub ${name} ${part}` : `db-hub ${name}`
}

/**
 * Runs the command; succeeds with its exit code: 0 ok, 1 failed, 2 wrong usage.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (args: ReadonlyArray<string>): Effect.Effect<number, never, Io> =>
  Effect.flatMap(Io, (io) => {
    const help = overview(args, version)
    if (help !== undefined) return Effect.as(io.out(help), 0)
    const options = beforeDashes(args)
    const json = options.includes("--json") || options.includes("--json=true")
    if (options.includes("--wizard") && io.columns === undefined) {
      return misused(json, "--wizard asks its questions on a terminal, and this is none", commandOf(args))
    }
    const unknown = unknownCommand(args)
    if (unknown !== undefined) return misused(json, unknown, commandOf(args))
    return cli(["node", "db-hub", ...settled(helpFirst(args))]).pipe(
      Effect.as(0),
      Effect.catchAll((error) => {
        if (ValidationError.isValidationError(error))
          return misused(
            json,
            noOption(args) ?? wrongValue(args, plain(error.error)) ?? plain(error.error),
            commandOf(args)
          )
        if (error._tag === "ExitWith") return Effect.succeed(error.code)
        return failed(json, error)
      }),
      Effect.catchAllCause((cause) => crashed(json, Cause.pretty(cause))),
      Console.withConsole(consoleOf(io, isGroup(args[0]) ? `${args[0]} ` : "")),
      Effect.provide(
        Layer.mergeAll(
          NodeFileSystem.layer,
          NodePath.layer,
          NodeTerminal.layer,
          CliConfig.layer({ isCaseSensitive: true, showBuiltIns: false }),
          // Standard output is for results.
          Logger.replace(
            Logger.defaultLogger,
            Logger.map(Logger.logfmtLogger, (line) => void process.stderr.write(`${line}\n`))
          )
        )
      )
    )
  })
