/**
 * Agents' statements on PostgreSQL: in a transaction that can only read, one message per statement, and always undone.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type DbError, type ErrorContext, fromPostgres, invalidInput } from "../../errors/index.js"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import {
  type AgentResult,
  type AgentSqlOptions,
  type AgentSqlShape,
  deadlineMet,
  deadlineOf,
  limitsOf,
  resultOf
} from "../../services/AgentSql.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { distinct } from "../sql/SqlTemplates.js"
import * as AllowList from "./PostgresAllowList.js"
import type { PostgresClient } from "./PostgresClient.js"
import { type Connection, cancel, type Job, start } from "./PostgresConnection.js"
import { dialect, lexical } from "./PostgresDialect.js"
import type { Request, Result } from "./PostgresPipeline.js"
import * as Pool from "./PostgresPool.js"
import { notReading } from "./PostgresRequests.js"
import * as Values from "./PostgresValues.js"

/** Rows that are asked for at once: the server gathers them before it sends the first. */
const chunk = 1_001

/** How much later than the server this side gives up, in milliseconds. */
const grace = 50

/** Statements whose tree is known to be let through, and the characters that one of them may have. */
const [maxAccepted, maxKept] = [200, 10_000]

/** A statement that was let through. */
interface Known {
  readonly text: string
  /** Its placeholders. */
  readonly count: number
  /** It can be read through a cursor. */
  readonly cursor: boolean
  /** What only the database can tell of it. */
  readonly question: AllowList.Question
  /** What asks it, and fails where the answer is bad. */
  readonly check: string
  /** The same for statements that ask the same. */
  readonly key: string
}

/** What was asked of a connection without fault at one moment. */
interface Asked {
  readonly moment: string
  readonly keys: Set<string>
}

type Rows = AgentRows & { readonly columns: ReadonlyArray<string> }

const columnsOf = (fields: Result["fields"]) => distinct(fields.map(({ name }) => name))

/**
 * Opens the door on connections of its own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make =
  (client: PostgresClient) =>
  (options: AgentSqlOptions = {}): Effect.Effect<AgentSqlShape, DbError, Scope.Scope> =>
    Effect.gen(function* () {
      const { name } = client.options
      const context: ErrorContext = { backend: name, operation: "agentSql" }
      const deadline = deadlineOf(options)
      const concurrency = options.concurrency ?? 2
      // What speaks through a stream of its own has one session only.
      const own = client.options.stream === undefined
      const pool = own
        ? yield* Effect.acquireRelease(
            Effect.sync(() => {
              const opened = Pool.make({ ...client.options, maxOpenConns: concurrency, maxIdleConns: concurrency })
              client.pools.add(opened)
              return opened
            }),
            (opened) => {
              client.pools.delete(opened)
              return opened.close
            }
          )
        : client.pool
      // Made before the parser is loaded, which holds up all else meanwhile; why it could not be, the first statement tells.
      const connected = Effect.async<void>((resume) => {
        const giveUp = pool.acquire(context, client.options.acquireTimeout, (_refused, connection) => {
          if (connection !== undefined) pool.release(connection)
          resume(Effect.void)
        })
        return Effect.sync(giveUp)
      })
      if (own) yield* connected
      const parse = yield* AllowList.parser(context)

      const settings = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
      const prepare = client.options.preparedStatements
      const begin = [
        "BEGIN READ ONLY",
        ...(options.role === undefined ? [] : [`SET LOCAL ROLE ${dialect.quoteIdentifier(options.role)}`])
      ].map((text) => ({ text, prepare }))
      const limit = [
        ...settings.map((setting) => [setting, deadline]),
        // As the parser reads strings that looks at statements: otherwise the server might find other ones in them.
        ["standard_conforming_strings", "on"]
      ]
        .map(([setting, value]) => `set_config('${setting}', '${value}', true)`)
        .join(", ")
      // A session of its own keeps nothing; a shared one may hold locks of others.
      const end = { text: "ROLLBACK", prepare }
      const behind = own ? [{ text: "SELECT pg_catalog.pg_advisory_unlock_all()", prepare }] : []
      const after = [end, ...behind]

      /** Behind a pooler that gives each transaction another session, each may be of another server. */
      const lasting = client.options.pooler !== "transaction"

      const timeout = deadlineMet(deadline, context)

      /** Of each connection by itself: another one may lead to another server. */
      const asked = new WeakMap<Connection, Asked>()
      const note = (connection: Connection, key: string, moment: string | null) => {
        const last = asked.get(connection)
        if (moment === null || !lasting) return
        if (last?.moment === moment && last.keys.size < maxAccepted) last.keys.add(key)
        else asked.set(connection, { moment, keys: new Set([key]) })
      }

      /**
       * Everything in one round trip, as far as one does: what follows a check that fails is not run. In callbacks, since
       * fibers would cost more than the server. Undefined if it has to be asked with a look at domains.
       */
      const answer = (request: Request, known: Known, limits: AgentLimits) =>
        Effect.async<Rows | undefined, DbError>((resume) => {
          let held: Connection | undefined
          let job: Job | undefined
          let timer: NodeJS.Timeout | undefined
          let over = false
          let unlimited = () => {}

          const leave = (connection: Connection, whole: boolean) => {
            over = true
            clearTimeout(timer)
            unlimited()
            if (!whole) {
              // The server may still be at it: it is told to stop behind the caller's back.
              if (job?.settled === false) cancel(connection, job, () => {})
              connection.destroy()
            }
            pool.release(connection)
          }

          const session = (connection: Connection) => {
            const { check, cursor, key, question } = known
            const last = asked.get(connection)
            const moment = last?.keys.has(key) === true ? last.moment : null
            const before: ReadonlyArray<Request> = [
              ...begin,
              {
                text: check,
                values: [...question.values, moment],
                prepare,
                onRow: (row) => note(connection, key, row.at(-1) ?? null)
              }
            ]
            const fail = (error: DbError) => {
              if (over) return
              leave(connection, false)
              resume(Effect.fail(error))
            }
            const failed = (cause: unknown) => {
              const error = fromPostgres(cause, context)
              if (error.code === "57014") return fail(timeout)
              fail(error.code === "25006" ? notReading(context) : error)
            }
            const send = (part: Request, next: (result: Result) => void, refused = failed) => {
              job = start(connection, part, (error, result) => {
                if (over) return
                if (result === undefined) return refused(error)
                try {
                  next(result)
                } catch (cause) {
                  failed(cause)
                }
              })
            }
            timer = setTimeout(() => fail(timeout), deadline + grace)
            unlimited = connection.limitTransfer()

            /** Tells the check's failure from one of the statement. */
            const explained = (cause: unknown) => {
              if (fromPostgres(cause, context).code !== "22P02") return failed(cause)
              send({ text: "ROLLBACK", simple: true }, () =>
                send(question, ({ rows: [found] }) => {
                  if (found === undefined) return failed(cause)
                  const name = String(found["name"])
                  if (name !== AllowList.checkedDomains) return fail(AllowList.isVolatile(context, name))
                  leave(connection, true)
                  resume(Effect.succeed(undefined))
                })
              )
            }

            const rows = collector(limits)
            let taken = 0
            let full = false
            const succeed = (fields: Result["fields"], whole: boolean) => {
              leave(connection, whole)
              resume(Effect.succeed({ columns: columnsOf(fields), ...rows.result() }))
            }
            const onRow: NonNullable<Request["onRow"]> = (values, reader) => {
              if (over) return
              if (rows.add(reader.list(values))) {
                taken++
                return
              }
              full = true
              // Of rows one too many is asked for; where it is the bytes that are too many, the rest is not read.
              if (taken < limits.maxRows) succeed(reader.fields, false)
            }
            const answered = ({ fields }: Result) => succeed(fields, true)
            if (!cursor) return send({ ...request, onRow, before, after }, answered, explained)
            const size = Math.min(limits.maxRows + 1, chunk)
            const atOnce = size > limits.maxRows
            const fetch = { text: `FETCH FORWARD ${size} FROM hub_read`, onRow, ...(atOnce ? { after } : {}) }
            const declare = { ...request, text: `DECLARE hub_read NO SCROLL CURSOR FOR ${request.text}` }
            const more = (result: Result): void => {
              if (atOnce) answered(result)
              else if (result.rowCount === size && !full) send(fetch, more)
              else send({ ...end, after: behind }, () => answered(result))
            }
            if (!Values.hasList(request.values ?? [])) {
              return send({ ...fetch, before: [...before, declare] }, more, explained)
            }
            // The types of lists are asked for first.
            send({ ...declare, before }, () => send(fetch, more), explained)
          }

          const giveUp = pool.acquire(context, client.options.acquireTimeout, (error, connection) => {
            if (connection === undefined) return resume(Effect.fail(fromPostgres(error, context)))
            held = connection
            session(connection)
          })
          return Effect.sync(() => {
            if (held === undefined) giveUp()
            else if (!over) leave(held, false)
          })
        })

      /** By their text, what is known of statements. */
      const known = new Map<string, Known>()
      /** Domains with checks were seen in the database: to look at them at each statement takes longer. */
      let domains = false
      const read = (sql: string): Effect.Effect<Known, DbError> => {
        const { count, sql: text } = SqlLexer.translatePlaceholders(sql, lexical, dialect.placeholder)
        return Effect.map(AllowList.accept(parse, text, context), (accepted) => {
          const question = AllowList.volatileQuery(accepted, domains)
          const check = AllowList.volatileCheck(question, limit)
          return { text, count, cursor: accepted.cursor, question, check, key: [check, ...question.values].join("\n") }
        })
      }
      const readOnce = (sql: string): Effect.Effect<Known, DbError> => {
        const found = known.get(sql)
        if (found !== undefined) return Effect.succeed(found)
        return Effect.tap(read(sql), (statement) => {
          if (known.size >= maxAccepted) known.clear()
          if (sql.length <= maxKept) known.set(sql, statement)
        })
      }

      const ask = (
        sql: string,
        params: ReadonlyArray<unknown>,
        limits: AgentLimits
      ): Effect.Effect<AgentResult, DbError> =>
        Effect.flatMap(readOnce(sql), (statement) => {
          const { count, text } = statement
          if (count > 0 && count !== params.length) {
            const allowed = `${count}, one per ?`
            return Effect.fail(invalidInput(context, "params", `are ${params.length}`, allowed))
          }
          let values: ReadonlyArray<unknown>
          try {
            values = Values.encode(params, name)
          } catch (cause) {
            return Effect.fail(fromPostgres(cause, context))
          }
          return Effect.flatMap(answer({ text, values }, statement, limits), (answered) => {
            if (answered !== undefined) {
              const { columns, ...rows } = answered
              return Effect.succeed(resultOf(columns, rows))
            }
            domains = true
            known.clear()
            return ask(sql, params, limits)
          })
        })

      return {
        query: (sql, query = {}) =>
          Effect.flatMap(limitsOf(sql, query, options, name), (limits) => ask(sql, query.params ?? [], limits))
      }
    })
