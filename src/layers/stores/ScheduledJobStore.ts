/**
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend } from "../../services/Backend.js"
import {
  DeleteScheduledJob,
  EnableScheduledJob,
  FinishScheduledRun,
  SaveScheduledJob,
  ScheduledJob,
  ScheduledJobStore,
  ScheduledJobStoreAdmin,
  StartScheduledRun
} from "../../services/ScheduledJobStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<ScheduledJobStore | ScheduledJobStoreAdmin, never, Backend | WriteChannel> =
  Layer.effectContext(
    Effect.gen(function* () {
      const backend = yield* Backend
      const channel = yield* WriteChannel
      const jobs = Table.make(backend, "db_hub_scheduled_jobs", ScheduledJob)

      const orNotFound = (operation: string) => Rows.orNotFound(backend.name, operation, "scheduled job")

      const get = (user: string, id: string, operation = "ScheduledJobStore.get") =>
        Effect.flatMap(jobs.first("WHERE id = ? AND user_id = ?", [id, user]), orNotFound(operation))

      /** Changes the job of an owner, or fails with `NotFound`. */
      const change = (operation: string, user: string, id: string, fields: Table.Fields) =>
        Effect.flatMap(jobs.update(fields, "id = ? AND user_id = ?", [id, user]), (updated) =>
          orNotFound(operation)(updated === 1 ? { result: undefined, ids: [id] } : undefined)
        )

      const store: ScheduledJobStore["Type"] = {
        save: channel.handle(SaveScheduledJob, (payload) =>
          Effect.gen(function* () {
            const { command, schedule, type, user } = payload
            const id = payload.id ?? Fresh.id()
            const decided = {
              schedule,
              type,
              command,
              channel: payload.channel ?? null,
              chatId: payload.chatId ?? null,
              announce: payload.announce ?? true,
              enabled: payload.enabled ?? true,
              createdBy: payload.createdBy ?? null,
              isolateSession: payload.isolateSession ?? false,
              asSubagent: payload.asSubagent ?? false,
              model: payload.model ?? null,
              timeoutSeconds: payload.timeoutSeconds ?? null,
              labels: payload.labels ?? [],
              staggerMs: payload.staggerMs ?? null,
              exact: payload.exact ?? false
            }
            const isNew = yield* jobs.insertIfAbsent(
              { ...decided, id, userId: user, runCount: 0, createdAt: yield* Fresh.now },
              ["id"]
            )
            if (!isNew) yield* change(SaveScheduledJob._tag, user, id, decided)
            return { result: id, ids: [id] }
          })
        ),
        setEnabled: channel.handle(EnableScheduledJob, ({ enabled, id, user }) =>
          change(EnableScheduledJob._tag, user, id, { enabled })
        ),
        deleteIfExists: channel.handle(DeleteScheduledJob, ({ id, user }) =>
          Effect.map(
            backend.execute("DELETE FROM db_hub_scheduled_jobs WHERE id = ? AND user_id = ?", [id, user]),
            ({ rowsAffected }) => ({ result: rowsAffected === 1, ids: rowsAffected === 1 ? [id] : [] })
          )
        ),
        startRun: channel.handle(StartScheduledRun, ({ id, runCount, user }) =>
          Effect.gen(function* () {
            const started = yield* jobs.update(
              { runCount: runCount + 1, lastRunAt: yield* Fresh.now },
              "id = ? AND user_id = ? AND run_count = ? AND enabled = ?",
              [id, user, runCount, true]
            )
            // Which of the conditions did not hold: a job that is not there is an error, a lost race is an answer.
            if (started === 0) yield* get(user, id, StartScheduledRun._tag)
            return { result: started === 1, ids: started === 1 ? [id] : [] }
          })
        ),
        finishRun: channel.handle(FinishScheduledRun, ({ duration, error, id, usage, user }) =>
          change(FinishScheduledRun._tag, user, id, {
            lastError: error ?? null,
            lastRunDuration: duration,
            lastUsage: usage ?? null
          })
        ),
        get,
        list: (user) => jobs.all("WHERE user_id = ? ORDER BY sequence", [user])
      }

      return Context.make(ScheduledJobStore, store).pipe(
        Context.add(ScheduledJobStoreAdmin, {
          listEnabled: jobs.readable("WHERE enabled = ? ORDER BY sequence", [true])
        })
      )
    })
  )
