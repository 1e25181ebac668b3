/** A socket between processes that does to frames what a bad network does. */
import * as NodeNet from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** What may happen to a frame, with its probability. */
export interface Faults {
  readonly drop: number
  readonly delay: number
  readonly duplicate: number
  /** Half of the frame is passed on, and then nothing more: the connection is closed. */
  readonly cut: number
  /** Half of the frame is passed on without its end, so that it runs into the next one. */
  readonly truncate: number
}

export interface WireProxy {
  readonly path: string
  /** How often each fault has happened, and how many frames went through. */
  readonly counts: Readonly<Record<keyof Faults | "frames", number>>
}

/** Milliseconds that a delayed frame is held back, at most; those that follow overtake it. */
const longestDelay = 300

/** Listens at `path` and passes frames, which end in a line feed, to the socket `to` and back. */
export const wireProxy = (
  path: string,
  to: string,
  faults: Faults,
  random: () => number
): Effect.Effect<WireProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const counts = { frames: 0, drop: 0, delay: 0, duplicate: 0, cut: 0, truncate: 0 }
    const open = new Set<NodeNet.Socket>()

    const fate = (): keyof Faults | undefined => {
      let left = random()
      for (const fault of Object.keys(faults) as Array<keyof Faults>) {
        left -= faults[fault]
        if (left < 0) return fault
      }
      return undefined
    }

    const pass = (from: NodeNet.Socket, onto: NodeNet.Socket) => {
      let rest: Buffer = Buffer.alloc(0)
      const write = (bytes: Buffer) => {
        if (onto.writable) onto.write(bytes)
      }
      const frame = (bytes: Buffer) => {
        counts.frames++
        const fault = fate()
        if (fault !== undefined) counts[fault]++
        const half = bytes.subarray(0, bytes.length >> 1)
        switch (fault) {
          case "drop":
            return
          case "delay":
            return void setTimeout(() => write(bytes), random() * longestDelay)
          case "duplicate":
            return write(Buffer.concat([bytes, bytes]))
          case "truncate":
            return write(half)
          case "cut":
            onto.end(half)
            from.destroy()
            return
          default:
            return write(bytes)
        }
      }
      from.on("data", (chunk) => {
        rest = Buffer.concat([rest, chunk])
        for (let end = rest.indexOf(10); end !== -1; end = rest.indexOf(10)) {
          frame(rest.subarray(0, end + 1))
          rest = rest.subarray(end + 1)
        }
      })
      from.on("error", () => onto.destroy())
      from.on("close", () => {
        open.delete(from)
        onto.destroy()
      })
      open.add(from)
    }

    yield* Effect.acquireRelease(
      Effect.async<NodeNet.Server>((resume) => {
        const server = NodeNet.createServer((near) => {
          const far = NodeNet.connect(to)
          pass(near, far)
          pass(far, near)
        })
        server.listen(path, () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const socket of open) socket.destroy()
        })
    )
    return { path, counts }
  })
