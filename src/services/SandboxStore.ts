/**
 * Jobs that run in sandboxes, each held by the process that runs it, and what they report.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { DbError } from "../errors/index.js"
import { LeaseMillis } from "./JobStore.js"
import { Count, Id, JsonValue, Key, optional, Text, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * Where a job in a sandbox is on its way; the last three are final.
 *
 * @since 0.1.0
 * @category models
 */
export const SandboxStatus = Schema.Literal("creating", "running", "completed", "failed", "interrupted")

/**
 * @since 0.1.0
 * @category models
 */
export type SandboxStatus = typeof SandboxStatus.Type

/**
 * A secret that the sandbox gets in an environment variable: by its name, never its value.
 *
 * @since 0.1.0
 * @category models
 */
export const CredentialGrant = Schema.Struct({ secretName: Key, envVar: Key })

/**
 * Work that a process runs in a sandbox.
 *
 * @since 0.1.0
 * @category models
 */
export const SandboxJob = Schema.Struct({
  id: Id,
  /** Jobs in the order of their making: the cursor of lists. */
  sequence: Count,
  userId: UserId,
  task: Text,
  status: SandboxStatus,
  success: Schema.NullOr(Schema.Boolean),
  failureReason: Schema.NullOr(Text),
  projectDir: Schema.NullOr(Text),
  /** How the sandbox works: `worker`, `claude_code`, … */
  mode: Key,
  credentialGrants: Schema.Array(CredentialGrant),
  /** The process that runs it. */
  worker: Id,
  /** Until when that process has promised to be there; null once the job has ended. */
  leaseExpiresAt: Schema.NullOr(Timestamp),
  eventCount: Count,
  createdAt: Timestamp,
  startedAt: Schema.NullOr(Timestamp),
  completedAt: Schema.NullOr(Timestamp)
})

/**
 * @since 0.1.0
 * @category models
 */
export type SandboxJob = typeof SandboxJob.Type

/**
 * What a job in a sandbox reported.
 *
 * @since 0.1.0
 * @category models
 */
export const SandboxEvent = Schema.Struct({
  jobId: Id,
  /** From 1 in each job, without gaps. */
  id: Count,
  eventType: Key,
  data: JsonValue,
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type SandboxEvent = typeof SandboxEvent.Type

/**
 * How many jobs there are, by status.
 *
 * @since 0.1.0
 * @category models
 */
export type SandboxSummary = Readonly<Record<SandboxStatus | "total", number>>

/**
 * Writes what describes a job, new (then it is `creating`, and `worker` holds it) or not; never its status, success,
 * times, worker and mode. Succeeds with the id. `NotFound` if the id is a job of somebody else.
 *
 * @since 0.1.0
 * @category operations
 */
export const SaveSandboxJob = operation("SandboxStore.save", {
  payload: {
    user: UserId,
    id: optional(Id),
    task: Text,
    projectDir: optional(Schema.NullOr(Text)),
    credentialGrants: optional(Schema.Array(CredentialGrant)),
    /** Of a new job; `worker` if left out. */
    mode: optional(Key),
    worker: Id,
    leaseMillis: LeaseMillis
  },
  success: Id
})

/**
 * Moves a job on: from `creating` to `running`, from both to an end. What is left out stays as it is, null clears it.
 * An ended job does not come back: `DbConflict`; its success, reason and times may still be corrected under the same
 * status.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateSandboxStatus = operation("SandboxStore.updateStatus", {
  payload: {
    user: UserId,
    id: Id,
    status: SandboxStatus,
    success: optional(Schema.NullOr(Schema.Boolean)),
    failureReason: optional(Schema.NullOr(Text)),
    startedAt: optional(Schema.NullOr(Timestamp)),
    completedAt: optional(Schema.NullOr(Timestamp))
  }
})

/**
 * Sets the mode in which the job runs.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateSandboxMode = operation("SandboxStore.updateMode", {
  payload: { user: UserId, id: Id, mode: Key }
})

/**
 * Takes a job away, with its events.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSandboxJob = operation("SandboxStore.delete", { payload: { user: UserId, id: Id } })

/**
 * Adds an event as the job's next; succeeds with its id.
 *
 * @since 0.1.0
 * @category operations
 */
export const AddSandboxEvent = operation("SandboxStore.addEvent", {
  payload: { user: UserId, job: Id, eventType: Key, data: JsonValue },
  success: Count
})

/**
 * The sandbox jobs of a user; somebody else's, and missing ones, are `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class SandboxStore extends Context.Tag("effect-db-hub/SandboxStore")<
  SandboxStore,
  {
    readonly save: Submit<typeof SaveSandboxJob>
    readonly updateStatus: Submit<typeof UpdateSandboxStatus>
    readonly updateMode: Submit<typeof UpdateSandboxMode>
    readonly delete: Submit<typeof DeleteSandboxJob>
    readonly addEvent: Submit<typeof AddSandboxEvent>
    /** `NotFound` if there is none, or it is somebody else's; so do all that name a job. */
    readonly get: (user: string, id: string) => Effect.Effect<SandboxJob, DbError>
    /** The mode in which the job runs. */
    readonly mode: (user: string, id: string) => Effect.Effect<string, DbError>
    /** Whether there is such a job and it is the user's. */
    readonly belongsTo: (user: string, id: string) => Effect.Effect<boolean, DbError>
    /** The newest first, from the one before the sequence `before` on; 100 unless `limit` says another. */
    readonly list: (
      user: string,
      options?: { readonly before?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<SandboxJob>, DbError>
    /** How many there are, by status. */
    readonly summary: (user: string) => Effect.Effect<SandboxSummary, DbError>
    /** In order: the first ones after the id `after`, or without it the latest. */
    readonly events: (
      user: string,
      job: string,
      options?: { readonly after?: number; readonly limit?: number }
    ) => Effect.Effect<ReadonlyArray<SandboxEvent>, DbError>
    /** Each event after the id `after` (0: from the first), once and in order, then new ones as they come. */
    readonly tail: (user: string, job: string, after?: number) => Stream.Stream<SandboxEvent, DbError>
  }
>() {}

/**
 * A process says that it is still there: the lease of every job that it runs is longer then. Succeeds with the ids of
 * those jobs; one that it thought to run and that is not among them was taken from it.
 *
 * @since 0.1.0
 * @category operations
 */
export const HeartbeatSandboxWorker = operation("SandboxStore.heartbeat", {
  payload: { worker: Id, leaseMillis: LeaseMillis },
  success: Schema.Array(Id)
})

/**
 * Ends the jobs whose process has not been heard of for its lease, as `interrupted`; those of other processes go on.
 * Succeeds with their ids.
 *
 * @since 0.1.0
 * @category operations
 */
export const CleanupStaleSandboxJobs = operation("SandboxStore.cleanupStale", {
  payload: {},
  success: Schema.Array(Id)
})

/**
 * Jobs of every user, for the processes that run sandboxes and for administration.
 *
 * @since 0.1.0
 * @category tags
 */
export class SandboxStoreAdmin extends Context.Tag("effect-db-hub/SandboxStoreAdmin")<
  SandboxStoreAdmin,
  {
    readonly heartbeat: Submit<typeof HeartbeatSandboxWorker>
    readonly cleanupStale: Submit<typeof CleanupStaleSandboxJobs>
    /** The newest first, from the one before the sequence `before` on; 100 unless `limit` says another. */
    readonly list: (options?: {
      readonly before?: number
      readonly limit?: number
    }) => Effect.Effect<ReadonlyArray<SandboxJob>, DbError>
    /** How many there are, by status. */
    readonly summary: Effect.Effect<SandboxSummary, DbError>
  }
>() {}
