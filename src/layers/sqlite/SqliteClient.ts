/**
 * SQLite for fibres: one writer lane, readers that never wait for it, transactions that belong to one client, and
 * errors with types. better-sqlite3 runs the statements; `@effect/sql` compiles the templates.
 *
 * @since 0.1.0
 */
import type * as Reactivity from "@effect/experimental/Reactivity"
import type { Connection } from "@effect/sql/SqlConnection"
import * as Statement from "@effect/sql/Statement"
import type { Database } from "better-sqlite3"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import {
  DbConstraint,
  type DbError,
  DbLocked,
  type ErrorContext,
  fromSqlite,
  invalidInput
} from "../../errors/index.js"
import type {
  BackendShape,
  ExecuteResult,
  ReadOnlyResult,
  Row,
  SqlValue,
  TransactionOptions
} from "../../services/Backend.js"
import { makeTurn, nextTurn } from "../EventLoop.js"
import * as Lane from "../Lane.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import * as Connections from "./SqliteConnection.js"
import * as Cursor from "./SqliteCursor.js"
import * as Open from "./SqliteOpen.js"
import type { ResolvedSqliteOptions } from "./SqliteOptions.js"
import * as SqliteReadOnly from "./SqliteReadOnly.js"
import * as Reads from "./SqliteReads.js"
import * as Values from "./SqliteValues.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface SqliteClient
  extends Pick<BackendShape, "sql" | "query" | "execute" | "stream" | "transaction" | "readOnly"> {
  readonly options: ResolvedSqliteOptions
  /**
   * As `query`, for a fiber that is in no transaction, and at once, so that the effect is mostly done already. For use where
   * it is about to run.
   */
  readonly queryOutside: BackendShape["query"]
  /** A number that changes when anybody commits, asked outside of a transaction; undefined where it cannot be told. */
  readonly version: () => number | undefined
  readonly inTransaction: Effect.Effect<boolean>
  /** The transaction that a fiber is in. */
  readonly current: FiberRef.FiberRef<unknown>
  /** The writing handle, for what only the driver can do. */
  readonly writer: Database
  /** The reading handle; the same as `writer` where there is only one. */
  readonly reader: Database
  readonly lane: Lane.Lane
  /** Handles open now, streams' included. */
  readonly openHandles: () => number
  /** Handles that a transaction, a reservation or a stream holds now. */
  readonly busyHandles: () => number
  /** The damage that a statement met, if one did. */
  readonly corruption: () => DbError | undefined
}

/** A transaction or a savepoint in progress; its `lane` keeps sibling savepoints apart. */
interface Transaction {
  open: boolean
  /** The error at which SQLite rolled the transaction back by itself. */
  failure: DbError | undefined
  readonly parent: Transaction | undefined
  /** What closes the statements that streams have open in it. */
  readonly cursors: Set<() => void>
  /** The savepoint in progress inside it. */
  savepoint: Transaction | undefined
  readonly depth: number
  /** There once there was a savepoint. */
  lane: Lane.Lane | undefined
}

/** How long closing waits for what still runs, in milliseconds. */
const drainBudget = 5_000

const isOver = (transaction: Transaction): boolean =>
  !transaction.open || (transaction.parent !== undefined && isOver(transaction.parent))

const rootOf = (transaction: Transaction): Transaction =>
  transaction.parent === undefined ? transaction : rootOf(transaction.parent)

/** Goes on at once after what is done already. */
const after = <A, E, R>(
  step: Effect.Effect<unknown, DbError>,
  onFailure: (cause: Cause.Cause<E | DbError>) => Effect.Effect<A, E | DbError, R>,
  onSuccess: () => Effect.Effect<A, E | DbError, R>,
  restore: Lane.Restore = (effect) => effect
): Effect.Effect<A, E | DbError, R> => {
  if (!Exit.isExit(step)) return Effect.matchCauseEffect(restore(step), { onFailure, onSuccess })
  const done = step as Exit.Exit<unknown, DbError>
  return Exit.isSuccess(done) ? onSuccess() : onFailure(done.cause)
}

const nameOf = (savepoint: Transaction): string => `hub_${savepoint.depth}`

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: ResolvedSqliteOptions
): Effect.Effect<SqliteClient, DbError, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    // Of its own per client: inside a transaction of another client, statements of this one stay its own. Not a service,
    // since to give one copies all that a fiber has.
    const current = FiberRef.unsafeMake<unknown>(undefined, { join: (parent) => parent })
    const leaveRoot = FiberRef.set(current, undefined)
    const transactionOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
      fiber.getFiberRef(current) as Transaction | undefined
    const encode = (params: ReadonlyArray<unknown>) => Values.encode(params, options.name)
    const context = (operation: string): ErrorContext => ({ backend: options.name, operation })
    const lane = Lane.make()
    let streams = 0

    const writer = Connections.make(yield* Open.handle(options, options.readOnly))
    // One reader is enough: statements are synchronous, and a stream opens a handle of its own.
    const separateReader = options.path !== ":memory:" && !options.readOnly
    const reader = separateReader ? Connections.make(yield* Open.handle(options, true)) : writer
    const { afterDefinition, prepare: readingStatement } = Reads.make(writer, reader)
    const turn = makeTurn(() => {
      writer.mistrustColumns()
      reader.mistrustColumns()
    })
    let closed = false
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        closed = true
        return Effect.ignore(lane.hold(context("sqlite.close"), drainBudget, Effect.void))
      })
    )

    let corruption: DbError | undefined
    const noted = (error: DbError): DbError => {
      if (error._tag === "DbCorrupt" && error.code?.startsWith("SQLITE_") === true) corruption = error
      return error
    }
    const toError = (cause: unknown, operation: string): DbError => noted(fromSqlite(cause, context(operation)))

    /** A transaction that nobody holds the lane for would swallow what is written next. */
    const clean = () => {
      if (writer.db.inTransaction) writer.db.exec("ROLLBACK")
    }

    const failWith = (cause: unknown, operation: string) => Effect.fail(toError(cause, operation))

    const preparedForWriter = (operation: string, sql: string): Connections.Prepared => {
      const prepared = writer.prepare(sql)
      if (prepared.control) throw Connections.controlRefused(context(operation))
      return prepared
    }

    const runWithin = <A>(transaction: Transaction, operation: string, attempt: () => A): Effect.Effect<A, DbError> => {
      if (!writer.db.open) return Effect.fail(SqlTemplates.isClosed(context(operation)))
      if (isOver(transaction)) {
        return Effect.fail(SqlTemplates.transactionOver(context(operation)))
      }
      const root = rootOf(transaction)
      if (!writer.db.inTransaction)
        return Effect.fail(root.failure ?? SqlTemplates.endedByStatement(context(operation)))
      try {
        return Effect.succeed(attempt())
      } catch (cause) {
        const error = toError(cause, operation)
        if (!writer.db.inTransaction) root.failure = error
        return Effect.fail(error)
      }
    }

    const within = <A>(transaction: Transaction, operation: string, attempt: () => A): Effect.Effect<A, DbError> =>
      Effect.suspend(() => runWithin(transaction, operation, attempt))

    /** Runs at once, or when a sibling's savepoint has come to its end, so as not to be undone with it. */
    const inTransaction = <A>(transaction: Transaction, operation: string, attempt: () => A) =>
      transaction.lane?.isHeld()
        ? transaction.lane.hold(context(operation), options.busyTimeout, within(transaction, operation, attempt))
        : runWithin(transaction, operation, attempt)

    const autocommit = <A>(operation: string, attempt: () => A): Effect.Effect<A, DbError> => {
      const alone = () => {
        clean()
        return attempt()
      }
      const waiting = lane.hold(
        context(operation),
        options.busyTimeout,
        Open.retryBusy(options.busyTimeout, context(operation), alone)
      )
      if (lane.isHeld()) return waiting
      try {
        return Effect.succeed(alone())
      } catch (cause) {
        const error = toError(cause, operation)
        return error._tag === "DbBusy" ? waiting : Effect.fail(error)
      }
    }

    /** Runs one statement where it belongs: in the fiber's transaction, on the reader, or in the lane. */
    const statement = <A>(
      operation: string,
      sql: string,
      params: ReadonlyArray<unknown>,
      use: (prepared: Connections.Prepared, values: ReadonlyArray<unknown>) => A
    ): Effect.Effect<A, DbError> =>
      Effect.withFiberRuntime((fiber) => runNow(transactionOf(fiber), operation, sql, params, use))

    /** The same when it is about to run. */
    const runNow = <A>(
      transaction: Transaction | undefined,
      operation: string,
      sql: string,
      params: ReadonlyArray<unknown>,
      use: (prepared: Connections.Prepared, values: ReadonlyArray<unknown>) => A
    ): Effect.Effect<A, DbError> => {
      if (turn.isOver()) {
        return Effect.zipRight(
          nextTurn,
          Effect.suspend(() => runNow(transaction, operation, sql, params, use))
        )
      }
      // Closing waits for transactions that have begun, so they may go on.
      if (closed && transaction === undefined) return Effect.fail(SqlTemplates.isClosed(context(operation)))
      try {
        const values = encode(params)
        const write = () => {
          const prepared = preparedForWriter(operation, sql)
          const result = use(prepared, values)
          if (prepared.definition) afterDefinition()
          return result
        }
        if (transaction !== undefined) return inTransaction(transaction, operation, write)
        const reading = readingStatement(sql)
        if (reading === undefined) return autocommit(operation, write)
        try {
          return Effect.succeed(use(reading, values))
        } catch (cause) {
          const error = toError(cause, operation)
          return error._tag === "DbBusy"
            ? Open.retryBusy(options.busyTimeout, context(operation), () => use(reading, values))
            : Effect.fail(error)
        }
      } catch (cause) {
        return failWith(cause, operation)
      }
    }

    const reading = context("query")
    // A row of a RETURNING clause that cannot be read has been written.
    const writing = { ...reading, applied: "yes" as const }
    const typed = (prepared: Connections.Prepared, values: ReadonlyArray<unknown>): ReadonlyArray<Row> =>
      Connections.typedRows(prepared, values, prepared.readonly ? reading : writing)

    const query = (sql: string, params: ReadonlyArray<SqlValue> = []) => statement("query", sql, params, typed)

    const queryOutside = (sql: string, params: ReadonlyArray<SqlValue> = []) =>
      runNow(undefined, "query", sql, params, typed)

    // A connection is not told of its own commits, and the reader makes none.
    const dataVersion = separateReader ? reader.db.prepare("PRAGMA data_version").pluck() : undefined
    const version = (): number | undefined => {
      try {
        return closed ? undefined : (dataVersion?.get() as number | undefined)
      } catch (_cause) {
        // What is read next fails in the same way, and tells why.
        return undefined
      }
    }

    const execute = (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<ExecuteResult, DbError> =>
      statement("execute", sql, params, (prepared, values) => {
        if (prepared.reader) {
          const rows = typed(prepared, values)
          return { rowsAffected: prepared.readonly ? 0 : rows.length, lastInsertId: null, rows }
        }
        const { changes, lastInsertRowid } = Connections.runStatement(prepared, values)
        const inserted = changes > 0 && prepared.inserts
        return { rowsAffected: changes, lastInsertId: inserted ? lastInsertRowid : null, rows: [] }
      })

    const cursor = Cursor.make({ at: context("stream"), busyTimeout: options.busyTimeout, toError, turn })

    const counted = Effect.acquireRelease(
      Effect.sync(() => {
        streams++
      }),
      () =>
        Effect.sync(() => {
          streams--
        })
    )

    const streamOf = (
      sql: string,
      params: ReadonlyArray<unknown>,
      decode: boolean
    ): Stream.Stream<Record<string, unknown>, DbError> =>
      Stream.unwrapScoped(
        Effect.withFiberRuntime<Stream.Stream<Record<string, unknown>, DbError>, DbError, Scope.Scope>((fiber) => {
          const transaction = transactionOf(fiber)
          if (closed && transaction === undefined) return Effect.fail(SqlTemplates.isClosed(context("stream")))
          try {
            const values = encode(params)
            const reads = options.readOnly ? Reads.mayRead(sql) : readingStatement(sql) !== undefined
            if (transaction === undefined && reads) {
              return Effect.map(Effect.zipRight(counted, Open.handle(options, true)), (db) =>
                cursor(db, sql, values, decode)
              )
            }
            if (transaction !== undefined) {
              const prepared = writer.prepare(sql)
              if (prepared.reader && prepared.readonly) {
                const read: Cursor.Owner["read"] = (next) => within(transaction, "stream", next)
                return Effect.succeed(cursor(writer.db, sql, values, decode, { cursors: transaction.cursors, read }))
              }
            }
            // What writes, or lives in memory or in the writing connection, is small or must run at once.
            const rows = statement("stream", sql, params, (prepared, encoded) =>
              decode ? typed(prepared, encoded) : Connections.rawRows(prepared, encoded)
            )
            return Effect.map(rows, (all) => Stream.fromIterable(all as ReadonlyArray<Record<string, unknown>>))
          } catch (cause) {
            return failWith(cause, "stream")
          }
        })
      )

    const control = (sql: string) => writer.prepare(sql).statement.run()

    const undo = (operation: string, ...statements: ReadonlyArray<string>): Effect.Effect<void, DbError> =>
      Effect.suspend(() => {
        if (!writer.db.inTransaction) return Effect.void
        return Effect.try({
          try: () => {
            statements.forEach(control)
            afterDefinition()
          },
          catch: (cause) => toError(cause, operation)
        })
      })

    /** SQLite undoes and ends nothing while a statement is being read. */
    const closeCursors = (transaction: Transaction | undefined): void => {
      if (transaction === undefined) return
      for (const closeCursor of transaction.cursors) closeCursor()
      closeCursors(transaction.parent)
    }

    /** Ends a level: what its fibers still read or have not finished ends with it. */
    const endLevel = (transaction: Transaction): void => {
      transaction.open = false
      for (const closeCursor of transaction.cursors) closeCursor()
      const unfinished = transaction.savepoint
      if (unfinished === undefined) return
      endLevel(unfinished)
      if (!writer.db.inTransaction) return
      closeCursors(transaction)
      control(`ROLLBACK TO ${nameOf(unfinished)}`)
    }

    /**
     * Runs `effect` between the statements that begin, keep and undo one level, each of them at once where it can be; the
     * lane is held by the caller.
     */
    const level = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      transaction: Transaction,
      statements: {
        readonly begin: () => Effect.Effect<unknown, DbError>
        readonly keep: () => Effect.Effect<unknown, DbError>
        readonly undo: () => Effect.Effect<void, DbError>
      },
      restore: Lane.Restore
    ): Effect.Effect<A, E | DbError, R> => {
      const failed = (cause: Cause.Cause<E | DbError>) =>
        Effect.zipRight(Effect.ignore(Effect.suspend(statements.undo)), Effect.failCause(cause))
      const leave = transaction.parent === undefined ? leaveRoot : FiberRef.set(current, transaction.parent)
      const run = () =>
        Effect.matchCauseEffect(
          Effect.flatMap(FiberRef.set(current, transaction), () => restore(effect)),
          {
            // The body's own error is the one to report, also when SQLite has rolled back already.
            onFailure: (cause) =>
              Effect.flatMap(leave, () => {
                if (transaction.open) endLevel(transaction)
                return failed(cause)
              }),
            onSuccess: (value) =>
              Effect.flatMap(leave, () => {
                if (transaction.open) endLevel(transaction)
                if (!writer.db.open) return Effect.fail(SqlTemplates.isClosed(context("transaction.commit")))
                if (!writer.db.inTransaction) {
                  const { failure } = rootOf(transaction)
                  return Effect.fail(failure ?? SqlTemplates.endedByStatement(context("transaction.commit")))
                }
                return after(statements.keep(), failed, () => Effect.succeed(value))
              })
          }
        )
      // An interruption may fall between BEGIN and its answer.
      return after(statements.begin(), failed, run, restore)
    }

    /** Has no effect within a transaction. */
    const enforceReferences = (enforced: boolean): void => {
      if (writer.db.open) writer.db.pragma(`foreign_keys = ${enforced ? "ON" : "OFF"}`)
    }

    const checkReferences = (at: ErrorContext): void => {
      const [broken] = writer.db.prepare('SELECT "table", parent FROM pragma_foreign_key_check LIMIT 1').raw().all()
      if (broken !== undefined) throw brokenReference(at, broken as ReadonlyArray<unknown>)
    }

    const transaction = <A, E, R>(
      effect: Effect.Effect<A, E, R>,
      transactionOptions?: TransactionOptions
    ): Effect.Effect<A, E | DbError, R> =>
      Effect.withFiberRuntime<A, E | DbError, R>((fiber) =>
        SqlTemplates.traced(fiber, begun(transactionOf(fiber), effect, transactionOptions))
      )

    const begun = <A, E, R>(
      outer: Transaction | undefined,
      effect: Effect.Effect<A, E, R>,
      transactionOptions?: TransactionOptions
    ): Effect.Effect<A, E | DbError, R> => {
      if (closed && outer === undefined) return Effect.fail(SqlTemplates.isClosed(context("transaction.begin")))
      const { busyTimeout } = transactionOptions ?? options
      const budget =
        typeof busyTimeout === "number" ? busyTimeout : Duration.toMillis(busyTimeout ?? options.busyTimeout)
      const begin = context("transaction.begin")
      const inner: Transaction = {
        open: true,
        failure: undefined,
        parent: outer,
        cursors: new Set(),
        savepoint: undefined,
        depth: outer === undefined ? 0 : outer.depth + 1,
        lane: undefined
      }
      if (outer === undefined) {
        const defer = transactionOptions?.deferReferences === true && options.foreignKeys
        const statements = {
          begin: () =>
            Open.tryNow(budget, begin, () => {
              clean()
              if (defer) enforceReferences(false)
              return control(options.readOnly ? "BEGIN" : "BEGIN IMMEDIATE")
            }),
          keep: () =>
            Open.tryNow(budget, context("transaction.commit"), () => {
              if (defer) checkReferences(context("transaction.commit"))
              return control("COMMIT")
            }),
          undo: () => undo("transaction.rollback", "ROLLBACK")
        }
        const enforce = Effect.sync(() => enforceReferences(true))
        return lane.holdMask(begin, budget, (restore) => {
          const whole = level(effect, inner, statements, restore)
          return defer ? Effect.ensuring(whole, enforce) : whole
        })
      }
      const name = nameOf(inner)
      const statements = {
        begin: () =>
          runWithin(outer, "transaction.begin", () => {
            control(`SAVEPOINT ${name}`)
            outer.savepoint = inner
          }),
        keep: () =>
          runWithin(outer, "transaction.commit", () => {
            control(`RELEASE ${name}`)
            outer.savepoint = undefined
          }),
        undo: () => {
          if (outer.savepoint !== inner || isOver(outer)) return Effect.void
          outer.savepoint = undefined
          closeCursors(outer)
          return undo("transaction.rollback", `ROLLBACK TO ${name}`, `RELEASE ${name}`)
        }
      }
      outer.lane ??= Lane.make(lane.metrics)
      return outer.lane.holdMask(begin, budget, (restore) => level(effect, inner, statements, restore))
    }

    const readOnly: SqliteClient["readOnly"] = (sql, { maxRows = 100, params = [] } = {}) =>
      Effect.withFiberRuntime((fiber) => {
        const transaction = transactionOf(fiber)
        if (closed && transaction === undefined) return Effect.fail(SqlTemplates.isClosed(context("readOnly")))
        if (!Number.isInteger(maxRows) || maxRows < 1) {
          return Effect.fail(
            invalidInput(
              { operation: "readOnly", backend: options.name },
              "maxRows",
              "is no row count",
              "a whole number from 1"
            )
          )
        }
        const refused = SqliteReadOnly.refusal(sql, context("readOnly"))
        if (refused !== undefined) return Effect.fail(refused)
        const attempt = (on: Connections.SqliteConnection) => (): ReadOnlyResult => {
          const values = encode(params)
          const guarded = on === writer && !options.readOnly
          if (guarded) writer.db.pragma("query_only = ON")
          try {
            const prepared = Connections.prepareFresh(on.db, sql)
            if (!prepared.reader) throw SqliteReadOnly.notReading(context("readOnly"))
            const rows = Connections.firstRows(prepared, values, maxRows + 1)
            return {
              columns: SqlTemplates.distinct(prepared.columns),
              rows: rows.slice(0, maxRows),
              truncated: rows.length > maxRows
            }
          } finally {
            if (guarded) writer.db.pragma("query_only = OFF")
          }
        }
        if (transaction !== undefined) return inTransaction(transaction, "readOnly", attempt(writer))
        const run = Effect.mapError(Open.retryBusy(options.busyTimeout, context("readOnly"), attempt(reader)), noted)
        return reader === writer ? lane.hold(context("readOnly"), options.busyTimeout, run) : run
      })

    /** Templates see values as SQLite has them. */
    const connectionOf = (
      run: typeof statement,
      stream: (sql: string, params: ReadonlyArray<unknown>) => Stream.Stream<Record<string, unknown>, DbError>
    ): Connection =>
      SqlTemplates.connection({
        rows: (sql, params, { safeIntegers }) =>
          run("execute", sql, params, (prepared, values) => Connections.rawRows(prepared, values, safeIntegers)),
        raw: (sql, params) =>
          run("executeRaw", sql, params, (prepared, values) =>
            prepared.reader ? Connections.rawRows(prepared, values) : Connections.runStatement(prepared, values)
          ),
        values: (sql, params) => run("executeValues", sql, params, Connections.valueRows),
        stream
      })

    const ambient = connectionOf(statement, (sql, params) => streamOf(sql, params, false))

    /** Whoever reserved the lane works on the writing connection, until it is given back. */
    const reservedConnection = (lease: { over: boolean; readonly cursors: Set<() => void> }): Connection => {
      const held = <A>(operation: string, attempt: () => A): Effect.Effect<A, DbError> =>
        Effect.suspend(() => {
          const run = Open.retryBusy(options.busyTimeout, context(operation), () => {
            if (lease.over) throw leaseOver(context(operation))
            return attempt()
          })
          return turn.isOver() ? Effect.zipRight(nextTurn, run) : run
        })
      return connectionOf(
        (operation, sql, params, use) =>
          held(operation, () => {
            const prepared = writer.prepare(sql)
            const result = use(prepared, encode(params))
            if (prepared.definition) afterDefinition()
            return result
          }),
        (sql, params) =>
          Stream.unwrap(
            Effect.map(
              held("stream", () => encode(params)),
              (values) =>
                cursor(writer.db, sql, values, false, { cursors: lease.cursors, read: (next) => held("stream", next) })
            )
          )
      )
    }

    const reserve = Effect.withFiberRuntime<Connection, DbError, Scope.Scope>((fiber) => {
      if (transactionOf(fiber) !== undefined) return Effect.succeed(ambient)
      const lease = { over: false, cursors: new Set<() => void>() }
      return lane.holdScoped(context("reserve"), options.busyTimeout).pipe(
        Effect.zipRight(
          Effect.addFinalizer(() => {
            lease.over = true
            for (const closeCursor of lease.cursors) closeCursor()
            return Effect.ignore(undo("reserve", "ROLLBACK"))
          })
        ),
        Effect.as(reservedConnection(lease))
      )
    })

    const sql = yield* SqlTemplates.client({
      ambient,
      reserve,
      transaction,
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: [["db.system.name", "sqlite"]]
    })

    return {
      options,
      sql,
      query,
      queryOutside,
      version,
      execute,
      stream: (text, params = []) => streamOf(text, params, true),
      transaction,
      inTransaction: Effect.withFiberRuntime((fiber) => Effect.succeed(transactionOf(fiber) !== undefined)),
      current,
      readOnly,
      writer: writer.db,
      reader: reader.db,
      lane,
      openHandles: () => (closed ? 0 : (separateReader ? 2 : 1) + streams),
      busyHandles: () => (lane.isHeld() ? 1 : 0) + streams,
      corruption: () => corruption
    }
  })

const brokenReference = (context: ErrorContext, [table, parent]: ReadonlyArray<unknown>): DbConstraint =>
  new DbConstraint({
    ...context,
    reason: "foreign-key",
    message: `A row of ${table} would refer to a row of ${parent} that is not there`
  })

const leaseOver = (context: ErrorContext): DbLocked =>
  new DbLocked({
    ...context,
    code: "HUB_RESERVE_OVER",
    retryable: false,
    message: "The scope that reserved this connection has closed: reserve it again"
  })
