/**
 * What a scheduler runs again and again, or once at a time: commands for an agent, and how their last run went.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, optional, type Readable, Text, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * What a schedule is written as: a cron expression, an instant, or an interval.
 *
 * @since 0.1.0
 * @category models
 */
export const ScheduleType = Schema.Literal("cron", "at", "every")

/**
 * Tokens that a run used.
 *
 * @since 0.1.0
 * @category models
 */
export const RunUsage = Schema.Struct({
  inputTokens: Count,
  outputTokens: Count,
  totalTokens: Count,
  cacheReadTokens: Count,
  cacheWriteTokens: Count
})

/**
 * What is done at its time, and how its last run went.
 *
 * @since 0.1.0
 * @category models
 */
export const ScheduledJob = Schema.Struct({
  id: Id,
  /** Jobs in the order of their making. */
  sequence: Count,
  userId: UserId,
  /** A cron expression, an instant or an interval, as `type` says; the scheduler reads it. */
  schedule: Text,
  type: ScheduleType,
  /** What the agent is told to do. */
  command: Text,
  /** Where the result goes, if it is announced. */
  channel: Schema.NullOr(Text),
  chatId: Schema.NullOr(Text),
  announce: Schema.Boolean,
  enabled: Schema.Boolean,
  createdBy: Schema.NullOr(Text),
  /** Each run has a session of its own. */
  isolateSession: Schema.Boolean,
  asSubagent: Schema.Boolean,
  /** Null = the agent's own model. */
  model: Schema.NullOr(Text),
  /** Null = the scheduler's own limit. */
  timeoutSeconds: Schema.NullOr(Count),
  labels: Schema.Array(Text),
  /** How long after its time it starts, so that not all start at once; null = the scheduler decides. */
  staggerMs: Schema.NullOr(Count),
  /** It starts at its very time. */
  exact: Schema.Boolean,
  runCount: Count,
  lastRunAt: Schema.NullOr(Timestamp),
  /** Null if the last run went well. */
  lastError: Schema.NullOr(Text),
  /** Milliseconds. */
  lastRunDuration: Schema.NullOr(Count),
  lastUsage: Schema.NullOr(RunUsage),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type ScheduledJob = typeof ScheduledJob.Type

/**
 * Writes what the owner decides about a job, new or not; what is left out has its default then: enabled, announced, and
 * else off or empty. It never touches the record of runs. Succeeds with the id. `NotFound` if the id is a job of
 * somebody else.
 *
 * @since 0.1.0
 * @category operations
 */
export const SaveScheduledJob = operation("ScheduledJobStore.save", {
  payload: {
    user: UserId,
    id: optional(Id),
    schedule: Text,
    type: ScheduleType,
    command: Text,
    channel: optional(Schema.NullOr(Text)),
    chatId: optional(Schema.NullOr(Text)),
    announce: optional(Schema.Boolean),
    enabled: optional(Schema.Boolean),
    createdBy: optional(Schema.NullOr(Text)),
    isolateSession: optional(Schema.Boolean),
    asSubagent: optional(Schema.Boolean),
    model: optional(Schema.NullOr(Text)),
    timeoutSeconds: optional(Schema.NullOr(Count)),
    labels: optional(Schema.Array(Text)),
    staggerMs: optional(Schema.NullOr(Count)),
    exact: optional(Schema.Boolean)
  },
  success: Id
})

/**
 * Turns a job on or off.
 *
 * @since 0.1.0
 * @category operations
 */
export const EnableScheduledJob = operation("ScheduledJobStore.setEnabled", {
  payload: { user: UserId, id: Id, enabled: Schema.Boolean }
})

/**
 * Succeeds with whether there was one.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteScheduledJob = operation("ScheduledJobStore.deleteIfExists", {
  payload: { user: UserId, id: Id },
  success: Schema.Boolean
})

/**
 * Starts the run after the `runCount` that the caller has seen, and counts it. False if another process has started it
 * already, or the job is not enabled any more: then do not run it.
 *
 * @since 0.1.0
 * @category operations
 */
export const StartScheduledRun = operation("ScheduledJobStore.startRun", {
  payload: { user: UserId, id: Id, runCount: Count },
  success: Schema.Boolean
})

/**
 * Keeps how the last run went.
 *
 * @since 0.1.0
 * @category operations
 */
export const FinishScheduledRun = operation("ScheduledJobStore.finishRun", {
  payload: {
    user: UserId,
    id: Id,
    duration: Count,
    error: optional(Schema.NullOr(Text)),
    usage: optional(Schema.NullOr(RunUsage))
  }
})

/**
 * Somebody else's job, and a missing one, is `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class ScheduledJobStore extends Context.Tag("effect-db-hub/ScheduledJobStore")<
  ScheduledJobStore,
  {
    readonly save: Submit<typeof SaveScheduledJob>
    readonly setEnabled: Submit<typeof EnableScheduledJob>
    readonly deleteIfExists: Submit<typeof DeleteScheduledJob>
    readonly startRun: Submit<typeof StartScheduledRun>
    readonly finishRun: Submit<typeof FinishScheduledRun>
    /** `NotFound` if there is none, or it is somebody else's. */
    readonly get: (user: string, id: string) => Effect.Effect<ScheduledJob, DbError>
    /** The oldest first. */
    readonly list: (user: string) => Effect.Effect<ReadonlyArray<ScheduledJob>, DbError>
  }
>() {}

/**
 * Scheduled jobs of every user, for a scheduler.
 *
 * @since 0.1.0
 * @category tags
 */
export class ScheduledJobStoreAdmin extends Context.Tag("effect-db-hub/ScheduledJobStoreAdmin")<
  ScheduledJobStoreAdmin,
  {
    /** The enabled ones, the oldest first. */
    readonly listEnabled: Effect.Effect<Readable<ScheduledJob>, DbError>
  }
>() {}
