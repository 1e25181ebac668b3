/**
 * What an agent does by itself: routines, what sets them off, and their runs.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Cron from "effect/Cron"
import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, JsonRecord, Key, optional, type Readable, Text, Timestamp, UnreadableRow, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

const withDefault = <A>(schema: Schema.Schema<A>, value: A) =>
  Schema.propertySignature(schema).pipe(Schema.withConstructorDefault(() => value))

/**
 * The schedule of a cron trigger; a time zone of null is UTC.
 *
 * @since 0.1.0
 * @category models
 */
export const parseCron = (trigger: { readonly schedule: string; readonly timezone: string | null }) =>
  Cron.parse(trigger.schedule, trigger.timezone ?? "UTC")

/**
 * By the clock: `minute hour day month weekday`, or six fields with seconds first, in a time zone such as
 * `Europe/Berlin`. A time of day that the clocks skip comes an hour later, one that they repeat comes once.
 *
 * @since 0.1.0
 * @category models
 */
export const CronTrigger = Schema.TaggedStruct("cron", {
  schedule: Text,
  timezone: withDefault(Schema.NullOr(Text), null)
})

/**
 * By a message that matches a pattern, in one channel or any.
 *
 * @since 0.1.0
 * @category models
 */
export const EventTrigger = Schema.TaggedStruct("event", {
  pattern: Text,
  channel: withDefault(Schema.NullOr(Text), null)
})

/**
 * By an event of a system, such as a closed issue.
 *
 * @since 0.1.0
 * @category models
 */
export const SystemEventTrigger = Schema.TaggedStruct("system_event", {
  source: Text,
  eventType: Text,
  filters: withDefault(JsonRecord, {})
})

/**
 * By a call of `path`, or of the routine's id where that is null. The secret that a caller must prove is named, never
 * held: a routine has no field for it.
 *
 * @since 0.1.0
 * @category models
 */
export const WebhookTrigger = Schema.TaggedStruct("webhook", {
  path: withDefault(Schema.NullOr(Key), null),
  secretName: withDefault(Schema.NullOr(Key), null)
}).annotations({ parseOptions: { onExcessProperty: "error" } })

/**
 * Only by hand.
 *
 * @since 0.1.0
 * @category models
 */
export const ManualTrigger = Schema.TaggedStruct("manual", {})

/**
 * A schedule of cron must be one.
 *
 * @since 0.1.0
 * @category models
 */
export const RoutineTrigger = Schema.Union(
  CronTrigger,
  EventTrigger,
  SystemEventTrigger,
  WebhookTrigger,
  ManualTrigger
).pipe(
  Schema.filter((trigger) => trigger._tag !== "cron" || Either.isRight(parseCron(trigger)), {
    message: () => "a cron schedule of 5 fields, or 6 with seconds first, and the name of a time zone or null"
  })
)

/**
 * @since 0.1.0
 * @category models
 */
export type RoutineTrigger = typeof RoutineTrigger.Type

/**
 * One prompt to the model.
 *
 * @since 0.1.0
 * @category models
 */
export const LightweightAction = Schema.TaggedStruct("lightweight", {
  prompt: Text,
  contextPaths: withDefault(Schema.Array(Text), []),
  maxTokens: withDefault(Schema.Int.pipe(Schema.positive()), 4096),
  useTools: withDefault(Schema.Boolean, false),
  maxToolRounds: withDefault(Schema.Int.pipe(Schema.between(1, 20)), 3)
})

/**
 * A job of its own.
 *
 * @since 0.1.0
 * @category models
 */
export const FullJobAction = Schema.TaggedStruct("full_job", {
  title: Text,
  description: Text,
  maxIterations: withDefault(Schema.Int.pipe(Schema.positive()), 10)
})

/**
 * What a routine does when it fires.
 *
 * @since 0.1.0
 * @category models
 */
export const RoutineAction = Schema.Union(LightweightAction, FullJobAction)

/**
 * @since 0.1.0
 * @category models
 */
export type RoutineAction = typeof RoutineAction.Type

/**
 * What keeps a routine from running too often: seconds from one start to the next, runs at a time, and seconds in which
 * a second start under one key is a duplicate (null = never).
 *
 * @since 0.1.0
 * @category models
 */
export const RoutineGuardrails = Schema.Struct({
  cooldownSeconds: withDefault(Count, 300),
  maxConcurrent: withDefault(Schema.Int.pipe(Schema.positive()), 1),
  dedupWindowSeconds: withDefault(Schema.NullOr(Count), null)
})

/**
 * Who hears of a run, and of which; a channel or user of null is the one that the agent goes by else.
 *
 * @since 0.1.0
 * @category models
 */
export const RoutineNotify = Schema.Struct({
  channel: withDefault(Schema.NullOr(Key), null),
  user: withDefault(Schema.NullOr(UserId), null),
  onAttention: withDefault(Schema.Boolean, true),
  onFailure: withDefault(Schema.Boolean, true),
  onSuccess: withDefault(Schema.Boolean, false)
})

/**
 * What an agent does again and again: when, what, and how often at most.
 *
 * @since 0.1.0
 * @category models
 */
export const Routine = Schema.Struct({
  id: Id,
  userId: UserId,
  name: Key,
  description: Text,
  enabled: Schema.Boolean,
  trigger: RoutineTrigger,
  action: RoutineAction,
  guardrails: RoutineGuardrails,
  notify: RoutineNotify,
  /** Whatever the routine remembers from run to run. */
  state: JsonRecord,
  /** Set exactly on an enabled cron routine. */
  nextFireAt: Schema.NullOr(Timestamp),
  lastRunAt: Schema.NullOr(Timestamp),
  /** Runs started. */
  runCount: Count,
  /** Runs that failed since the last one that did not. */
  consecutiveFailures: Count,
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Routine = typeof Routine.Type

/**
 * How a run went; `attention` = it went well, and somebody should look.
 *
 * @since 0.1.0
 * @category models
 */
export const RunStatus = Schema.Literal("running", "ok", "attention", "failed")

/**
 * @since 0.1.0
 * @category models
 */
export type RunStatus = typeof RunStatus.Type

/**
 * One run of a routine.
 *
 * @since 0.1.0
 * @category models
 */
export const RoutineRun = Schema.Struct({
  id: Id,
  routineId: Id,
  userId: UserId,
  /** Counts the runs of a routine from 1. */
  seq: Count,
  triggerType: Schema.String,
  triggerDetail: Schema.NullOr(Text),
  dedupKey: Schema.NullOr(Key),
  /** The cron time that the run was claimed for. */
  dueAt: Schema.NullOr(Timestamp),
  startedAt: Timestamp,
  completedAt: Schema.NullOr(Timestamp),
  status: RunStatus,
  summary: Schema.NullOr(Text),
  tokensUsed: Schema.NullOr(Count),
  jobId: Schema.NullOr(Id)
})

/**
 * @since 0.1.0
 * @category models
 */
export type RoutineRun = typeof RoutineRun.Type

/**
 * Why a run does not start.
 *
 * @since 0.1.0
 * @category models
 */
export const RunRefusal = Schema.Literal("disabled", "duplicate", "cooldown", "concurrency")

/**
 * @since 0.1.0
 * @category models
 */
export type RunRefusal = typeof RunRefusal.Type

/**
 * The run that was started, or the guardrail that forbade it.
 *
 * @since 0.1.0
 * @category models
 */
export const StartedOrRefused = Schema.Union(
  Schema.TaggedStruct("Started", { run: RoutineRun }),
  Schema.TaggedStruct("Refused", { reason: RunRefusal })
)

/**
 * What a scheduler has to do now; what guardrails forbade; what it could not read and left as it was.
 *
 * @since 0.1.0
 * @category models
 */
export const Claims = Schema.Struct({
  claimed: Schema.Array(Schema.Struct({ routine: Routine, run: RoutineRun })),
  skipped: Schema.Array(Schema.Struct({ id: Id, userId: UserId, dueAt: Timestamp, reason: RunRefusal })),
  unreadable: Schema.Array(UnreadableRow)
})

const definition = {
  name: Key,
  trigger: RoutineTrigger,
  action: RoutineAction
}

const settings = {
  description: optional(Text),
  enabled: optional(Schema.Boolean),
  guardrails: optional(RoutineGuardrails),
  notify: optional(RoutineNotify),
  state: optional(JsonRecord)
}

/**
 * `DbConflict` if the user has a routine of that name, or anybody one with that webhook path.
 *
 * @since 0.1.0
 * @category operations
 */
export const CreateRoutine = operation("RoutineStore.create", {
  payload: { user: UserId, id: optional(Id), ...definition, ...settings },
  success: Routine
})

/**
 * Replaces the fields that are given. The next time to fire is kept unless the trigger changes or the routine is
 * switched on.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateRoutine = operation("RoutineStore.update", {
  payload: {
    user: UserId,
    id: Id,
    name: optional(Key),
    trigger: optional(RoutineTrigger),
    action: optional(RoutineAction),
    ...settings
  },
  success: Routine
})

/**
 * Sets what changes from run to run: the state, or the next time to fire (of an enabled cron routine, else
 * `InvalidInput`). The counters count by themselves.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateRoutineRuntime = operation("RoutineStore.updateRuntime", {
  payload: { user: UserId, id: Id, state: optional(JsonRecord), nextFireAt: optional(Timestamp) },
  success: Routine
})

/**
 * Deletes a routine and its runs; succeeds with whether there was one.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteRoutine = operation("RoutineStore.deleteIfExists", {
  payload: { user: UserId, id: Id },
  success: Schema.Boolean
})

/**
 * Starts a run, or says which guardrail forbids it; both are decided under the routine's lock. A run that was asked for
 * by hand may go `duringCooldown`. `now` defaults to the clock of the process that writes.
 *
 * @since 0.1.0
 * @category operations
 */
export const StartRoutineRun = operation("RoutineStore.startRun", {
  payload: {
    user: UserId,
    routineId: Id,
    id: optional(Id),
    triggerDetail: optional(Text),
    dedupKey: optional(Key),
    duringCooldown: optional(Schema.Boolean),
    now: optional(Timestamp)
  },
  success: StartedOrRefused
})

/**
 * Ends a run and counts a failure in a row, or ends the row. `DbConflict` if it has ended already: the first end stays.
 *
 * @since 0.1.0
 * @category operations
 */
export const CompleteRoutineRun = operation("RoutineStore.completeRun", {
  payload: {
    user: UserId,
    id: Id,
    status: Schema.Literal("ok", "attention", "failed"),
    summary: optional(Text),
    tokensUsed: optional(Count)
  },
  success: RoutineRun
})

/**
 * Names the job of `JobStore` that carries a run out; it is the user's own.
 *
 * @since 0.1.0
 * @category operations
 */
export const LinkRoutineRunToJob = operation("RoutineStore.linkRunToJob", {
  payload: { user: UserId, id: Id, jobId: Id }
})

/**
 * The routines of a user; somebody else's are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class RoutineStore extends Context.Tag("effect-db-hub/RoutineStore")<
  RoutineStore,
  {
    readonly create: Submit<typeof CreateRoutine>
    readonly update: Submit<typeof UpdateRoutine>
    readonly updateRuntime: Submit<typeof UpdateRoutineRuntime>
    readonly deleteIfExists: Submit<typeof DeleteRoutine>
    readonly startRun: Submit<typeof StartRoutineRun>
    readonly completeRun: Submit<typeof CompleteRoutineRun>
    readonly linkRunToJob: Submit<typeof LinkRoutineRunToJob>
    /** `NotFound` if there is none. */
    readonly get: (user: string, id: string) => Effect.Effect<Routine, DbError>
    /** The user's routine of a name; `NotFound` if there is none. */
    readonly getByName: (user: string, name: string) => Effect.Effect<Routine, DbError>
    /** Ordered by name. */
    readonly list: (user: string) => Effect.Effect<Readable<Routine>, DbError>
    /** One run of the user's routines; `NotFound` if there is none. */
    readonly getRun: (user: string, id: string) => Effect.Effect<RoutineRun, DbError>
    /** Newest first, 50 by default; `before` takes the `seq` of the last one seen. `NotFound` without such a routine. */
    readonly listRuns: (
      user: string,
      routineId: string,
      options?: { readonly limit?: number; readonly before?: number }
    ) => Effect.Effect<ReadonlyArray<RoutineRun>, DbError>
    /** How many runs of each routine are under way; 0 for one without, or of somebody else. */
    readonly countRunning: (
      user: string,
      routineIds: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyMap<string, number>, DbError>
    /** The status of each routine's newest run; routines that never ran are left out. */
    readonly lastRunStatus: (
      user: string,
      routineIds: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyMap<string, RunStatus>, DbError>
  }
>() {}

/**
 * Claims at most `limit` due cron routines (100 by default), the longest due first. Each is moved on to its next time
 * after `now` and gets a run, in one transaction under its lock: no two schedulers fire it for the same time. Times
 * missed while nobody claimed fire once. A time that the guardrails forbid is skipped for good.
 *
 * @since 0.1.0
 * @category operations
 */
export const ClaimDueRoutines = operation("RoutineStoreAdmin.claimDue", {
  payload: { limit: optional(Schema.Int.pipe(Schema.between(1, 1000))), now: optional(Timestamp) },
  success: Claims
})

/**
 * Ends runs that started before a time and are still under way, as failed: their process is gone. Succeeds with their
 * number.
 *
 * @since 0.1.0
 * @category operations
 */
export const FailStaleRoutineRuns = operation("RoutineStoreAdmin.failStaleRuns", {
  payload: { startedBefore: Timestamp, summary: optional(Text) },
  success: Count
})

/**
 * The routines of all users, for the scheduler.
 *
 * @since 0.1.0
 * @category tags
 */
export class RoutineStoreAdmin extends Context.Tag("effect-db-hub/RoutineStoreAdmin")<
  RoutineStoreAdmin,
  {
    readonly claimDue: Submit<typeof ClaimDueRoutines>
    readonly failStaleRuns: Submit<typeof FailStaleRoutineRuns>
    /** When the next cron routine is due, or null. */
    readonly nextFireAt: Effect.Effect<Date | null, DbError>
    /** Ordered by id, 50 by default; `after` takes the id of the last one seen, readable or not. */
    readonly list: (options?: {
      readonly limit?: number
      readonly after?: string
    }) => Effect.Effect<Readable<Routine>, DbError>
    /** The enabled ones with an event or system event trigger. */
    readonly listEventRoutines: Effect.Effect<Readable<Routine>, DbError>
    /** The enabled one with this path, or with this id and no path of its own. */
    readonly getByWebhookPath: (path: string) => Effect.Effect<Routine, DbError>
    /** The runs under way that have a job, oldest first. */
    readonly listDispatchedRuns: Effect.Effect<Readable<RoutineRun>, DbError>
  }
>() {}
