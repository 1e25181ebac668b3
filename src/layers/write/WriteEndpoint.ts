/**
 * Where a primary is reached: a Unix socket in a private folder, a named pipe on Windows, or TCP on the loopback.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import type * as NodeNet from "node:net"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import type { SocketServer } from "@effect/platform/SocketServer"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { DbConnection } from "../../errors/index.js"

/**
 * `socket`: a Unix socket, on Windows a named pipe. `tcp`: a port of 127.0.0.1, for where sockets cannot be had; any user
 * of the machine can connect to it, and is kept out by the secret alone.
 *
 * @since 0.1.0
 * @category models
 */
export type Transport = "socket" | "tcp"

const prefix = "effect-db-hub-"

const pipes = "\\\\.\\pipe\\"

const loopback = "127.0.0.1"

/** Bytes of the path of a Unix socket, at most, on every system that has them. */
const longestPath = 103

/**
 * The path of a new socket. That of a Unix socket has a folder of its own, in `/tmp` where that for temporary files is
 * too deep for a socket.
 *
 * @since 0.1.0
 * @category addresses
 */
export const socketPath = (platform: NodeJS.Platform, temporary: string, id: string): string => {
  if (platform === "win32") return `${pipes}${prefix}${id}`
  const inside = (folder: string) => NodePath.posix.join(folder, `${prefix}${id}`, "primary.sock")
  const path = inside(temporary)
  return Buffer.byteLength(path) <= longestPath ? path : inside("/tmp")
}

/**
 * How to connect to an address that a primary has published.
 *
 * @since 0.1.0
 * @category addresses
 */
export const connectOptions = (address: string): NodeNet.NetConnectOpts => {
  const port = /^tcp:\/\/127\.0\.0\.1:(\d+)$/.exec(address)?.[1]
  return port === undefined ? { path: address } : { host: loopback, port: Number(port) }
}

/**
 * Takes away the socket of a primary that was killed; pipes and ports go with their process. A folder that cannot be
 * taken away is logged: nobody is in its way.
 *
 * @since 0.1.0
 * @category addresses
 */
export const remove = (address: string): Effect.Effect<void> =>
  Effect.ignoreLogged(
    Effect.try(() => {
      const folder = NodePath.dirname(address)
      if (NodePath.basename(folder).startsWith(prefix)) NodeFs.rmSync(folder, { recursive: true, force: true })
    })
  )

const listenFailed = new DbConnection({
  operation: "primary.listen",
  code: "HUB_SOCKET",
  message: "No socket can be made in the folder for temporary files: check TMPDIR and its permissions"
})

const attempt = <A>(run: () => A) => Effect.try({ try: run, catch: () => listenFailed })

/**
 * Listens until the scope closes; gives the address as well. Only this user can enter the folder of a Unix socket.
 *
 * @since 0.1.0
 * @category server
 */
export const listen = (
  transport: Transport
): Effect.Effect<
  { readonly server: Context.Tag.Service<SocketServer>; readonly address: string },
  DbConnection,
  Scope.Scope
> =>
  Effect.gen(function* () {
    if (transport === "tcp") {
      const server = yield* Effect.mapError(NodeSocketServer.make({ host: loopback, port: 0 }), () => listenFailed)
      const { address } = server
      return address._tag === "TcpAddress"
        ? { server, address: `tcp://${loopback}:${address.port}` }
        : yield* Effect.fail(listenFailed)
    }
    const path = socketPath(process.platform, NodeOs.tmpdir(), NodeCrypto.randomBytes(6).toString("hex"))
    if (path.startsWith(pipes)) {
      return { server: yield* Effect.mapError(NodeSocketServer.make({ path }), () => listenFailed), address: path }
    }
    yield* Effect.acquireRelease(
      attempt(() => NodeFs.mkdirSync(NodePath.dirname(path), { mode: 0o700 })),
      () => remove(path)
    )
    const server = yield* Effect.mapError(NodeSocketServer.make({ path }), () => listenFailed)
    yield* attempt(() => NodeFs.chmodSync(path, 0o600))
    return { server, address: path }
  })
