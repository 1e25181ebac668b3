/**
 * Jobs of agents: what is to be done, what was done for it, and what it cost.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import {
  Cost,
  Count,
  Decimal,
  Id,
  JsonRecord,
  JsonValue,
  Key,
  optional,
  type Readable,
  Text,
  Timestamp,
  UserId
} from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * Where a job is on its way; see `jobTransitions`.
 *
 * @since 0.1.0
 * @category models
 */
export const JobStatus = Schema.Literal(
  "pending",
  "in_progress",
  "completed",
  "submitted",
  "accepted",
  "failed",
  "stuck",
  "cancelled"
)

/**
 * @since 0.1.0
 * @category models
 */
export type JobStatus = typeof JobStatus.Type

/**
 * Where the owner of a job may move it. `accepted`, `failed` and `cancelled` are final; to complete a completed job
 * changes nothing. What a worker does to the job it holds (claim, complete, fail, release) moves it as well.
 *
 * @since 0.1.0
 * @category models
 */
export const jobTransitions: Readonly<Record<JobStatus, ReadonlyArray<JobStatus>>> = {
  pending: ["in_progress", "cancelled"],
  in_progress: ["completed", "failed", "stuck", "cancelled"],
  completed: ["completed", "submitted", "failed"],
  submitted: ["accepted", "failed"],
  accepted: [],
  failed: [],
  stuck: ["pending", "in_progress", "failed", "cancelled"],
  cancelled: []
}

/**
 * Work for an agent: what is to be done, where it is on its way, and what it cost.
 *
 * @since 0.1.0
 * @category models
 */
export const Job = Schema.Struct({
  id: Id,
  /** Jobs in the order of their making: the cursor of lists. */
  sequence: Count,
  userId: UserId,
  requesterId: Schema.NullOr(Text),
  conversationId: Schema.NullOr(Id),
  title: Text,
  description: Text,
  category: Schema.NullOr(Text),
  status: JobStatus,
  /** Why it failed, is stuck, or was cancelled. */
  failureReason: Schema.NullOr(Text),
  stuckSince: Schema.NullOr(Timestamp),
  /** How often it was taken out of `stuck`. */
  repairAttempts: Count,
  budgetAmount: Schema.NullOr(Decimal),
  budgetToken: Schema.NullOr(Text),
  bidAmount: Schema.NullOr(Decimal),
  estimatedCost: Schema.NullOr(Decimal),
  estimatedSeconds: Schema.NullOr(Count),
  estimatedValue: Schema.NullOr(Decimal),
  /** The exact sum of what its actions and its calls of models cost. */
  actualCost: Decimal,
  /** 0 = no limit. */
  maxTokens: Count,
  totalTokensUsed: Count,
  userTimezone: Text,
  metadata: JsonRecord,
  /** How often a worker has claimed it. */
  claims: Count,
  /** No worker claims it before. */
  availableAt: Timestamp,
  /** The worker that holds it, and until when. */
  worker: Schema.NullOr(Id),
  leaseExpiresAt: Schema.NullOr(Timestamp),
  transitionCount: Count,
  actionCount: Count,
  createdAt: Timestamp,
  startedAt: Schema.NullOr(Timestamp),
  completedAt: Schema.NullOr(Timestamp)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Job = typeof Job.Type

/**
 * A step that a job took from one status to the next.
 *
 * @since 0.1.0
 * @category models
 */
export const JobTransition = Schema.Struct({
  jobId: Id,
  /** From 1 in each job. */
  sequence: Count,
  fromStatus: JobStatus,
  toStatus: JobStatus,
  reason: Schema.NullOr(Text),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type JobTransition = typeof JobTransition.Type

/**
 * A tool's run for a job.
 *
 * @since 0.1.0
 * @category models
 */
export const JobAction = Schema.Struct({
  id: Id,
  jobId: Id,
  /** From 1 in each job. */
  sequence: Count,
  toolName: Key,
  input: JsonValue,
  outputRaw: Schema.NullOr(Text),
  outputSanitized: Schema.NullOr(JsonValue),
  sanitizationWarnings: Schema.Array(Text),
  cost: Schema.NullOr(Cost),
  durationMillis: Schema.NullOr(Count),
  success: Schema.Boolean,
  errorMessage: Schema.NullOr(Text),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type JobAction = typeof JobAction.Type

/**
 * A call of a model, with its tokens and its cost.
 *
 * @since 0.1.0
 * @category models
 */
export const LlmCall = Schema.Struct({
  id: Id,
  /** Calls in the order of their recording: the cursor of lists. */
  sequence: Count,
  userId: UserId,
  jobId: Schema.NullOr(Id),
  conversationId: Schema.NullOr(Id),
  provider: Key,
  model: Key,
  inputTokens: Count,
  outputTokens: Count,
  cost: Cost,
  purpose: Schema.NullOr(Text),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type LlmCall = typeof LlmCall.Type

/**
 * What calls of models came to.
 *
 * @since 0.1.0
 * @category models
 */
export interface LlmUsage {
  readonly calls: number
  readonly inputTokens: number
  readonly outputTokens: number
  /** The exact sum. */
  readonly cost: string
}

/**
 * What a job was thought to take, and what it took.
 *
 * @since 0.1.0
 * @category models
 */
export const JobEstimation = Schema.Struct({
  id: Id,
  jobId: Id,
  category: Key,
  toolNames: Schema.Array(Key),
  estimatedCost: Cost,
  actualCost: Schema.NullOr(Cost),
  estimatedSeconds: Count,
  actualSeconds: Schema.NullOr(Count),
  estimatedValue: Decimal,
  actualValue: Schema.NullOr(Decimal),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type JobEstimation = typeof JobEstimation.Type

/**
 * How many jobs there are; each is counted in one group.
 *
 * @since 0.1.0
 * @category models
 */
export interface JobSummary {
  readonly total: number
  readonly pending: number
  readonly inProgress: number
  /** Submitted and accepted ones included. */
  readonly completed: number
  /** Cancelled ones included. */
  readonly failed: number
  readonly stuck: number
}

/**
 * A job that a worker holds. The token proves it: whoever shows it may go on, and nobody else.
 *
 * @since 0.1.0
 * @category models
 */
export const JobLease = Schema.Struct({ job: Job, token: Id, expiresAt: Timestamp })

/**
 * @since 0.1.0
 * @category models
 */
export type JobLease = typeof JobLease.Type

/**
 * Writes what describes a job, new (then it is `pending`) or not; what is left out is empty then. It never touches the
 * status, costs and counters. Succeeds with the id. `NotFound` if the id is a job of somebody else, or the conversation
 * is.
 *
 * @since 0.1.0
 * @category operations
 */
export const SaveJob = operation("JobStore.save", {
  payload: {
    user: UserId,
    id: optional(Id),
    title: Text,
    description: Text,
    requesterId: optional(Schema.NullOr(Text)),
    conversationId: optional(Schema.NullOr(Id)),
    category: optional(Schema.NullOr(Text)),
    budgetAmount: optional(Schema.NullOr(Decimal)),
    budgetToken: optional(Schema.NullOr(Text)),
    bidAmount: optional(Schema.NullOr(Decimal)),
    estimatedCost: optional(Schema.NullOr(Decimal)),
    estimatedSeconds: optional(Schema.NullOr(Count)),
    estimatedValue: optional(Schema.NullOr(Decimal)),
    maxTokens: optional(Count),
    userTimezone: optional(Text),
    metadata: optional(JsonRecord),
    /** For a pending job: workers leave it alone until then. */
    availableAt: optional(Timestamp)
  },
  success: Id
})

/**
 * Moves a job to another status if `jobTransitions` allows it from the status that it has, and (with `from`) if that is
 * the status it has; else `DbConflict`. A worker that holds the job loses it.
 *
 * @since 0.1.0
 * @category operations
 */
export const TransitionJob = operation("JobStore.transition", {
  payload: { user: UserId, id: Id, to: JobStatus, from: optional(JobStatus), reason: optional(Text) }
})

/**
 * Moves a job that is in progress to `stuck`; else `DbConflict`.
 *
 * @since 0.1.0
 * @category operations
 */
export const MarkJobStuck = operation("JobStore.markStuck", {
  payload: { user: UserId, id: Id, reason: optional(Text) }
})

/**
 * Takes a job away, with its actions, transitions and estimations; calls of models stay on record without it.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteJob = operation("JobStore.delete", { payload: { user: UserId, id: Id } })

/**
 * Adds an action as the job's next, and its cost to the job's; succeeds with it.
 *
 * @since 0.1.0
 * @category operations
 */
export const AddJobAction = operation("JobStore.addAction", {
  payload: {
    user: UserId,
    job: Id,
    toolName: Key,
    input: JsonValue,
    outputRaw: optional(Schema.NullOr(Text)),
    outputSanitized: optional(JsonValue),
    sanitizationWarnings: optional(Schema.Array(Text)),
    cost: optional(Schema.NullOr(Cost)),
    durationMillis: optional(Schema.NullOr(Count)),
    success: Schema.Boolean,
    errorMessage: optional(Schema.NullOr(Text))
  },
  success: JobAction
})

/**
 * Records a call of a model, for a job or a conversation of the user or neither; its tokens and cost are added to the
 * job's. Succeeds with its id. `NotFound` if the job or the conversation is somebody else's.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordLlmCall = operation("JobStore.recordLlmCall", {
  payload: {
    user: UserId,
    job: optional(Id),
    conversation: optional(Id),
    provider: Key,
    model: Key,
    inputTokens: Count,
    outputTokens: Count,
    cost: Cost,
    purpose: optional(Text)
  },
  success: Id
})

/**
 * Keeps what a job is thought to take; succeeds with the id of the estimation.
 *
 * @since 0.1.0
 * @category operations
 */
export const SaveJobEstimation = operation("JobStore.saveEstimation", {
  payload: {
    user: UserId,
    job: Id,
    category: Key,
    toolNames: Schema.Array(Key),
    estimatedCost: Cost,
    estimatedSeconds: Count,
    estimatedValue: Decimal
  },
  success: Id
})

/**
 * Adds to an estimation what the job took; a value that is left out is not known.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateJobActuals = operation("JobStore.updateActuals", {
  payload: { user: UserId, estimation: Id, actualCost: Cost, actualSeconds: Count, actualValue: optional(Decimal) }
})

/**
 * The jobs of a user; somebody else's, and missing ones, are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class JobStore extends Context.Tag("effect-db-hub/JobStore")<
  JobStore,
  {
    readonly save: Submit<typeof SaveJob>
    readonly transition: Submit<typeof TransitionJob>
    readonly markStuck: Submit<typeof MarkJobStuck>
    readonly delete: Submit<typeof DeleteJob>
    readonly addAction: Submit<typeof AddJobAction>
    readonly recordLlmCall: Submit<typeof RecordLlmCall>
    readonly saveEstimation: Submit<typeof SaveJobEstimation>
    readonly updateActuals: Submit<typeof UpdateJobActuals>
    /** `NotFound` if there is none, or it is somebody else's; so do all that name a job. */
    readonly get: (user: string, id: string) => Effect.Effect<Job, DbError>
    /** Why the job failed, or null. */
    readonly failureReason: (user: string, id: string) => Effect.Effect<string | null, DbError>
    /** The newest first, from the one before the sequence `before` on; 100 unless `limit` says another. */
    readonly list: (
      user: string,
      options?: { readonly status?: JobStatus; readonly before?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<Job>, DbError>
    /** Those that are stuck for the longest first. */
    readonly listStuck: (user: string) => Effect.Effect<ReadonlyArray<Job>, DbError>
    /** How many there are, by status. */
    readonly summary: (user: string) => Effect.Effect<JobSummary, DbError>
    /** Every status that the job has had, in order. */
    readonly transitions: (user: string, job: string) => Effect.Effect<ReadonlyArray<JobTransition>, DbError>
    /** In order, those after the sequence `after`. */
    readonly actions: (
      user: string,
      job: string,
      options?: { readonly after?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<JobAction>, DbError>
    /** The newest first, from the one before the sequence `before` on. */
    readonly llmCalls: (
      user: string,
      options?: { readonly job?: string; readonly before?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<LlmCall>, DbError>
    /** Sums over the user's calls, or those of one job; costs are summed exactly. */
    readonly llmUsage: (user: string, job?: string) => Effect.Effect<LlmUsage, DbError>
    /** The oldest first. */
    readonly estimations: (user: string, job: string) => Effect.Effect<ReadonlyArray<JobEstimation>, DbError>
  }
>() {}

/**
 * How long a worker holds what it claimed without a word: up to a day.
 *
 * @since 0.1.0
 * @category schemas
 */
export const LeaseMillis = Schema.Int.pipe(
  Schema.between(1, 86_400_000, { message: () => "whole milliseconds from 1 to 86400000" })
)

/**
 * Takes the job that waits for the longest, of every user or of one: one that is `pending`, or one whose worker's lease
 * has run out. No two workers get the same. Null if there is none. A job whose row cannot be read is put aside.
 *
 * @since 0.1.0
 * @category operations
 */
export const ClaimJob = operation("JobStore.claim", {
  payload: { worker: Id, leaseMillis: LeaseMillis, user: optional(UserId) },
  success: Schema.NullOr(JobLease)
})

const held = { job: Id, token: Id }

/**
 * Holds a job for longer; succeeds with the new end of the lease. `DbConflict` if the job was given to another worker or
 * moved on by its owner: then stop working on it. So do the operations below.
 *
 * @since 0.1.0
 * @category operations
 */
export const HeartbeatJob = operation("JobStore.heartbeat", {
  payload: { ...held, leaseMillis: LeaseMillis },
  success: Timestamp
})

/**
 * The work is done.
 *
 * @since 0.1.0
 * @category operations
 */
export const CompleteJob = operation("JobStore.complete", { payload: held })

/**
 * The work cannot be done.
 *
 * @since 0.1.0
 * @category operations
 */
export const FailJob = operation("JobStore.fail", { payload: { ...held, reason: Text } })

/**
 * Gives a job back: another worker may claim it, at once or from `availableAt` on.
 *
 * @since 0.1.0
 * @category operations
 */
export const ReleaseJob = operation("JobStore.release", {
  payload: { ...held, availableAt: optional(Timestamp), reason: optional(Text) }
})

/**
 * Jobs as workers see them, who serve every user: a claim gives a token, and the token proves the rest.
 *
 * @since 0.1.0
 * @category tags
 */
export class JobQueue extends Context.Tag("effect-db-hub/JobQueue")<
  JobQueue,
  {
    readonly claim: Submit<typeof ClaimJob>
    readonly heartbeat: Submit<typeof HeartbeatJob>
    readonly complete: Submit<typeof CompleteJob>
    readonly fail: Submit<typeof FailJob>
    readonly release: Submit<typeof ReleaseJob>
  }
>() {}

/**
 * Jobs of every user, for administration.
 *
 * @since 0.1.0
 * @category tags
 */
export class JobStoreAdmin extends Context.Tag("effect-db-hub/JobStoreAdmin")<
  JobStoreAdmin,
  {
    /** The newest first, from the one before the sequence `before` on; 100 unless `limit` says another. */
    readonly list: (options?: {
      readonly before?: number
      readonly limit?: number
    }) => Effect.Effect<ReadonlyArray<Job>, DbError>
    /** Those that are stuck for the longest first. */
    readonly listStuck: Effect.Effect<Readable<Job>, DbError>
    /** How many there are, by status. */
    readonly summary: Effect.Effect<JobSummary, DbError>
  }
>() {}
