/**
 * JSON-RPC on standard input and output, a message a line. The SDK looks at every message again, so unlike its own
 * transport this one does not parse each against a schema first.
 *
 * @since 0.1.0
 */
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/server"

/** Characters of one message at most. */
const maxMessage = 10 * 1024 * 1024

/**
 * @since 0.1.0
 * @category models
 */
export interface StdioTransport extends Transport {
  /** Sends a message that is JSON already; to nobody once the client has gone. */
  readonly write: (json: string) => void
  /** Resolves once the client has gone, or is not listened to any more. */
  readonly closed: Promise<void>
}

/**
 * What `takes` takes, the SDK does not see.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  takes: (message: unknown) => boolean = () => false
): StdioTransport => {
  let started = ""
  let closed = false
  let hasClosed = () => {}
  const whenClosed = new Promise<void>((resolve) => {
    hasClosed = resolve
  })

  const receive = (line: string) => {
    let message: unknown
    try {
      message = JSON.parse(line)
    } catch {
      // A line that is no JSON is nobody's message.
      return
    }
    if (!takes(message)) transport.onmessage?.(message as JSONRPCMessage)
  }

  const take = (text: string) => {
    const lines = text.split("\n")
    if (lines.length > 1) {
      lines[0] = started + lines[0]
      started = ""
    }
    started += lines.pop()
    for (const line of lines) if (!closed) receive(line)
    if (started.length <= maxMessage) return
    transport.onerror?.(new Error(`A message has more than ${maxMessage} characters`))
    close()
  }

  const failed = (error: Error) => {
    transport.onerror?.(error)
    close()
  }

  const close = () => {
    if (closed) return
    closed = true
    input.off("data", take).off("end", close).off("close", close).pause()
    transport.onclose?.()
    hasClosed()
  }

  const write = (line: string, done: (error?: Error | null) => void) =>
    closed ? done(new Error("The client has gone")) : void output.write(`${line}\n`, done)

  const transport: StdioTransport = {
    start: async () => {
      input.setEncoding("utf8")
      input.on("data", take).on("end", close).on("close", close)
      // Stays: what is written when nobody reads any more fails later.
      output.on("error", failed)
    },
    send: (message) =>
      new Promise((resolve, reject) => {
        write(JSON.stringify(message), (error) => (error ? reject(error) : resolve()))
      }),
    write: (line) => write(line, () => {}),
    closed: whenClosed,
    close: async () => close()
  }
  return transport
}
