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
import { DbConnection, type InvalidInput, invalidInput } from "../errors/index.js"
import { jsonSchemaOf, resultSchemaOf, type ToolName, tools } from "./Declarations.js"
import * as DirectCalls from "./DirectCalls.js"
import * as StdioTransport from "./StdioTransport.js"
import type { Caller, Toolkit } from "./Toolkit.js"

const declared = (name: ToolName): Mcp.Tool => {
  const { description, hints } = tools[name]
  return {
    name,
    description,
    inputSchema: jsonSchemaOf(name) as Mcp.Tool["inputSchema"],
    annotations: {
      readOnlyHint: hints.readOnly,
      destructiveHint: hints.destructive,
      idempotentHint: hints.idempotent,
      openWorldHint: false
    },
    outputSchema: resultSchemaOf(name) as NonNullable<Mcp.Tool["outputSchema"]>
  }
}

/** Tells the client how far long work is, if it asked to be told. */
const progressOf = ({ _meta, notify }: Mcp.ServerContext["mcpReq"]): Caller["onProgress"] => {
  const progressToken = _meta?.progressToken
  if (progressToken === undefined) return undefined
  return ({ done, total }) => {
    const params = { progressToken, progress: done, total }
    // Who went away hears nothing more.
    notify({ method: "notifications/progress", params }).catch(() => {})
  }
}

const invalid = (message: string, data?: unknown) =>
  new Mcp.ProtocolError(Mcp.ProtocolErrorCode.InvalidParams, message, data)

const clientName = (client: unknown): string => {
  const { name } = (client ?? {}) as Partial<Mcp.Implementation>
  return typeof name === "string" ? name.slice(0, 200) : "unknown"
}

const schemaUri = "db-hub://{backend}/schema"

/**
 * One server object per connection or request, all over the same tools. `sessionOf` names the session of a caller that
 * has none by the transport.
 */
const factory =
  (kit: Toolkit, version: string, runtime: Runtime.Runtime<never>, sessionOf: (client: string) => string) => () => {
    const server = new Mcp.McpServer({ name: "db-hub", version })
    const call = (name: ToolName, args: unknown, { mcpReq, sessionId }: Mcp.ServerContext) => {
      // Since 2026-07-28 clients say with each message who they are.
      const { [Mcp.CLIENT_INFO_META_KEY]: said } = (mcpReq.envelope ?? {}) as Readonly<Record<string, unknown>>
      const client = clientName(server.server.getClientVersion() ?? said)
      const onProgress = progressOf(mcpReq)
      const caller = {
        name: client,
        session: sessionId ?? sessionOf(client),
        ...(onProgress === undefined ? {} : { onProgress })
      }
      return Runtime.runPromise(runtime, kit.call(name, args, caller), { signal: mcpReq.signal })
    }

    const names = new Map<unknown, ToolName>(kit.names.map((name) => [name, name]))
    const toolCall = async (params: Mcp.JSONRPCRequest["params"], context: Mcp.ServerContext): Promise<Mcp.Result> => {
      const { arguments: args = {}, name: asked } = params ?? {}
      const name = names.get(asked)
      if (name === undefined) throw invalid(`Tool ${asked} not found`)
      if (typeof args !== "object" || args === null || Array.isArray(args)) throw invalid("arguments is not an object")
      const answer = await call(name, args, context)
      return answer.ok
        ? { content: [{ type: "text", text: answer.text }], structuredContent: answer.value }
        : { content: [{ type: "text", text: JSON.stringify({ error: answer.error }) }], isError: true }
    }

    server.server.registerCapabilities({ tools: {} })
    server.server.setRequestHandler("tools/list", () => ({ tools: kit.names.map(declared) }))
    // A handler of its own for tools/call would have the SDK parse every call and every answer against its schemas: the
    // toolkit has checked the one, and made the other.
    server.server.fallbackRequestHandler = ({ method, params }, context) => {
      if (method === "tools/call") return toolCall(params, context)
      throw new Mcp.ProtocolError(Mcp.ProtocolErrorCode.MethodNotFound, "Method not found")
    }

    if (kit.names.includes("db_hub_schema")) {
      const list = async (context: Mcp.ServerContext) => {
        const answer = await call("db_hub_backends", {}, context)
        const names = answer.ok ? (answer.value["backends"] as ReadonlyArray<{ readonly name: string }>) : []
        return { resources: names.map(({ name }) => ({ name: `schema of ${name}`, uri: `db-hub://${name}/schema` })) }
      }
      server.registerResource(
        "schema",
        new Mcp.ResourceTemplate(schemaUri, { list }),
        { description: "Tables and views with their columns", mimeType: "application/json" },
        async (uri, { backend }, context) => {
          const answer = await call("db_hub_schema", { backend: String(backend) }, context)
          if (answer.ok) return { contents: [{ uri: uri.href, text: answer.text }] }
          throw invalid(answer.error.message, answer.error)
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
      Effect.sync(() => {
        const session = NodeCrypto.randomUUID()
        const make = factory(kit, version, runtime, () => session)
        let server: Mcp.McpServer | undefined
        const transport = StdioTransport.make(process.stdin, process.stdout, (message) => {
          const client = server?.server.getClientVersion()
          return client !== undefined && calls.take(message, clientName(client))
        })
        const calls = DirectCalls.make(kit, runtime, session, transport.write)
        const handle = serveStdio(
          ({ era }) => {
            const made = make()
            // Of later clients each message must be whole in itself, which the SDK sees to.
            if (era === "legacy") server = made
            return made
          },
          { transport }
        )
        return { calls, handle, transport }
      }),
      // Not only the end of the input: who has closed the output, or sends too much, is not waited for either.
      ({ transport }) => Effect.promise(() => transport.closed),
      ({ calls, handle }) =>
        Effect.promise(() => {
          calls.close()
          return handle.close()
        })
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

/** Sessions that are kept; the one that was silent longest gives way. */
const maxSessions = 1000

type SessionTransport = Mcp.WebStandardStreamableHTTPServerTransport

/**
 * Clients of the protocol before 2026-07-28 open sessions: each has a transport and a server of its own. Later ones
 * have none: there a caller is known by the name that it gives.
 */
const sessionHandler = (make: () => Mcp.McpServer) => {
  const sessions = new Map<string, SessionTransport>()
  const opened = async (): Promise<SessionTransport> => {
    const transport = new Mcp.WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => NodeCrypto.randomUUID(),
      onsessioninitialized: (id) => {
        const oldest = sessions.entries().next().value
        if (sessions.size >= maxSessions && oldest !== undefined) {
          sessions.delete(oldest[0])
          oldest[1].close().catch(() => {})
        }
        sessions.set(id, transport)
      },
      onsessionclosed: (id) => void sessions.delete(id)
    })
    await make().connect(transport)
    return transport
  }
  return {
    fetch: async (request: Request): Promise<Response> => {
      const id = request.headers.get("mcp-session-id")
      if (id === null) return (await opened()).handleRequest(request)
      const known = sessions.get(id)
      if (known === undefined) {
        return Response.json(
          { jsonrpc: "2.0", id: null, error: { code: -32001, message: "There is no such session: initialize anew" } },
          { status: 404 }
        )
      }
      sessions.delete(id)
      sessions.set(id, known)
      return known.handleRequest(request)
    },
    close: async () => {
      await Promise.all(Array.from(sessions.values(), (transport) => transport.close()))
    }
  }
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
): Effect.Effect<number, DbConnection | InvalidInput, Scope.Scope> =>
  Effect.gen(function* () {
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      return yield* invalidInput({ operation: "mcp.http" }, "port", "is none", "0, for any that is free, to 65535")
    }
    const runtime = yield* Effect.runtime<never>()
    const instance = NodeCrypto.randomUUID()
    const make = factory(kit, version, runtime, (client) => `${instance} ${client}`)
    const modern = Mcp.createMcpHandler(make, { legacy: "reject", maxRequestBodySize: maxBody })
    const sessions = sessionHandler(make)
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
      // The scheme may be written in any case (RFC 9110, 11.1).
      const given = (request.headers.authorization ?? "").replace(/^bearer /i, "Bearer ")
      if (!NodeCrypto.timingSafeEqual(digest(given), wanted)) {
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
      const whole = new Request(url, {
        method,
        headers,
        signal: gone.signal,
        ...(hasBody ? { body: new Uint8Array(body) } : {})
      })
      const legacy = await Mcp.isLegacyRequest(whole, undefined, { maxRequestBodySize: maxBody })
      const result = await (legacy ? sessions : modern).fetch(whole)
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
          Effect.promise(() => Promise.all([modern.close(), sessions.close()])),
          Effect.async<void>((resume) => {
            opened.close(() => resume(Effect.void))
            opened.closeAllConnections()
          })
        )
    )
    return (server.address() as AddressInfo).port
  })
