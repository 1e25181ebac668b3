/**
 * PGlite as a socket: the driver speaks PostgreSQL's protocol into it and a function answers, in the same process.
 *
 * @since 0.1.0
 */
import { Duplex } from "node:stream"

/**
 * What answers messages of the protocol.
 *
 * @since 0.1.0
 * @category models
 */
export interface Engine {
  /** Takes away what an earlier connection left in the one session there is. */
  readonly reset: () => Promise<void>
  readonly answer: (messages: Uint8Array) => Promise<Uint8Array>
}

const message = (type: string, body: string | Buffer): Buffer => {
  const content = Buffer.from(body as string)
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(content.length + 4, 1)
  return Buffer.concat([head, content])
}

/** There is no password, and no key: what runs cannot be cancelled from outside. */
const welcome = Buffer.concat([
  message("R", Buffer.alloc(4)),
  message("S", "client_encoding\0UTF8\0"),
  message("Z", "I")
])

/** Messages after which the driver waits for an answer: Query, Sync, Flush, and the end of a COPY. */
const answered = new Set(["Q", "S", "H", "c", "f"])

/**
 * @since 0.1.0
 * @category models
 */
export class PgliteStream extends Duplex {
  private waiting = Buffer.alloc(0)
  private started = false

  constructor(private readonly engine: Engine) {
    super()
  }

  connect(): this {
    setImmediate(() => this.emit("connect"))
    return this
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.receive(chunk).then(() => done(), done)
  }

  override _writev(chunks: Array<{ readonly chunk: Buffer }>, done: (error?: Error | null) => void): void {
    this.receive(Buffer.concat(chunks.map(({ chunk }) => chunk))).then(() => done(), done)
  }

  private async receive(chunk: Buffer): Promise<void> {
    this.waiting = Buffer.concat([this.waiting, chunk])
    if (!this.started) {
      if (this.waiting.length < 4 || this.waiting.length < this.waiting.readInt32BE(0)) return
      this.waiting = this.waiting.subarray(this.waiting.readInt32BE(0))
      this.started = true
      await this.engine.reset()
      this.push(welcome)
    }
    let end = 0
    for (let at = 0; at + 5 <= this.waiting.length; ) {
      const next = at + 1 + this.waiting.readInt32BE(at + 1)
      if (next > this.waiting.length) break
      const type = String.fromCharCode(this.waiting[at]!)
      if (type === "X") {
        this.push(null)
        this.destroy()
        return
      }
      if (answered.has(type)) end = next
      at = next
    }
    if (end === 0) return
    const messages = Uint8Array.from(this.waiting.subarray(0, end))
    this.waiting = this.waiting.subarray(end)
    const answer = await this.engine.answer(messages)
    if (!this.destroyed) this.push(Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength))
  }
}
