/**
 * Agents' statements on PostgreSQL: in a transaction that can only read, one message per statement, and always undone.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { type DbError, DbQuery, type ErrorContext, fromPostgres, invalidInput } from "../../errors/index.js"
import { type AgentLimits, type AgentRows, collector } from "../../services/AgentRows.js"
import { type AgentSqlOptions, type AgentSqlShape, deadlineMet, limitsOf, resultOf } from "../../services/AgentSql.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { realClock } from "../EventLoop.js"
import { distinct } from "../SqlTemplates.js"
import * as AllowList from "./PostgresAllowList.js"
import type { PostgresClient } from "./PostgresClient.js"
import { type Connection, start } from "./PostgresConnection.js"
import * as Dedicated from "./PostgresDedicated.js"
import { dialect, lexical } from "./PostgresDialect.js"
import type { Request, Result } from "./PostgresPipeline.js"
import * as Pool from "./PostgresPool.js"
import { notReading } from "./PostgresText.js"
import * as Values from "./PostgresValues.js"

/** Rows read in one round trip: few, since each may be large. */
const chunk = 20

/** Bytes that the server may send for one statement before the connection is cut: the driver would keep them all. */
const maxTransfer = 64 * 1024 * 1024

/** How much later than the server this side gives up, in milliseconds. */
const grace = 50

const acquire = (pool: Pool.Pool, context: ErrorContext, budget: number): Effect.Effect<Connection, DbError> =>
  Effect.async((resume) => {
    const giveUp = pool.acquire(context, budget, (error, connection) =>
      resume(connection === undefined ? Effect.fail(fromPostgres(error, context)) : Effect.succeed(connection))
    )
    return Effect.sync(giveUp)
  })

/** Cuts a connection that sends too much. */
const limited = (
  connection: Connection,
  context: ErrorContext,
  effect: Effect.Effect<AgentRows & { readonly columns: ReadonlyArray<string> }, DbError>
) =>
  Effect.suspend(() => {
    const { stream } = connection.internals.connection
    let received = 0
    const count = (data: Uint8Array) => {
      received += data.length
      if (received > maxTransfer) connection.destroy()
    }
    stream.on("data", count)
    return effect.pipe(
      Effect.mapError((error) =>
        received > maxTransfer
          ? new DbQuery({
              ...context,
              code: "HUB_TOO_LARGE",
              message: `The answer has more than ${maxTransfer / 1024 / 1024} MiB: select less, or cut columns with left(…)`
            })
          : error
      ),
      Effect.ensuring(Effect.sync(() => stream.off("data", count)))
    )
  })

const columnsOf = ({ fields }: Result) => distinct(fields.map(({ name }) => name))

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
      const parse = yield* AllowList.parser(context)
      const deadline = Math.max(1, Math.round(Duration.toMillis(options.deadline ?? "10 seconds")))
      const concurrency = options.concurrency ?? 2
      // What speaks through a stream of its own has one session only.
      const own = client.options.stream === undefined
      const pool = own
        ? yield* Effect.acquireRelease(
            Effect.sync(() => Pool.make({ ...client.options, maxOpenConns: concurrency, maxIdleConns: concurrency })),
            (opened) => opened.close
          )
        : client.pool

      const settings = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
      const begin = [
        "BEGIN READ ONLY",
        `SELECT ${settings.map((setting) => `set_config('${setting}', '${deadline}', true)`).join(", ")}`,
        ...(options.role === undefined ? [] : [`SET LOCAL ROLE ${dialect.quoteIdentifier(options.role)}`])
      ].map((text) => ({ text }))
      // A session of its own keeps nothing; a shared one may hold locks of others.
      const end = own ? "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()" : "ROLLBACK"

      /** Everything in one round trip; what follows a check that fails is not run. */
      const read = (
        run: (request: Request) => Effect.Effect<Result, DbError>,
        request: Request,
        accepted: AllowList.Accepted,
        limits: AgentLimits
      ) =>
        Effect.gen(function* () {
          const values = AllowList.volatileValues(accepted)
          const check = { text: AllowList.volatileCheck, values, prepare: client.options.preparedStatements }
          const before = [...begin, check]
          /** Tells the check's failure from one of the statement. */
          const explained = (error: DbError) =>
            Effect.gen(function* () {
              if (error.code !== "22P02") return yield* error
              yield* run({ text: "ROLLBACK", simple: true })
              const [found] = (yield* run({ text: AllowList.volatileQuery, values })).rows
              return yield* found === undefined ? error : AllowList.isVolatile(context, String(found["name"]))
            })
          const rows = collector(limits)
          const add = (result: Result) => {
            const values = result.rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>
            return values.every((row) => rows.add(row))
          }
          if (!accepted.cursor) {
            const result = yield* Effect.catchAll(run({ ...request, rowMode: "array", before }), explained)
            add(result)
            return { columns: columnsOf(result), ...rows.result() }
          }
          const size = Math.min(chunk, limits.maxRows + 1)
          const fetch = { text: `FETCH FORWARD ${size} FROM hub_read`, rowMode: "array" } as const
          const declare = { ...request, text: `DECLARE hub_read NO SCROLL CURSOR FOR ${request.text}` }
          // The types of lists are asked for first.
          const lists = Values.hasList(request.values ?? [])
          if (lists) yield* Effect.catchAll(run({ ...declare, before }), explained)
          let result = yield* lists
            ? run(fetch)
            : Effect.catchAll(run({ ...fetch, before: [...before, declare] }), explained)
          while (add(result) && result.rows.length === size) result = yield* run(fetch)
          return { columns: columnsOf(result), ...rows.result() }
        })

      const timeout = deadlineMet(deadline, context)

      const answer = (request: Request, accepted: AllowList.Accepted, limits: AgentLimits) =>
        Effect.acquireUseRelease(
          acquire(pool, context, client.options.acquireTimeout),
          (connection) => {
            const run = (part: Request) => Dedicated.run(connection, context, part)
            return limited(connection, context, read(run, request, accepted, limits)).pipe(
              // The server has not answered that it stopped: it is cut off behind the caller's back.
              Effect.disconnect,
              Effect.timeoutFail({ duration: deadline + grace, onTimeout: () => timeout }),
              Effect.mapError((error) => (error.code === "57014" ? timeout : error)),
              Effect.withClock(realClock)
            )
          },
          (connection, exit) =>
            Effect.sync(() => {
              if (Exit.isFailure(exit)) {
                connection.destroy()
                return pool.release(connection)
              }
              // Nobody waits for it, but nobody else gets the connection before.
              start(connection, { text: end, simple: true }, (error) => {
                if (error) connection.destroy()
                pool.release(connection)
              })
            })
        )

      return {
        query: (sql, query = {}) =>
          Effect.gen(function* () {
            const limits = yield* limitsOf(sql, query, options, name)
            const { params = [] } = query
            const { count, sql: text } = SqlLexer.translatePlaceholders(sql, lexical, dialect.placeholder)
            if (count > 0 && count !== params.length) {
              return yield* invalidInput("agentSql", "params", `are ${params.length}`, `${count}, one per ?`, name)
            }
            const values = yield* Effect.try({
              try: () => Values.encode(params),
              catch: (cause) => fromPostgres(cause, context)
            })
            const accepted = yield* AllowList.accept(parse, text, context)
            const { columns, ...rows } = yield* answer({ text, values }, accepted, limits).pipe(
              Effect.mapError((error) => (error.code === "25006" ? notReading(context) : error))
            )
            return resultOf(columns, rows)
          })
      }
    })
