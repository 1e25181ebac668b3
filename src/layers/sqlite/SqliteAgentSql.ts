/**
 * Agents' statements on SQLite, in processes that can be killed: a statement cannot be stopped from within its own.
 *
 * @since 0.1.0
 */
import * as NodeV8 from "node:v8"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DbConnection, type DbError, type ErrorContext, fromSqlite } from "../../errors/index.js"
import { type AgentSqlOptions, type AgentSqlShape, deadlineMet, limitsOf, resultOf } from "../../services/AgentSql.js"
import { distinct } from "../SqlTemplates.js"
import { type Piped, startPiped, whyMissing } from "./ChildProgram.js"
import type { Answer, Task } from "./SqliteAgentWorker.js"
import type { SqliteClient } from "./SqliteClient.js"
import * as SqliteReadOnly from "./SqliteReadOnly.js"
import * as Values from "./SqliteValues.js"

/** Milliseconds that a process may take to start. */
const startBudget = 30_000

/** Statements whose text is known to be let through, and the characters that one of them may have. */
const [maxAccepted, maxKept] = [200, 10_000]

const gone = (context: ErrorContext): DbConnection =>
  new DbConnection({
    ...context,
    code: "HUB_AGENT_PROCESS",
    retryable: true,
    message:
      whyMissing("SqliteAgentWorker") ??
      "The process that reads for agents ended (out of memory?): read less at once, or try again"
  })

interface Child extends Piped {
  /** It can take a task. */
  up: boolean
  /** Who waits for a message; undefined tells that the process has ended. */
  hear: (answer: Answer | undefined) => void
}

const kill = ({ process }: Piped) => void process.kill("SIGKILL")

const usable = ({ pipe, process }: Piped) => !pipe.destroyed && !process.killed

/** Whole messages out of the pieces that a pipe brings: a length, then as much JSON; one is on its way at most. */
const messages = (use: (message: Answer) => void) => {
  let pieces: Array<Buffer> = []
  let size = 0
  return (piece: Buffer) => {
    pieces.push(piece)
    size += piece.length
    if (size < 4) return
    if (pieces[0]!.length < 4) pieces = [Buffer.concat(pieces)]
    if (size < 4 + pieces[0]!.readUInt32LE()) return
    const text = Buffer.concat(pieces).toString("utf8", 4)
    pieces = []
    size = 0
    use(JSON.parse(text) as Answer)
  }
}

const start = (): Child => {
  const child: Child = { ...startPiped("SqliteAgentWorker"), up: false, hear: () => {} }
  child.pipe.on(
    "data",
    messages((answer) => {
      // Its first message says no more than that.
      child.up = true
      child.hear(answer)
    })
  )
  child.pipe.once("close", () => child.hear(undefined))
  return child
}

/** The next message; at the deadline, or when nobody waits any more for an answer, the process is killed. */
const next = (child: Child, deadline: number, late: DbError, context: ErrorContext): Effect.Effect<Answer, DbError> =>
  Effect.async((resume) => {
    const { pipe } = child
    const stop = () => {
      clearTimeout(timer)
      child.hear = () => {}
      pipe.unref()
    }
    const settle = (result: Effect.Effect<Answer, DbError>) => {
      stop()
      resume(result)
    }
    // A real timer: the process lives outside of any test's clock.
    const timer = setTimeout(() => {
      kill(child)
      settle(Effect.fail(late))
    }, deadline)
    child.hear = (answer) => settle(answer === undefined ? Effect.fail(gone(context)) : Effect.succeed(answer))
    pipe.ref()
    if (pipe.destroyed) child.hear(undefined)
    const { up } = child
    return Effect.sync(() => {
      stop()
      if (up) kill(child)
    })
  })

const send = ({ pipe }: Child, task: Task) => {
  const bytes = NodeV8.serialize(task)
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32LE(bytes.length)
  pipe.write(Buffer.concat([length, bytes]))
}

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
      const accepted = new Set<string>()
      let closed = false

      const spawn = () => {
        const child = start()
        children.add(child)
        child.process.once("exit", () => children.delete(child))
        return child
      }
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

      const timeout = deadlineMet(deadline, context)
      const answered = (child: Child, task: Task): Effect.Effect<Answer, DbError> => {
        if (!child.up) {
          return Effect.zipRight(
            next(child, startBudget, gone(context), context),
            Effect.suspend(() => answered(child, task))
          )
        }
        send(child, task)
        return next(child, deadline, timeout, context)
      }
      const ask = (task: Task) => Effect.acquireUseRelease(borrow, (child) => answered(child, task), giveBack)

      return {
        query: (sql, query = {}) =>
          Effect.gen(function* () {
            const limits = yield* limitsOf(sql, query, options, name)
            if (!accepted.has(sql)) {
              const refusal = SqliteReadOnly.agentRefusal(sql, context)
              if (refusal !== undefined) return yield* refusal
              if (accepted.size >= maxAccepted) accepted.clear()
              if (sql.length <= maxKept) accepted.add(sql)
            }
            const params = yield* Effect.try({
              try: () => Values.encode(query.params ?? [], name),
              catch: (cause) => fromSqlite(cause, context)
            })
            const answer = yield* turns.withPermits(1)(
              Effect.flatMap(database, (database) => ask({ database, sql, params, limits }))
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
