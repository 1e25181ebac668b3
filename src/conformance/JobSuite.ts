/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { Backend, Json } from "../services/Backend.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { JobQueue, type JobStatus, JobStore, JobStoreAdmin, jobTransitions } from "../services/JobStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, later, type Suite } from "./Case.js"

/** A way from `pending` to each status. */
const ways: Readonly<Record<JobStatus, ReadonlyArray<JobStatus>>> = {
  pending: [],
  in_progress: ["in_progress"],
  completed: ["in_progress", "completed"],
  submitted: ["in_progress", "completed", "submitted"],
  accepted: ["in_progress", "completed", "submitted", "accepted"],
  failed: ["in_progress", "failed"],
  stuck: ["in_progress", "stuck"],
  cancelled: ["cancelled"]
}

const statuses = Object.keys(ways) as ReadonlyArray<JobStatus>

const aJob = (user: string, title = "a job") =>
  Effect.flatMap(JobStore, (jobs) => jobs.save({ user, title, description: "" }))

const jobIn = (user: string, status: JobStatus) =>
  Effect.gen(function* () {
    const jobs = yield* JobStore
    const id = yield* aJob(user, status)
    for (const to of ways[status]) yield* jobs.transition({ user, id, to, reason: `now ${to}` })
    return id
  })

const claimFor = (user: string, leaseMillis = 60_000) =>
  Effect.flatMap(JobQueue, (queue) => queue.claim({ worker: "worker", leaseMillis, user }))

const conversationOf = (user: string) =>
  Effect.flatMap(ConversationStore, (conversations) => conversations.create({ user, channel: "jobs" }))

/** A claim that must find a job. */
const claimed = (user: string, leaseMillis?: number) =>
  Effect.filterOrFail(
    claimFor(user, leaseMillis),
    (lease) => lease !== null,
    () => new Error("there was no job to claim")
  )

/**
 * @since 0.1.0
 * @category suites
 */
export const jobSuite: Suite = {
  "a saved job comes back whole, with its owner": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const conversationId = yield* conversationOf(user)
    const description = {
      title: "Übersetzen",
      description: "\u{1F600}\n'x'",
      requesterId: "requester",
      conversationId,
      category: "translation",
      budgetAmount: "12345678901234567890.000000000000000001",
      budgetToken: "NEAR",
      bidAmount: "0.10",
      estimatedCost: "0.000015",
      estimatedSeconds: 3_000_000_000,
      estimatedValue: "-1.5",
      maxTokens: Number.MAX_SAFE_INTEGER,
      userTimezone: "Europe/Berlin",
      metadata: { a: [null, { b: true }] }
    }
    const id = yield* jobs.save({ user, ...description })
    const job = yield* jobs.get(user, id)
    yield* equal(
      Object.fromEntries(Object.keys(description).map((key) => [key, job[key as keyof typeof job]])),
      description
    )
    yield* equal(
      [job.userId, job.status, job.actualCost, job.startedAt, job.completedAt],
      [user, "pending", "0", null, null]
    )
  }),

  "saving a job again replaces its description, and never its status or costs": Effect.gen(function* () {
    const jobs = yield* JobStore
    const [user, id] = [yield* fresh("user"), yield* fresh("job")]
    const conversationId = yield* conversationOf(user)
    yield* jobs.save({ user, id, title: "one", description: "", category: "c", conversationId, budgetAmount: "1" })
    yield* jobs.transition({ user, id, to: "in_progress" })
    yield* jobs.recordLlmCall({
      user,
      job: id,
      provider: "p",
      model: "m",
      inputTokens: 1,
      outputTokens: 2,
      cost: "0.1"
    })
    yield* equal(yield* jobs.save({ user, id, title: "two", description: "d", budgetAmount: "2", bidAmount: "3" }), id)
    const job = yield* jobs.get(user, id)
    yield* equal([job.title, job.description, job.category, job.conversationId], ["two", "d", null, null])
    yield* equal([job.budgetAmount, job.bidAmount], ["2", "3"])
    yield* equal([job.status, job.actualCost, job.totalTokensUsed], ["in_progress", "0.1", 3])
  }),

  "nobody reads, moves or overwrites a job of somebody else": Effect.gen(function* () {
    const jobs = yield* JobStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const id = yield* aJob(ada)
    const estimation = yield* jobs.saveEstimation({ ...guess, user: ada, job: id })
    const tool = { toolName: "t", input: null, success: true }
    const call = { provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "1" }
    for (const attempt of [
      jobs.get(bob, id),
      jobs.failureReason(bob, id),
      jobs.transitions(bob, id),
      jobs.actions(bob, id),
      jobs.llmCalls(bob, { job: id }),
      jobs.llmUsage(bob, id),
      jobs.estimations(bob, id),
      jobs.save({ user: bob, id, title: "mine now", description: "" }),
      jobs.transition({ user: bob, id, to: "cancelled" }),
      jobs.markStuck({ user: bob, id }),
      jobs.delete({ user: bob, id }),
      jobs.addAction({ user: bob, job: id, ...tool }),
      jobs.recordLlmCall({ user: bob, job: id, ...call }),
      jobs.saveEstimation({ ...guess, user: bob, job: id }),
      jobs.updateActuals({ user: bob, estimation, actualCost: "9", actualSeconds: 9 })
    ]) {
      yield* failsWith("NotFound", attempt as Effect.Effect<unknown, unknown>)
    }
    const job = yield* jobs.get(ada, id)
    yield* equal([job.userId, job.title, job.status, job.actualCost], [ada, "a job", "pending", "0"])
    yield* equal((yield* jobs.estimations(ada, id))[0]?.actualCost, null)
    yield* equal([yield* jobs.list(bob), (yield* jobs.llmUsage(bob)).calls], [[], 0])
  }),

  "a job and a call of a model belong to no conversation of somebody else": Effect.gen(function* () {
    const jobs = yield* JobStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const conversation = yield* conversationOf(ada)
    const [id, mine] = [yield* fresh("job"), yield* aJob(bob)]
    const job = { user: bob, title: "t", description: "" }
    const call = { user: bob, provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "1" }
    for (const of of [conversation, yield* fresh("nowhere")]) {
      yield* failsWith("NotFound", jobs.save({ ...job, id, conversationId: of }))
      yield* failsWith("NotFound", jobs.save({ ...job, id: mine, conversationId: of }))
      yield* failsWith("NotFound", jobs.recordLlmCall({ ...call, conversation: of }))
    }
    yield* failsWith("NotFound", jobs.get(bob, id))
    yield* equal([(yield* jobs.get(bob, mine)).conversationId, (yield* jobs.llmUsage(bob)).calls], [null, 0])
  }),

  "a change to a job that is not there is NotFound": Effect.gen(function* () {
    const jobs = yield* JobStore
    const queue = yield* JobQueue
    const [user, id] = [yield* fresh("user"), yield* fresh("job")]
    yield* failsWith("NotFound", jobs.transition({ user, id, to: "cancelled" }))
    yield* failsWith("NotFound", jobs.markStuck({ user, id }))
    yield* failsWith("NotFound", jobs.delete({ user, id }))
    yield* failsWith("NotFound", jobs.failureReason(user, id))
    yield* failsWith("NotFound", jobs.updateActuals({ user, estimation: id, actualCost: "1", actualSeconds: 1 }))
    yield* failsWith("NotFound", queue.complete({ job: id, token: "token" }))
  }),

  "a job moves only where its status allows": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    for (const from of statuses) {
      for (const to of statuses) {
        const id = yield* jobIn(user, from)
        const attempt = jobs.transition({ user, id, to })
        if (jobTransitions[from].includes(to)) yield* attempt
        else yield* failsWith("DbConflict", attempt)
        yield* equal((yield* jobs.get(user, id)).status, jobTransitions[from].includes(to) ? to : from)
      }
    }
  }),

  "a move keeps its reason, its time and a record of the way": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const id = yield* jobIn(user, "stuck")
    const stuck = yield* jobs.get(user, id)
    yield* equal([stuck.failureReason, stuck.stuckSince !== null], ["now stuck", true])
    yield* equal(yield* jobs.failureReason(user, id), "now stuck")
    yield* equal(
      (yield* jobs.listStuck(user)).map((job) => job.id),
      [id]
    )
    yield* jobs.transition({ user, id, to: "in_progress" })
    const repaired = yield* jobs.get(user, id)
    yield* equal([repaired.repairAttempts, repaired.failureReason, repaired.stuckSince], [1, null, null])
    yield* equal(repaired.startedAt, stuck.startedAt)
    yield* jobs.transition({ user, id, to: "failed", reason: "no" })
    const failed = yield* jobs.get(user, id)
    yield* equal([failed.failureReason, failed.completedAt !== null], ["no", true])
    yield* equal(
      (yield* jobs.transitions(user, id)).map(({ fromStatus, reason, sequence, toStatus }) => [
        sequence,
        fromStatus,
        toStatus,
        reason
      ]),
      [
        [1, "pending", "in_progress", "now in_progress"],
        [2, "in_progress", "stuck", "now stuck"],
        [3, "stuck", "in_progress", null],
        [4, "in_progress", "failed", "no"]
      ]
    )
  }),

  "completing a completed job changes nothing": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const id = yield* jobIn(user, "completed")
    const before = yield* jobs.get(user, id)
    yield* jobs.transition({ user, id, to: "completed", reason: "again" })
    yield* equal(yield* jobs.get(user, id), before)
  }),

  "of many that move a job at once, one wins": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const id = yield* jobIn(user, "in_progress")
    const moves = (["completed", "failed", "stuck", "cancelled"] as const).flatMap((to) => [to, to])
    const won = yield* Effect.all(
      moves.map((to) => Effect.isSuccess(jobs.transition({ user, id, to, from: "in_progress" }))),
      { concurrency: "unbounded" }
    )
    yield* equal(won.filter(Boolean).length, 1)
    yield* equal((yield* jobs.transitions(user, id)).length, 2)
  }),

  "lists go newest first, page by page, also where times are equal": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const ids = yield* Effect.forEach(["a", "b", "c", "d", "e"], (title) => aJob(user, title))
    yield* (yield* Backend).execute("UPDATE db_hub_jobs SET created_at = ? WHERE user_id = ?", [new Date(0), user])
    const first = yield* jobs.list(user, { limit: 2 })
    const second = yield* jobs.list(user, { limit: 2, before: first[1]!.sequence })
    const third = yield* jobs.list(user, { limit: 2, before: second[1]!.sequence })
    yield* equal(
      [...first, ...second, ...third].map(({ id }) => id),
      ids.toReversed()
    )
    yield* jobs.transition({ user, id: ids[2]!, to: "cancelled" })
    yield* equal(
      (yield* jobs.list(user, { status: "cancelled" })).map(({ id }) => id),
      [ids[2]]
    )
    yield* failsWith("InvalidInput", jobs.list(user, { limit: 0 }))
    const all = yield* (yield* JobStoreAdmin).list({ limit: 1000 })
    yield* equal(
      ids.every((id) => all.some((job) => job.id === id)),
      true
    )
  }),

  "a summary counts each job once": Effect.gen(function* () {
    const jobs = yield* JobStore
    const admin = yield* JobStoreAdmin
    const user = yield* fresh("user")
    const before = yield* admin.summary
    const none = { total: 0, pending: 0, inProgress: 0, completed: 0, failed: 0, stuck: 0 }
    yield* equal(yield* jobs.summary(user), none)
    for (const status of statuses) yield* jobIn(user, status)
    yield* equal(yield* jobs.summary(user), { total: 8, pending: 1, inProgress: 1, completed: 3, failed: 2, stuck: 1 })
    yield* equal((yield* admin.summary).total >= before.total + 8, true)
    yield* equal(
      (yield* admin.listStuck).rows.some(({ userId }) => userId === user),
      true
    )
  }),

  "actions come back in the order they were added, also when they race": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const action = yield* jobs.addAction({
      user,
      job,
      toolName: "shell",
      input: { command: "ls" },
      outputRaw: "raw",
      outputSanitized: "clean",
      sanitizationWarnings: ["a warning"],
      cost: "0.002",
      durationMillis: 42,
      success: true
    })
    yield* equal([action.sequence, action.durationMillis, action.success], [1, 42, true])
    yield* equal(yield* jobs.actions(user, job), [action])
    yield* Effect.all(
      Array.from({ length: 20 }, (_, input) =>
        jobs.addAction({ user, job, toolName: "t", input, cost: "0.1", success: false, errorMessage: "no" })
      ),
      { concurrency: "unbounded" }
    )
    const actions = yield* jobs.actions(user, job)
    yield* equal(
      actions.map(({ sequence }) => sequence),
      Array.from({ length: 21 }, (_, n) => n + 1)
    )
    yield* equal(
      (yield* jobs.actions(user, job, { after: 19, limit: 1 })).map(({ sequence }) => sequence),
      [20]
    )
    yield* equal((yield* jobs.get(user, job)).actualCost, "2.002")
  }),

  "any JSON is an action's input and output, null included": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const values = ["text", 0, false, null, [], {}, [null, { a: null }]]
    for (const value of values) {
      yield* jobs.addAction({ user, job, toolName: "t", input: value, outputSanitized: value, success: true })
    }
    const actions = yield* jobs.actions(user, job)
    yield* equal(
      actions.map(({ input, outputSanitized }) => [input, outputSanitized]),
      values.map((value) => [value, value])
    )
  }),

  "durations and tokens beyond 32 bits come back as they were": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    yield* jobs.addAction({ user, job, toolName: "t", input: null, durationMillis: 3_000_000_000, success: true })
    yield* equal((yield* jobs.actions(user, job))[0]?.durationMillis, 3_000_000_000)
    const call = { provider: "p", model: "m", inputTokens: 3_000_000_000, outputTokens: 4_000_000_000, cost: "0" }
    yield* jobs.recordLlmCall({ user, job, ...call })
    yield* equal((yield* jobs.get(user, job)).totalTokensUsed, 7_000_000_000)
  }),

  "costs are summed exactly": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const call = { user, provider: "p", model: "m", inputTokens: 10, outputTokens: 5 }
    for (const cost of ["0.1", "0.2", "0.0000013", "10000000000.000000000000000001"]) {
      yield* jobs.recordLlmCall({ ...call, job, cost })
    }
    const sum = "10000000000.300001300000000001"
    yield* equal((yield* jobs.get(user, job)).actualCost, sum)
    yield* equal(yield* jobs.llmUsage(user, job), { calls: 4, inputTokens: 40, outputTokens: 20, cost: sum })
    yield* equal((yield* jobs.llmCalls(user, { job }))[1]?.cost, "0.0000013")
    yield* failsWith("InvalidInput", jobs.recordLlmCall({ ...call, job, cost: "1.3e-06" }))
  }),

  "calls of models that race are all counted": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const call = { user, job, provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "0.1" }
    yield* Effect.replicateEffect(jobs.recordLlmCall(call), 20, { concurrency: "unbounded" })
    const { actualCost, totalTokensUsed } = yield* jobs.get(user, job)
    yield* equal([actualCost, totalTokensUsed], ["2.0", 40])
  }),

  "a call of a model needs no job, and outlives the one it had": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const conversation = yield* conversationOf(user)
    const call = { user, provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "0.25" }
    const alone = yield* jobs.recordLlmCall({ ...call, conversation, purpose: "title" })
    const withJob = yield* jobs.recordLlmCall({ ...call, job })
    yield* jobs.addAction({ user, job, toolName: "t", input: null, success: true })
    yield* jobs.delete({ user, id: job })
    yield* failsWith("NotFound", jobs.get(user, job))
    yield* equal(
      (yield* jobs.llmCalls(user)).map(({ conversationId, id, jobId, purpose }) => [
        id,
        jobId,
        conversationId,
        purpose
      ]),
      [
        [withJob, null, null, null],
        [alone, null, conversation, "title"]
      ]
    )
    yield* equal((yield* jobs.llmUsage(user)).cost, "0.50")
  }),

  "what would make a total too large to read is refused, and the job stays as it was": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const call = { user, job, provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "1" }
    const most = "99999999999999999999"
    yield* jobs.recordLlmCall(call)
    const before = yield* jobs.get(user, job)
    for (const attempt of [
      jobs.recordLlmCall({ ...call, inputTokens: Number.MAX_SAFE_INTEGER }),
      jobs.recordLlmCall({ ...call, outputTokens: Number.MAX_SAFE_INTEGER - 1 }),
      jobs.recordLlmCall({ ...call, cost: most }),
      jobs.addAction({ user, job, toolName: "t", input: null, success: true, cost: most })
    ]) {
      yield* failsWith<unknown, unknown, never>("InvalidInput", attempt)
    }
    yield* equal(yield* jobs.get(user, job), before)
    yield* equal([(yield* jobs.llmCalls(user)).length, yield* jobs.actions(user, job)], [1, []])
  }),

  "calls of models are read page by page, newest first, of all jobs or of one": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const call = { user, provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "0" }
    const ids = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => jobs.recordLlmCall(n % 2 === 0 ? call : { ...call, job }))
    const idsOf = (calls: ReadonlyArray<{ readonly id: string }>) => calls.map(({ id }) => id)
    const first = yield* jobs.llmCalls(user, { limit: 2 })
    const rest = yield* jobs.llmCalls(user, { before: first[1]!.sequence })
    yield* equal(idsOf([...first, ...rest]), ids.toReversed())
    const own = yield* jobs.llmCalls(user, { job, limit: 2 })
    yield* equal(idsOf([...own, ...(yield* jobs.llmCalls(user, { job, before: own[1]!.sequence }))]), [
      ids[4],
      ids[2],
      ids[0]
    ])
    yield* failsWith("InvalidInput", jobs.llmCalls(user, { limit: 1001 }))
  }),

  "an estimation gets its actuals, and what is not known stays unknown": Effect.gen(function* () {
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const estimation = yield* jobs.saveEstimation({ ...guess, user, job })
    const [before] = yield* jobs.estimations(user, job)
    yield* equal([before?.toolNames, before?.estimatedCost, before?.actualCost], [["shell", "http"], "0.30", null])
    yield* jobs.updateActuals({ user, estimation, actualCost: "0.000000000000000001", actualSeconds: 61 })
    const [after] = yield* jobs.estimations(user, job)
    yield* equal([after?.actualCost, after?.actualSeconds, after?.actualValue], ["0.000000000000000001", 61, null])
    yield* jobs.updateActuals({ user, estimation, actualCost: "1", actualSeconds: 62, actualValue: "-3.5" })
    yield* equal((yield* jobs.estimations(user, job))[0]?.actualValue, "-3.5")
  }),

  "a claim takes the job that waits for the longest, and no job twice": Effect.gen(function* () {
    const queue = yield* JobQueue
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const ids = yield* Effect.forEach(["a", "b", "c"], (title) => aJob(user, title))
    const first = yield* claimed(user)
    yield* equal([first.job.id, first.job.status, first.job.worker], [ids[0], "in_progress", "worker"])
    yield* equal([first.job.claims, first.job.startedAt !== null], [1, true])
    yield* equal(yield* jobs.get(user, ids[0]!), first.job)
    yield* equal([(yield* claimed(user)).job.id, (yield* claimed(user)).job.id], [ids[1], ids[2]])
    yield* equal(yield* claimFor(user), null)
    yield* queue.complete({ job: ids[0]!, token: first.token })
    const done = yield* jobs.get(user, ids[0]!)
    yield* equal([done.status, done.worker, done.leaseExpiresAt], ["completed", null, null])
  }),

  "workers that race get different jobs": Effect.gen(function* () {
    const user = yield* fresh("user")
    const ids = yield* Effect.replicateEffect(aJob(user), 20)
    const leases = yield* Effect.replicateEffect(claimFor(user), 30, { concurrency: "unbounded" })
    const taken = leases.flatMap((lease) => (lease === null ? [] : [lease.job.id]))
    yield* equal(taken.toSorted(), ids.toSorted())
  }),

  "a job whose lease ran out goes to another worker, and the first has lost it": Effect.gen(function* () {
    const queue = yield* JobQueue
    const jobs = yield* JobStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const lost = yield* claimed(user, 60_000)
    yield* equal(yield* later(50_000)(claimFor(user)), null)
    const lease = yield* later(60_000)(claimed(user))
    yield* equal([lease.job.id, lease.job.claims, lease.token !== lost.token], [job, 2, true])
    yield* equal(yield* jobs.get(user, job), lease.job)
    const old = { job, token: lost.token }
    yield* failsWith("DbConflict", queue.heartbeat({ ...old, leaseMillis: 60_000 }))
    yield* failsWith("DbConflict", queue.complete(old))
    yield* failsWith("DbConflict", queue.fail({ ...old, reason: "no" }))
    yield* failsWith("DbConflict", queue.release(old))
    yield* queue.fail({ job, token: lease.token, reason: "really" })
    yield* equal(yield* jobs.failureReason(user, job), "really")
    yield* failsWith("DbConflict", queue.complete({ job, token: lease.token }))
  }),

  "a heartbeat holds a job": Effect.gen(function* () {
    const queue = yield* JobQueue
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const lease = yield* claimed(user, 60_000)
    const expiresAt = yield* later(50_000)(queue.heartbeat({ job, token: lease.token, leaseMillis: 60_000 }))
    yield* equal(expiresAt.getTime() - lease.expiresAt.getTime() >= 50_000, true)
    yield* equal(yield* later(100_000)(claimFor(user)), null)
    yield* queue.complete({ job, token: lease.token })
  }),

  "a released job is claimed again, at once or when it is due": Effect.gen(function* () {
    const queue = yield* JobQueue
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    yield* aJob(user, "a later one")
    const first = yield* claimed(user)
    yield* queue.release({ job, token: first.token, reason: "restart" })
    const second = yield* claimed(user)
    yield* equal([second.job.id, second.job.claims], [job, 2])
    yield* queue.release({ job, token: second.token, availableAt: new Date(Date.now() + 60_000) })
    yield* equal((yield* claimed(user)).job.id === job, false)
    yield* equal(yield* claimFor(user), null)
    yield* equal((yield* later(60_000)(claimed(user))).job.id, job)
  }),

  "a job is not claimed before it is available, nor after its owner moved it": Effect.gen(function* () {
    const jobs = yield* JobStore
    const queue = yield* JobQueue
    const user = yield* fresh("user")
    yield* jobs.save({ user, title: "later", description: "", availableAt: new Date(Date.now() + 60_000) })
    yield* jobs.transition({ user, id: yield* aJob(user), to: "cancelled" })
    yield* jobs.transition({ user, id: yield* aJob(user), to: "in_progress" })
    yield* equal(yield* claimFor(user), null)
    const id = yield* aJob(user)
    const { token } = yield* claimed(user)
    yield* jobs.transition({ user, id, to: "cancelled", reason: "not needed" })
    yield* failsWith("DbConflict", queue.heartbeat({ job: id, token, leaseMillis: 1000 }))
    yield* failsWith("DbConflict", queue.complete({ job: id, token }))
    yield* equal((yield* jobs.get(user, id)).status, "cancelled")
  }),

  "a claim that is sent again under its key gets the same job": Effect.gen(function* () {
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    yield* Effect.replicateEffect(aJob(user), 2)
    const claim = withIdempotencyKey(key)(claimed(user))
    const first = yield* claim
    const again = yield* claim
    yield* equal([again.job.id, again.token, again.expiresAt], [first.job.id, first.token, first.expiresAt])
  }),

  "a job that cannot be read is named, and does not stop the queue": Effect.gen(function* () {
    const jobs = yield* JobStore
    const backend = yield* Backend
    const user = yield* fresh("user")
    const [broken, good] = [yield* aJob(user), yield* aJob(user)]
    yield* backend.execute("UPDATE db_hub_jobs SET status = ? WHERE id = ?", ["nonsense", broken])
    yield* equal((yield* Logger.withMinimumLogLevel(claimed(user), LogLevel.None)).job.id, good)
    const error = yield* failsWith("DbCorrupt", jobs.get(user, broken))
    yield* equal([String(error).includes("db_hub_jobs"), String(error).includes(broken)], [true, true])
    yield* backend.execute("UPDATE db_hub_jobs SET status = ? WHERE id = ?", ["pending", broken])
    yield* jobs.save({ user, id: broken, title: "mended", description: "" })
    yield* equal((yield* claimed(user)).job.id, broken)
  }),

  "a stuck job that cannot be read is named to whoever looks after stuck jobs, and hides no other": Effect.gen(
    function* () {
      const [jobs, admin, backend] = [yield* JobStore, yield* JobStoreAdmin, yield* Backend]
      const user = yield* fresh("user")
      const [broken, good] = [yield* jobIn(user, "stuck"), yield* jobIn(user, "stuck")]
      yield* backend.execute("UPDATE db_hub_jobs SET metadata = ? WHERE id = ?", [new Json([1]), broken])
      const { rows, unreadable } = yield* admin.listStuck
      yield* equal(
        [rows, unreadable].map((some) => some.flatMap(({ id }) => ([broken, good].includes(id) ? [id] : []))),
        [[good], [broken]]
      )
      yield* failsWith("DbCorrupt", jobs.listStuck(user))
      yield* jobs.delete({ user, id: broken })
    }
  )
}

const guess = {
  category: "c",
  toolNames: ["shell", "http"],
  estimatedCost: "0.30",
  estimatedSeconds: 60,
  estimatedValue: "2"
}
