/**
 * The driver's pool with a queue of our own before it, so that waits end, can be given up without losing a place, and
 * are counted.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Pg from "pg"
import { DbBusy, type ErrorContext } from "../../errors/index.js"
import { isServerError } from "../../errors/PostgresErrors.js"
import { longestTimer } from "../EventLoop.js"
import * as SqlTemplates from "../sql/SqlTemplates.js"
import { Connection, type ConnectionConfig } from "./PostgresConnection.js"
import { type ResolvedPostgresOptions, tlsOf } from "./PostgresOptions.js"
import * as Values from "./PostgresValues.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface PoolMetrics {
  waitCount: number
  /** Milliseconds waited in all. */
  waitDuration: number
  /** Connections closed because they idled too long, or because enough others did. */
  idleClosed: number
  lifetimeClosed: number
}

type Acquired = (error: unknown, connection?: Connection) => void

/**
 * @since 0.1.0
 * @category models
 */
export interface PoolOptions extends ResolvedPostgresOptions {
  /** Each connection is used once, by an agent: nothing that was set on it is left to others. */
  readonly once?: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Pool {
  readonly options: PoolOptions
  readonly at: (operation: string) => ErrorContext
  /**
   * Calls back with a connection, or with why there is none after `budget` milliseconds. The answer gives the place up:
   * a connection that comes later goes back.
   */
  readonly acquire: (context: ErrorContext, budget: number, done: Acquired) => () => void
  /** Calls back when the place is free again. */
  readonly release: (connection: Connection, done?: () => void) => void
  readonly metrics: PoolMetrics
  /** The most connections that are open at once. */
  readonly size: number
  readonly open: () => number
  readonly idle: () => number
  /** Settings for a connection outside of the pool. */
  readonly config: () => ConnectionConfig
  readonly isClosed: () => boolean
  /** Lets what runs come to its end for some seconds, then cuts it off. */
  readonly close: Effect.Effect<void>
}

interface Waiter {
  readonly grant: () => void
  readonly refuse: (error: unknown) => void
}

/** How long closing waits for what still runs, or for the server to close a connection, in milliseconds. */
const drainBudget = 5_000

const tooBusy = (context: ErrorContext, budget: number, { maxOpenConns, once }: PoolOptions): DbBusy =>
  new DbBusy({
    ...context,
    code: "HUB_POOL_BUSY",
    message: `All ${maxOpenConns} connections were in use for ${budget} ms: ${
      once === true ? "do less at once" : "make transactions shorter, or raise max_open_conns"
    }`
  })

/** Session settings travel with the first message, but PgBouncer refuses such messages. */
const startupOf = (options: ResolvedPostgresOptions): Readonly<Record<string, string>> => ({
  DateStyle: "ISO",
  TimeZone: "UTC",
  ...(options.pooler === "none" ? options.settings : {})
})

const isTlsTrouble = (error: unknown): boolean =>
  error instanceof Error &&
  !isServerError(error) &&
  /SSL|TLS|EPROTO/.test(`${error.message} ${String(Object(error).code)}`)

const wantsTls = (error: unknown): boolean => isServerError(error) && error.code === "28000"

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: PoolOptions): Pool => {
  const at = (operation: string): ErrorContext => ({ backend: options.name, operation })
  const metrics: PoolMetrics = { waitCount: 0, waitDuration: 0, idleClosed: 0, lifetimeClosed: 0 }
  const waiters = new Set<Waiter>()
  const inUse = new Set<Connection>()
  /** What follows when the server has closed a connection. */
  const closing = new Map<Connection, () => void>()
  let free = options.maxOpenConns
  let closed = false
  let onDrained = () => {}

  const { password } = options
  const config = (): ConnectionConfig => ({
    host: options.host,
    port: options.port,
    database: options.database,
    user: options.user,
    // A function, so that no dump of the options shows it.
    password: password === undefined ? undefined : () => Redacted.value(password),
    ssl: tls,
    ...(options.stream === undefined ? {} : { stream: options.stream }),
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeout,
    keepAlive: options.keepAlive,
    keepAliveInitialDelayMillis: 10_000,
    types: Values.types,
    backend: options.name,
    startup: startupOf(options)
  })
  let tls = tlsOf(options)

  const settings = Object.entries(options.settings)
  const configure = async (client: Pg.ClientBase) => {
    const calls = settings.map((_, index) => `set_config($${2 * index + 1}, $${2 * index + 2}, false)`)
    await client.query(`SELECT ${calls.join(", ")}`, settings.flat())
  }

  const pool = new Pg.Pool({
    ...config(),
    Client: Connection as unknown as new () => Pg.ClientBase,
    max: options.maxOpenConns,
    idleTimeoutMillis: options.connMaxIdleTime,
    maxLifetimeSeconds: options.connMaxLifetime / 1000,
    maxUses: options.once === true ? 1 : Number.POSITIVE_INFINITY,
    ...(options.pooler === "session" && settings.length > 0 ? { onConnect: configure } : {})
  })
  // What happened to a connection while nobody used it is nobody's error.
  pool.on("error", () => {})
  pool.on("remove", (client) => {
    const connection = client as unknown as Connection
    closing.get(connection)?.()
    if (connection.discarded || connection.failure !== undefined || closed || options.once === true) return
    const age = performance.now() - connection.born
    if (options.connMaxLifetime > 0 && age >= options.connMaxLifetime) metrics.lifetimeClosed++
    else metrics.idleClosed++
  })

  const setTls = (to: typeof tls) => {
    tls = to
    pool.options.ssl = to
  }

  const connect = (done: Acquired, tries = 2) => {
    // Another connection, opened at the same time, may have changed it meanwhile.
    const tried = tls
    pool.connect((error, client) => {
      if (client !== undefined) return done(undefined, client as unknown as Connection)
      const retry = tried === false ? wantsTls(error) : isTlsTrouble(error)
      if (options.sslMode !== "prefer" || tries < 2 || !retry) return done(error)
      setTls(tried === false ? tlsOf(options) : false)
      connect(done, tries - 1)
    })
  }

  const giveBack = () => {
    const next = waiters.values().next().value
    if (next !== undefined) {
      waiters.delete(next)
      next.grant()
      return
    }
    free++
    if (free === options.maxOpenConns) onDrained()
  }

  const release: Pool["release"] = (connection, done = () => {}) => {
    inUse.delete(connection)
    const after = () => {
      giveBack()
      done()
    }
    if (options.once === true) {
      const timer = setTimeout(() => connection.destroy(), drainBudget)
      closing.set(connection, () => {
        clearTimeout(timer)
        closing.delete(connection)
        after()
      })
    }
    const spent = connection.failure !== undefined || connection.discarded
    const plenty = !spent && waiters.size === 0 && pool.idleCount >= options.maxIdleConns
    ;(connection as unknown as Pg.PoolClient).release(spent || plenty)
    if (options.once !== true) after()
  }

  const acquire: Pool["acquire"] = (context, budget, done) => {
    let given = false
    const open = () =>
      connect((error, connection) => {
        if (connection === undefined) {
          giveBack()
          if (!given) done(closed ? SqlTemplates.databaseClosed(context) : error)
          return
        }
        inUse.add(connection)
        if (options.once === true) connection.limitTransfer()
        if (given || closed) {
          release(connection)
          if (!given) done(SqlTemplates.databaseClosed(context))
          return
        }
        done(undefined, connection)
      })
    const giveUp = () => {
      given = true
    }
    if (closed) {
      done(SqlTemplates.databaseClosed(context))
      return giveUp
    }
    if (free > 0) {
      free--
      open()
      return giveUp
    }
    const started = performance.now()
    metrics.waitCount++
    const leave = () => {
      metrics.waitDuration += performance.now() - started
      waiters.delete(waiter)
      clearTimeout(timer)
    }
    const waiter: Waiter = {
      grant: () => {
        leave()
        open()
      },
      refuse: (error) => {
        leave()
        done(error)
      }
    }
    // A real timer, not the Clock service: what is waited for lives outside of any test's clock.
    const late = () => waiter.refuse(tooBusy(context, budget, options))
    const timer = setTimeout(late, Math.min(budget, longestTimer))
    waiters.add(waiter)
    return () => {
      given = true
      if (waiters.has(waiter)) leave()
    }
  }

  const drained = Effect.async<void>((resume) => {
    onDrained = () => resume(Effect.void)
    if (free === options.maxOpenConns) onDrained()
  })

  return {
    options,
    at,
    acquire,
    release,
    metrics,
    size: options.maxOpenConns,
    open: () => pool.totalCount,
    idle: () => pool.idleCount,
    config,
    isClosed: () => closed,
    close: Effect.suspend(() => {
      closed = true
      for (const waiter of waiters) waiter.refuse(SqlTemplates.databaseClosed(at("postgresql.close")))
      return drained.pipe(
        Effect.interruptible,
        Effect.timeoutOption(drainBudget),
        Effect.zipRight(
          Effect.sync(() => {
            for (const connection of inUse) connection.destroy()
          })
        ),
        Effect.zipRight(Effect.promise(() => pool.end())),
        Effect.interruptible,
        Effect.timeoutOption(2 * drainBudget),
        Effect.asVoid
      )
    })
  }
}
