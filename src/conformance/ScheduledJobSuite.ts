/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Backend } from "../services/Backend.js"
import { ScheduledJobStore, ScheduledJobStoreAdmin } from "../services/ScheduledJobStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const daily = { schedule: "0 9 * * *", type: "cron", command: "Sum up the day" } as const

/**
 * @since 0.1.0
 * @category suites
 */
export const scheduledJobSuite: Suite = {
  "every field of a job and of its last run comes back": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const user = yield* fresh("user")
    const decided = {
      ...daily,
      channel: "whatsapp",
      chatId: "chat",
      announce: false,
      enabled: true,
      createdBy: "ada",
      isolateSession: true,
      asSubagent: true,
      model: "a-model",
      timeoutSeconds: 900,
      labels: ["daily", "ü"],
      staggerMs: 1500,
      exact: true
    }
    const id = yield* scheduled.save({ user, ...decided })
    const usage = { inputTokens: 1, outputTokens: 2, totalTokens: 3, cacheReadTokens: 4, cacheWriteTokens: 5 }
    yield* scheduled.startRun({ user, id, runCount: 0 })
    yield* scheduled.finishRun({ user, id, duration: 3_000_000_000, error: "timed out", usage })
    const { createdAt, lastRunAt, sequence, ...job } = yield* scheduled.get(user, id)
    const run = { runCount: 1, lastError: "timed out", lastRunDuration: 3_000_000_000, lastUsage: usage }
    yield* equal(job, { ...decided, ...run, id, userId: user })
    yield* equal([lastRunAt !== null && lastRunAt >= createdAt, sequence > 0], [true, true])
    yield* scheduled.finishRun({ user, id, duration: 1 })
    const { lastError, lastUsage } = yield* scheduled.get(user, id)
    yield* equal([lastError, lastUsage], [null, null])
  }),

  "a job is enabled and announced unless it says otherwise": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const user = yield* fresh("user")
    const job = yield* scheduled.get(user, yield* scheduled.save({ user, ...daily }))
    yield* equal(
      [job.enabled, job.announce, job.isolateSession, job.asSubagent, job.exact],
      [true, true, false, false, false]
    )
    yield* equal([job.labels, job.model, job.lastRunAt, job.runCount], [[], null, null, 0])
  }),

  "saving a job again keeps the record of its runs": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const user = yield* fresh("user")
    const id = yield* scheduled.save({ user, ...daily })
    yield* scheduled.startRun({ user, id, runCount: 0 })
    yield* scheduled.finishRun({ user, id, duration: 7 })
    const before = yield* scheduled.get(user, id)
    yield* scheduled.save({ user, id, schedule: "5m", type: "every", command: "Look again" })
    yield* equal(yield* scheduled.get(user, id), { ...before, schedule: "5m", type: "every", command: "Look again" })
  }),

  "of many processes that see a job due, one starts the run": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const user = yield* fresh("user")
    const id = yield* scheduled.save({ user, ...daily })
    const start = (runCount: number) =>
      Effect.map(
        Effect.replicateEffect(scheduled.startRun({ user, id, runCount }), 8, { concurrency: "unbounded" }),
        (started) => started.filter(Boolean).length
      )
    yield* equal([yield* start(0), yield* start(1), yield* start(1)], [1, 1, 0])
    yield* equal((yield* scheduled.get(user, id)).runCount, 2)
    yield* scheduled.setEnabled({ user, id, enabled: false })
    yield* equal(yield* start(2), 0)
  }),

  "nobody reads or changes a job of somebody else": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const id = yield* scheduled.save({ user: ada, ...daily })
    const before = yield* scheduled.get(ada, id)
    for (const attempt of [
      scheduled.get(bob, id),
      scheduled.save({ user: bob, id, ...daily, command: "mine now" }),
      scheduled.setEnabled({ user: bob, id, enabled: false }),
      scheduled.startRun({ user: bob, id, runCount: 0 }),
      scheduled.finishRun({ user: bob, id, duration: 1 })
    ]) {
      yield* failsWith("NotFound", attempt as Effect.Effect<unknown, unknown>)
    }
    yield* equal(yield* scheduled.deleteIfExists({ user: bob, id }), false)
    yield* equal([yield* scheduled.get(ada, id), yield* scheduled.list(bob)], [before, []])
    yield* equal(
      [yield* scheduled.deleteIfExists({ user: ada, id }), yield* scheduled.deleteIfExists({ user: ada, id })],
      [true, false]
    )
  }),

  "one job that cannot be read does not stop the scheduler": Effect.gen(function* () {
    const scheduled = yield* ScheduledJobStore
    const { listEnabled } = yield* ScheduledJobStoreAdmin
    const backend = yield* Backend
    const user = yield* fresh("user")
    const save = (enabled: boolean) => scheduled.save({ user, ...daily, enabled })
    const [first, broken, off, last] = [yield* save(true), yield* save(true), yield* save(false), yield* save(true)]
    yield* backend.execute("UPDATE db_hub_scheduled_jobs SET type = ? WHERE id = ?", ["nonsense", broken])
    const { rows, unreadable } = yield* listEnabled
    const mine = rows.filter(({ userId }) => userId === user).map(({ id }) => id)
    yield* equal(mine, [first, last])
    yield* equal(
      unreadable.filter(({ id }) => id === broken).map(({ table }) => table),
      ["db_hub_scheduled_jobs"]
    )
    yield* equal((yield* scheduled.get(user, off)).enabled, false)
    yield* scheduled.deleteIfExists({ user, id: broken })
  })
}
