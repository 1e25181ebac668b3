/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Backend, Json } from "../services/Backend.js"
import { JobStore } from "../services/JobStore.js"
import {
  CronTrigger,
  EventTrigger,
  FullJobAction,
  LightweightAction,
  ManualTrigger,
  type Routine,
  RoutineGuardrails,
  RoutineNotify,
  type RoutineRun,
  RoutineStore,
  RoutineStoreAdmin,
  type RoutineTrigger,
  SystemEventTrigger,
  WebhookTrigger
} from "../services/RoutineStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const action = LightweightAction.make({ prompt: "what is new?" })

const hourly = CronTrigger.make({ schedule: "0 * * * *" })

const free = RoutineGuardrails.make({ cooldownSeconds: 0, maxConcurrent: 100 })

const aJob = (user: string) => Effect.flatMap(JobStore, (jobs) => jobs.save({ user, title: "run", description: "" }))

const minutes = (n: number): number => n * 60_000

const after = (date: Date | null, milliseconds: number): Date => new Date((date?.getTime() ?? 0) + milliseconds)

const create = (user: string, trigger: RoutineTrigger, guardrails = free, name = "routine") =>
  Effect.flatMap(RoutineStore, (routines) => routines.create({ user, name, trigger, action, guardrails }))

const start = (routine: Routine, options: { readonly now?: Date; readonly dedupKey?: string } = {}) =>
  Effect.flatMap(RoutineStore, (routines) =>
    routines.startRun({ user: routine.userId, routineId: routine.id, ...options })
  )

/** The run that must have started, or the reason why it did not, as a failure. */
const run = (...args: Parameters<typeof start>) =>
  Effect.flatMap(start(...args), (started) =>
    started._tag === "Started" ? Effect.succeed(started.run) : Effect.fail(started.reason)
  )

const complete = ({ id, userId }: RoutineRun, status: "ok" | "attention" | "failed") =>
  Effect.flatMap(RoutineStore, (routines) => routines.completeRun({ user: userId, id, status }))

/** Claims for as long as something is due, so that others' routines do not crowd out one's own. */
const claim = (now: Date, users: ReadonlyArray<string>) =>
  Effect.map(
    Effect.flatMap(RoutineStoreAdmin, (admin) => admin.claimDue({ now, limit: 1000 })),
    ({ claimed, skipped, unreadable }) => ({
      claimed: claimed.filter(({ routine }) => users.includes(routine.userId)),
      skipped: skipped.filter(({ userId }) => users.includes(userId)),
      unreadable
    })
  )

const names = (routines: ReadonlyArray<Routine>) => routines.map(({ name }) => name)

/**
 * @since 0.1.0
 * @category suites
 */
export const routineSuite: Suite = {
  "a routine of each kind comes back as it was made, by id and by name": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const triggers = [
      CronTrigger.make({ schedule: "*/10 * * * * *", timezone: "Europe/Berlin" }),
      EventTrigger.make({ pattern: "deploy .*", channel: "ops" }),
      SystemEventTrigger.make({ source: "tracker", eventType: "closed", filters: { labels: ["bug"] } }),
      WebhookTrigger.make({ secretName: "hook" }),
      ManualTrigger.make({})
    ]
    for (const trigger of triggers) {
      const made = yield* create(user, trigger, free, trigger._tag)
      yield* equal(yield* routines.get(user, made.id), made)
      yield* equal(yield* routines.getByName(user, trigger._tag), made)
    }
    const { rows: all, unreadable } = yield* routines.list(user)
    yield* equal([names(all), unreadable], [["cron", "event", "manual", "system_event", "webhook"], []])
    yield* failsWith("DbConflict", create(user, hourly, free, "cron"))
  }),

  "a job of its own, who hears of it and a trigger's detail come back as they were given": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const job = FullJobAction.make({ title: "Übersetzen", description: "…", maxIterations: 3_000_000_000 })
    const notify = RoutineNotify.make({ channel: "ops", user: "bob", onAttention: false, onSuccess: true })
    const made = yield* routines.create({ user, name: "r", trigger: ManualTrigger.make({}), action: job, notify })
    yield* equal([made.action, made.notify], [job, notify])
    yield* equal(yield* routines.get(user, made.id), made)
    const detail = "by hand, from the menu ☰"
    const started = yield* routines.startRun({ user, routineId: made.id, triggerDetail: detail, dedupKey: "k" })
    const id = started._tag === "Started" ? started.run.id : ""
    const run = yield* routines.getRun(user, id)
    yield* equal([run.triggerType, run.triggerDetail, run.dedupKey, run.dueAt], ["manual", detail, "k", null])
    const done = yield* routines.completeRun({ user, id, status: "ok", summary: "s", tokensUsed: 3_000_000_000 })
    yield* equal(yield* routines.getRun(user, id), done)
    yield* equal([done.summary, done.tokensUsed], ["s", 3_000_000_000])
    yield* failsWith("InvalidInput", routines.update({ user, id: made.id, notify: { ...notify, user: "" } }))
  }),

  "what is left out has its default": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* routines.create({ user, name: "r", trigger: ManualTrigger.make({}), action })
    const { createdAt, id, updatedAt, ...fields } = yield* routines.get(user, made.id)
    yield* equal(fields, {
      userId: user,
      name: "r",
      description: "",
      enabled: true,
      trigger: { _tag: "manual" },
      action: {
        _tag: "lightweight",
        prompt: "what is new?",
        contextPaths: [],
        maxTokens: 4096,
        useTools: false,
        maxToolRounds: 3
      },
      guardrails: { cooldownSeconds: 300, maxConcurrent: 1, dedupWindowSeconds: null },
      notify: { channel: null, user: null, onAttention: true, onFailure: true, onSuccess: false },
      state: {},
      nextFireAt: null,
      lastRunAt: null,
      runCount: 0,
      consecutiveFailures: 0
    })
    yield* equal([updatedAt, id.length > 0], [createdAt, true])
    yield* equal(FullJobAction.make({ title: "t", description: "d" }).maxIterations, 10)
  }),

  "routines are listed by code point of their names": Effect.gen(function* () {
    const user = yield* fresh("user")
    for (const name of ["b", "B", "\u{1F600}", "ä", "a", "\uFF5E"])
      yield* create(user, ManualTrigger.make({}), free, name)
    const { rows } = yield* (yield* RoutineStore).list(user)
    yield* equal(names(rows), ["B", "a", "b", "ä", "\uFF5E", "\u{1F600}"])
  }),

  "a cooldown and a window for duplicates of more seconds than 32 bits hold are kept, and hold": Effect.gen(
    function* () {
      const user = yield* fresh("user")
      const now = new Date("2026-01-02T03:04:05.678Z")
      const cool = yield* create(
        user,
        ManualTrigger.make({}),
        RoutineGuardrails.make({ cooldownSeconds: 3_000_000_000, maxConcurrent: 9 }),
        "cool"
      )
      yield* equal((yield* (yield* RoutineStore).get(user, cool.id)).guardrails.cooldownSeconds, 3_000_000_000)
      yield* run(cool, { now })
      const end = 3_000_000_000_000
      yield* equal(yield* start(cool, { now: after(now, end - 1) }), { _tag: "Refused", reason: "cooldown" })
      yield* run(cool, { now: after(now, end) })
      for (const [i, dedupWindowSeconds] of [3_000_000_000, Number.MAX_SAFE_INTEGER].entries()) {
        const once = yield* create(user, ManualTrigger.make({}), { ...free, dedupWindowSeconds }, `once ${i}`)
        yield* run(once, { now, dedupKey: "k" })
        const again = { now: after(now, end - 1), dedupKey: "k" }
        yield* equal(yield* start(once, again), { _tag: "Refused", reason: "duplicate" })
      }
    }
  ),

  "a time of day that the clocks skip comes an hour later, one that they repeat comes once": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    /** When a routine fires next, each time that it is claimed as it is due. */
    const times = (timezone: string, schedule: string, first: string, count: number) =>
      Effect.gen(function* () {
        const name = yield* fresh("routine")
        const { id } = yield* create(user, CronTrigger.make({ schedule, timezone }), free, name)
        let next = new Date(first)
        const found: Array<string> = []
        yield* routines.updateRuntime({ user, id, nextFireAt: next })
        for (let n = 0; n < count; n++) {
          const { claimed } = yield* claim(next, [user])
          const routine = claimed.find((each) => each.routine.id === id)?.routine
          next = routine?.nextFireAt ?? new Date(0)
          found.push(next.toISOString().slice(5, 16))
        }
        yield* routines.deleteIfExists({ user, id })
        return found
      })
    // 02:30 is not there on 25 March 2040 in Berlin, and twice there on 28 October.
    yield* equal(yield* times("Europe/Berlin", "30 2 * * *", "2040-03-23T01:30:00Z", 3), [
      "03-24T01:30",
      "03-25T01:30",
      "03-26T00:30"
    ])
    yield* equal(yield* times("Europe/Berlin", "30 2 * * *", "2040-10-26T00:30:00Z", 3), [
      "10-27T00:30",
      "10-28T00:30",
      "10-29T01:30"
    ])
    yield* equal(yield* times("America/New_York", "30 2 * * *", "2040-03-10T07:30:00Z", 2), [
      "03-11T07:30",
      "03-12T06:30"
    ])
    yield* equal(yield* times("Europe/Berlin", "0 * * * *", "2040-10-27T23:00:00Z", 3), [
      "10-28T00:00",
      "10-28T02:00",
      "10-28T03:00"
    ])
  }),

  "a schedule with seconds and one in a time zone fire when they say": Effect.gen(function* () {
    const user = yield* fresh("user")
    const everyTen = yield* create(user, CronTrigger.make({ schedule: "*/10 * * * * *" }), free, "seconds")
    yield* equal([everyTen.nextFireAt!.getUTCSeconds() % 10, everyTen.nextFireAt! > everyTen.createdAt], [0, true])
    const inTokyo = yield* create(user, CronTrigger.make({ schedule: "30 9 * * *", timezone: "Asia/Tokyo" }))
    yield* equal([inTokyo.nextFireAt!.getUTCHours(), inTokyo.nextFireAt!.getUTCMinutes()], [0, 30])
  }),

  "a trigger or guardrail that makes no sense is refused": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const attempt = (trigger: unknown, guardrails: unknown = free) =>
      failsWith("InvalidInput", create(user, trigger as RoutineTrigger, guardrails as typeof free))
    yield* attempt({ _tag: "cron", schedule: "whenever", timezone: null })
    yield* attempt({ _tag: "cron", schedule: "0 0 31 2 *", timezone: null })
    yield* attempt({ _tag: "cron", schedule: "0 0 * * *", timezone: "Mars/Olympus" })
    yield* attempt({ _tag: "weekly" })
    yield* attempt(hourly, { ...free, maxConcurrent: 0 })
    yield* equal((yield* routines.list(user)).rows, [])
  }),

  "an update replaces what is given, and keeps the owner, the counters and an unchanged time to fire": Effect.gen(
    function* () {
      const routines = yield* RoutineStore
      const user = yield* fresh("user")
      const made = yield* create(user, hourly)
      yield* complete(yield* run(made), "failed")
      const renamed = yield* routines.update({ user, id: made.id, name: "other", description: "now with words" })
      yield* equal(
        [renamed.name, renamed.userId, renamed.runCount, renamed.consecutiveFailures, renamed.nextFireAt],
        ["other", user, 1, 1, made.nextFireAt]
      )
      yield* equal(yield* routines.get(user, made.id), renamed)
      const off = yield* routines.update({ user, id: made.id, enabled: false })
      yield* equal(off.nextFireAt, null)
      const on = yield* routines.update({ user, id: made.id, enabled: true })
      yield* equal(on.nextFireAt! > new Date(), true)
      const manual = yield* routines.update({ user, id: made.id, trigger: ManualTrigger.make({}) })
      yield* equal([manual.nextFireAt, (yield* routines.get(user, made.id)).trigger._tag], [null, "manual"])
    }
  ),

  "a routine of somebody else is NotFound to every operation": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const [ada, user] = [yield* fresh("ada"), yield* fresh("bob")]
    const made = yield* create(ada, hourly)
    const { id } = yield* run(made)
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      routines.get(user, made.id),
      routines.getByName(user, made.name),
      routines.update({ user, id: made.id, name: "mine" }),
      routines.updateRuntime({ user, id: made.id, state: {} }),
      routines.startRun({ user, routineId: made.id }),
      routines.completeRun({ user, id, status: "ok" }),
      routines.linkRunToJob({ user, id, jobId: yield* aJob(user) }),
      routines.linkRunToJob({ user: ada, id, jobId: yield* aJob(user) }),
      routines.getRun(user, id),
      routines.listRuns(user, made.id)
    ]
    yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
    yield* equal(yield* routines.deleteIfExists({ user, id: made.id }), false)
    yield* equal(yield* routines.countRunning(user, [made.id]), new Map([[made.id, 0]]))
    yield* equal(yield* routines.lastRunStatus(user, [made.id]), new Map())
    yield* equal((yield* routines.get(ada, made.id)).name, made.name)
  }),

  "a routine is deleted once, with its runs": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, hourly)
    const { id } = yield* run(made)
    const remove = routines.deleteIfExists({ user, id: made.id })
    yield* equal([yield* remove, yield* remove], [true, false])
    yield* failsWith("NotFound", routines.get(user, made.id))
    yield* failsWith("NotFound", routines.getRun(user, id))
  }),

  "a run ends once: its first end stays and counts once": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const first = yield* run(made)
    const tokensUsed = 5_000_000_000
    const done = yield* routines.completeRun({ user, id: first.id, status: "failed", summary: "no", tokensUsed })
    yield* equal(
      [done.status, done.summary, done.tokensUsed, done.completedAt !== null],
      ["failed", "no", tokensUsed, true]
    )
    yield* failsWith("DbConflict", routines.completeRun({ user, id: first.id, status: "ok" }))
    yield* equal(yield* routines.getRun(user, first.id), done)
    const second = yield* run(made)
    const ends = Array.from({ length: 4 }, () => Effect.isSuccess(complete(second, "failed")))
    const ended = yield* Effect.all(ends, { concurrency: "unbounded" })
    yield* equal(ended.filter(Boolean).length, 1)
    yield* equal((yield* routines.get(user, made.id)).consecutiveFailures, 2)
    yield* complete(yield* run(made), "attention")
    yield* equal((yield* routines.get(user, made.id)).consecutiveFailures, 0)
  }),

  "counters lose nothing when runs start and end at once": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const racers = Array.from({ length: 12 }, () => Effect.flatMap(run(made), (started) => complete(started, "failed")))
    yield* Effect.all(racers, { concurrency: "unbounded" })
    const { consecutiveFailures, runCount } = yield* routines.get(user, made.id)
    yield* equal([runCount, consecutiveFailures], [12, 12])
    const seqs = (yield* routines.listRuns(user, made.id)).map(({ seq }) => seq)
    yield* equal(
      seqs,
      Array.from({ length: 12 }, (_, n) => 12 - n)
    )
  }),

  "the state and the next time are set between runs, and no counter with them": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, hourly)
    const nextFireAt = after(made.nextFireAt, minutes(90))
    yield* run(made)
    yield* routines.updateRuntime({ user, id: made.id, state: { seen: [1, null] }, nextFireAt })
    const now = yield* routines.get(user, made.id)
    yield* equal([now.state, now.nextFireAt, now.runCount], [{ seen: [1, null] }, nextFireAt, 1])
    const manual = yield* create(user, ManualTrigger.make({}), free, "by hand")
    yield* failsWith("InvalidInput", routines.updateRuntime({ user, id: manual.id, nextFireAt }))
  }),

  "runs are paged newest first, also those that started in one millisecond": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const now = new Date()
    yield* Effect.forEach([1, 2, 3, 4, 5], () => run(made, { now }))
    const page = yield* routines.listRuns(user, made.id, { limit: 2 })
    const rest = yield* routines.listRuns(user, made.id, { before: page[1]!.seq })
    yield* equal(
      [page, rest].map((some) => some.map(({ seq }) => seq)),
      [
        [5, 4],
        [3, 2, 1]
      ]
    )
    yield* failsWith("InvalidInput", routines.listRuns(user, made.id, { limit: 0 }))
  }),

  "counts of running runs have every id that was asked for": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    yield* equal(yield* routines.countRunning(user, []), new Map())
    const busy = yield* create(user, ManualTrigger.make({}), free, "busy")
    const idle = yield* create(user, ManualTrigger.make({}), free, "idle")
    yield* Effect.forEach([1, 2, 3], () => run(busy))
    yield* complete(yield* run(busy), "ok")
    const none = Array.from({ length: 1200 }, (_, n) => `none ${n}`)
    const counts = yield* routines.countRunning(user, [busy.id, idle.id, ...none])
    yield* equal([counts.size, counts.get(busy.id), counts.get(idle.id), counts.get("none 7")], [1202, 3, 0, 0])
  }),

  "the last status is the newest run's, and routines without runs have none": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}), free, "ran")
    const idle = yield* create(user, ManualTrigger.make({}), free, "idle")
    const now = new Date()
    const older = yield* run(made, { now })
    yield* complete(yield* run(made, { now }), "attention")
    yield* complete(older, "failed")
    yield* equal(yield* routines.lastRunStatus(user, [made.id, idle.id]), new Map([[made.id, "attention"]]))
  }),

  "a run is listed as dispatched while it is under way and has a job": Effect.gen(function* () {
    const [routines, admin] = [yield* RoutineStore, yield* RoutineStoreAdmin]
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const dispatched = yield* run(made)
    yield* run(made)
    const job = yield* aJob(user)
    yield* routines.linkRunToJob({ user, id: dispatched.id, jobId: job })
    const mine = Effect.map(admin.listDispatchedRuns, ({ rows }) => rows.filter(({ userId }) => userId === user))
    yield* equal(
      (yield* mine).map(({ id, jobId }) => [id, jobId]),
      [[dispatched.id, job]]
    )
    yield* complete(dispatched, "ok")
    yield* equal(yield* mine, [])
  }),

  "a dispatched run that cannot be read is named, and hides no other": Effect.gen(function* () {
    const [routines, admin, backend] = [yield* RoutineStore, yield* RoutineStoreAdmin, yield* Backend]
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const [broken, good] = [yield* run(made), yield* run(made)]
    const jobId = yield* aJob(user)
    for (const { id } of [broken, good]) yield* routines.linkRunToJob({ user, id, jobId })
    yield* backend.execute("UPDATE db_hub_routine_runs SET tokens_used = -1 WHERE id = ?", [broken.id])
    const { rows, unreadable } = yield* admin.listDispatchedRuns
    yield* equal(
      [rows, unreadable].map((some) => some.flatMap(({ id }) => ([broken.id, good.id].includes(id) ? [id] : []))),
      [[good.id], [broken.id]]
    )
    yield* failsWith("DbCorrupt", routines.listRuns(user, made.id))
    yield* routines.deleteIfExists({ user, id: made.id })
  }),

  "a run does not start on a routine that is off, cooling down, busy, or has it already": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const now = new Date()
    const strict = RoutineGuardrails.make({ cooldownSeconds: 60, maxConcurrent: 2, dedupWindowSeconds: 3600 })
    const made = yield* create(user, ManualTrigger.make({}), strict)
    yield* run(made, { now, dedupKey: "delivery 1" })
    yield* equal(yield* start(made, { now: after(now, 59_999) }), { _tag: "Refused", reason: "cooldown" })
    const again = { now: after(now, minutes(59)), dedupKey: "delivery 1" }
    yield* equal(yield* start(made, again), { _tag: "Refused", reason: "duplicate" })
    const second = yield* run(made, { now: after(now, minutes(1)), dedupKey: "delivery 2" })
    yield* equal(yield* start(made, { now: after(now, minutes(3)) }), { _tag: "Refused", reason: "concurrency" })
    yield* complete(second, "ok")
    const byHand = { user, routineId: made.id, now: after(now, minutes(1)), duringCooldown: true }
    yield* equal((yield* routines.startRun(byHand))._tag, "Started")
    yield* routines.update({ user, id: made.id, enabled: false })
    yield* equal(yield* start(made, { now: after(now, minutes(9)) }), { _tag: "Refused", reason: "disabled" })
    yield* equal((yield* routines.get(user, made.id)).runCount, 3)
  }),

  "a start whose clock is behind the last one's is not held up without a cooldown, and does not turn time back":
    Effect.gen(function* () {
      const routines = yield* RoutineStore
      const user = yield* fresh("user")
      const made = yield* create(user, ManualTrigger.make({}))
      const now = new Date()
      yield* run(made, { now })
      yield* run(made, { now: after(now, -1000) })
      yield* equal((yield* routines.get(user, made.id)).lastRunAt, now)
    }),

  "of racing starts no more go through than may run at a time": Effect.gen(function* () {
    const user = yield* fresh("user")
    const two = RoutineGuardrails.make({ cooldownSeconds: 0, maxConcurrent: 2 })
    const made = yield* create(user, ManualTrigger.make({}), two)
    const started = yield* Effect.all(
      Array.from({ length: 8 }, () => start(made)),
      { concurrency: "unbounded" }
    )
    yield* equal(started.filter(({ _tag }) => _tag === "Started").length, 2)
  }),

  "a due cron routine is claimed once for each due time, whoever races for it": Effect.gen(function* () {
    const [routines, admin] = [yield* RoutineStore, yield* RoutineStoreAdmin]
    const user = yield* fresh("user")
    const made = yield* create(user, hourly)
    const due = made.nextFireAt!
    yield* equal((yield* claim(after(due, -1), [user])).claimed, [])
    const first = yield* admin.nextFireAt
    yield* equal(first !== null && first <= due, true)
    for (const hour of [0, 1]) {
      const racers = Array.from({ length: 8 }, () => claim(after(due, minutes(60 * hour)), [user]))
      const claimed = (yield* Effect.all(racers, { concurrency: "unbounded" })).flatMap((claims) => claims.claimed)
      yield* equal(
        claimed.map(({ run }) => [run.dueAt, run.status, run.seq]),
        [[after(due, minutes(60 * hour)), "running", hour + 1]]
      )
      yield* equal(claimed[0]!.routine, yield* routines.get(user, made.id))
      yield* equal(claimed[0]!.routine.nextFireAt, after(due, minutes(60 * hour + 60)))
    }
    yield* equal((yield* claim(after(due, minutes(60 * 10)), [user])).claimed.length, 1, "missed times fire once")
    yield* equal((yield* routines.get(user, made.id)).nextFireAt, after(due, minutes(60 * 11)))
  }),

  "a scheduler whose clock is behind does not get a time again that has been fired for": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const user = yield* fresh("user")
    const made = yield* create(user, hourly)
    yield* claim(made.nextFireAt!, [user])
    // The clock of this process has not come so far.
    yield* routines.update({ user, id: made.id, enabled: false })
    const on = yield* routines.update({ user, id: made.id, enabled: true })
    yield* equal(on.nextFireAt, after(made.nextFireAt, minutes(60)))
  }),

  "a due time within the cooldown, or of a busy routine, is skipped and said so": Effect.gen(function* () {
    const routines = yield* RoutineStore
    const [calm, busy] = [yield* fresh("calm"), yield* fresh("busy")]
    const cooling = yield* create(calm, hourly, RoutineGuardrails.make({ cooldownSeconds: 5400, maxConcurrent: 9 }))
    const running = yield* create(busy, hourly, RoutineGuardrails.make({ cooldownSeconds: 0 }))
    const due = [cooling.nextFireAt!, running.nextFireAt!].sort((a, b) => a.getTime() - b.getTime())[1]!
    yield* equal((yield* claim(due, [calm, busy])).claimed.length, 2)
    const second = yield* claim(after(due, minutes(60)), [calm, busy])
    yield* equal(second.claimed, [])
    yield* equal(
      new Set(second.skipped.map(({ id, reason }) => `${id} ${reason}`)),
      new Set([`${cooling.id} cooldown`, `${running.id} concurrency`])
    )
    yield* equal((yield* routines.get(calm, cooling.id)).runCount, 1)
    const [last] = yield* routines.listRuns(busy, running.id)
    yield* complete(last!, "ok")
    yield* equal((yield* claim(after(due, minutes(120)), [calm, busy])).claimed.length, 2)
  }),

  "an unreadable routine is reported and skipped, and stops neither lists nor the scheduler": Effect.gen(function* () {
    const [routines, admin, backend] = [yield* RoutineStore, yield* RoutineStoreAdmin, yield* Backend]
    const user = yield* fresh("user")
    const bad = yield* create(user, hourly, free, "bad")
    const good = yield* create(user, hourly, free, "good")
    const event = yield* create(user, EventTrigger.make({ pattern: "x" }), free, "event")
    yield* backend.execute("UPDATE db_hub_routines SET trigger_config = ? WHERE id = ?", [
      new Json({ _tag: "weekly" }),
      bad.id
    ])
    const listed = yield* routines.list(user)
    yield* equal([names(listed.rows), listed.unreadable.map(({ id }) => id)], [["event", "good"], [bad.id]])
    const claims = yield* claim(after(good.nextFireAt, minutes(60)), [user])
    yield* equal(
      claims.claimed.map(({ routine }) => routine.id),
      [good.id]
    )
    const own = claims.unreadable.filter(({ id }) => id === bad.id)
    yield* equal([own.length, own[0]!.table, own[0]!.problem.includes("weekly")], [1, "db_hub_routines", false])
    const error = yield* failsWith("DbCorrupt", routines.get(user, bad.id))
    yield* equal((error as Error).message.includes(`db_hub_routines ${bad.id}`), true)

    yield* backend.execute("UPDATE db_hub_routines SET trigger_config = ? WHERE id = ?", [new Json({}), event.id])
    const events = yield* admin.listEventRoutines
    yield* equal(
      [events.rows, events.unreadable].map((some) => some.some(({ id }) => id === event.id)),
      [false, true]
    )
    yield* equal(yield* routines.deleteIfExists({ user, id: bad.id }), true)
    yield* routines.deleteIfExists({ user, id: event.id })
  }),

  "a run with an unknown status is left out of the last statuses": Effect.gen(function* () {
    const [routines, backend] = [yield* RoutineStore, yield* Backend]
    const user = yield* fresh("user")
    const made = yield* create(user, ManualTrigger.make({}))
    const { id } = yield* run(made)
    yield* backend.execute("UPDATE db_hub_routine_runs SET status = 'paused' WHERE id = ?", [id])
    yield* equal(yield* routines.lastRunStatus(user, [made.id]), new Map())
    yield* failsWith("DbCorrupt", routines.getRun(user, id))
  }),

  "event routines are listed while they are on": Effect.gen(function* () {
    const [routines, admin] = [yield* RoutineStore, yield* RoutineStoreAdmin]
    const user = yield* fresh("user")
    const event = yield* create(user, EventTrigger.make({ pattern: "x" }), free, "event")
    yield* create(user, SystemEventTrigger.make({ source: "s", eventType: "t" }), free, "system")
    yield* create(user, hourly, free, "cron")
    const mine = Effect.map(admin.listEventRoutines, (all) =>
      names(all.rows.filter(({ userId }) => userId === user)).sort()
    )
    yield* equal(yield* mine, ["event", "system"])
    yield* routines.update({ user, id: event.id, enabled: false })
    yield* equal(yield* mine, ["system"])
  }),

  "a webhook is found by its path or its id, and a path belongs to one routine": Effect.gen(function* () {
    const [routines, admin] = [yield* RoutineStore, yield* RoutineStoreAdmin]
    const [user, path] = [yield* fresh("user"), yield* fresh("path")]
    const named = yield* create(user, WebhookTrigger.make({ path }), free, "named")
    const unnamed = yield* create(user, WebhookTrigger.make({}), free, "unnamed")
    yield* equal((yield* admin.getByWebhookPath(path)).id, named.id)
    yield* equal((yield* admin.getByWebhookPath(unnamed.id)).id, unnamed.id)
    yield* failsWith("NotFound", admin.getByWebhookPath(named.id))
    yield* failsWith("DbConflict", create(yield* fresh("other"), WebhookTrigger.make({ path })))
    yield* routines.update({ user, id: named.id, trigger: ManualTrigger.make({}) })
    yield* failsWith("NotFound", admin.getByWebhookPath(path))
    yield* routines.update({ user, id: unnamed.id, trigger: WebhookTrigger.make({ path }) })
    yield* routines.update({ user, id: unnamed.id, enabled: false })
    yield* failsWith("NotFound", admin.getByWebhookPath(path))
  }),

  "a webhook's secret cannot be stored with the routine": Effect.gen(function* () {
    const user = yield* fresh("user")
    const trigger = { ...WebhookTrigger.make({}), secret: "hunter2" }
    const error = yield* failsWith("InvalidInput", create(user, trigger))
    yield* equal(String((error as Error).message).includes("hunter2"), false)
  }),

  "runs of a process that is gone are failed, and no longer stand in the way": Effect.gen(function* () {
    const [routines, admin] = [yield* RoutineStore, yield* RoutineStoreAdmin]
    const user = yield* fresh("user")
    const one = RoutineGuardrails.make({ cooldownSeconds: 0 })
    const made = yield* create(user, ManualTrigger.make({}), one)
    const long = new Date("2001-01-01T00:00:00Z")
    const stale = yield* run(made, { now: long })
    yield* equal(yield* start(made), { _tag: "Refused", reason: "concurrency" })
    yield* admin.failStaleRuns({ startedBefore: after(long, 1) })
    yield* equal((yield* routines.getRun(user, stale.id)).status, "failed")
    yield* failsWith("DbConflict", complete(stale, "ok"))
    const next = yield* run(made)
    yield* admin.failStaleRuns({ startedBefore: after(long, 1) })
    yield* equal((yield* routines.getRun(user, next.id)).status, "running")
    yield* equal((yield* routines.get(user, made.id)).consecutiveFailures, 1)
  }),

  "an administrator lists the routines of all users page by page": Effect.gen(function* () {
    const admin = yield* RoutineStoreAdmin
    const users = [yield* fresh("user"), yield* fresh("user"), yield* fresh("user")]
    const made = yield* Effect.forEach(users, (user) => create(user, ManualTrigger.make({})))
    const seen: Array<string> = []
    for (;;) {
      const after = seen.at(-1)
      const { rows, unreadable } = yield* admin.list({ limit: 2, ...(after === undefined ? {} : { after }) })
      const page = [...rows, ...unreadable].map(({ id }) => id).sort()
      if (page.length === 0) break
      seen.push(...page)
    }
    yield* equal(
      made.map(({ id }) => id).filter((id) => !seen.includes(id)),
      []
    )
    yield* equal(new Set(seen).size, seen.length)
  })
}
