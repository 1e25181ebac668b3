/**
 * The tools at work: arguments are checked, calls are counted, recorded and answered in plain JSON.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodePath from "node:path"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { DbBusy, type DbError, DbReadOnly, InvalidInput, invalidInput, NotFound } from "../errors/index.js"
import { didYouMean } from "../errors/Nearest.js"
import * as Check from "../layers/Check.js"
import { realClock } from "../layers/EventLoop.js"
import { traced } from "../layers/Tracing.js"
import { ownTables } from "../services/AgentRows.js"
import { type AgentSqlOptions, type AgentSqlShape, deadlineOf } from "../services/AgentSql.js"
import type { BackendShape, SqlValue } from "../services/Backend.js"
import type { EmbeddingsShape } from "../services/Embeddings.js"
import type { HubShape } from "../services/Hub.js"
import type { Progress } from "../services/Progress.js"
import * as Actions from "./Actions.js"
import { outputFile } from "./BackupFile.js"
import { type Arguments, type Group, jsonSchemaOf, namesOf, type ToolName, tools } from "./Declarations.js"
import { mayHoldPassword, redacted } from "./Redaction.js"
import * as Searching from "./Searching.js"
import * as Writes from "./Writes.js"

/**
 * One call as it is recorded: never with a value.
 *
 * @since 0.1.0
 * @category models
 */
export interface AuditRecord {
  readonly tool: string
  readonly caller: string
  readonly level: Group
  readonly allowed: boolean
  readonly argumentSummary: string
  readonly resultSummary: string
}

/**
 * Which tools there are, and what they may do.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolkitOptions {
  /** Which tools there are; default `read` alone. */
  readonly groups?: ReadonlyArray<Group>
  /** Default `off`: nothing is written through tools. `plan`: first a plan, then by its code. `direct`: at once. */
  readonly writes?: "off" | "plan" | "direct"
  /** Rows may be changed, definitions may not; default false. */
  readonly dmlOnly?: boolean
  /** The backends that tools may use, by default the primary or else the first of them; default all. */
  readonly backends?: ReadonlyArray<string>
  /** Where backups go; default `data/backups`. */
  readonly backupFolder?: string
  /** Limits of the read door. */
  readonly reading?: AgentSqlOptions
  /** Calls a second of a tool, in each session; default 10 of `db_hub_raw`, and any number of the others. */
  readonly callsPerSecond?: { readonly [Name in ToolName]?: number }
  /** Makes the vectors of what is looked for and remembered; without it search goes by words alone. */
  readonly embeddings?: EmbeddingsShape
  /** Where memories are kept, and whose they are; without it there is no `db_hub_remember`. */
  readonly memories?: Searching.Memories
  /**
   * Records calls after them, in their order. What may have changed something, or was refused, is answered when it is
   * recorded, and fails if that fails, though what it did is done; what has read is answered at once and recorded within
   * 50 milliseconds, together with others: a failure to record it fails the next call.
   */
  readonly audit?: (records: readonly [AuditRecord, ...ReadonlyArray<AuditRecord>]) => Effect.Effect<void, DbError>
}

/**
 * Who calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Caller {
  readonly name: string
  /** Codes of plans and limits of calls are those of one session. */
  readonly session: string
  /** Hears of long work as it goes on. */
  readonly onProgress?: (progress: Progress) => void
}

/**
 * What went wrong, in words that help whoever called.
 *
 * @since 0.1.0
 * @category models
 */
export interface ToolError {
  readonly type: string
  readonly message: string
  readonly retryable: boolean
  readonly hint?: string
}

/**
 * What a call gives: a value, or what went wrong.
 *
 * @since 0.1.0
 * @category models
 */
export type ToolAnswer =
  | {
      readonly ok: true
      readonly value: Readonly<Record<string, unknown>>
      /** The same as JSON. */
      readonly text: string
    }
  | { readonly ok: false; readonly error: ToolError }

/**
 * The tools over a hub, to be called by name.
 *
 * @since 0.1.0
 * @category models
 */
export interface Toolkit {
  readonly names: ReadonlyArray<ToolName>
  /** Never fails: what goes wrong is in the answer. */
  readonly call: (name: string, args: unknown, caller: Caller) => Effect.Effect<ToolAnswer>
}

type Document = Actions.Document
type Handlers = {
  readonly [Name in ToolName]: (args: Arguments<Name>, caller: Caller) => Effect.Effect<Document, DbError>
}

/** Sessions whose calls are counted; the one that was silent longest gives way. */
const maxSessions = 1000

/** A bucket of tokens per session that fills up again with time. */
const bucket = (tool: string, perSecond: number) => {
  const sessions = new Map<string, { readonly tokens: number; readonly at: number }>()
  return (session: string): Effect.Effect<void, DbBusy> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const size = Math.max(1, perSecond)
      const { at, tokens } = sessions.get(session) ?? { tokens: size, at: now }
      const filled = Math.min(size, tokens + ((now - at) / 1000) * perSecond)
      sessions.delete(session)
      if (sessions.size >= maxSessions) sessions.delete(sessions.keys().next().value!)
      sessions.set(session, { tokens: filled < 1 ? filled : filled - 1, at: now })
      return filled < 1
        ? Effect.fail(
            new DbBusy({
              operation: tool,
              code: "HUB_RATE_LIMIT",
              message: `More than ${perSecond} calls a second: wait ${Math.ceil(((1 - filled) / perSecond) * 1000)} ms`
            })
          )
        : Effect.void
    })
}

/** Calls that read are recorded together: so many at most, and so long after the first of them. */
const [maxTogether, recordAfter] = [256, 50]

const numeric = new Set(["max_rows", "target", "limit"])

const wholeNumber = /^\s*\d{1,15}(\.0*)?\s*$/

/** Some models send whole numbers as 10.0 or "10". */
const lenient = (args: unknown): unknown => {
  if (typeof args !== "object" || args === null || Array.isArray(args)) return args ?? {}
  const entries = Object.entries(args)
  const isText = ([key, value]: [string, unknown]) =>
    numeric.has(key) && typeof value === "string" && wholeNumber.test(value)
  return entries.some(isText)
    ? Object.fromEntries(entries.map((entry) => (isText(entry) ? [entry[0], Number(entry[1])] : entry)))
    : args
}

const isEmpty = (args: unknown): boolean =>
  typeof args === "object" && args !== null && !Array.isArray(args) && Object.keys(args).length === 0

/** Levels of lists and objects in arguments: what looks at them calls itself for each. */
const maxDepth = 100

const isTooDeep = (args: unknown): boolean => {
  let level: ReadonlyArray<unknown> = [args]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return true
    const next: Array<unknown> = []
    for (const value of level) {
      if (typeof value !== "object" || value === null) continue
      for (const child of Object.values(value)) if (typeof child === "object" && child !== null) next.push(child)
    }
    level = next
  }
  return false
}

/** Whether arguments are as they should be, which most are; what is wrong with the others, their schema tells. */
const fits = new Map<ToolName, (args: unknown) => boolean>()

/** The values of an argument, in words. */
const kindOf = (property: Readonly<Record<string, unknown>>): string => {
  const { enum: choices, maximum, minimum, type } = property
  if (Array.isArray(choices)) return choices.join(", ")
  return [type ?? "anything", ...(minimum === undefined ? [] : [`from ${minimum} to ${maximum}`])].join(" ")
}

const propertiesOf = (name: ToolName) =>
  jsonSchemaOf(name)["properties"] as Readonly<Record<string, Readonly<Record<string, unknown>>>>

const notAnArgument = (name: ToolName, field: string): InvalidInput => {
  const all = Object.keys(propertiesOf(name)).join(", ") || "none"
  return invalidInput({ operation: name }, field.slice(0, 100), "is no argument of this tool", all)
}

const wrong = (name: ToolName, issue: ParseResult.ArrayFormatterIssue | undefined): InvalidInput => {
  const properties = propertiesOf(name)
  const all = Object.keys(properties).join(", ") || "none"
  if (issue === undefined || issue.path.length === 0)
    return invalidInput({ operation: name }, "arguments", "are no object", all)
  const field = issue.path.map(String).join(".")
  const property = properties[String(issue.path[0])]
  if (property === undefined) return notAnArgument(name, field)
  return invalidInput(
    { operation: name },
    field,
    issue._tag === "Missing" ? "is missing" : "is not valid",
    kindOf(property)
  )
}

/** A value of a statement that reading the JSON of its message has made out of another 64-bit integer, or may have. */
const roundedAt = (args: unknown): number => {
  const params = typeof args === "object" && args !== null && "params" in args ? args.params : undefined
  if (!Array.isArray(params)) return -1
  return params.findIndex(
    (value) => Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) <= 2 ** 63
  )
}

const decode = <Name extends ToolName>(name: Name, args: unknown): Either.Either<Arguments<Name>, InvalidInput> => {
  const schema = tools[name].parameters as unknown as Schema.Schema<Arguments<Name>, unknown>
  if (isTooDeep(args)) {
    return Either.left(invalidInput({ operation: name }, "arguments", "are nested too deep", `${maxDepth} levels`))
  }
  const given = lenient(args)
  const rounded = roundedAt(given)
  if (rounded !== -1) {
    const problem = "is an integer beyond 2^53, which may have become another on its way"
    return Either.left(invalidInput({ operation: name }, `params[${rounded}]`, problem, 'text: "9007199254740993"'))
  }
  let fit = fits.get(name)
  if (fit === undefined) {
    const check = Check.make(schema)
    // A schema without fields takes anything.
    fit = Object.keys(tools[name].parameters.fields).length > 0 ? check : isEmpty
    fits.set(name, fit)
  }
  if (fit(given)) return Either.right(given as Arguments<Name>)
  const [unknown] = fit === isEmpty ? Object.keys(documentOf(given)) : []
  if (unknown !== undefined) return Either.left(notAnArgument(name, unknown))
  const decoded = Schema.decodeUnknownEither(schema, { onExcessProperty: "error" })(given)
  return Either.mapLeft(decoded, (error) => wrong(name, ParseResult.ArrayFormatter.formatErrorSync(error)[0]))
}

/** What arguments of tools are called where their values go. */
const calledWithin: ReadonlyArray<readonly [within: string, argument: string]> = [
  ["sql", "query"],
  ["sql", "statement"],
  ["text", "query"],
  ["maxRows", "max_rows"]
]

/** An error under the name by which who called knows the field. */
const underOwnName = (name: ToolName, error: DbError): DbError => {
  if (error._tag !== "InvalidInput") return error
  const { allowed, field, message } = error
  const fields = tools[name].parameters.fields
  const [argument] = calledWithin.flatMap(([within, own]) => (within === field && own in fields ? [own] : []))
  return argument === undefined || field in fields || !message.startsWith(field)
    ? error
    : new InvalidInput({ ...error, field: argument, allowed, message: `${argument}${message.slice(field.length)}` })
}

const hintOf = (error: DbError): string | undefined => {
  if (error.code === ownTables) return "keep rows in tables of your own, whose names do not begin with db_hub_"
  if (error.code === "HUB_READ_ONLY") return "db_hub_execute writes, where it is enabled"
  switch (error._tag) {
    case "DbQuery":
      return "db_hub_schema lists tables and columns"
    case "NotFound":
      return error.entity === "backend"
        ? "db_hub_backends lists the backends"
        : error.entity === "table"
          ? "db_hub_schema lists the tables"
          : undefined
    case "MigrationError":
      return "db_hub_migrate brings the hub's tables up to date, where it is enabled"
    default:
      return undefined
  }
}

const toolError = (error: DbError): ToolError => {
  const hint = hintOf(error)
  return {
    type: error._tag,
    message: String(redacted(error.message)),
    retryable: error.retryable && error.applied === "no",
    ...(hint === undefined ? {} : { hint })
  }
}

const failureOf = (result: Exit.Exit<unknown, DbError>): DbError | undefined =>
  Exit.isSuccess(result) ? undefined : Option.getOrUndefined(Cause.failureOption(result.cause))

/** How a call ended that has not failed. */
const endOf = (result: Exit.Exit<unknown, DbError>): string =>
  Exit.isSuccess(result) ? "ok" : Exit.isInterrupted(result) ? "cancelled" : "fault"

const documentOf = (args: unknown): Document => (typeof args === "object" && args !== null ? (args as Document) : {})

const statementOf = (args: unknown): string | undefined => {
  const { query, statement } = documentOf(args)
  const text = query ?? statement
  return typeof text === "string" ? text : undefined
}

/** A statement without its values, so that the same question is known again. */
const fingerprint = (statement: string | undefined, backend: unknown): string => {
  const hash =
    statement === undefined
      ? "none"
      : NodeCrypto.createHash("sha256").update(statement.replace(/\s+/g, " ").trim()).digest("hex").slice(0, 16)
  return `statement ${hash}, backend ${typeof backend === "string" ? backend.slice(0, 63) : "primary"}`
}

/**
 * The tools over a hub; the doors that they open are closed with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (hub: HubShape, options: ToolkitOptions = {}): Effect.Effect<Toolkit, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { audit, callsPerSecond, dmlOnly = false, groups = ["read"], memories, writes = "off" } = options
    const maxBytes = options.reading?.maxBytes
    const folder = NodePath.resolve(options.backupFolder ?? "data/backups")
    const scope = yield* Effect.scope
    const names = namesOf(groups).filter((name) =>
      name === "db_hub_execute" ? writes !== "off" : name !== "db_hub_remember" || memories !== undefined
    )
    const limits = Object.entries({ db_hub_raw: 10, ...callsPerSecond })
    const turns = new Map(limits.map(([name, perSecond]) => [name, bucket(name, perSecond)]))
    const write =
      writes === "off" ? undefined : Writes.make({ mode: writes, dmlOnly, deadline: deadlineOf(options.reading ?? {}) })
    const remember = memories && Searching.remembering(hub.primary, memories, options.embeddings)
    const doors = new Map<BackendShape, AgentSqlShape>()
    const opening = yield* Effect.makeSemaphore(1)

    const mayUse = (backend: BackendShape) => options.backends?.includes(backend.name) ?? true
    const usual = mayUse(hub.primary) ? undefined : options.backends?.[0]
    const get = (name = usual): Effect.Effect<BackendShape, DbError> =>
      Effect.flatMap(hub.get(name), (backend) =>
        mayUse(backend)
          ? Effect.succeed(backend)
          : new NotFound({
              operation: "tools.backend",
              entity: "backend",
              message: "The tools may not use this backend, or there is none of that name"
            })
      )

    /** Opened at the first question; one that could not be opened is tried again. */
    const doorOf = (backend: BackendShape): Effect.Effect<AgentSqlShape, DbError> => {
      const known = doors.get(backend)
      if (known !== undefined) return Effect.succeed(known)
      return opening.withPermits(1)(
        Effect.suspend(() => {
          const opened = doors.get(backend)
          if (opened !== undefined) return Effect.succeed(opened)
          return Effect.tap(
            Effect.provideService(backend.agentSql(options.reading), Scope.Scope, scope),
            (opened) => void doors.set(backend, opened)
          )
        })
      )
    }

    const read = (backend: BackendShape, sql: string, params: ReadonlyArray<unknown>, maxRows?: number) =>
      Effect.flatMap(doorOf(backend), (door) =>
        Actions.query(door, sql, { params, ...(maxRows === undefined ? {} : { maxRows }) })
      )

    const writesAreOff = (backend: BackendShape) =>
      new DbReadOnly({
        backend: backend.name,
        operation: "tools.write",
        code: "HUB_WRITES_OFF",
        message: "Nothing can be written through the tools here: whoever set them up turned that off"
      })

    const noWayDown = (backend: string) =>
      new DbReadOnly({
        backend,
        operation: "db_hub_migrate",
        code: "HUB_NOT_ALLOWED",
        message:
          "To an older version, the hub's own tables would be dropped with what is in them, the audit log too: whoever " +
          "set up the tools may do that, by `db-hub migrate`"
      })

    const change = (
      backend: BackendShape,
      sql: string,
      args: { readonly params?: ReadonlyArray<unknown>; readonly code?: string },
      caller: Caller,
      raw: boolean
    ): Effect.Effect<Document, DbError> =>
      write === undefined
        ? Effect.fail(writesAreOff(backend))
        : write(
            {
              backend,
              door: doorOf(backend),
              sql,
              params: (args.params ?? []) as ReadonlyArray<SqlValue>,
              code: args.code,
              session: caller.session
            },
            raw
          )

    const named = (name: string | undefined): Effect.Effect<ReadonlyArray<string>, DbError> =>
      Effect.flatMap(hub.list, (all) => {
        const usable = all.filter((one) => options.backends?.includes(one) ?? true)
        return name === undefined ? Effect.succeed(usable) : Effect.as(get(name), [name])
      })

    const handlers: Handlers = {
      db_hub_status: (args) =>
        Effect.flatMap(named(args.backend), (names) =>
          Effect.map(
            Effect.forEach(names, (name) => Actions.health(name, get(name)), {
              concurrency: "unbounded"
            }),
            (backends) => ({ backends })
          )
        ),
      db_hub_query: (args) =>
        Effect.flatMap(get(args.backend), (backend) => read(backend, args.query, args.params ?? [], args.max_rows)),
      db_hub_schema: ({ backend, ...which }) =>
        Effect.flatMap(get(backend), (backend) =>
          Actions.schema(backend, { ...which, ...(maxBytes === undefined ? {} : { maxBytes }) })
        ),
      db_hub_backends: () =>
        Effect.flatMap(named(undefined), (names) =>
          Effect.map(
            Effect.forEach(names, (name) => Actions.abilities(name, get(name))),
            (backends) => ({ backends })
          )
        ),
      db_hub_search: ({ backend, ...request }) =>
        Effect.flatMap(get(backend), (backend) =>
          Searching.search(backend, request, {
            embeddings: options.embeddings,
            // Memories are kept in the primary.
            memories: backend === hub.primary ? options.memories : undefined
          })
        ),
      db_hub_execute: (args, caller) =>
        Effect.flatMap(get(args.backend), (backend) => change(backend, args.statement, args, caller, false)),
      db_hub_remember: (args) => (remember === undefined ? Effect.fail(writesAreOff(hub.primary)) : remember(args)),
      db_hub_migrate: ({ backend, dry_run, target }, { onProgress }) =>
        Effect.flatMap(
          get(backend),
          ({ migrator, name }): Effect.Effect<Document, DbError> =>
            Effect.flatMap(Actions.plan(migrator, target), ({ steps, ...rest }): Effect.Effect<Document, DbError> => {
              if (dry_run === true) return Effect.succeed({ ...rest, steps: steps.map(({ sql: _, ...step }) => step) })
              if (steps.some(({ direction }) => direction === "down")) return Effect.fail(noWayDown(name))
              return Effect.map(Actions.migrate(migrator, target, onProgress), (done) => ({ ...done, success: true }))
            })
        ),
      db_hub_backup: ({ backend, output }, { onProgress }) =>
        Effect.gen(function* () {
          const from = yield* get(backend)
          const file =
            output === undefined
              ? undefined
              : yield* Effect.mapError(outputFile(output, folder, false), () =>
                  invalidInput(
                    { operation: "db_hub_backup", backend: from.name },
                    "output",
                    "leads out of the backup folder",
                    "a name below it"
                  )
                )
          const made = yield* Actions.backup(from, {
            folder,
            database: from.name,
            ...(file === undefined ? {} : { file }),
            ...(onProgress === undefined ? {} : { onProgress })
          })
          return { ...made, success: true }
        }),
      db_hub_raw: (args, caller) =>
        Effect.gen(function* () {
          const backend = yield* get(args.backend)
          const answer =
            args.code === undefined
              ? yield* read(backend, args.query, args.params ?? []).pipe(
                  Effect.asSome,
                  Effect.catchTag("DbReadOnly", () => Effect.succeedNone)
                )
              : Option.none()
          if (Option.isSome(answer)) return { type: "query", ...answer.value }
          return { type: "exec", ...(yield* change(backend, args.query, args, caller, true)) }
        })
    }

    const unknownTool = (name: string) =>
      new InvalidInput({
        operation: "tools.call",
        field: "name",
        allowed: names.join(", "),
        message: `There is no such tool here; ${didYouMean(name, names, `there are ${names.join(", ")}`)}`
      })

    const toolOf = (name: string): ToolName | undefined => names.find((tool) => tool === name)

    const run = (name: string, args: unknown, caller: Caller): Effect.Effect<Document, DbError> => {
      const known = toolOf(name)
      if (known === undefined) return Effect.fail(unknownTool(name))
      const handler = handlers[known] as (args: unknown, caller: Caller) => Effect.Effect<Document, DbError>
      const handle = () =>
        Either.match(decode(known, args), {
          onLeft: (error) => Effect.fail(error),
          onRight: (decoded) => Effect.mapError(handler(decoded, caller), (error) => underOwnName(known, error))
        })
      const turn = turns.get(known)
      return turn === undefined ? handle() : Effect.flatMap(turn(caller.session), handle)
    }

    /** The row of a call, made later, of what is small. */
    const recordOf = (
      name: string,
      args: unknown,
      caller: Caller,
      taken: number,
      result: Exit.Exit<Document, DbError>
    ): (() => AuditRecord) => {
      const known = toolOf(name)
      const [statement, backend] = [statementOf(args), documentOf(args)["backend"]]
      const error = failureOf(result)
      const rows = Exit.isSuccess(result) ? (result.value["row_count"] ?? result.value["rows_affected"]) : undefined
      const end = error !== undefined ? `${error._tag} ${error.code ?? ""}`.trim() : endOf(result)
      return () => ({
        tool: known ?? "unknown",
        caller: caller.name,
        level: known === undefined ? "read" : tools[known].group,
        allowed: error === undefined || !["DbReadOnly", "InvalidInput", "NotFound", "DbBusy"].includes(error._tag),
        argumentSummary: fingerprint(statement, backend),
        resultSummary: [end, ...(rows === undefined ? [] : [`${rows} rows`]), `${taken} ms`].join(", ")
      })
    }

    /** Calls that have read, and are not recorded yet. */
    const waiting: Array<() => AuditRecord> = []
    const recordingTurn = yield* Effect.makeSemaphore(1)
    /** Why calls that read are not in the audit log: told at the next call. */
    let unrecorded: DbError | undefined

    const recordWith = (...records: ReadonlyArray<AuditRecord>): Effect.Effect<void, DbError> =>
      recordingTurn.withPermits(1)(
        // Who goes away takes no record of others along.
        Effect.uninterruptible(
          Effect.suspend(() => {
            const before = waiting.splice(0).map((record) => record())
            const [first, ...others] = before.concat(records)
            return audit === undefined || first === undefined ? Effect.void : audit([first, ...others])
          })
        )
      )
    const recordWaiting = Effect.catchAll(recordWith(), (error) =>
      Effect.sync(() => {
        unrecorded = error
      })
    )
    const recording = yield* FiberSet.make<void>()
    const unrecordedAtEnd = Effect.suspend(() =>
      unrecorded === undefined
        ? Effect.void
        : Effect.logError(`The last calls of tools are not in the audit log: ${unrecorded.message}`)
    )
    yield* Effect.addFinalizer(() => Effect.zipRight(recordWaiting, unrecordedAtEnd))

    /** The answer of a call that read does not wait for its row in the audit log, unless many do. */
    const recordLater = (record: () => AuditRecord): Effect.Effect<unknown> | undefined => {
      waiting.push(record)
      if (waiting.length >= maxTogether) return recordWaiting
      if (waiting.length > 1) return undefined
      const later = Effect.delay(recordWaiting, recordAfter)
      return FiberSet.run(recording, Effect.interruptible(Effect.withClock(later, realClock)))
    }

    const onlyReads = (name: string): boolean => {
      const known = toolOf(name)
      return known !== undefined && tools[known].group === "read"
    }

    const failed = (error: DbError): ToolAnswer => ({ ok: false, error: toolError(error) })

    const answerOf = (value: Document): ToolAnswer => {
      const text = JSON.stringify(value)
      if (!mayHoldPassword(text)) return { ok: true, value, text }
      const clean = redacted(value) as Document
      return { ok: true, value: clean, text: JSON.stringify(clean) }
    }

    const call = (name: string, args: unknown, caller: Caller): Effect.Effect<ToolAnswer> => {
      if (unrecorded !== undefined) {
        const error = unrecorded
        unrecorded = undefined
        return Effect.succeed(failed(error))
      }
      const started = performance.now()
      const conclude = (result: Exit.Exit<Document, DbError>): Effect.Effect<ToolAnswer> => {
        const answer = (): Effect.Effect<ToolAnswer> => {
          if (Exit.isSuccess(result)) return Effect.succeed(answerOf(result.value))
          const error = failureOf(result)
          return error === undefined
            ? Effect.failCause(result.cause as Cause.Cause<never>)
            : Effect.succeed(failed(error))
        }
        if (audit === undefined) return answer()
        const taken = Math.round(performance.now() - started)
        const record = recordOf(name, args, caller, taken, result)
        if (failureOf(result) !== undefined || !onlyReads(name)) {
          return Effect.matchEffect(recordWith(record()), {
            onFailure: (error) => Effect.succeed(failed(error)),
            onSuccess: answer
          })
        }
        const recorded = recordLater(record)
        return recorded === undefined ? answer() : Effect.zipRight(recorded, answer())
      }
      // Who goes away is recorded, too.
      return Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(run(name, args, caller))), conclude)
      )
    }

    /** Who reads the log reads the calls before, also those that are being recorded. */
    const inOrder = (name: string, args: unknown, caller: Caller): Effect.Effect<ToolAnswer> =>
      audit !== undefined && /db_hub_audit/i.test(statementOf(args) ?? "")
        ? Effect.flatMap(recordWaiting, () => call(name, args, caller))
        : call(name, args, caller)

    // Ready when the first question comes; what keeps it from opening is told to who asks.
    if (mayUse(hub.primary)) yield* Effect.forkIn(Effect.ignore(doorOf(hub.primary)), scope)

    return {
      names,
      call: (name, args, caller) => Effect.withFiberRuntime((fiber) => traced(fiber, name, inOrder(name, args, caller)))
    }
  })
