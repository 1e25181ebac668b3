/**
 * Calls of tools on standard input that do without the SDK, which looks at every message against its schemas several
 * times. It gets whatever is not well-formed here, and so says what is wrong with it.
 *
 * @since 0.1.0
 */
import { type JSONRPCRequest, ProtocolErrorCode } from "@modelcontextprotocol/server"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"
import type { ToolName } from "./Declarations.js"
import type { Caller, ToolAnswer, Toolkit } from "./Toolkit.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface DirectCalls {
  /** Whether a message was such a call, or the end of one: then it is not for the SDK. */
  readonly take: (message: unknown, client: string) => boolean
  /** Gives up the calls that are running. */
  readonly close: () => void
}

const resultOf = (answer: ToolAnswer): string => {
  const text = answer.ok ? answer.text : JSON.stringify({ error: answer.error })
  const content = `"content":[{"type":"text","text":${JSON.stringify(text)}}]`
  return answer.ok ? `{${content},"structuredContent":${text}}` : `{${content},"isError":true}`
}

const fault = JSON.stringify({ code: ProtocolErrorCode.InternalError, message: "Internal error" })

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** A call as clients of the protocol before 2026-07-28 make it, if it is one. */
const callOf = (message: Partial<JSONRPCRequest>) => {
  const { id, jsonrpc, method, params } = message
  if (method !== "tools/call" || jsonrpc !== "2.0" || !isObject(params)) return undefined
  if (typeof id !== "string" && !Number.isSafeInteger(id)) return undefined
  const { _meta: meta = {}, arguments: args = {}, name } = params as Readonly<Record<string, unknown>>
  return isObject(meta) && isObject(args) ? { id, name, args, progressToken: meta["progressToken"] } : undefined
}

/**
 * Calls in one session; `write` sends a message that is JSON already.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  kit: Toolkit,
  runtime: Runtime.Runtime<never>,
  session: string,
  write: (json: string) => void
): DirectCalls => {
  const names = new Map<unknown, ToolName>(kit.names.map((name) => [name, name]))
  const running = new Map<unknown, () => void>()
  const run = Runtime.runCallback(runtime)

  const progressOf = (progressToken: unknown): Caller["onProgress"] =>
    progressToken === undefined
      ? undefined
      : ({ done, total }) => {
          const params = { progressToken, progress: done, total }
          write(JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params }))
        }

  return {
    take: (message, client) => {
      const asked = (message ?? {}) as Partial<JSONRPCRequest>
      if (asked.method === "notifications/cancelled") {
        const cancel = running.get(asked.params?.["requestId"])
        cancel?.()
        return cancel !== undefined
      }
      const call = callOf(asked)
      const name = names.get(call?.name)
      if (call === undefined || name === undefined || running.has(call.id)) return false
      const { args, id, progressToken } = call
      const onProgress = progressOf(progressToken)
      const caller = { name: client, session, ...(onProgress === undefined ? {} : { onProgress }) }
      running.set(id, () => {})
      const cancel = run(kit.call(name, args, caller), {
        onExit: (exit) => {
          running.delete(id)
          // Who has cancelled a call gets no answer.
          if (Exit.isInterrupted(exit)) return
          const outcome = Exit.isSuccess(exit) ? `"result":${resultOf(exit.value)}` : `"error":${fault}`
          write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},${outcome}}`)
        }
      })
      if (running.has(id)) running.set(id, cancel)
      return true
    },
    close: () => {
      for (const cancel of running.values()) cancel()
    }
  }
}
