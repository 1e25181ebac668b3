/**
 * Agents' statements on SQLite, in processes that can be killed: a statement cannot be stopped from within its own.
 *
 * @since 0.1.0
 */
import type { ChildProcess } from "node:child_process"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DbConnection, type DbError, DbTimeout, type ErrorContext, fromSqlite } from "../../errors/index.js"
import { type AgentSqlOptions, type AgentSqlShape, limitsOf, resultOf } from "../../services/AgentSql.js"
import { distinct } from "../SqlTemplates.js"
import { startProcess, whyMissing } from "./ChildProgram.js"
import type { Answer, Task } from "./SqliteAgentWorker.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as SqliteReadOnly from "./SqliteReadOnly.js"
import * as Values from "./SqliteValues.js"

/** Milliseconds that a process may take to start. */
const startBudget = 30_000

const gone = (context: ErrorContext): DbConnection =>
  new DbConnection({
    ...context,
    code: "HUB_AGENT_PROCESS",
    retryable: true,
    message:
      whyMissing("SqliteAgentWorker") ??
      "The process that reads for agents ended (out of memory?): read less at once, or try again"
  })

interface Child {
  readonly process: ChildProcess
  /** Whether it can take a task. */
  readonly ready: Effect.Effect<void, DbError>
}

const kill = ({ process }: Child) => void process.kill("SIGKILL")

const start = (context: ErrorContext): Child => {
  const child = startProcess("SqliteAgentWorker")
  const started = new Promise<boolean>((resolve) => {
    child.once("message", () => resolve(true))
    child.once("exit", () => resolve(false))
    child.once("error", () => resolve(false))
  })
  let up = false
  const starting = Effect.promise(() => started).pipe(
    Effect.filterOrFail(
      (started) => started,
      () => gone(context)
    ),
    Effect.timeoutFail({ duration: startBudget, onTimeout: () => gone(context) }),
    Effect.tap(() =>
      Effect.sync(() => {
        up = true
      })
    ),
    Effect.asVoid
  )
  return { process: child, ready: Effect.suspend(() => (up ? Effect.void : starting)) }
}

/** Sends a task; at the deadline, or when nobody waits any more, the process is killed. */
const ask = (child: Child, task: Task, deadline: number, context: ErrorContext): Effect.Effect<Answer, DbError> =>
  Effect.async((resume) => {
    const { process } = child
    const stop = () => {
      clearTimeout(timer)
      process.off("message", onMessage).off("exit", onExit)
      process.channel?.unref()
    }
    const settle = (result: Effect.Effect<Answer, DbError>) => {
      stop()
      resume(result)
    }
    const onMessage = (answer: Answer) => settle(Effect.succeed(answer))
    const onExit = () => settle(Effect.fail(gone(context)))
    // A real timer: the process lives outside of any test's clock.
    const timer = setTimeout(() => {
      kill(child)
      settle(
        Effect.fail(
          new DbTimeout({
            ...context,
            code: "HUB_DEADLINE",
            retryable: false,
            message: `The statement was stopped after ${deadline} ms: make it cheaper, with a condition or a smaller join`
          })
        )
      )
    }, deadline)
    process.on("message", onMessage).on("exit", onExit)
    process.channel?.ref()
    process.send(task, (error) => {
      if (error !== null) onExit()
    })
    return Effect.sync(() => {
      stop()
      kill(child)
    })
  })

/**
 * Opens the door: one process is started at once and more as they are needed; all are killed with the scope.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make =
  (client: Pick<SqliteClient, "options" | "lane" | "writer">) =>
  (options: AgentSqlOptions = {}): Effect.Effect<AgentSqlShape, DbError, Scope.Scope> =>
    Effect.gen(function* () {
      const { busyTimeout, name, path } = client.options
      const context: ErrorContext = { backend: name, operation: "agentSql" }
      // What lives in the memory of this process is read as a copy.
      const database: Effect.Effect<Task["database"], DbError> =
        path === ":memory:"
          ? client.lane.hold(
              context,
              busyTimeout,
              Effect.try({ try: () => client.writer.serialize(), catch: (cause) => fromSqlite(cause, context) })
            )
          : Effect.succeed(path)
      const deadline = Duration.toMillis(options.deadline ?? "10 seconds")
      const turns = yield* Effect.makeSemaphore(options.concurrency ?? 2)
      const children = new Set<Child>()
      const idle: Array<Child> = []
      let closed = false

      const spawn = () => {
        const child = start(context)
        children.add(child)
        child.process.once("exit", () => children.delete(child))
        return child
      }
      const usable = ({ process }: Child) => process.connected && process.exitCode === null && !process.killed
      const borrow = Effect.sync(() => {
        for (let child = idle.pop(); child !== undefined; child = idle.pop()) if (usable(child)) return child
        return spawn()
      })
      const giveBack = (child: Child) =>
        Effect.sync(() => {
          if (!closed && usable(child)) {
            idle.push(child)
            return
          }
          children.delete(child)
          // The next statement finds a process that has started meanwhile.
          if (!closed && idle.length === 0) idle.push(spawn())
        })

      yield* Effect.acquireRelease(
        Effect.sync(() => idle.push(spawn())),
        () =>
          Effect.sync(() => {
            closed = true
            for (const child of children) kill(child)
          })
      )

      const send = (task: Task) =>
        Effect.acquireUseRelease(
          borrow,
          (child) => Effect.zipRight(child.ready, ask(child, task, deadline, context)),
          giveBack
        )

      return {
        query: (sql, query = {}) =>
          Effect.gen(function* () {
            const limits = yield* limitsOf(sql, query, options, name)
            const refusal = SqliteReadOnly.agentRefusal(sql, context)
            if (refusal !== undefined) return yield* refusal
            const params = yield* Effect.try({
              try: () => Values.encode(query.params ?? [], name),
              catch: (cause) => fromSqlite(cause, context)
            })
            const answer = yield* turns.withPermits(1)(
              Effect.flatMap(database, (database) => send({ database, sql, params, limits }))
            )
            switch (answer.type) {
              case "rows":
                return resultOf(distinct(answer.columns), answer.result)
              case "failed": {
                const kind = answer.name === "RangeError" ? RangeError : answer.name === "TypeError" ? TypeError : Error
                return yield* fromSqlite(Object.assign(new kind(answer.message), { code: answer.code }), context)
              }
              default:
                return yield* SqliteReadOnly.notReading(context)
            }
          })
      }
    })
