/**
 * Statements that are sent together and answered together, in one round trip
 * (https://www.postgresql.org/docs/17/protocol-flow.html#PROTOCOL-FLOW-PIPELINING): the server runs them in order, and
 * none after one that fails. The answer is that of one of them.
 *
 * @since 0.1.0
 */
import type * as NodeNet from "node:net"
import type * as Pg from "pg"
import * as Values from "./PostgresValues.js"

type Fields = ReadonlyArray<Pg.FieldDef>
type DataRow = ReadonlyArray<string | null>

/**
 * How the rows of a statement are read. For a prepared statement it is asked for once: the server refuses to run one
 * whose columns are others than before.
 *
 * @since 0.1.0
 * @category models
 */
export interface Reader {
  readonly fields: Fields
  readonly row: (values: DataRow) => Record<string, unknown>
  readonly list: (values: DataRow) => ReadonlyArray<unknown>
}

/**
 * One statement as it is sent.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly text: string
  readonly values?: ReadonlyArray<unknown>
  readonly prepare?: boolean
  readonly rowMode?: "array"
  /** What goes before it, in the same round trip where that can be; if one of them fails, so does it. */
  readonly before?: ReadonlyArray<Request>
  /** What goes behind it, likewise. */
  readonly after?: ReadonlyArray<Request>
  /** Takes the rows one by one as they come; the result has none then. The reader is that of the statement asked. */
  readonly onRow?: (values: DataRow, reader: Reader) => void
  /** By the simple protocol, which takes several statements at once; for the hub's own texts alone. */
  readonly simple?: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Result {
  readonly command: string | null
  readonly rowCount: number | null
  readonly rows: Array<Record<string, unknown>>
  readonly fields: ReadonlyArray<Pg.FieldDef>
}

/**
 * What the driver has and its types do not tell.
 *
 * @since 0.1.0
 * @category models
 */
export interface Wire {
  readonly stream: NodeNet.Socket
  readonly parsedStatements: Record<string, string>
  readonly query: (text: string) => void
  readonly parse: (query: { readonly text: string; readonly name: string }) => void
  readonly bind: (what: { readonly statement: string; readonly values: ReadonlyArray<unknown> }) => void
  readonly execute: (what: { readonly portal: string }) => void
  readonly describe: (what: { readonly type: "S" | "P"; readonly name: string }) => void
  readonly close: (what: { readonly type: "S" | "P"; readonly name: string }) => void
  readonly sync: () => void
  readonly sendCopyFail: (reason: string) => void
  readonly on: (event: string, listener: () => void) => void
  readonly once: (event: string, listener: (message: never) => void) => void
  readonly off: (event: string, listener: (message: never) => void) => void
}

/**
 * What a connection has prepared.
 *
 * @since 0.1.0
 * @category models
 */
export interface PreparedStatements {
  /** The name under which a text is prepared, and the one that gives way to it. */
  readonly nameOf: (text: string) => { readonly name: string; readonly evicted: string | undefined }
  /** How the rows of what is prepared are read, by its name. */
  readonly readers: Map<string, Reader>
  /** What was sent to be parsed and is not answered yet. */
  readonly parsing: Array<{ readonly name: string; readonly text: string }>
}

type Parser = (text: string) => unknown

const makeReader = (fields: Fields): Reader => {
  const names = fields.map(({ name }) => name)
  const parsers = fields.map(({ dataTypeID }) => Values.types.getTypeParser(dataTypeID, "text") as Parser)
  // Of one shape from the beginning; `fromEntries` takes any name, `__proto__` too.
  const nothing: Record<string, unknown> = Object.fromEntries(names.map((name) => [name, null]))
  return {
    fields,
    row: (values) => {
      const row = { ...nothing }
      for (let i = 0; i < names.length; i++) {
        const value = values[i]
        row[names[i]!] = typeof value === "string" ? parsers[i]!(value) : null
      }
      return row
    },
    list: (values) => values.map((value, i) => (value === null ? null : parsers[i]!(value)))
  }
}

/** A statement that answers without rows. */
const noRows = makeReader([])

const commandTag = /^([A-Za-z]+)(?: (\d+))?(?: (\d+))?/

interface Named {
  readonly request: Request
  /** Empty where it is not prepared. */
  readonly name: string
}

/**
 * What the driver takes for a query.
 *
 * @since 0.1.0
 * @category models
 */
export class Pipeline {
  private readonly asked: Request
  private command: string | null = null
  private rowCount: number | null = null
  private rows: Array<unknown> = []
  private reader: Reader = noRows
  /** Statements that are answered. */
  private answered = 0
  /** Under what to keep how the rows of the statement asked are read. */
  private unread: string | undefined
  private unreadable: unknown

  constructor(
    private readonly connection: PreparedStatements,
    private readonly requests: ReadonlyArray<Request>,
    /** Which of them is answered. */
    private readonly at: number,
    private readonly done: (error: unknown, result: Result | undefined) => void
  ) {
    this.asked = requests[at]!
  }

  submit(wire: Wire): null {
    wire.stream.cork()
    try {
      if (this.asked.simple === true) wire.query(this.asked.text)
      else this.sendAll(wire)
    } finally {
      wire.stream.uncork()
    }
    return null
  }

  private sendAll(wire: Wire): void {
    // Names first: what gives way to them must do so also where a statement fails.
    const named = this.requests.map((request) => ({ request, name: this.nameOf(request, wire) }))
    for (const statement of named) this.send(statement, wire)
    wire.sync()
  }

  private nameOf({ prepare, text }: Request, wire: Wire): string {
    if (prepare !== true) return ""
    const { evicted, name } = this.connection.nameOf(text)
    if (evicted !== undefined) wire.close({ type: "S", name: evicted })
    return name
  }

  private send({ name, request }: Named, wire: Wire): void {
    const { parsing, readers } = this.connection
    const known = name !== "" && (wire.parsedStatements[name] !== undefined || parsing.some((one) => one.name === name))
    if (!known) {
      wire.parse({ text: request.text, name })
      parsing.push({ name, text: request.text })
    }
    wire.bind({ statement: name, values: request.values ?? [] })
    if (request === this.asked) {
      const reader = name === "" ? undefined : readers.get(name)
      if (reader === undefined) {
        this.unread = name
        wire.describe({ type: "P", name: "" })
      } else this.reader = reader
    }
    wire.execute({ portal: "" })
  }

  private get isAsked(): boolean {
    return this.asked.simple === true || this.answered === this.at
  }

  handleRowDescription({ fields }: { readonly fields: Fields }): void {
    this.reader = makeReader(fields)
    this.rows = []
  }

  handleDataRow({ fields }: { readonly fields: DataRow }): void {
    const onRow = this.requests[this.answered]?.onRow
    if ((onRow === undefined && !this.isAsked) || this.unreadable !== undefined) return
    try {
      if (onRow !== undefined) onRow(fields, this.reader)
      else this.rows.push(this.asked.rowMode === "array" ? this.reader.list(fields) : this.reader.row(fields))
    } catch (cause) {
      this.unreadable = cause
    }
  }

  handleCommandComplete({ text }: { readonly text: string }): void {
    if (this.isAsked) {
      const [, command, first, second] = commandTag.exec(text) ?? []
      this.command = command ?? null
      const count = second ?? first
      this.rowCount = count === undefined ? null : Number(count)
      if (this.unread) this.connection.readers.set(this.unread, this.reader)
    }
    this.answered++
  }

  handleEmptyQuery(): void {
    this.answered++
  }

  handleReadyForQuery(): void {
    const { command, reader, rowCount, unreadable } = this
    if (unreadable !== undefined) this.done(unreadable, undefined)
    else this.done(undefined, { command, rowCount, rows: this.rows as Result["rows"], fields: reader.fields })
  }

  handleError(error: unknown): void {
    // The server passes over what came after the statement that failed.
    this.connection.parsing.length = 0
    this.done(error, undefined)
  }

  handleCopyInResponse(wire: Wire): void {
    wire.sendCopyFail("COPY FROM STDIN has nothing to read from")
  }

  handleCopyData(): void {}

  handlePortalSuspended(): void {}
}
