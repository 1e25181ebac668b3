/**
 * PostgreSQL for fibres: a bounded pool, statements that are cancelled on the server when their fibre is interrupted,
 * transactions that belong to one client, and errors with types. `pg` speaks with the server; `@effect/sql` compiles
 * the templates.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import type { Connection as SqlConnection } from "@effect/sql/SqlConnection"
import { SqlError } from "@effect/sql/SqlError"
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  type Applied,
  DbConflict,
  type DbError,
  type ErrorContext,
  endsConnection,
  fromPostgres,
  invalidInput,
  isDbError
} from "../../errors/index.js"
import type { BackendShape, ExecuteResult, Row, SqlValue, TransactionOptions } from "../../services/Backend.js"
import * as Lane from "../Lane.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import { type Connection, cancel, type Job, start } from "./PostgresConnection.js"
import type { ResolvedPostgresOptions } from "./PostgresOptions.js"
import type { Request, Result } from "./PostgresPipeline.js"
import * as Pool from "./PostgresPool.js"
import * as Session from "./PostgresSession.js"
import * as Statement from "./PostgresStatement.js"
import * as Values from "./PostgresValues.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PostgresClient
  extends Pick<BackendShape, "sql" | "query" | "execute" | "enqueue" | "stream" | "transaction" | "readOnly"> {
  readonly options: ResolvedPostgresOptions
  readonly inTransaction: Effect.Effect<boolean>
  readonly pool: Pool.Pool
  /** All whose connections count: its own, and those of agents. */
  readonly pools: Set<Pool.Pool>
  /** The first connection tells at once whether host, user, password and TLS are right. */
  readonly connect: Effect.Effect<void, DbError>
}

/** A transaction or a savepoint in progress; its `lane` keeps sibling savepoints apart. */
interface Transaction {
  open: boolean
  /** Why the transaction as a whole is over before its end. */
  failure: DbError | undefined
  readonly session: Session.Session
  readonly root: Transaction | undefined
  readonly depth: number
  readonly lane: Lane.Lane
}

/** Rows that a stream reads in one round trip. */
const streamChunk = 256

/** Statements that wait for the next one, at most. */
const pendingLimit = 100

const noMetrics: Lane.LaneMetrics = { waitCount: 0, waitDuration: 0 }

const writingCommands = new Set(["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"])

/** Conflicts end soon: the other transaction has been committed already. */
const conflictSchedule = Schedule.exponential("5 millis").pipe(
  Schedule.union(Schedule.spaced("200 millis")),
  Schedule.jittered
)

const isRetryableConflict = (error: unknown): boolean => {
  const inner = error instanceof SqlError ? error.cause : error
  return isDbError(inner) && inner._tag === "DbConflict" && inner.retryable && inner.applied === "no"
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Pool.PoolOptions
): Effect.Effect<PostgresClient, DbError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    // A tag of its own per client: inside a transaction of another client, statements of this one stay its own.
    const Current = Context.GenericTag<Transaction>(
      `effect-db-hub/PostgresTransaction/${globalThis.crypto.randomUUID()}`
    )
    const context = (operation: string): ErrorContext => ({ backend: options.name, operation })
    const pool = Pool.make(options)
    yield* Effect.addFinalizer(() => pool.close)
    const textOf = Statement.makeCache()
    /** Behind a pooler that keeps no sessions, only a transaction can be told to read alone: each statement has one. */
    const readsByTransaction = options.readOnly && options.pooler === "transaction"
    const begin = readsByTransaction ? "BEGIN READ ONLY" : "BEGIN"
    let cursors = 0

    const toError = (cause: unknown, operation: string, applied: Applied): DbError =>
      fromPostgres(cause, context(operation), applied)

    const transactionOf = (services: Context.Context<never>): Transaction | undefined =>
      services.unsafeMap.get(Current.key) as Transaction | undefined

    // ------------------------------------------------------------ one statement

    /** The connection, held until its statement has been answered or cancelled. */
    const autocommit = (operation: string, request: Request, applied: Applied): Effect.Effect<Result, DbError> =>
      Effect.async((resume) => {
        let job: Job | undefined
        let held: Connection | undefined
        const finish = (connection: Connection, error: unknown, result: Result | undefined) => {
          const status = connection.getTransactionStatus()
          if (status === null || status === "I" || connection.failure !== undefined) {
            pool.release(connection, () =>
              resume(result === undefined ? Effect.fail(toError(error, operation, applied)) : Effect.succeed(result))
            )
            return
          }
          // A statement that begins a transaction would leave it to whoever gets the connection next.
          start(connection, { text: "ROLLBACK" }, () => {
            pool.release(connection)
            resume(
              Effect.fail(
                invalidInput(
                  context(operation),
                  "sql",
                  "begins a transaction",
                  "statements other than BEGIN; use `transaction`"
                )
              )
            )
          })
        }
        const giveUp = pool.acquire(context(operation), options.acquireTimeout, (error, connection) => {
          if (connection === undefined) return resume(Effect.fail(toError(error, operation, "no")))
          held = connection
          job = start(connection, request, (error, result) => {
            if (result === undefined && endsConnection(error)) connection.failure ??= error
            if (job?.cancelling !== true) finish(connection, error, result)
          })
        })
        return Effect.async<void>((done) => {
          if (held === undefined || job === undefined) {
            giveUp()
            return done(Effect.void)
          }
          const connection = held
          if (job.settled) return done(Effect.void)
          cancel(connection, job, () => {
            if (connection.getTransactionStatus() !== "I") connection.destroy()
            pool.release(connection, () => done(Effect.void))
          })
        })
      })

    const over = (operation: string) => SqlTemplates.transactionOver(context(operation))

    const within = (transaction: Transaction, operation: string, request: Request): Effect.Effect<Result, DbError> => {
      const root = transaction.root ?? transaction
      const { connection } = transaction.session
      return Effect.suspend(() => {
        if (!transaction.open) return Effect.fail(over(operation))
        if (root.failure !== undefined) return Effect.fail(root.failure)
        return Effect.matchEffect(Session.run(transaction.session, request), {
          onFailure: (cause) => {
            const error = toError(cause, operation, "no")
            if (connection.failure !== undefined) root.failure = error
            return Effect.fail(error)
          },
          onSuccess: (result) => {
            if (connection.getTransactionStatus() !== "I") return Effect.succeed(result)
            root.failure = SqlTemplates.endedByStatement(context(operation))
            return Effect.fail(root.failure)
          }
        })
      })
    }

    /** As `within`, but lets a sibling's savepoint come to its end first, so as not to be undone with it. */
    const inTransaction = (transaction: Transaction, operation: string, request: Request) => {
      const run = within(transaction, operation, request)
      return transaction.lane.isHeld() ? transaction.lane.hold(context(operation), options.acquireTimeout, run) : run
    }

    interface Prepared {
      readonly text: Statement.Statement
      readonly request: Request
    }

    /** Throws what the caller's input is refused for. */
    const prepare = (
      operation: string,
      sql: string,
      params: ReadonlyArray<unknown>,
      form: { readonly portable: boolean; readonly prepare?: boolean; readonly rowMode?: "array" }
    ): Prepared => {
      const text = textOf(sql)
      if (options.pooler === "transaction" && text.needsSession !== undefined) {
        throw Statement.needsSessionError(context(operation), text.needsSession)
      }
      if (form.portable && text.placeholders > 0 && text.placeholders !== params.length) {
        throw invalidInput(
          context(operation),
          "params",
          `are ${params.length}`,
          `${text.placeholders}, one per placeholder`
        )
      }
      return {
        text,
        request: {
          text: form.portable && text.placeholders > 0 ? text.sql : sql,
          values: params.length === 0 ? params : Values.encode(params, options.name),
          prepare: options.preparedStatements && form.prepare !== false && params.length > 0,
          ...(form.rowMode === undefined ? {} : { rowMode: form.rowMode })
        }
      }
    }

    const outside = (operation: string, { request, text }: Prepared): Effect.Effect<Result, DbError> =>
      readsByTransaction
        ? outermost(
            Effect.withFiberRuntime((fiber) => within(transactionOf(fiber.currentContext)!, operation, request)),
            options.acquireTimeout,
            undefined
          )
        : autocommit(operation, request, text.reads ? "no" : "unknown")

    /** Runs one statement where it belongs: in the fiber's transaction, or on any connection. */
    const statement = (
      operation: string,
      sql: string,
      params: ReadonlyArray<unknown>,
      form: { readonly portable: boolean; readonly prepare?: boolean; readonly rowMode?: "array" }
    ): Effect.Effect<Result, DbError> =>
      withPrepared(operation, sql, params, form, (prepared, transaction) =>
        transaction === undefined
          ? outside(operation, prepared)
          : inTransaction(transaction, operation, prepared.request)
      )

    const withPrepared = <A>(
      operation: string,
      sql: string,
      params: ReadonlyArray<unknown>,
      form: { readonly portable: boolean; readonly prepare?: boolean; readonly rowMode?: "array" },
      run: (prepared: Prepared, transaction: Transaction | undefined) => Effect.Effect<A, DbError>
    ): Effect.Effect<A, DbError> =>
      Effect.withFiberRuntime((fiber) => {
        let prepared: Prepared
        try {
          prepared = prepare(operation, sql, params, form)
        } catch (cause) {
          return Effect.fail(toError(cause, operation, "no"))
        }
        return prepared.text.verb === ""
          ? Effect.fail(invalidInput(context(operation), "sql", "holds no statement", "exactly one statement"))
          : run(prepared, transactionOf(fiber.currentContext))
      })

    const query = (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<ReadonlyArray<Row>, DbError> =>
      Effect.map(statement("query", sql, params, { portable: true }), (result) => result.rows)

    const execute = (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<ExecuteResult, DbError> =>
      Effect.map(statement("execute", sql, params, { portable: true }), ({ command, rowCount, rows }) => ({
        rowsAffected: command !== null && writingCommands.has(command) ? (rowCount ?? 0) : 0,
        lastInsertId: null,
        rows
      }))

    /** Leaves a statement to the next one of its transaction, which takes it along. */
    const enqueue = (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<void, DbError> =>
      withPrepared("execute", sql, params, { portable: true }, (prepared, transaction) => {
        if (transaction === undefined) return Effect.asVoid(outside("execute", prepared))
        const { request } = prepared
        const { lane, open, session } = transaction
        // The types of a list's parameters are asked for first.
        const waits = open && !lane.isHeld() && session.pending.length < pendingLimit && !Values.hasList(params)
        if (!waits) return Effect.asVoid(inTransaction(transaction, "execute", request))
        session.pending.push(request)
        return Effect.void
      })

    // ------------------------------------------------------------ transactions

    /** Runs `effect` between the statements that begin, keep and undo one level. */
    const level = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      transaction: Transaction,
      statements: {
        readonly begin: Effect.Effect<unknown, DbError>
        /** What was left to it may wait for others, and is interrupted in that. */
        readonly keep: Effect.Effect<unknown, DbError>
        readonly undo: Effect.Effect<void>
      }
    ): Effect.Effect<A, E | DbError, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(Effect.exit(restore(statements.begin)), (begun) => {
          // An interruption may fall between BEGIN and its answer.
          if (Exit.isFailure(begun)) return Effect.zipRight(statements.undo, begun as Exit.Exit<never, DbError>)
          const body = Effect.exit(restore(Effect.provideService(effect, Current, transaction)))
          return Effect.flatMap(body as Effect.Effect<Exit.Exit<A, E>, never, R>, (exit) => {
            transaction.open = false
            // The body's own error is the one to report.
            if (Exit.isFailure(exit)) return Effect.zipRight(statements.undo, exit)
            const { failure } = transaction.root ?? transaction
            const left = transaction.session.pending.length > 0
            const kept =
              failure !== undefined ? Effect.fail(failure) : left ? restore(statements.keep) : statements.keep
            return Effect.zipRight(
              Effect.onExit(kept, (ended) => (Exit.isSuccess(ended) ? Effect.void : statements.undo)),
              exit
            )
          })
        })
      )

    /** One of the hub's own statements that begin, keep or end a transaction. */
    const control = (text: string): Request => ({ text, prepare: options.preparedStatements })

    const commit = (session: Session.Session): Effect.Effect<void, DbError> =>
      Effect.flatMap(
        Effect.mapError(Session.run(session, control("COMMIT")), (cause) =>
          toError(cause, "transaction.commit", "unknown")
        ),
        // Where a statement failed and its error was caught, the server answers COMMIT with ROLLBACK.
        ({ command }) => (command === "ROLLBACK" ? Effect.fail(rolledBack(context("transaction.commit"))) : Effect.void)
      )

    const outermost = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      budget: number,
      isolation: TransactionOptions["isolation"]
    ): Effect.Effect<A, E | DbError, R> =>
      Effect.scoped(
        Effect.flatMap(Session.acquire(pool, context("transaction.begin"), budget), (session) => {
          const transaction: Transaction = {
            open: true,
            failure: undefined,
            session,
            root: undefined,
            depth: 0,
            lane: Lane.make(noMetrics)
          }
          return level(effect as Effect.Effect<A, E>, transaction, {
            begin: Effect.sync(() => {
              session.pending.push(control(isolation === undefined ? begin : `${begin} ISOLATION LEVEL ${isolation}`))
            }),
            // Where nothing was asked for, nothing has begun.
            keep: Effect.suspend(() => (session.begun || session.pending.length > 1 ? commit(session) : Effect.void)),
            undo: Session.undo(session, "ROLLBACK")
          })
        })
      ) as Effect.Effect<A, E | DbError, R>

    const nested = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      outer: Transaction,
      budget: number
    ): Effect.Effect<A, E | DbError, R> => {
      const { session } = outer
      const savepoint = `hub_${outer.depth + 1}`
      const transaction: Transaction = {
        open: true,
        failure: undefined,
        session,
        root: outer.root ?? outer,
        depth: outer.depth + 1,
        lane: Lane.make(noMetrics)
      }
      return outer.lane.hold(
        context("transaction.begin"),
        budget,
        level(effect, transaction, {
          begin: within(outer, "transaction.begin", control(`SAVEPOINT ${savepoint}`)),
          keep: within(outer, "transaction.commit", control(`RELEASE SAVEPOINT ${savepoint}`)),
          undo: Session.undo(session, `ROLLBACK TO SAVEPOINT ${savepoint}; RELEASE SAVEPOINT ${savepoint}`)
        })
      )
    }

    const transaction = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      transactionOptions?: TransactionOptions
    ): Effect.Effect<A, E | DbError, R> =>
      Effect.withFiberRuntime<A, E | DbError, R>((fiber) =>
        SqlTemplates.traced(fiber, begun(effect, transactionOptions))
      )

    const begun = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      { busyTimeout, isolation, retryConflicts = 0 }: TransactionOptions = {}
    ): Effect.Effect<A, E | DbError, R> =>
      Effect.withFiberRuntime<A, E | DbError, R>((fiber) => {
        const outer = transactionOf(fiber.currentContext)
        const budget = busyTimeout === undefined ? options.acquireTimeout : Duration.toMillis(busyTimeout)
        if (outer !== undefined) return nested(effect, outer, budget)
        const once = outermost(effect, budget, isolation)
        return retryConflicts === 0
          ? once
          : Effect.retry(once, { schedule: conflictSchedule, times: retryConflicts, while: isRetryableConflict })
      })

    // ------------------------------------------------------------ streams

    /** Rows through a cursor of the server, which lives in a transaction: the fiber's, or one of its own. */
    const cursor = (
      run: (request: Request) => Effect.Effect<Result, DbError>,
      close: (name: string) => Effect.Effect<unknown>,
      request: Request
    ): Stream.Stream<Record<string, unknown>, DbError> =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const name = `hub_cursor_${++cursors}`
          yield* run({ ...request, text: `DECLARE ${name} NO SCROLL CURSOR FOR ${request.text}`, prepare: false })
          yield* Effect.addFinalizer(() => close(name))
          const fetch = run({ text: `FETCH FORWARD ${streamChunk} FROM ${name}` })
          return Stream.paginateChunkEffect(undefined, () =>
            Effect.map(fetch, ({ rows }) => [
              Chunk.unsafeFromArray(rows),
              rows.length < streamChunk ? Option.none() : Option.some(undefined)
            ])
          )
        })
      )

    const ownCursor = (request: Request): Stream.Stream<Record<string, unknown>, DbError> =>
      Stream.unwrapScoped(
        Effect.gen(function* () {
          const session = yield* Session.acquire(pool, context("stream"), options.acquireTimeout)
          const run = (request: Request) =>
            Effect.mapError(Session.run(session, request), (cause) => toError(cause, "stream", "no"))
          yield* Effect.addFinalizer((exit) => Session.undo(session, Exit.isSuccess(exit) ? "COMMIT" : "ROLLBACK"))
          yield* run({ text: begin, simple: true })
          return cursor(run, () => Effect.void, request)
        })
      )

    const streamOf = (
      sql: string,
      params: ReadonlyArray<unknown>,
      portable: boolean
    ): Stream.Stream<Record<string, unknown>, DbError> =>
      Stream.unwrap(
        Effect.withFiberRuntime((fiber) => {
          let prepared: Prepared
          try {
            prepared = prepare("stream", sql, params, { portable, prepare: false })
          } catch (cause) {
            return Effect.fail(toError(cause, "stream", "no"))
          }
          const { request, text } = prepared
          if (!text.cursor) {
            // What writes runs whole, as nobody could tell how much of it had been done.
            return Effect.map(statement("stream", sql, params, { portable }), ({ rows }) => Stream.fromIterable(rows))
          }
          const transaction = transactionOf(fiber.currentContext)
          if (transaction === undefined) return Effect.succeed(ownCursor(request))
          return Effect.succeed(
            cursor(
              (request) => inTransaction(transaction, "stream", request),
              (name) => Effect.ignore(closeCursor(transaction, name)),
              request
            )
          )
        })
      )

    const closeCursor = (transaction: Transaction, name: string): Effect.Effect<unknown, unknown> =>
      Effect.suspend(() =>
        transaction.open && transaction.session.connection.getTransactionStatus() === "T"
          ? inTransaction(transaction, "stream", { text: `CLOSE ${name}` })
          : Effect.void
      )

    // ------------------------------------------------------------ reading only

    const readRows = (
      run: (request: Request) => Effect.Effect<Result, DbError>,
      { request, text }: Prepared,
      maxRows: number
    ): Effect.Effect<Result, DbError> => {
      if (!text.cursor) return run({ ...request, prepare: false, rowMode: "array" })
      const declare = {
        ...request,
        prepare: false,
        text: `DECLARE hub_read NO SCROLL CURSOR FOR ${request.text}`
      }
      return run(declare).pipe(
        // A cursor refuses what writes by itself, before the transaction does.
        Effect.mapError((error) => (error.code === "0A000" ? Statement.notReading(context("readOnly")) : error)),
        Effect.zipRight(run({ text: `FETCH FORWARD ${maxRows + 1} FROM hub_read`, rowMode: "array" }))
      )
    }

    const readOnly: PostgresClient["readOnly"] = (sql, { maxRows = 100, params = [] } = {}) =>
      Effect.withFiberRuntime((fiber) => {
        if (!Number.isInteger(maxRows) || maxRows < 1 || maxRows >= 2 ** 31 - 1) {
          return Effect.fail(invalidInput(context("readOnly"), "maxRows", "is no row count", "a whole number from 1"))
        }
        let prepared: Prepared
        try {
          prepared = prepare("readOnly", sql, params, { portable: true })
        } catch (cause) {
          return Effect.fail(toError(cause, "readOnly", "no"))
        }
        const { text } = prepared
        if (!text.cursor && text.verb !== "SHOW" && text.verb !== "EXPLAIN") {
          return Effect.fail(Statement.notReading(context("readOnly")))
        }
        const outer = transactionOf(fiber.currentContext)
        const answer =
          outer === undefined
            ? Effect.scoped(
                Effect.gen(function* () {
                  const session = yield* Session.acquire(pool, context("readOnly"), options.acquireTimeout)
                  const run = (request: Request) =>
                    Effect.mapError(Session.run(session, request), (cause) => toError(cause, "readOnly", "no"))
                  // Locks of the session outlive the transaction, and the pool's next user.
                  yield* Effect.addFinalizer(() => Session.undo(session, "ROLLBACK; SELECT pg_advisory_unlock_all()"))
                  yield* run({ text: "BEGIN READ ONLY", simple: true })
                  return yield* readRows(run, prepared, maxRows)
                })
              )
            : readInside(outer, prepared, maxRows)
        return Effect.map(answer, ({ fields, rows }) => {
          const values = rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>
          return {
            columns: SqlTemplates.distinct(fields.map(({ name }) => name)),
            rows: values.slice(0, maxRows),
            truncated: values.length > maxRows
          }
        })
      })

    /** In the fiber's own transaction, in a savepoint that is always undone, so that it is read-only only for this. */
    const readInside = (outer: Transaction, prepared: Prepared, maxRows: number): Effect.Effect<Result, DbError> => {
      const run = (request: Request) => within(outer, "readOnly", request)
      const body = Effect.zipRight(
        run({ text: "SAVEPOINT hub_read; SET LOCAL transaction_read_only = on", simple: true }),
        readRows(run, prepared, maxRows)
      )
      return outer.lane.hold(
        context("readOnly"),
        options.acquireTimeout,
        Effect.ensuring(body, Session.undo(outer.session, "ROLLBACK TO SAVEPOINT hub_read; RELEASE SAVEPOINT hub_read"))
      )
    }

    // ------------------------------------------------------------ templates

    const connectionOf = (
      run: typeof statement,
      stream: (sql: string, params: ReadonlyArray<unknown>) => Stream.Stream<Record<string, unknown>, DbError>
    ): SqlConnection =>
      SqlTemplates.connection({
        rows: (sql, params, { prepare }) =>
          Effect.map(run("execute", sql, params, { portable: false, prepare }), ({ rows }) => rows),
        raw: (sql, params) => run("executeRaw", sql, params, { portable: false }),
        values: (sql, params) =>
          Effect.map(
            run("executeValues", sql, params, { portable: false, rowMode: "array" }),
            ({ rows }) => rows as unknown as ReadonlyArray<ReadonlyArray<unknown>>
          ),
        stream
      })

    const ambient = connectionOf(statement, (sql, params) => streamOf(sql, params, false))

    const reservedOf = (session: Session.Session): SqlConnection => {
      const run = (operation: string, request: Request) =>
        Effect.mapError(Session.run(session, request), (cause) => toError(cause, operation, "unknown"))
      const attempt = (operation: string, sql: string, params: ReadonlyArray<unknown>, form: { portable: boolean }) =>
        Effect.try({
          try: () => prepare(operation, sql, params, form),
          catch: (cause) => toError(cause, operation, "no")
        })
      return connectionOf(
        (operation, sql, params, form) =>
          Effect.flatMap(attempt(operation, sql, params, form), ({ request }) => run(operation, request)),
        (sql, params) =>
          // The reserved connection may be in a transaction or not: whole, since a cursor needs one.
          Stream.unwrap(
            Effect.map(
              Effect.flatMap(attempt("stream", sql, params, { portable: false }), ({ request }) =>
                run("stream", request)
              ),
              ({ rows }) => Stream.fromIterable(rows)
            )
          )
      )
    }

    const reserve = Effect.withFiberRuntime<SqlConnection, DbError, Scope.Scope>((fiber) => {
      if (transactionOf(fiber.currentContext) !== undefined) return Effect.succeed(ambient)
      if (options.pooler === "transaction") {
        return Effect.fail(Statement.needsSessionError(context("reserve"), "A reserved connection"))
      }
      return Session.acquire(pool, context("reserve"), options.acquireTimeout).pipe(
        Effect.tap((session) => Effect.addFinalizer(() => Session.undo(session, "ROLLBACK"))),
        Effect.map(reservedOf)
      )
    })

    const sql = yield* SqlTemplates.client({
      ambient,
      reserve,
      transaction,
      compiler: PgClient.makeCompiler(),
      spanAttributes: [
        ["db.system.name", "postgresql"],
        ["db.namespace", options.database],
        ["server.address", options.host],
        ["server.port", options.port]
      ]
    })

    return {
      options,
      sql,
      query,
      execute,
      enqueue,
      stream: (text, params = []) => streamOf(text, params, true),
      transaction,
      inTransaction: Effect.map(Effect.context<never>(), (services) => transactionOf(services) !== undefined),
      readOnly,
      pool,
      pools: new Set([pool]),
      connect: Effect.asVoid(statement("postgresql.open", "SELECT 1", [], { portable: false }))
    }
  })

const rolledBack = (context: ErrorContext): DbConflict =>
  new DbConflict({
    ...context,
    code: "HUB_ROLLED_BACK",
    reason: "serialization",
    message:
      "A statement of the transaction failed and its error was caught, so PostgreSQL undid the whole: put what may fail into a nested transaction of its own"
  })
