/**
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DbConflict, type DbError } from "../../errors/index.js"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import * as Decimals from "../../services/Decimals.js"
import {
  AddJobAction,
  ClaimJob,
  CompleteJob,
  DeleteJob,
  FailJob,
  HeartbeatJob,
  Job,
  JobAction,
  JobEstimation,
  type JobLease,
  JobQueue,
  type JobStatus,
  JobStore,
  JobStoreAdmin,
  type JobSummary,
  JobTransition,
  jobTransitions,
  LlmCall,
  MarkJobStuck,
  RecordLlmCall,
  ReleaseJob,
  SaveJob,
  SaveJobEstimation,
  TransitionJob,
  UpdateJobActuals
} from "../../services/JobStore.js"
import { Id } from "../../services/Model.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { marks } from "../sql/Marks.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"
import * as Totals from "./Totals.js"

/** A job, and what proves that a worker holds it; the token is for that worker alone. */
const LeasedJob = Schema.Struct({ ...Job.fields, leaseToken: Schema.NullOr(Id) })

const written = (job: string) => ({ result: undefined, ids: [job] })

/** No worker holds the job, and none may claim it. */
const unclaimed = { claimableAt: null, worker: null, leaseToken: null, leaseExpiresAt: null }

const ended: ReadonlyArray<JobStatus> = ["completed", "accepted", "failed", "cancelled"]

/** Fields of a job, and those that only the queue sees. */
type Change = Partial<Job> & { readonly claimableAt: Date | null; readonly leaseToken: string | null }

/** What changes in a job's row when it moves to a status. */
const moved = (job: Job, to: JobStatus, at: Date, reason: string | null): Change => ({
  ...unclaimed,
  status: to,
  failureReason: to === "failed" || to === "stuck" || to === "cancelled" ? (reason ?? job.failureReason) : null,
  stuckSince: to === "stuck" ? at : null,
  repairAttempts: job.repairAttempts + (job.status === "stuck" && (to === "pending" || to === "in_progress") ? 1 : 0),
  claimableAt: to === "pending" ? job.availableAt : null,
  startedAt: to === "in_progress" ? (job.startedAt ?? at) : job.startedAt,
  completedAt: ended.includes(to) ? at : to === "submitted" ? job.completedAt : null,
  transitionCount: job.transitionCount + 1
})

const groups: ReadonlyArray<readonly [keyof JobSummary, ReadonlyArray<JobStatus>]> = [
  ["pending", ["pending"]],
  ["inProgress", ["in_progress"]],
  ["completed", ["completed", "submitted", "accepted"]],
  ["failed", ["failed", "cancelled"]],
  ["stuck", ["stuck"]]
]

const statuses = groups.flatMap(([, group]) => group)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<JobStore | JobQueue | JobStoreAdmin, never, Backend | WriteChannel> =
  Layer.effectContext(
    Effect.gen(function* () {
      const backend = yield* Backend
      const channel = yield* WriteChannel
      const { dialect } = backend
      const jobs = Table.make(backend, "db_hub_jobs", Job)
      const leased = Table.make(backend, "db_hub_jobs", LeasedJob)
      const transitions = Table.make(backend, "db_hub_job_transitions", JobTransition, { key: ["sequence", "job_id"] })
      const actions = Table.make(backend, "db_hub_job_actions", JobAction)
      const llmCalls = Table.make(backend, "db_hub_llm_calls", LlmCall)
      const usages = Table.make(backend, "db_hub_llm_calls", LlmCall.pick("id", "inputTokens", "outputTokens", "cost"))
      const estimations = Table.make(backend, "db_hub_job_estimations", JobEstimation)

      const proveConversation = Owner.proof(backend, "db_hub_conversations", "conversation")

      const at = (operation: string) => ({ backend: backend.name, operation })

      const orNotFound = (operation: string) => Rows.orNotFound(backend.name, operation, "job")

      const conflict = (operation: string, message: string) =>
        Effect.fail(new DbConflict({ backend: backend.name, operation, reason: "compare-and-set", message }))

      const get = (user: string, id: string, operation = "JobStore.get", lock = "") =>
        Effect.flatMap(jobs.first(`WHERE id = ? AND user_id = ?${lock}`, [id, user]), orNotFound(operation))

      const proveJob = (user: string, id: string | undefined, operation: string) =>
        id === undefined ? Effect.void : Effect.asVoid(get(user, id, operation))

      /** The job of an owner, which nobody else changes until the end of the transaction. */
      const lock = (user: string, id: string, operation: string) => get(user, id, operation, dialect.forUpdate)

      /** Moves a locked job, keeps the transition, and succeeds with the job as it is then. */
      const move = (job: Job, to: JobStatus, reason: string | null, also: Partial<Change> = {}) =>
        Effect.gen(function* () {
          const at = yield* Fresh.now
          const change = { ...moved(job, to, at, reason), ...also }
          yield* jobs.set(job.id, change)
          yield* transitions.insert({
            jobId: job.id,
            sequence: job.transitionCount + 1,
            fromStatus: job.status,
            toStatus: to,
            reason,
            createdAt: at
          })
          const { claimableAt: _claimableAt, leaseToken: _leaseToken, ...visible } = change
          return { ...job, ...visible }
        })

      const transition = (
        operation: string,
        { from, id, reason, to, user }: (typeof TransitionJob)["payloadSchema"]["Type"]
      ) =>
        Effect.gen(function* () {
          const job = yield* lock(user, id, operation)
          if ((from !== undefined && job.status !== from) || !jobTransitions[job.status].includes(to)) {
            const allowed = jobTransitions[job.status].join(", ") || "nothing more"
            return yield* conflict(operation, `The job is ${job.status}; from there it may become: ${allowed}`)
          }
          if (job.status === to) return { result: undefined, ids: [] }
          yield* move(job, to, reason ?? null)
          return written(id)
        })

      /** The job that a worker holds by a token, locked. */
      const held = (id: string, token: string, operation: string) =>
        Effect.gen(function* () {
          const job = yield* Effect.flatMap(
            leased.first(`WHERE id = ?${dialect.forUpdate}`, [id]),
            orNotFound(operation)
          )
          return job.leaseToken === token
            ? job
            : yield* conflict(operation, "The lease has ended: another worker has the job, or its owner moved it on")
        })

      /** The job that has been claimable for the longest. */
      const claimable = (at: Date, user: string | undefined): Effect.Effect<Job | undefined, DbError> => {
        const oldest = `WHERE ${user === undefined ? "" : "user_id = ? AND "}claimable_at <= ?
          ORDER BY claimable_at, sequence LIMIT 1${dialect.skipLocked}`
        const params = user === undefined ? [at] : [user, at]
        return Effect.catchTag(jobs.first(oldest, params), "DbCorrupt", () =>
          Effect.gen(function* () {
            const [row] = yield* backend.query(`SELECT id FROM db_hub_jobs ${oldest}`, params)
            if (row === undefined) return undefined
            const id = String(row["id"])
            const job = yield* Effect.catchTag(jobs.first("WHERE id = ?", [id]), "DbCorrupt", putAside(id))
            return job ?? (yield* claimable(at, user))
          })
        )
      }

      /** One row that cannot be read must not stop the queue: it is put aside, and `get` tells what is wrong with it. */
      const putAside = (id: string) => (error: DbError) =>
        Effect.zipRight(
          Effect.logWarning(`A job cannot be claimed: ${error.message}`),
          Effect.as(jobs.set(id, { claimableAt: null }), undefined)
        )

      const claim = (
        worker: string,
        leaseMillis: number,
        user: string | undefined
      ): Effect.Effect<JobLease | null, DbError> =>
        Effect.gen(function* () {
          const at = yield* Fresh.now
          const job = yield* claimable(at, user)
          if (job === undefined) return null
          const token = Fresh.id()
          const expiresAt = Fresh.later(at, leaseMillis)
          const lease = { worker, leaseToken: token, leaseExpiresAt: expiresAt, claimableAt: expiresAt }
          const reason = job.worker === null ? null : `The lease of worker ${job.worker} ran out`
          const claimed = yield* move(job, "in_progress", reason, { ...lease, claims: job.claims + 1 })
          return { job: claimed, token, expiresAt }
        })

      const summary = (where: string, params: ReadonlyArray<SqlValue>): Effect.Effect<JobSummary, DbError> =>
        Effect.map(
          backend.query(
            `SELECT status, count(*) AS n FROM db_hub_jobs
             WHERE ${where}status IN (${marks(statuses)}) GROUP BY status`,
            [...params, ...statuses]
          ),
          (rows) => {
            const count = (group: ReadonlyArray<JobStatus>) =>
              rows.reduce((n, row) => n + (group.includes(row["status"] as JobStatus) ? Number(row["n"]) : 0), 0)
            const counts = Object.fromEntries(groups.map(([name, group]) => [name, count(group)]))
            return { total: count(statuses), ...counts } as unknown as JobSummary
          }
        )

      const store: JobStore["Type"] = {
        save: channel.handle(SaveJob, (payload) =>
          Effect.gen(function* () {
            const at = yield* Fresh.now
            const id = payload.id ?? Fresh.id()
            if (typeof payload.conversationId === "string") {
              yield* proveConversation(payload.user, payload.conversationId, SaveJob._tag)
            }
            const description = {
              requesterId: payload.requesterId ?? null,
              conversationId: payload.conversationId ?? null,
              title: payload.title,
              description: payload.description,
              category: payload.category ?? null,
              budgetAmount: payload.budgetAmount ?? null,
              budgetToken: payload.budgetToken ?? null,
              bidAmount: payload.bidAmount ?? null,
              estimatedCost: payload.estimatedCost ?? null,
              estimatedSeconds: payload.estimatedSeconds ?? null,
              estimatedValue: payload.estimatedValue ?? null,
              maxTokens: payload.maxTokens ?? 0,
              userTimezone: payload.userTimezone ?? "UTC",
              metadata: payload.metadata ?? {}
            }
            const isNew = yield* jobs.insertIfAbsent(
              {
                ...description,
                id,
                userId: payload.user,
                status: "pending",
                repairAttempts: 0,
                actualCost: "0",
                totalTokensUsed: 0,
                claims: 0,
                availableAt: payload.availableAt ?? at,
                claimableAt: payload.availableAt ?? at,
                transitionCount: 0,
                actionCount: 0,
                createdAt: at
              },
              ["id"]
            )
            if (!isNew) {
              const job = yield* lock(payload.user, id, SaveJob._tag)
              const availableAt = payload.availableAt ?? job.availableAt
              const queued = job.status === "pending" ? { availableAt, claimableAt: availableAt } : {}
              yield* jobs.set(id, { ...description, ...queued })
            }
            return { result: id, ids: [id] }
          })
        ),
        transition: channel.handle(TransitionJob, (payload) => transition(TransitionJob._tag, payload)),
        markStuck: channel.handle(MarkJobStuck, (payload) =>
          transition(MarkJobStuck._tag, { ...payload, to: "stuck", from: "in_progress" })
        ),
        delete: channel.handle(DeleteJob, (payload) =>
          Effect.gen(function* () {
            const done = yield* jobs.deleteOwn(DeleteJob._tag, "job", payload)
            // One by one, since foreign keys may be switched off.
            for (const table of ["db_hub_job_transitions", "db_hub_job_actions", "db_hub_job_estimations"]) {
              yield* backend.enqueue(`DELETE FROM ${table} WHERE job_id = ?`, [payload.id])
            }
            yield* backend.enqueue("UPDATE db_hub_llm_calls SET job_id = NULL WHERE job_id = ?", [payload.id])
            return done
          })
        ),
        addAction: channel.handle(AddJobAction, ({ user, ...payload }) =>
          Effect.gen(function* () {
            const job = yield* lock(user, payload.job, AddJobAction._tag)
            const action: JobAction = {
              id: Fresh.id(),
              jobId: job.id,
              sequence: job.actionCount + 1,
              toolName: payload.toolName,
              input: payload.input,
              outputRaw: payload.outputRaw ?? null,
              outputSanitized: payload.outputSanitized ?? null,
              sanitizationWarnings: payload.sanitizationWarnings ?? [],
              cost: payload.cost ?? null,
              durationMillis: payload.durationMillis ?? null,
              success: payload.success,
              errorMessage: payload.errorMessage ?? null,
              createdAt: yield* Fresh.now
            }
            const output = action.outputSanitized === null ? null : new Json(action.outputSanitized)
            yield* actions.insert({ ...action, input: new Json(action.input), outputSanitized: output })
            const actualCost = yield* Totals.cost(at(AddJobAction._tag), job.actualCost, action.cost ?? "0")
            yield* jobs.set(job.id, { actionCount: action.sequence, actualCost })
            return { result: action, ids: [job.id] }
          })
        ),
        recordLlmCall: channel.handle(RecordLlmCall, (payload) =>
          Effect.gen(function* () {
            const { cost, inputTokens, outputTokens, user } = payload
            const id = Fresh.id()
            if (payload.conversation !== undefined) {
              yield* proveConversation(user, payload.conversation, RecordLlmCall._tag)
            }
            if (payload.job !== undefined) {
              const job = yield* lock(user, payload.job, RecordLlmCall._tag)
              const origin = at(RecordLlmCall._tag)
              const tokens = [inputTokens, outputTokens]
              const totalTokensUsed = yield* Totals.count(origin, "tokens", job.totalTokensUsed, ...tokens)
              const actualCost = yield* Totals.cost(origin, job.actualCost, cost)
              yield* jobs.set(job.id, { totalTokensUsed, actualCost })
            }
            yield* llmCalls.insert({
              id,
              userId: user,
              jobId: payload.job ?? null,
              conversationId: payload.conversation ?? null,
              provider: payload.provider,
              model: payload.model,
              inputTokens,
              outputTokens,
              cost,
              purpose: payload.purpose ?? null,
              createdAt: yield* Fresh.now
            })
            return { result: id, ids: payload.job === undefined ? [id] : [payload.job, id] }
          })
        ),
        saveEstimation: channel.handle(SaveJobEstimation, ({ job, user, ...estimation }) =>
          Effect.gen(function* () {
            yield* lock(user, job, SaveJobEstimation._tag)
            const id = Fresh.id()
            yield* estimations.insert({ ...estimation, id, jobId: job, createdAt: yield* Fresh.now })
            return { result: id, ids: [job, id] }
          })
        ),
        updateActuals: channel.handle(UpdateJobActuals, ({ estimation, user, ...actuals }) =>
          Effect.flatMap(
            estimations.update(
              { ...actuals, actualValue: actuals.actualValue ?? null },
              `id = ? AND EXISTS (SELECT 1 FROM db_hub_jobs
                 WHERE db_hub_jobs.id = db_hub_job_estimations.job_id AND db_hub_jobs.user_id = ?)`,
              [estimation, user]
            ),
            (updated) =>
              Rows.orNotFound(
                backend.name,
                UpdateJobActuals._tag,
                "estimation"
              )(updated === 1 ? written(estimation) : undefined)
          )
        ),
        get,
        failureReason: (user, id) => Effect.map(get(user, id, "JobStore.failureReason"), (job) => job.failureReason),
        list: (user, { before, limit, status } = {}) =>
          jobs.page(
            "JobStore.list",
            { "user_id = ?": user, "status = ?": status, "sequence < ?": before },
            "sequence DESC",
            limit
          ),
        listStuck: (user) => jobs.all("WHERE user_id = ? AND status = 'stuck' ORDER BY stuck_since, sequence", [user]),
        summary: (user) => summary("user_id = ? AND ", [user]),
        transitions: (user, job) =>
          Effect.zipRight(
            get(user, job, "JobStore.transitions"),
            transitions.all("WHERE job_id = ? ORDER BY sequence", [job])
          ),
        actions: (user, job, { after, limit } = {}) =>
          Effect.zipRight(
            get(user, job, "JobStore.actions"),
            actions.page("JobStore.actions", { "job_id = ?": job, "sequence > ?": after }, "sequence", limit)
          ),
        llmCalls: (user, { before, job, limit } = {}) =>
          Effect.zipRight(
            proveJob(user, job, "JobStore.llmCalls"),
            llmCalls.page(
              "JobStore.llmCalls",
              { "user_id = ?": user, "job_id = ?": job, "sequence < ?": before },
              "sequence DESC",
              limit
            )
          ),
        llmUsage: (user, job) =>
          Effect.zipRight(
            proveJob(user, job, "JobStore.llmUsage"),
            Stream.runFold(
              job === undefined
                ? usages.stream("WHERE user_id = ?", [user])
                : usages.stream("WHERE user_id = ? AND job_id = ?", [user, job]),
              { calls: 0, inputTokens: 0, outputTokens: 0, cost: "0" },
              (usage, { cost, inputTokens, outputTokens }) => ({
                calls: usage.calls + 1,
                inputTokens: usage.inputTokens + inputTokens,
                outputTokens: usage.outputTokens + outputTokens,
                cost: Decimals.sum(usage.cost, cost)
              })
            )
          ),
        estimations: (user, job) =>
          Effect.zipRight(
            get(user, job, "JobStore.estimations"),
            estimations.all("WHERE job_id = ? ORDER BY sequence", [job])
          )
      }

      const queue: JobQueue["Type"] = {
        claim: channel.handle(ClaimJob, ({ leaseMillis, user, worker }) =>
          Effect.map(claim(worker, leaseMillis, user), (lease) => ({
            result: lease,
            ids: lease === null ? [] : [lease.job.id]
          }))
        ),
        heartbeat: channel.handle(HeartbeatJob, ({ job, leaseMillis, token }) =>
          Effect.gen(function* () {
            yield* held(job, token, HeartbeatJob._tag)
            const expiresAt = Fresh.later(yield* Fresh.now, leaseMillis)
            yield* jobs.set(job, { leaseExpiresAt: expiresAt, claimableAt: expiresAt })
            // A longer lease is nobody else's news.
            return { result: expiresAt, ids: [] }
          })
        ),
        complete: channel.handle(CompleteJob, ({ job, token }) =>
          Effect.flatMap(held(job, token, CompleteJob._tag), (mine) =>
            Effect.as(move(mine, "completed", null), written(job))
          )
        ),
        fail: channel.handle(FailJob, ({ job, reason, token }) =>
          Effect.flatMap(held(job, token, FailJob._tag), (mine) =>
            Effect.as(move(mine, "failed", reason), written(job))
          )
        ),
        release: channel.handle(ReleaseJob, ({ job, reason, token, ...rest }) =>
          Effect.flatMap(held(job, token, ReleaseJob._tag), (mine) => {
            const availableAt = rest.availableAt ?? mine.availableAt
            return Effect.as(
              move(mine, "pending", reason ?? null, { availableAt, claimableAt: availableAt }),
              written(job)
            )
          })
        )
      }

      const admin: JobStoreAdmin["Type"] = {
        list: ({ before, limit } = {}) =>
          jobs.page("JobStoreAdmin.list", { "sequence < ?": before }, "sequence DESC", limit),
        listStuck: jobs.readable("WHERE status = 'stuck' ORDER BY stuck_since, sequence"),
        summary: summary("", [])
      }

      return Context.make(JobStore, store).pipe(Context.add(JobQueue, queue), Context.add(JobStoreAdmin, admin))
    })
  )
