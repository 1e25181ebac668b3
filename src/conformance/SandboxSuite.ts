/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Chunk from "effect/Chunk"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Backend } from "../services/Backend.js"
import { SandboxStore, SandboxStoreAdmin } from "../services/SandboxStore.js"
import { equal, failsWith, fresh, later, type Suite } from "./Case.js"

const aJob = (user: string, worker = "process", leaseMillis = 60_000) =>
  Effect.flatMap(SandboxStore, (sandbox) => sandbox.save({ user, task: "build", worker, leaseMillis }))

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

/**
 * @since 0.1.0
 * @category suites
 */
export const sandboxSuite: Suite = {
  "a job goes from creating over running to completed": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const id = yield* sandbox.save({
      user,
      task: "Übersetzen",
      projectDir: "/project",
      credentialGrants: [{ secretName: "github", envVar: "GH_TOKEN" }],
      worker: "process",
      leaseMillis: 60_000
    })
    const created = yield* sandbox.get(user, id)
    yield* equal(
      [created.userId, created.task, created.status, created.success],
      [user, "Übersetzen", "creating", null]
    )
    yield* equal(
      [created.projectDir, created.credentialGrants],
      ["/project", [{ secretName: "github", envVar: "GH_TOKEN" }]]
    )
    const startedAt = new Date("2026-01-02T03:04:05.678Z")
    yield* sandbox.updateStatus({ user, id, status: "running", startedAt })
    yield* sandbox.updateStatus({ user, id, status: "completed", success: true, failureReason: "none" })
    const done = yield* sandbox.get(user, id)
    yield* equal([done.status, done.success, done.startedAt], ["completed", true, startedAt])
    yield* equal([done.completedAt !== null, done.leaseExpiresAt], [true, null])
  }),

  "what a status change leaves out stays, and null clears it": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const id = yield* aJob(user)
    yield* sandbox.updateStatus({ user, id, status: "running", success: false, failureReason: "slow" })
    yield* sandbox.updateStatus({ user, id, status: "running" })
    const kept = yield* sandbox.get(user, id)
    yield* equal([kept.success, kept.failureReason, kept.startedAt !== null], [false, "slow", true])
    yield* sandbox.updateStatus({ user, id, status: "completed", success: null, failureReason: null, startedAt: null })
    const cleared = yield* sandbox.get(user, id)
    yield* equal([cleared.success, cleared.failureReason, cleared.startedAt], [null, null, null])
  }),

  "an ended job does not come back": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    for (const end of ["completed", "failed", "interrupted"] as const) {
      const id = yield* aJob(user)
      yield* sandbox.updateStatus({ user, id, status: end })
      for (const status of ["creating", "running", end === "failed" ? "completed" : "failed"] as const) {
        yield* failsWith("DbConflict", sandbox.updateStatus({ user, id, status }))
      }
      yield* sandbox.updateStatus({ user, id, status: end, failureReason: "known by now" })
      yield* equal((yield* sandbox.get(user, id)).failureReason, "known by now")
    }
  }),

  "saving a job again replaces its description alone": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const id = yield* aJob(user, "first")
    yield* sandbox.updateStatus({ user, id, status: "running" })
    const before = yield* sandbox.get(user, id)
    yield* sandbox.save({ user, id, task: "test", projectDir: "/p", worker: "second", leaseMillis: 1 })
    yield* equal(yield* sandbox.get(user, id), { ...before, task: "test", projectDir: "/p" })
  }),

  "nobody reads, changes or overwrites a job of somebody else": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const id = yield* aJob(ada)
    const before = yield* sandbox.get(ada, id)
    for (const attempt of [
      sandbox.get(bob, id),
      sandbox.mode(bob, id),
      sandbox.events(bob, id),
      Stream.runHead(sandbox.tail(bob, id)),
      sandbox.save({ user: bob, id, task: "mine now", worker: "w", leaseMillis: 1 }),
      sandbox.updateStatus({ user: bob, id, status: "failed" }),
      sandbox.updateMode({ user: bob, id, mode: "claude_code" }),
      sandbox.addEvent({ user: bob, job: id, eventType: "message", data: 1 }),
      sandbox.delete({ user: bob, id })
    ]) {
      yield* failsWith("NotFound", attempt as Effect.Effect<unknown, unknown>)
    }
    yield* equal(yield* sandbox.get(ada, id), before)
    yield* equal([yield* sandbox.belongsTo(ada, id), yield* sandbox.belongsTo(bob, id)], [true, false])
    yield* equal([(yield* sandbox.list(ada)).length, yield* sandbox.list(bob)], [1, []])
  }),

  "lists and summaries are of one user; those of all are for administration": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const admin = yield* SandboxStoreAdmin
    const [ada, bob] = [yield* fresh("ada"), yield* fresh("bob")]
    const ids = yield* Effect.forEach(range(1, 5), () => aJob(ada))
    yield* sandbox.updateStatus({ user: ada, id: ids[1]!, status: "running" })
    yield* sandbox.updateStatus({ user: ada, id: ids[2]!, status: "completed" })
    yield* sandbox.updateStatus({ user: ada, id: ids[3]!, status: "failed" })
    yield* sandbox.updateStatus({ user: ada, id: ids[4]!, status: "interrupted" })
    const first = yield* sandbox.list(ada, { limit: 3 })
    const second = yield* sandbox.list(ada, { limit: 3, before: first[2]!.sequence })
    yield* equal(
      [...first, ...second].map(({ id }) => id),
      ids.toReversed()
    )
    const one = { creating: 1, running: 1, completed: 1, failed: 1, interrupted: 1 }
    yield* equal(yield* sandbox.summary(ada), { total: 5, ...one })
    yield* equal((yield* sandbox.summary(bob)).total, 0)
    yield* equal((yield* admin.summary).total >= 5, true)
    const all = (yield* admin.list({ limit: 1000 })).map(({ id }) => id)
    yield* equal(
      ids.every((id) => all.includes(id)),
      true
    )
  }),

  "the mode is worker until it is changed": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const id = yield* aJob(user)
    yield* equal(yield* sandbox.mode(user, id), "worker")
    yield* sandbox.updateMode({ user, id, mode: "claude_code" })
    yield* equal(yield* sandbox.mode(user, id), "claude_code")
  }),

  "a credential grant holds the name of a secret, never its value": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const backend = yield* Backend
    const user = yield* fresh("user")
    const grant = { secretName: "github", envVar: "GH_TOKEN", value: "s3cret" }
    const id = yield* sandbox.save({ user, task: "t", credentialGrants: [grant], worker: "w", leaseMillis: 1000 })
    yield* equal((yield* sandbox.get(user, id)).credentialGrants, [{ secretName: "github", envVar: "GH_TOKEN" }])
    const rows = yield* backend.query("SELECT * FROM db_hub_sandbox_jobs WHERE id = ?", [id])
    yield* Effect.sync(() => NodeAssert.ok(!JSON.stringify(rows).includes("s3cret")))
  }),

  "events are listed in order: the latest, or those after an id": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    for (const data of ["one", null, { three: [3] }]) yield* sandbox.addEvent({ user, job, eventType: "message", data })
    const all = yield* sandbox.events(user, job)
    yield* equal(
      all.map(({ data, id }) => [id, data]),
      [
        [1, "one"],
        [2, null],
        [3, { three: [3] }]
      ]
    )
    const idsOf = (options: { readonly after?: number; readonly limit?: number }) =>
      Effect.map(sandbox.events(user, job, options), (events) => events.map(({ id }) => id))
    yield* equal(yield* idsOf({ limit: 2 }), [2, 3])
    yield* equal(yield* idsOf({ after: 0, limit: 2 }), [1, 2])
    yield* equal(yield* idsOf({ after: 2 }), [3])
    yield* failsWith("InvalidInput", sandbox.events(user, job, { limit: -1 }))
  }),

  "events that race all land, numbered without gaps": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    const ids = yield* Effect.all(
      range(1, 20).map((data) => sandbox.addEvent({ user, job, eventType: "message", data })),
      { concurrency: "unbounded" }
    )
    yield* equal(
      ids.toSorted((a, b) => a - b),
      range(1, 20)
    )
    yield* equal(
      (yield* sandbox.events(user, job)).map(({ id }) => id),
      range(1, 20)
    )
  }),

  "a tail gives each event once: those that are there, and then those that come": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const user = yield* fresh("user")
    const [job, other] = [yield* aJob(user), yield* aJob(user)]
    const add = (data: number) => sandbox.addEvent({ user, job, eventType: "message", data })
    yield* (yield* Backend).transaction(Effect.forEach(range(1, 600), add))
    const seen = yield* Deferred.make<void>()
    const told = Stream.tap(sandbox.tail(user, job), ({ id }) =>
      id === 620 ? Deferred.succeed(seen, undefined) : Effect.void
    )
    const all = yield* Effect.fork(Stream.runCollect(Stream.take(told, 640)))
    const rest = yield* Effect.fork(Stream.runCollect(Stream.take(sandbox.tail(user, job, 598), 42)))
    yield* Effect.all(range(601, 620).map(add), { concurrency: "unbounded" })
    yield* sandbox.addEvent({ user, job: other, eventType: "message", data: "of another job" })
    yield* Deferred.await(seen)
    yield* Effect.forEach(range(621, 640), add)
    const idsOf = (events: Iterable<{ readonly id: number }>) => Array.from(events, ({ id }) => id)
    yield* equal(idsOf(Chunk.toReadonlyArray(yield* Fiber.join(all))), range(1, 640))
    yield* equal(idsOf(Chunk.toReadonlyArray(yield* Fiber.join(rest))), range(599, 640))
  }),

  "a job is deleted with its events, and its tail ends": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const backend = yield* Backend
    const user = yield* fresh("user")
    const job = yield* aJob(user)
    yield* sandbox.addEvent({ user, job, eventType: "message", data: 1 })
    const begun = yield* Deferred.make<void>()
    const events = Stream.tap(sandbox.tail(user, job), () => Deferred.succeed(begun, undefined))
    const tail = yield* Effect.fork(Stream.runCount(events))
    yield* Deferred.await(begun)
    yield* sandbox.delete({ user, id: job })
    yield* equal(yield* Fiber.join(tail), 1)
    yield* failsWith("NotFound", sandbox.get(user, job))
    yield* equal(yield* backend.query("SELECT id FROM db_hub_sandbox_events WHERE job_id = ?", [job]), [])
  }),

  "a cleanup ends only jobs whose process is gone": Effect.gen(function* () {
    const sandbox = yield* SandboxStore
    const admin = yield* SandboxStoreAdmin
    const user = yield* fresh("user")
    const [gone, alive] = [yield* fresh("process"), yield* fresh("process")]
    const [orphan, done] = [yield* aJob(user, gone), yield* aJob(user, gone)]
    const [running, held] = [yield* aJob(user, alive), yield* aJob(user, alive)]
    yield* sandbox.updateStatus({ user, id: orphan, status: "running" })
    yield* sandbox.updateStatus({ user, id: done, status: "completed", success: true })
    yield* sandbox.updateStatus({ user, id: running, status: "running" })
    const mine = yield* later(50_000)(admin.heartbeat({ worker: alive, leaseMillis: 60_000 }))
    yield* equal(mine.toSorted(), [running, held].toSorted())
    const cleanups = yield* later(60_000)(
      Effect.replicateEffect(admin.cleanupStale({}), 4, { concurrency: "unbounded" })
    )
    yield* equal(
      cleanups.flat().filter((id) => [orphan, done, running, held].includes(id)),
      [orphan]
    )
    const interrupted = yield* sandbox.get(user, orphan)
    yield* equal([interrupted.status, interrupted.completedAt !== null], ["interrupted", true])
    const statusOf = (id: string) => Effect.map(sandbox.get(user, id), ({ status }) => status)
    yield* equal(yield* Effect.forEach([done, running, held], statusOf), ["completed", "running", "creating"])
    yield* equal(yield* admin.heartbeat({ worker: gone, leaseMillis: 1000 }), [])
    yield* failsWith("DbConflict", sandbox.updateStatus({ user, id: orphan, status: "running" }))
  })
}
