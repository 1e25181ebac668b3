/**
 * One connection of the driver: its prepared statements, one statement at a time, and the cancelling of it. Everything
 * here works with callbacks; the client above turns that into effects.
 *
 * @since 0.1.0
 */
import * as NodeNet from "node:net"
import * as NodeTls from "node:tls"
import * as Pg from "pg"
import { AnswerTooLarge, endsConnection, isServerError } from "../../errors/PostgresErrors.js"
import {
  Pipeline,
  type PreparedStatements,
  type Reader,
  type Request,
  type Result,
  type Wire
} from "./PostgresPipeline.js"
import * as Values from "./PostgresValues.js"

/** Statements that one connection keeps prepared. */
const preparedLimit = 256

/** Bytes that the server may send an agent before the connection is cut: the driver would keep them all. */
const maxTransfer = 64 * 1024 * 1024

/**
 * Milliseconds for what undoes a transaction; then its connection is closed, and the server undoes it.
 *
 * @since 0.1.0
 * @category constants
 */
export const undoBudget = 5_000

/** Statements whose parameter types are remembered. */
const typesLimit = 1024

interface Internals {
  readonly connection: Wire
  readonly processID: number | null
  readonly secretKey: number | null
  readonly host: string
  readonly port: number
  readonly _queryable: boolean
}

type Startup = () => Record<string, string>

/**
 * @since 0.1.0
 * @category models
 */
export interface ConnectionConfig extends Pg.ClientConfig {
  /** The name in the hub. */
  readonly backend: string
  /** Server parameters that are sent with the first message. */
  readonly startup: Readonly<Record<string, string>>
}

/**
 * A client of the driver that knows what it has prepared.
 *
 * @since 0.1.0
 * @category models
 */
export class Connection extends Pg.Client implements PreparedStatements {
  readonly backend: string
  readonly born: number = performance.now()
  /** Why it is of no more use, once it is. */
  failure: unknown
  /** Set by whoever closes it on purpose. */
  discarded = false
  readonly types = new Map<string, ReadonlyArray<number>>()
  readonly readers = new Map<string, Reader>()
  readonly parsing: Array<{ readonly name: string; readonly text: string }> = []
  readonly tls: Pg.ClientConfig["ssl"]
  private readonly prepared = new Map<string, string>()
  private names = 0

  constructor(config: ConnectionConfig) {
    super(config)
    this.backend = config.backend
    this.tls = config.ssl
    const self = this as unknown as { getStartupConf: Startup }
    const basic = self.getStartupConf.bind(this)
    self.getStartupConf = () => ({ ...basic(), ...config.startup })
    // A connection may die while nobody listens; that must not end the process.
    this.on("error", (error) => {
      this.failure ??= error
    })
    const wire = this.internals.connection
    wire.on("parseComplete", () => {
      const parsed = this.parsing.shift()
      if (parsed !== undefined && parsed.name !== "") wire.parsedStatements[parsed.name] = parsed.text
    })
  }

  get internals(): Internals {
    return this as unknown as Internals
  }

  nameOf(text: string): { readonly name: string; readonly evicted: string | undefined } {
    const known = this.prepared.get(text)
    if (known !== undefined) {
      this.prepared.delete(text)
      this.prepared.set(text, known)
      return { name: known, evicted: undefined }
    }
    const name = `hub_${++this.names}`
    this.prepared.set(text, name)
    if (this.prepared.size <= preparedLimit) return { name, evicted: undefined }
    const [oldest, evicted] = this.prepared.entries().next().value!
    this.prepared.delete(oldest)
    this.readers.delete(evicted)
    delete this.internals.connection.parsedStatements[evicted]
    return { name, evicted }
  }

  /** Forgets all that was prepared here; the server may keep it under names that are not used again. */
  forget(): void {
    this.prepared.clear()
    this.readers.clear()
    this.types.clear()
  }

  /** Cuts the connection when the server sends more from now on than an agent may get; ends with the answer. */
  limitTransfer(): () => void {
    const { stream } = this.internals.connection
    let received = 0
    const count = (data: Uint8Array) => {
      received += data.length
      if (received > maxTransfer) this.destroy(new AnswerTooLarge(maxTransfer))
    }
    stream.on("data", count)
    return () => void stream.off("data", count)
  }

  /** With what its statement then fails, other than that the connection was closed. */
  destroy(reason?: Error): void {
    this.discarded = true
    this.internals.connection.stream.destroy(reason)
  }
}

/**
 * A statement on its way.
 *
 * @since 0.1.0
 * @category models
 */
export interface Job {
  settled: boolean
  /** Somebody cancels it: the connection is not free before that has come to its end. */
  cancelling: boolean
  onSettled: () => void
}

type Done = (error: unknown, result: Result | undefined) => void

/** Errors come before the server is ready again; only then is its state known and the connection free. */
const whenReady = (connection: Connection, error: unknown, done: () => void) => {
  if (!isServerError(error) || endsConnection(error) || !connection.internals._queryable) return done()
  const wire = connection.internals.connection
  const finish = () => {
    wire.off("readyForQuery", finish)
    wire.off("end", finish)
    done()
  }
  wire.once("readyForQuery", finish)
  wire.once("end", finish)
}

const submit = (connection: Connection, request: Request, done: Done) => {
  const { after = [], before = [], ...asked } = request
  if (before.length > 0 && request.simple === true) {
    return submit(connection, { ...before[before.length - 1]!, before: before.slice(0, -1) }, (error) =>
      error ? done(error, undefined) : submit(connection, asked, done)
    )
  }
  const pipeline = new Pipeline(connection, [...before, asked, ...after], before.length, (error, result) => {
    if (error) whenReady(connection, error, () => done(error, undefined))
    else done(undefined, result)
  })
  connection.query(pipeline as unknown as Pg.Submittable)
}

/** Asks the server for the types of a statement's parameters, once per text and connection. */
const describe = (
  connection: Connection,
  text: string,
  done: (error: unknown, types: ReadonlyArray<number>) => void
) => {
  const known = connection.types.get(text)
  if (known !== undefined) return done(undefined, known)
  const wire = connection.internals.connection
  let types: ReadonlyArray<number> = []
  const listener = (message: { readonly dataTypeIDs: ReadonlyArray<number> }) => {
    types = message.dataTypeIDs
  }
  const end = (error: unknown) => {
    wire.off("parameterDescription", listener)
    if (error) return whenReady(connection, error, () => done(error, []))
    if (connection.types.size >= typesLimit) connection.types.clear()
    connection.types.set(text, types)
    done(undefined, types)
  }
  connection.query({
    submit: () => {
      wire.once("parameterDescription", listener)
      wire.parse({ text, name: "" })
      wire.describe({ type: "S", name: "" })
      wire.sync()
    },
    handleRowDescription: () => {},
    handleError: end,
    handleReadyForQuery: () => end(undefined)
  } as unknown as Pg.Submittable)
}

/** The table was altered, or the statement is not known there any more: what was prepared must be prepared anew. */
const isStale = (error: unknown): boolean =>
  isServerError(error) &&
  (error.code === "26000" || (error.code === "0A000" && /^cached plan must not change/.test(error.message)))

/**
 * Sends a statement; the connection must be free. `done` is called once, when it is free again or of no more use.
 *
 * @since 0.1.0
 * @category running
 */
export const start = (connection: Connection, request: Request, done: Done): Job => {
  const job: Job = { settled: false, cancelling: false, onSettled: () => {} }
  const settle: Done = (error, result) => {
    job.settled = true
    job.onSettled()
    done(error, result)
  }
  const send = (values: ReadonlyArray<unknown>) =>
    submit(connection, { ...request, values }, (error, result) => {
      if (!isStale(error) || request.prepare !== true) return settle(error, result)
      connection.forget()
      // Inside a transaction nothing can be sent again: it has failed as a whole.
      if (connection.getTransactionStatus() !== "I") return settle(error, result)
      submit(connection, { ...request, values, prepare: false }, settle)
    })
  const { values = [] } = request
  if (!Values.hasList(values)) send(values)
  else {
    describe(connection, request.text, (error, types) => {
      if (error) return settle(error, undefined)
      let encoded: ReadonlyArray<unknown>
      try {
        encoded = Values.encodeLists(values, types, connection.backend)
      } catch (refused) {
        return settle(refused, undefined)
      }
      send(encoded)
    })
  }
  return job
}

const cancelCode = 80_877_102
const tlsCode = 80_877_103

const packet = (...words: ReadonlyArray<number>): Buffer => {
  const buffer = Buffer.alloc(4 * words.length)
  for (const [index, word] of words.entries()) buffer.writeInt32BE(word | 0, 4 * index)
  return buffer
}

/** Milliseconds that one request to cancel may take. */
const cancelTimeout = 2_000

/**
 * Asks the server, over a connection of its own, to cancel what this one runs. `done` is called when the request was
 * carried out: the server closes the connection only after it has sent the signal.
 */
const requestCancel = (connection: Connection, done: (answered: boolean) => void) => {
  const { host, port, processID, secretKey } = connection.internals
  if (processID === null || secretKey === null) return done(false)
  const message = packet(16, cancelCode, processID, secretKey)
  const socket = host.startsWith("/")
    ? NodeNet.connect(`${host}/.s.PGSQL.${port}`)
    : NodeNet.connect({ host, port, noDelay: true })
  let sent = false
  let over = false
  const finish = (answered: boolean) => {
    if (over) return
    over = true
    clearTimeout(timer)
    socket.destroy()
    done(answered)
  }
  const timer = setTimeout(() => finish(false), cancelTimeout)
  const send = (stream: NodeNet.Socket) => {
    sent = true
    stream.write(message)
    stream.resume()
  }
  socket.on("error", () => finish(false))
  socket.on("close", () => finish(sent))
  socket.on("connect", () => {
    const stream = connection.internals.connection.stream
    if (!(stream instanceof NodeTls.TLSSocket)) return send(socket)
    socket.once("data", (answer) => {
      if (answer.toString("latin1") !== "S") return finish(false)
      const secure = NodeTls.connect({
        ...(typeof connection.tls === "object" ? connection.tls : {}),
        ...(NodeNet.isIP(host) === 0 ? { servername: host } : {}),
        host,
        socket
      })
      secure.on("error", () => finish(false))
      secure.on("close", () => finish(sent))
      secure.once("secureConnect", () => send(secure))
    })
    socket.write(packet(8, tlsCode))
  })
}

/** Milliseconds before a request to cancel is sent again: the first may have come before the statement. */
const cancelAgain = 100

/** Milliseconds after which a statement that does not end is left to itself, and its connection closed. */
const cancelBudget = 5_000

/**
 * Cancels a statement and calls back when the connection is free or destroyed, with no request to cancel under way that
 * could hit what runs on it next.
 *
 * @since 0.1.0
 * @category running
 */
export const cancel = (connection: Connection, job: Job, done: () => void) => {
  if (job.settled) return done()
  job.cancelling = true
  // Where there is nothing to cancel with, it is waited for.
  if (connection.internals.processID === null) {
    job.onSettled = done
    return
  }
  const deadline = performance.now() + cancelBudget
  let again: NodeJS.Timeout | undefined
  let asking = false
  const finish = () => {
    clearTimeout(giveUp)
    clearTimeout(again)
    done()
  }
  const ask = () => {
    asking = true
    requestCancel(connection, (answered) => {
      asking = false
      // A request whose end is not known may still arrive: nobody must use the connection any more.
      if (!answered) connection.destroy()
      if (job.settled) return finish()
      if (performance.now() < deadline) again = setTimeout(ask, cancelAgain)
    })
  }
  const giveUp = setTimeout(() => connection.destroy(), cancelBudget)
  job.onSettled = () => {
    clearTimeout(again)
    if (!asking) finish()
  }
  ask()
}
