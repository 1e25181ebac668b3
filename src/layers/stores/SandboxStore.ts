/**
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { DbConflict, type DbError } from "../../errors/index.js"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import {
  AddSandboxEvent,
  CleanupStaleSandboxJobs,
  DeleteSandboxJob,
  HeartbeatSandboxWorker,
  SandboxEvent,
  SandboxJob,
  SandboxStatus,
  SandboxStore,
  SandboxStoreAdmin,
  type SandboxSummary,
  SaveSandboxJob,
  UpdateSandboxMode,
  UpdateSandboxStatus
} from "../../services/SandboxStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { marks } from "../sql/Marks.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const written = (job: string) => ({ result: undefined, ids: [job] })

const hasEnded = (status: SandboxStatus): boolean => status !== "creating" && status !== "running"

const mayBecome = (from: SandboxStatus, to: SandboxStatus): boolean =>
  from === to || (!hasEnded(from) && to !== "creating")

/** Events that a tail reads at once. */
const tailPage = 500

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SandboxStore | SandboxStoreAdmin, never, Backend | WriteChannel> = Layer.effectContext(
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect } = backend
    const jobs = Table.make(backend, "db_hub_sandbox_jobs", SandboxJob)
    const events = Table.make(backend, "db_hub_sandbox_events", SandboxEvent, { key: ["id", "job_id"] })

    const orNotFound = (operation: string) => Rows.orNotFound(backend.name, operation, "sandbox job")

    const get = (user: string, id: string, operation = "SandboxStore.get", lock = "") =>
      Effect.flatMap(jobs.first(`WHERE id = ? AND user_id = ?${lock}`, [id, user]), orNotFound(operation))

    /** The job of an owner, which nobody else changes until the end of the transaction. */
    const lock = (user: string, id: string, operation: string) => get(user, id, operation, dialect.forUpdate)

    /** The ids that a locking SELECT picks. */
    const idsOf = (rest: string, params: ReadonlyArray<SqlValue>) =>
      Effect.map(backend.query(`SELECT id FROM db_hub_sandbox_jobs ${rest}`, params), (rows) =>
        rows.map((row) => String(row["id"]))
      )

    const summary = (where: string, params: ReadonlyArray<SqlValue>): Effect.Effect<SandboxSummary, DbError> =>
      Effect.map(
        backend.query(
          `SELECT status, count(*) AS n FROM db_hub_sandbox_jobs
             WHERE ${where}status IN (${marks(SandboxStatus.literals)}) GROUP BY status`,
          [...params, ...SandboxStatus.literals]
        ),
        (rows) => {
          const counts = { total: 0, creating: 0, running: 0, completed: 0, failed: 0, interrupted: 0 }
          for (const row of rows) {
            counts[row["status"] as SandboxStatus] = Number(row["n"])
            counts.total += Number(row["n"])
          }
          return counts
        }
      )

    const store: SandboxStore["Type"] = {
      save: channel.handle(SaveSandboxJob, (payload) =>
        Effect.gen(function* () {
          const at = yield* Fresh.now
          const id = payload.id ?? Fresh.id()
          const description = {
            task: payload.task,
            projectDir: payload.projectDir ?? null,
            // Field by field: whatever else a caller put into a grant is not for the database.
            credentialGrants: (payload.credentialGrants ?? []).map(({ envVar, secretName }) => ({
              secretName,
              envVar
            }))
          }
          const isNew = yield* jobs.insertIfAbsent(
            {
              ...description,
              id,
              userId: payload.user,
              status: "creating",
              mode: payload.mode ?? "worker",
              worker: payload.worker,
              leaseExpiresAt: Fresh.later(at, payload.leaseMillis),
              eventCount: 0,
              createdAt: at
            },
            ["id"]
          )
          if (!isNew) {
            yield* lock(payload.user, id, SaveSandboxJob._tag)
            yield* jobs.set(id, description)
          }
          return { result: id, ids: [id] }
        })
      ),
      updateStatus: channel.handle(UpdateSandboxStatus, ({ id, user, ...change }) =>
        Effect.gen(function* () {
          const job = yield* lock(user, id, UpdateSandboxStatus._tag)
          if (!mayBecome(job.status, change.status)) {
            return yield* Effect.fail(
              new DbConflict({
                backend: backend.name,
                operation: UpdateSandboxStatus._tag,
                reason: "compare-and-set",
                message: `The sandbox job is ${job.status} and cannot become ${change.status}`
              })
            )
          }
          const ended = hasEnded(change.status)
          const at = yield* Fresh.now
          const times = {
            startedAt: job.startedAt ?? (change.status === "running" ? at : null),
            completedAt: job.completedAt ?? (ended ? at : null)
          }
          yield* jobs.set(id, { ...times, ...change, ...(ended ? { leaseExpiresAt: null } : {}) })
          return written(id)
        })
      ),
      updateMode: channel.handle(UpdateSandboxMode, ({ id, mode, user }) =>
        Effect.flatMap(jobs.update({ mode }, "id = ? AND user_id = ?", [id, user]), (updated) =>
          orNotFound(UpdateSandboxMode._tag)(updated === 1 ? written(id) : undefined)
        )
      ),
      delete: channel.handle(DeleteSandboxJob, (payload) =>
        Effect.zipLeft(
          jobs.deleteOwn(DeleteSandboxJob._tag, "sandbox job", payload),
          // Foreign keys may be switched off.
          backend.enqueue("DELETE FROM db_hub_sandbox_events WHERE job_id = ?", [payload.id])
        )
      ),
      addEvent: channel.handle(AddSandboxEvent, ({ data, eventType, job, user }) =>
        Effect.gen(function* () {
          const { eventCount } = yield* lock(user, job, AddSandboxEvent._tag)
          const id = eventCount + 1
          yield* jobs.set(job, { eventCount: id })
          yield* events.insert({ jobId: job, id, eventType, data: new Json(data), createdAt: yield* Fresh.now })
          return { result: id, ids: [job] }
        })
      ),
      get,
      mode: (user, id) => Effect.map(get(user, id, "SandboxStore.mode"), ({ mode }) => mode),
      belongsTo: (user, id) =>
        Effect.map(idsOf("WHERE id = ? AND user_id = ?", [id, user]), (found) => found.length > 0),
      list: (user, { before, limit } = {}) =>
        jobs.page("SandboxStore.list", { "user_id = ?": user, "sequence < ?": before }, "sequence DESC", limit),
      summary: (user) => summary("user_id = ? AND ", [user]),
      events: (user, job, { after, limit } = {}) => {
        const operation = "SandboxStore.events"
        const found =
          after === undefined
            ? Effect.map(events.page(operation, { "job_id = ?": job }, "id DESC", limit), (latest) =>
                latest.toReversed()
              )
            : events.page(operation, { "job_id = ?": job, "id > ?": after }, "id", limit)
        return Effect.zipRight(get(user, job, operation), found)
      },
      tail: (user, job, after = 0) =>
        Stream.unwrap(
          Effect.gen(function* () {
            // The place in the feed comes first: what commits after the first reading is then told by the feed.
            const place = yield* channel.latest
            yield* get(user, job, "SandboxStore.tail")
            let last = after
            const next = Effect.map(
              Effect.suspend(() =>
                events.page("SandboxStore.tail", { "job_id = ?": job, "id > ?": last }, "id", tailPage)
              ),
              (found) => {
                last = found.at(-1)?.id ?? last
                const more = found.length === tailPage ? Option.some(undefined) : Option.none<undefined>()
                return [Chunk.unsafeFromArray(found), more] as const
              }
            )
            const added = channel.changes(place).pipe(
              Stream.filter(({ ids, store }) => store === "SandboxStore" && ids.includes(job)),
              Stream.takeWhile(({ operation }) => `SandboxStore.${operation}` !== DeleteSandboxJob._tag),
              Stream.mapChunks((changes) =>
                Chunk.take(
                  Chunk.map(changes, () => undefined),
                  1
                )
              )
            )
            return Stream.flatMap(Stream.concat(Stream.make(undefined), added), () =>
              Stream.paginateChunkEffect(undefined, () => next)
            )
          })
        )
    }

    const admin: SandboxStoreAdmin["Type"] = {
      heartbeat: channel.handle(HeartbeatSandboxWorker, ({ leaseMillis, worker }) =>
        Effect.gen(function* () {
          const mine = yield* idsOf(
            `WHERE worker = ? AND lease_expires_at IS NOT NULL ORDER BY sequence${dialect.forUpdate}`,
            [worker]
          )
          const leaseExpiresAt = Fresh.later(yield* Fresh.now, leaseMillis)
          yield* jobs.update({ leaseExpiresAt }, "worker = ? AND lease_expires_at IS NOT NULL", [worker])
          // A longer lease is nobody else's news.
          return { result: mine, ids: [] }
        })
      ),
      cleanupStale: channel.handle(CleanupStaleSandboxJobs, () =>
        Effect.gen(function* () {
          const at = yield* Fresh.now
          // A job that somebody holds just now is alive.
          const stale = yield* idsOf(`WHERE lease_expires_at <= ? ORDER BY lease_expires_at${dialect.skipLocked}`, [at])
          const end = {
            status: "interrupted",
            failureReason: "The process that ran it is gone",
            completedAt: at,
            leaseExpiresAt: null
          }
          yield* Effect.forEach(stale, (id) => jobs.set(id, end), { discard: true })
          return { result: stale, ids: stale }
        })
      ),
      list: ({ before, limit } = {}) =>
        jobs.page("SandboxStoreAdmin.list", { "sequence < ?": before }, "sequence DESC", limit),
      summary: summary("", [])
    }

    return Context.make(SandboxStore, store).pipe(Context.add(SandboxStoreAdmin, admin))
  })
)
