/**
 * Agents' statements on SQLite, in processes that can be killed: a statement cannot be stopped from within its own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  DbConnection,
  type DbError,
  DbQuery,
  DbUnsupported,
  type ErrorContext,
  fromSqlite
} from "../../errors/index.js"
import { ownTables } from "../../services/AgentRows.js"
import {
  type AgentResult,
  type AgentSqlOptions,
  type AgentSqlShape,
  type AgentWrite,
  deadlineMet,
  deadlineOf,
  limitsOf,
  ownTableRefused,
  resultOf
} from "../../services/AgentSql.js"
import type { BackendShape } from "../../services/Backend.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { databaseClosed, distinct } from "../sql/SqlTemplates.js"
import { type Program, whyMissing } from "./ChildProgram.js"
import { type Failed, largeWrite, maxGrowth } from "./SqliteAgentChild.js"
import type { Answer, Task } from "./SqliteAgentWorker.js"
import type { WriteAnswer, WriteTask } from "./SqliteAgentWriter.js"
import * as AllowList from "./SqliteAllowList.js"
import type { SqliteClient } from "./SqliteClient.js"
import { changesRows, controlRefused, controls, insertsRows } from "./SqliteConnection.js"
import { lexical } from "./SqliteDialect.js"
import * as OwnTables from "./SqliteOwnTables.js"
import * as SqliteProcesses from "./SqliteProcesses.js"
import * as Values from "./SqliteValues.js"

/** Statements whose text is known to be let through, and the characters that one of them may have. */
const [maxAccepted, maxKept] = [200, 10_000]

const gone = (program: Program, committing: boolean, context: ErrorContext): DbConnection =>
  new DbConnection({
    ...context,
    code: "HUB_AGENT_PROCESS",
    retryable: !committing,
    applied: committing ? "unknown" : "no",
    message:
      whyMissing(program) ??
      "The process that runs statements of agents ended (out of memory?): do less at once, or try again"
  })

/** What the driver threw, or who guards the hub's own tables. */
const errorOf = (cause: unknown, context: ErrorContext): DbError =>
  cause instanceof Error && "code" in cause && cause.code === ownTables
    ? ownTableRefused(cause.message, context)
    : fromSqlite(cause, context)

/**
 * What another process has told of that.
 *
 * @since 0.1.0
 * @category errors
 */
export const thrown = ({ code, message, name }: Failed, context: ErrorContext): DbError => {
  const kind = name === "RangeError" ? RangeError : name === "TypeError" ? TypeError : Error
  return errorOf(Object.assign(new kind(message), { code }), context)
}

/**
 * Guards the hub's own tables from statements that run in this process.
 *
 * @since 0.1.0
 * @category checks
 */
export const watchOwnTables =
  ({ options: { name }, writer }: Pick<SqliteClient, "options" | "writer">): BackendShape["watchOwnTables"] =>
  (_, sql, params) => {
    const context: ErrorContext = { backend: name, operation: "execute" }
    const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: (cause) => errorOf(cause, context) })
    return Effect.map(
      attempt(() => {
        OwnTables.forget(writer)
        return OwnTables.watch(writer, sql, Values.encode(params, name))
      }),
      attempt
    )
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
      if (options.role !== undefined) {
        return yield* new DbUnsupported({
          ...context,
          message: "SQLite has no roles: open the door without one, or to a backend on PostgreSQL alone"
        })
      }
      const deadline = deadlineOf(options)
      const processes = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const opened = SqliteProcesses.make<Task, Answer>({
            program: "SqliteAgentWorker",
            concurrency: options.concurrency ?? 2,
            deadline,
            late: () => deadlineMet(deadline, context),
            gone: () => gone("SqliteAgentWorker", false, context),
            closed: () => databaseClosed(context)
          })
          opened.warm()
          return opened
        }),
        (opened) => Effect.promise(opened.close)
      )
      const ask = (task: Task): Effect.Effect<Answer, DbError> =>
        Effect.async((resume) => Effect.sync(processes.ask(task, resume)))
      // What lives in the memory of this process is read as a copy, and few copies are held.
      const turns = yield* Effect.makeSemaphore(options.concurrency ?? 2)
      const askInMemory = (task: Omit<Task, "database">): Effect.Effect<Answer, DbError> => {
        const copy = Effect.try({
          try: () => client.writer.serialize(),
          catch: (cause) => fromSqlite(cause, context)
        })
        return turns.withPermits(1)(
          Effect.flatMap(client.lane.hold(context, busyTimeout, copy), (database) => ask({ ...task, database }))
        )
      }

      const accepted = new Set<string>()
      const refusal = (sql: string): DbError | undefined => {
        if (accepted.has(sql)) return undefined
        const refused = AllowList.agentRefusal(sql, context)
        if (refused !== undefined) return refused
        if (accepted.size >= maxAccepted) accepted.clear()
        if (sql.length <= maxKept) accepted.add(sql)
        return undefined
      }

      const told = (answer: Answer): Effect.Effect<AgentResult, DbError> => {
        switch (answer.type) {
          case "rows":
            return Effect.succeed(resultOf(distinct(answer.columns), answer.result))
          case "failed":
            return Effect.fail(thrown(answer, context))
          default:
            return Effect.fail(AllowList.notReading(context))
        }
      }

      const writers = yield* Effect.acquireRelease(
        Effect.sync(() =>
          SqliteProcesses.make<WriteTask, WriteAnswer>({
            program: "SqliteAgentWriter",
            concurrency: 1,
            deadline,
            late: (committing) => deadlineMet(deadline, context, committing),
            gone: (committing) => gone("SqliteAgentWriter", committing, context),
            closed: () => databaseClosed(context)
          })
        ),
        (opened) => Effect.promise(opened.close)
      )
      const written = (sql: string, answer: WriteAnswer): Effect.Effect<AgentWrite, DbError> => {
        if (answer.type === "written") {
          const { columns, result, rowsAffected, rowsInAll } = answer
          const inserted = rowsAffected > 0 && columns.length === 0 && insertsRows(SqlLexer.keywords(sql, lexical))
          const lastInsertId = inserted ? answer.lastInsertId : null
          return Effect.succeed({ ...resultOf(distinct(columns), result), rowsAffected, rowsInAll, lastInsertId })
        }
        if (answer.code === largeWrite) {
          return new DbQuery({
            ...context,
            code: largeWrite,
            message: `The statement makes the database larger by more than ${maxGrowth} bytes: do less at once`
          })
        }
        const operation = answer.committing ? "transaction.commit" : "execute"
        return Effect.fail(thrown(answer, { ...context, operation }))
      }
      /** This process writes nothing else meanwhile, but its event loop goes on. */
      const execute: AgentSqlShape["execute"] = (sql, { how = "commit", params = [] } = {}) =>
        Effect.suspend(() => {
          const { foreignKeys, synchronous } = client.options
          const words = SqlLexer.keywords(sql, lexical)
          if (controls(words)) return Effect.fail(controlRefused(context))
          let values: ReadonlyArray<unknown>
          try {
            values = Values.encode(params, name)
          } catch (cause) {
            return Effect.fail(fromSqlite(cause, context))
          }
          const rows = changesRows(words)
          const explains = words[0] === "EXPLAIN"
          const task = { path, foreignKeys, synchronous, busyTimeout, sql, params: values, how, explains, rows }
          const asked = Effect.async<WriteAnswer, DbError>((resume) => Effect.sync(writers.ask(task, resume)))
          return Effect.flatMap(client.lane.hold(context, busyTimeout, asked), (answer) => written(sql, answer))
        })
      // Who is killed while it writes without a log in the file leaves half of it.
      const killable = path !== ":memory:" && !client.options.readOnly && client.options.journalMode === "WAL"

      return {
        ...(killable ? { execute } : {}),
        query: (sql, query = {}) =>
          Effect.flatMap(limitsOf(sql, query, options, name), (limits) => {
            const refused = refusal(sql)
            if (refused !== undefined) return Effect.fail(refused)
            let params: ReadonlyArray<unknown>
            try {
              params = Values.encode(query.params ?? [], name)
            } catch (cause) {
              return Effect.fail(fromSqlite(cause, context))
            }
            const task = { sql, params, limits }
            return Effect.flatMap(path === ":memory:" ? askInMemory(task) : ask({ ...task, database: path }), told)
          })
      }
    })
