/**
 * The tools over the Model Context Protocol: on standard input and output, or on HTTP of this machine.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeHttp from "node:http"
import type { AddressInfo } from "node:net"
import { Readable } from "node:stream"
import * as Mcp from "@modelcontextprotocol/server"
import { serveStdio } from "@modelcontextprotocol/server/stdio"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import { DbConnection } from "../errors/index.js"
import { jsonSchemaOf, type ToolName, tools } from "./Declarations.js"
import type { Toolkit } from "./Toolkit.js"

/** The toolkit checks arguments itself, so that its errors tell an agent what to do. */
const inputOf = (name: ToolName): Mcp.StandardSchemaWithJSON<unknown, unknown> => {
  const schema = () => jsonSchemaOf(name)
  return {
    "~standard": {
      version: 1,
      vendor: "effect-db-hub",
      validate: (value: unknown) => ({ value }),
      jsonSchema: { input: schema, output: schema }
    }
  }
}

/** One server object per connection or request, all over the same tools. */
const factory = (kit: Toolkit, version: string, runtime: Runtime.Runtime<never>, session: string) => () => {
  const server = new Mcp.McpServer({ name: "db-hub", version })
  for (const name of kit.names) {
    const { description, hints } = tools[name]
    server.registerTool(
      name,
      {
        description,
        inputSchema: inputOf(name),
        annotations: {
          readOnlyHint: hints.readOnly,
          destructiveHint: hints.destructive,
          idempotentHint: hints.idempotent,
          openWorldHint: false
        }
      },
      async (args, context) => {
        const client = server.server.getClientVersion()?.name ?? "unknown"
        const caller = { name: client.slice(0, 200), session: context.sessionId ?? session }
        const answer = await Runtime.runPromise(runtime, kit.call(name, args, caller), {
          signal: context.mcpReq.signal
        })
        return answer.ok
          ? { content: [{ type: "text", text: JSON.stringify(answer.value) }], structuredContent: answer.value }
          : { content: [{ type: "text", text: JSON.stringify({ error: answer.error }) }], isError: true }
      }
    )
  }
  return server
}

/**
 * Serves one client on standard input and output until it closes them.
 *
 * @since 0.1.0
 * @category servers
 */
export const stdio = (kit: Toolkit, version: string): Effect.Effect<void> =>
  Effect.flatMap(Effect.runtime<never>(), (runtime) =>
    Effect.acquireUseRelease(
      Effect.sync(() => serveStdio(factory(kit, version, runtime, NodeCrypto.randomUUID()))),
      () =>
        Effect.async<void>((resume) => {
          const end = () => resume(Effect.void)
          process.stdin.once("end", end).once("close", end)
        }),
      (handle) => Effect.promise(() => handle.close())
    )
  )

/**
 * @since 0.1.0
 * @category models
 */
export interface HttpOptions {
  /** 0 = any that is free. */
  readonly port: number
  /** What clients must send as `Authorization: Bearer …`. */
  readonly token: Redacted.Redacted<string>
  /** Bytes of a request; default 1 MiB. */
  readonly maxBody?: number
}

const digest = (text: string) => NodeCrypto.createHash("sha256").update(text).digest()

/** Reads a request up to so many bytes; undefined if it has more. */
const bodyOf = async (request: NodeHttp.IncomingMessage, max: number): Promise<Buffer | undefined> => {
  const chunks: Array<Buffer> = []
  let size = 0
  for await (const chunk of request) {
    size += (chunk as Buffer).length
    if (size > max) return undefined
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

const refuse = (response: NodeHttp.ServerResponse, status: number, message: string) => {
  response.writeHead(status, { "content-type": "application/json", connection: "close" })
  response.end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code: -32600, message } }))
}

/**
 * Serves clients on the loopback address only, with a token, until the scope closes; succeeds with the port. A page in a
 * browser is refused by its Origin, and a name that was made to point here by its Host.
 *
 * @since 0.1.0
 * @category servers
 */
export const http = (
  kit: Toolkit,
  version: string,
  { maxBody = 1024 * 1024, port, token }: HttpOptions
): Effect.Effect<number, DbConnection, Scope.Scope> =>
  Effect.gen(function* () {
    const runtime = yield* Effect.runtime<never>()
    const handler = Mcp.createMcpHandler(factory(kit, version, runtime, NodeCrypto.randomUUID()))
    const wanted = digest(`Bearer ${Redacted.value(token)}`)

    const answer = async (request: NodeHttp.IncomingMessage, response: NodeHttp.ServerResponse) => {
      const headers = new Headers()
      for (const [name, value] of Object.entries(request.headers)) {
        if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(", ") : value)
      }
      const url = `http://127.0.0.1${request.url?.startsWith("/") === true ? request.url : "/"}`
      const asked = new Request(url, { headers })
      const stranger =
        Mcp.hostHeaderValidationResponse(asked, Mcp.localhostAllowedHostnames()) ??
        Mcp.originValidationResponse(asked, Mcp.localhostAllowedOrigins())
      if (stranger !== undefined) return refuse(response, 403, "this Host or Origin is not allowed")
      if (!NodeCrypto.timingSafeEqual(digest(request.headers.authorization ?? ""), wanted)) {
        response.setHeader("www-authenticate", "Bearer")
        return refuse(response, 401, "the bearer token is missing or wrong")
      }
      if (new URL(url).pathname !== "/mcp") return refuse(response, 404, "the endpoint is /mcp")
      const body = await bodyOf(request, maxBody)
      if (body === undefined) return refuse(response, 413, `a request may have ${maxBody} bytes`)
      const gone = new AbortController()
      response.on("close", () => gone.abort())
      const method = request.method ?? "GET"
      const hasBody = method !== "GET" && method !== "HEAD"
      const result = await handler.fetch(
        new Request(url, { method, headers, signal: gone.signal, ...(hasBody ? { body: new Uint8Array(body) } : {}) })
      )
      response.writeHead(result.status, Object.fromEntries(result.headers))
      if (result.body === null) response.end()
      else
        Readable.fromWeb(result.body as Parameters<typeof Readable.fromWeb>[0])
          .on("error", () => response.destroy())
          .pipe(response)
    }

    const server = yield* Effect.acquireRelease(
      Effect.async<NodeHttp.Server, DbConnection>((resume) => {
        const opened = NodeHttp.createServer({ requestTimeout: 30_000 }, (request, response) => {
          answer(request, response).catch(() => {
            // The client went away in the middle of its own request.
            if (response.headersSent) response.destroy()
            else refuse(response, 400, "the request cannot be read")
          })
        })
        opened.once("error", (error: NodeJS.ErrnoException) =>
          resume(
            Effect.fail(
              new DbConnection({
                operation: "mcp.http",
                code: error.code ?? "unknown",
                message: `Port ${port} of 127.0.0.1 cannot be listened on (${error.code}): choose another`
              })
            )
          )
        )
        opened.listen(port, "127.0.0.1", () => resume(Effect.succeed(opened)))
      }),
      (opened) =>
        Effect.zipRight(
          Effect.promise(() => handler.close()),
          Effect.async<void>((resume) => {
            opened.close(() => resume(Effect.void))
            opened.closeAllConnections()
          })
        )
    )
    return (server.address() as AddressInfo).port
  })
