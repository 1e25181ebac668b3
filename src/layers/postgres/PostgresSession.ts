/**
 * A connection that fibres share, one statement after the other, as those of one transaction do.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { type Applied, type DbError, type ErrorContext, fromPostgres } from "../../errors/index.js"
import { endsConnection } from "../../errors/PostgresErrors.js"
import { type Connection, cancel, start, undoBudget } from "./PostgresConnection.js"
import type { Request, Result } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Session {
  readonly connection: Connection
  /** What it was taken for. */
  readonly at: ErrorContext
  readonly queue: Array<() => void>
  busy: boolean
  /** What goes with the next statement: a BEGIN, and what nobody waits for the answer of. */
  readonly pending: Array<Request>
  /** The first statement has gone, and the BEGIN with it. */
  begun: boolean
}

/**
 * Takes a connection from the pool until the scope ends.
 *
 * @since 0.1.0
 * @category constructors
 */
export const acquire = (pool: Pool, at: ErrorContext, budget: number): Effect.Effect<Session, DbError, Scope.Scope> =>
  Effect.uninterruptibleMask((restore) => {
    let granted: Connection | undefined
    const connection = Effect.async<Connection, DbError>((resume) => {
      const giveUp = pool.acquire(at, budget, (error, connection) => {
        granted = connection
        resume(connection === undefined ? Effect.fail(fromPostgres(error, at, "no")) : Effect.succeed(connection))
      })
      return Effect.sync(giveUp)
    })
    return restore(connection).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          // Interrupted after it was handed over.
          if (Exit.isFailure(exit) && granted !== undefined) pool.release(granted)
        })
      ),
      Effect.tap((connection) =>
        Effect.addFinalizer(() => Effect.async<void>((resume) => pool.release(connection, () => resume(Effect.void))))
      ),
      Effect.map((connection): Session => ({ connection, at, queue: [], busy: false, pending: [], begun: false }))
    )
  })

/**
 * Sends a statement on a connection that nobody else uses; interruption cancels it on the server.
 *
 * @since 0.1.0
 * @category statements
 */
export const send = (connection: Connection, request: Request): Effect.Effect<Result, unknown> =>
  Effect.async((resume) => {
    const job = start(connection, request, (error, result) =>
      resume(result === undefined ? Effect.fail(error) : Effect.succeed(result))
    )
    return Effect.async<void>((done) => cancel(connection, job, () => done(Effect.void)))
  })

/** Leaves the session to whoever asked for it next. */
const passOn = (session: Session) => {
  const following = session.queue.shift()
  if (following === undefined) session.busy = false
  else following()
}

const turn = (session: Session, restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    if (!session.busy) {
      session.busy = true
      return Effect.void
    }
    let granted = false
    const waiting = Effect.async<void>((resume) => {
      const grant = () => {
        granted = true
        resume(Effect.void)
      }
      session.queue.push(grant)
      return Effect.sync(() => {
        const index = session.queue.indexOf(grant)
        if (index !== -1) session.queue.splice(index, 1)
      })
    })
    return Effect.onExit(restore(waiting), (exit) =>
      Effect.sync(() => {
        // Interrupted after the turn had come.
        if (Exit.isFailure(exit) && granted) passOn(session)
      })
    )
  })

/** The statement, and what goes before it. */
const withPending = (session: Session, request: Request): Request => {
  session.begun = true
  return session.pending.length === 0 ? request : { ...request, before: session.pending.splice(0) }
}

/**
 * Sends a statement after those that were asked for before; interruption cancels it on the server. `applied` is what can
 * be said of the statement when the connection broke.
 *
 * @since 0.1.0
 * @category statements
 */
export const run = (
  session: Session,
  request: Request,
  at: ErrorContext,
  applied: Applied
): Effect.Effect<Result, DbError> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(turn(session, restore), () =>
      Effect.ensuring(
        Effect.mapError(restore(send(session.connection, withPending(session, request))), (cause) => {
          if (endsConnection(cause)) session.connection.failure ??= cause
          return fromPostgres(cause, at, applied)
        }),
        Effect.sync(() => passOn(session))
      )
    )
  )

/**
 * Undoes what is left; a connection on which that fails is closed, and the server undoes it.
 *
 * @since 0.1.0
 * @category statements
 */
export const undo = (session: Session, text: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { connection } = session
    session.pending.length = 0
    if (connection.failure !== undefined || connection.getTransactionStatus() === "I") return Effect.void
    let timer: NodeJS.Timeout | undefined
    return Effect.suspend(() => {
      timer = setTimeout(() => connection.destroy(), undoBudget)
      return run(session, { text, simple: true }, session.at, "no")
    }).pipe(
      Effect.catchAll(() => Effect.sync(() => connection.destroy())),
      Effect.ensuring(Effect.sync(() => clearTimeout(timer))),
      Effect.asVoid
    )
  })

/**
 * Begins a transaction on a connection from the pool; what is said of its end is sent when the scope ends.
 *
 * @since 0.1.0
 * @category constructors
 */
export const begin = (
  pool: Pool,
  at: ErrorContext,
  text: string,
  end: (exit: Exit.Exit<unknown, unknown>) => string
): Effect.Effect<Session, DbError, Scope.Scope> =>
  Effect.tap(acquire(pool, at, pool.options.acquireTimeout), (session) =>
    Effect.zipRight(
      Effect.addFinalizer((exit) => undo(session, end(exit))),
      run(session, { text, simple: true }, at, "no")
    )
  )
