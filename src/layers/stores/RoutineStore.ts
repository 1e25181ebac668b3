/**
 * @since 0.1.0
 */
import * as NodeUtil from "node:util"
import * as Context from "effect/Context"
import * as Cron from "effect/Cron"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import { DbConflict, type DbError, invalidInput } from "../../errors/index.js"
import { Backend, type SqlValue } from "../../services/Backend.js"
import type { UnreadableRow } from "../../services/Model.js"
import {
  ClaimDueRoutines,
  type Claims,
  CompleteRoutineRun,
  CreateRoutine,
  DeleteRoutine,
  FailStaleRoutineRuns,
  LinkRoutineRunToJob,
  parseCron,
  Routine,
  RoutineGuardrails,
  RoutineNotify,
  RoutineRun,
  RoutineStore,
  RoutineStoreAdmin,
  type RunRefusal,
  RunStatus,
  StartRoutineRun,
  UpdateRoutine,
  UpdateRoutineRuntime
} from "../../services/RoutineStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_routines"
const runsTable = "db_hub_routine_runs"

/** The next time after `from`; null for a schedule without one, such as 31 February. */
const cronAfter = (trigger: Routine["trigger"], from: Date): Date | null =>
  trigger._tag === "cron"
    ? parseCron(trigger).pipe(
        Either.flatMap((cron) => Either.try(() => Cron.next(cron, from))),
        Either.getOrNull
      )
    : null

/** Process clocks differ: the last run is the one of the latest clock. */
const lastOf = ({ lastRunAt }: Pick<Routine, "lastRunAt">, at: Date): Date =>
  lastRunAt !== null && lastRunAt > at ? lastRunAt : at

/** A time that has been fired for never comes again. */
const nextFire = (routine: Pick<Routine, "enabled" | "trigger" | "lastRunAt">, now: Date): Date | null =>
  routine.enabled ? cronAfter(routine.trigger, lastOf(routine, now)) : null

/** As it goes into the table: what can be looked for besides the trigger itself. */
const stored = ({ action, trigger, ...routine }: Routine): Table.Fields => ({
  ...routine,
  triggerType: trigger._tag,
  triggerConfig: trigger,
  webhookPath: trigger._tag === "webhook" ? (trigger.path ?? routine.id) : routine.id,
  actionConfig: action
})

const seconds = (n: number): number => n * 1000

const make = Effect.gen(function* () {
  const backend = yield* Backend
  const channel = yield* WriteChannel
  const { dialect } = backend
  const runs = Table.make(backend, runsTable, RoutineRun)
  const proveJob = Owner.proof(backend, "db_hub_jobs", "job")
  const columns = `id, user_id, name, description, enabled, trigger_config AS ${dialect.quoteIdentifier("trigger")},
    action_config AS ${dialect.quoteIdentifier("action")}, guardrails, notify, state, next_fire_at, last_run_at,
    run_count, consecutive_failures, created_at, updated_at`
  const routines = Table.make(backend, table, Routine, { columns })

  const find = (where: string, params: ReadonlyArray<SqlValue>, lock = "") =>
    routines.first(`WHERE ${where}${lock}`, params)

  const own = (operation: string, user: string, id: string, lock = "") =>
    Effect.flatMap(
      find("user_id = ? AND id = ?", [user, id], lock),
      Rows.orNotFound(backend.name, operation, "routine")
    )

  const ownRun = (operation: string, user: string, id: string) =>
    Effect.flatMap(
      runs.first(`WHERE id = ? AND user_id = ?`, [id, user]),
      Rows.orNotFound(backend.name, operation, "routine run")
    )

  const count = (sql: string, params: ReadonlyArray<SqlValue>): Effect.Effect<number, DbError> =>
    Effect.map(backend.query(sql, params), ([row]) => Number(row?.["n"]))

  const runningRuns = (routineId: string) =>
    count(`SELECT count(*) AS n FROM ${runsTable} WHERE routine_id = ? AND status = 'running'`, [routineId])

  /** What forbids a run of a locked routine, if anything does. */
  const refusal = (
    routine: Routine,
    start: { readonly now: Date; readonly dedupKey: string | null; readonly duringCooldown: boolean }
  ): Effect.Effect<RunRefusal | undefined, DbError> =>
    Effect.gen(function* () {
      const { cooldownSeconds, dedupWindowSeconds, maxConcurrent } = routine.guardrails
      const { now } = start
      if (!routine.enabled) return "disabled"
      if (start.dedupKey !== null && dedupWindowSeconds !== null) {
        const same = yield* count(
          `SELECT count(*) AS n FROM ${runsTable} WHERE routine_id = ? AND dedup_key = ? AND started_at > ?`,
          // A window may reach back further than there are times.
          [routine.id, start.dedupKey, new Date(Math.max(0, now.getTime() - seconds(dedupWindowSeconds)))]
        )
        if (same > 0) return "duplicate"
      }
      const last = routine.lastRunAt
      // A run that was locked out for a moment has an earlier clock than the one before it.
      const since = last === null ? Number.POSITIVE_INFINITY : Math.max(0, now.getTime() - last.getTime())
      const cool = since >= seconds(cooldownSeconds)
      if (!cool && !start.duringCooldown) return "cooldown"
      return (yield* runningRuns(routine.id)) >= maxConcurrent ? "concurrency" : undefined
    })

  /** Adds a run to a locked routine. */
  const addRun = (
    routine: Routine,
    run: Pick<RoutineRun, "id" | "triggerDetail" | "dedupKey" | "dueAt" | "startedAt">
  ): Effect.Effect<RoutineRun, DbError> =>
    Effect.gen(function* () {
      const added: RoutineRun = {
        ...run,
        routineId: routine.id,
        userId: routine.userId,
        seq: routine.runCount + 1,
        triggerType: routine.trigger._tag,
        completedAt: null,
        status: "running",
        summary: null,
        tokensUsed: null,
        jobId: null
      }
      yield* runs.insert(added)
      yield* backend.enqueue(`UPDATE ${table} SET run_count = run_count + 1, last_run_at = ? WHERE id = ?`, [
        lastOf(routine, run.startedAt),
        routine.id
      ])
      return added
    })

  /** Gives an armed routine its next time, and refuses one that has none. */
  const arm = (operation: string, routine: Routine, now: Date) => {
    const nextFireAt = nextFire(routine, now)
    return routine.enabled && routine.trigger._tag === "cron" && nextFireAt === null
      ? Effect.fail(
          invalidInput({ operation, backend: backend.name }, "trigger", "never fires", "a schedule with a time to come")
        )
      : Effect.succeed({ ...routine, nextFireAt })
  }

  /** Writes a locked routine as a whole. */
  const put = (routine: Routine) => routines.set(routine.id, stored(routine))

  const store: RoutineStore["Type"] = {
    create: channel.handle(CreateRoutine, ({ id, user, ...given }) =>
      Effect.gen(function* () {
        const now = yield* Fresh.now
        const fields = {
          description: "",
          enabled: true,
          guardrails: RoutineGuardrails.make({}),
          notify: RoutineNotify.make({}),
          state: {},
          ...given,
          id: id ?? Fresh.id(),
          userId: user,
          nextFireAt: null,
          lastRunAt: null,
          runCount: 0,
          consecutiveFailures: 0,
          createdAt: now,
          updatedAt: now
        }
        const routine = yield* arm(CreateRoutine._tag, fields, now)
        yield* routines.insert(stored(routine))
        return { result: routine, ids: [routine.id] }
      })
    ),
    update: channel.handle(UpdateRoutine, ({ id, user, ...changes }) =>
      Effect.gen(function* () {
        const before = yield* own(UpdateRoutine._tag, user, id, dialect.forUpdate)
        const now = yield* Fresh.now
        const changed: Routine = { ...before, ...changes, updatedAt: now }
        const sameTimes =
          changed.enabled === before.enabled && NodeUtil.isDeepStrictEqual(changed.trigger, before.trigger)
        const routine = sameTimes ? changed : yield* arm(UpdateRoutine._tag, changed, now)
        yield* put(routine)
        return { result: routine, ids: [id] }
      })
    ),
    updateRuntime: channel.handle(UpdateRoutineRuntime, ({ id, user, ...changes }) =>
      Effect.gen(function* () {
        const before = yield* own(UpdateRoutineRuntime._tag, user, id, dialect.forUpdate)
        if (changes.nextFireAt !== undefined && before.nextFireAt === null) {
          const allowed = "no time, except for an enabled cron routine"
          return yield* Effect.fail(
            invalidInput(
              { operation: UpdateRoutineRuntime._tag, backend: backend.name },
              "nextFireAt",
              "would never fire",
              allowed
            )
          )
        }
        const routine: Routine = { ...before, ...changes, updatedAt: yield* Fresh.now }
        yield* put(routine)
        return { result: routine, ids: [id] }
      })
    ),
    deleteIfExists: channel.handle(DeleteRoutine, ({ id, user }) =>
      Effect.gen(function* () {
        const [found] = yield* backend.query(
          `SELECT id FROM ${table} WHERE user_id = ? AND id = ?${dialect.forUpdate}`,
          [user, id]
        )
        if (found === undefined) return { result: false, ids: [] }
        yield* backend.enqueue(`DELETE FROM ${runsTable} WHERE routine_id = ?`, [id])
        yield* backend.enqueue(`DELETE FROM ${table} WHERE id = ?`, [id])
        return { result: true, ids: [id] }
      })
    ),
    startRun: channel.handle(StartRoutineRun, (payload) =>
      Effect.gen(function* () {
        const { dedupKey = null, duringCooldown = false, now = yield* Fresh.now } = payload
        const routine = yield* own(StartRoutineRun._tag, payload.user, payload.routineId, dialect.forUpdate)
        const reason = yield* refusal(routine, { now, dedupKey, duringCooldown })
        if (reason !== undefined) return { result: { _tag: "Refused", reason }, ids: [] }
        const run = yield* addRun(routine, {
          id: payload.id ?? Fresh.id(),
          triggerDetail: payload.triggerDetail ?? null,
          dedupKey,
          dueAt: null,
          startedAt: now
        })
        return { result: { _tag: "Started", run }, ids: [routine.id, run.id] }
      })
    ),
    completeRun: channel.handle(CompleteRoutineRun, ({ id, status, summary = null, tokensUsed = null, user }) =>
      Effect.gen(function* () {
        const { routineId } = yield* ownRun(CompleteRoutineRun._tag, user, id)
        // The routine is locked before its runs, everywhere.
        yield* backend.query(`SELECT id FROM ${table} WHERE id = ?${dialect.forUpdate}`, [routineId])
        const run: RoutineRun = {
          ...(yield* ownRun(CompleteRoutineRun._tag, user, id)),
          status,
          summary,
          tokensUsed,
          completedAt: yield* Fresh.now
        }
        const ended = yield* runs.update(
          { status, summary, tokensUsed, completedAt: run.completedAt },
          "id = ? AND status = 'running'",
          [id]
        )
        if (ended === 0) {
          return yield* Effect.fail(
            new DbConflict({
              backend: backend.name,
              operation: CompleteRoutineRun._tag,
              reason: "compare-and-set",
              message: "The run has ended already: its first end stays"
            })
          )
        }
        const failures = status === "failed" ? "consecutive_failures + 1" : "0"
        yield* backend.enqueue(`UPDATE ${table} SET consecutive_failures = ${failures} WHERE id = ?`, [routineId])
        return { result: run, ids: [routineId, id] }
      })
    ),
    linkRunToJob: channel.handle(LinkRoutineRunToJob, ({ id, jobId, user }) =>
      Effect.gen(function* () {
        yield* proveJob(user, jobId, LinkRoutineRunToJob._tag)
        const linked = yield* runs.update({ jobId }, "id = ? AND user_id = ?", [id, user])
        yield* Rows.orNotFound(backend.name, LinkRoutineRunToJob._tag, "routine run")(linked === 0 ? undefined : id)
        return { result: undefined, ids: [id] }
      })
    ),
    get: (user, id) => own("RoutineStore.get", user, id),
    getByName: (user, name) =>
      Effect.flatMap(
        find("user_id = ? AND name = ?", [user, name]),
        Rows.orNotFound(backend.name, "RoutineStore.getByName", "routine")
      ),
    list: (user) => routines.readable("WHERE user_id = ? ORDER BY name", [user]),
    getRun: (user, id) => ownRun("RoutineStore.getRun", user, id),
    listRuns: (user, routineId, { before = Number.MAX_SAFE_INTEGER, limit } = {}) =>
      Effect.gen(function* () {
        const operation = "RoutineStore.listRuns"
        const size = yield* Page.limit(limit, 50, { backend: backend.name, operation })
        const own = yield* backend.query(`SELECT id FROM ${table} WHERE id = ? AND user_id = ?`, [routineId, user])
        yield* Rows.orNotFound(backend.name, operation, "routine")(own[0])
        return yield* runs.all("WHERE routine_id = ? AND seq < ? ORDER BY seq DESC LIMIT ?", [routineId, before, size])
      }),
    countRunning: (user, ids) =>
      Effect.map(
        Rows.inPieces(ids, (piece, marks) =>
          backend.query(
            `SELECT routine_id, count(*) AS n FROM ${runsTable}
             WHERE routine_id IN (${marks}) AND status = 'running' AND user_id = ? GROUP BY routine_id`,
            [...piece, user]
          )
        ),
        (found) =>
          new Map([
            ...ids.map((id) => [id, 0] as const),
            ...found.map((row) => [String(row["routine_id"]), Number(row["n"])] as const)
          ])
      ),
    lastRunStatus: (user, ids) =>
      Effect.map(
        Rows.inPieces(ids, (piece, marks) =>
          backend.query(
            `SELECT routines.id, runs.status FROM ${table} AS routines
             JOIN ${runsTable} AS runs ON runs.routine_id = routines.id AND runs.seq = routines.run_count
             WHERE routines.id IN (${marks}) AND routines.user_id = ?`,
            [...piece, user]
          )
        ),
        (found) => new Map(found.flatMap(({ id, status }) => (isStatus(status) ? [[String(id), status] as const] : [])))
      )
  }

  const admin: RoutineStoreAdmin["Type"] = {
    claimDue: channel.handle(ClaimDueRoutines, ({ limit = 100, ...payload }) =>
      Effect.gen(function* () {
        const { now = yield* Fresh.now } = payload
        const due = yield* backend.query(`SELECT id FROM ${table} WHERE next_fire_at <= ? ORDER BY next_fire_at, id`, [
          now
        ])
        const claimed: Array<(typeof Claims.Type)["claimed"][number]> = []
        const skipped: Array<(typeof Claims.Type)["skipped"][number]> = []
        const unreadable: Array<UnreadableRow> = []
        for (const row of due) {
          if (claimed.length === limit) break
          const id = String(row["id"])
          // Another scheduler may have it, or may have had it since.
          const reading = find("id = ? AND next_fire_at <= ?", [id, now], dialect.skipLocked)
          const read = yield* Rows.orUnreadable(table, id, reading)
          if ("problem" in read) {
            unreadable.push(read.problem)
            continue
          }
          const routine = read.value
          if (routine === undefined || routine.nextFireAt === null) continue
          const dueAt = routine.nextFireAt
          const nextFireAt = nextFire(routine, now)
          yield* routines.set(id, { nextFireAt })
          const reason = yield* refusal(routine, { now, dedupKey: null, duringCooldown: false })
          if (reason !== undefined) {
            skipped.push({ id, userId: routine.userId, dueAt, reason })
            continue
          }
          const run = yield* addRun(routine, {
            id: Fresh.id(),
            triggerDetail: null,
            dedupKey: null,
            dueAt,
            startedAt: now
          })
          claimed.push({ routine: { ...routine, nextFireAt, lastRunAt: lastOf(routine, now), runCount: run.seq }, run })
        }
        const ids = [...claimed.flatMap(({ routine, run }) => [routine.id, run.id]), ...skipped.map(({ id }) => id)]
        return { result: { claimed, skipped, unreadable }, ids }
      })
    ),
    failStaleRuns: channel.handle(FailStaleRoutineRuns, ({ startedBefore, summary = "its process ended" }) =>
      Effect.gen(function* () {
        const stale = yield* backend.query(
          `SELECT id, routine_id FROM ${runsTable} WHERE status = 'running' AND started_at < ? ORDER BY routine_id, id`,
          [startedBefore]
        )
        const ids: Array<string> = []
        for (const row of stale) {
          const [id, routineId] = [String(row["id"]), String(row["routine_id"])]
          yield* backend.query(`SELECT id FROM ${table} WHERE id = ?${dialect.forUpdate}`, [routineId])
          const end = { status: "failed", summary, completedAt: yield* Fresh.now }
          const ended = yield* runs.update(end, "id = ? AND status = 'running'", [id])
          if (ended === 0) continue
          yield* backend.enqueue(`UPDATE ${table} SET consecutive_failures = consecutive_failures + 1 WHERE id = ?`, [
            routineId
          ])
          ids.push(id)
        }
        return { result: ids.length, ids }
      })
    ),
    nextFireAt: Effect.map(
      backend.query(`SELECT next_fire_at FROM ${table} WHERE next_fire_at IS NOT NULL ORDER BY next_fire_at LIMIT 1`),
      ([row]) => (row === undefined ? null : (row["next_fire_at"] as Date))
    ),
    list: ({ after = "", limit } = {}) =>
      Effect.flatMap(Page.limit(limit, 50, { backend: backend.name, operation: "RoutineStoreAdmin.list" }), (size) =>
        routines.readable("WHERE id > ? ORDER BY id LIMIT ?", [after, size])
      ),
    listEventRoutines: routines.readable(
      "WHERE trigger_type IN ('event', 'system_event') AND enabled = ? ORDER BY trigger_type, id",
      [true]
    ),
    getByWebhookPath: (path) =>
      Effect.flatMap(
        find("webhook_path = ? AND trigger_type = 'webhook' AND enabled = ?", [path, true]),
        Rows.orNotFound(backend.name, "RoutineStoreAdmin.getByWebhookPath", "webhook routine")
      ),
    listDispatchedRuns: runs.readable(`WHERE status = 'running' AND job_id IS NOT NULL ORDER BY started_at, id`)
  }

  return Context.make(RoutineStore, store).pipe(Context.add(RoutineStoreAdmin, admin))
})

const isStatus = (status: unknown): status is RunStatus => RunStatus.literals.some((known) => known === status)

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<RoutineStore | RoutineStoreAdmin, never, Backend | WriteChannel> =
  Layer.effectContext(make)
