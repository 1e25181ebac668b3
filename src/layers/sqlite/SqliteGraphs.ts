/**
 * Graphs of collections, as the process that searches sees them: opened in a thread each, built in a child process.
 */
import type { ChildProcess } from "node:child_process"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { type HnswIndex, OutOfCandidates } from "../../vector/index.js"
import { nextTurn } from "../EventLoop.js"
import { startProcess, startThread, whyMissing } from "./ChildProgram.js"
import type { BuilderMessage, BuilderRequest, BuildTask, Built } from "./SqliteGraphBuilder.js"
import * as Exchange from "./SqliteGraphExchange.js"
import type { GraphFile } from "./SqliteGraphFile.js"
import type { GraphSettings } from "./SqliteGraphIndex.js"
import type { ThreadData, ThreadMessage } from "./SqliteGraphThread.js"

/** The file is gone, cut short or altered, or cannot be opened here. */
export class GraphDamaged extends Data.TaggedError("GraphDamaged")<{ readonly message: string }> {}

/** The child process could not build. */
export class BuildFailed extends Data.TaggedError("BuildFailed")<{ readonly message: string }> {}

export interface OpenGraph extends HnswIndex.Graph {
  /** False once its thread has ended. */
  readonly isOpen: () => boolean
}

/** What the library holds per vector beside the file, its place and its key in a table, and room in an answer. */
const heapBytes = 104

/** Vectors of a graph that is opened on the event loop, too, in some 14 ms: searching there saves changing threads. */
const hereLimit = 200_000

/** Candidates that are searched on the event loop at most. */
const hereCount = 1024

/** Milliseconds for which a thread's answer is waited for on the spot, which costs less than to be told later. */
const patience = 4

/** What the graph of so many vectors takes beside the file. */
export const bytesFor = (vectors: number): number => vectors * heapBytes * (vectors <= hereLimit ? 2 : 1)

const unusable = (cause: unknown) => new GraphDamaged({ message: String(cause) })

/** The library, for use on the event loop. */
const loadLibrary = Effect.tryPromise({ try: () => import("./SqliteGraphIndex.js"), catch: unusable })

/** Verifies the file and opens it in a thread of its own, which ends with the scope. */
const openInThread = (
  file: GraphFile,
  settings: GraphSettings,
  size: number
): Effect.Effect<OpenGraph, GraphDamaged, Scope.Scope> =>
  Effect.gen(function* () {
    const missing = whyMissing("SqliteGraphThread")
    if (missing !== undefined) return yield* new GraphDamaged({ message: missing })
    const exchange = Exchange.make(settings.dimension, size)
    const worker = yield* Effect.acquireRelease(
      Effect.sync(() => startThread("SqliteGraphThread", { file, settings, size, exchange } satisfies ThreadData)),
      (worker) => Effect.promise(() => worker.terminate())
    )
    const waiting = new Set<(answered: Effect.Effect<void, OutOfCandidates>) => void>()
    let ended = false
    yield* Effect.async<void, GraphDamaged>((resume) => {
      const fail = (message: string) => {
        ended = true
        for (const resume of waiting) resume(new OutOfCandidates())
        resume(new GraphDamaged({ message }))
      }
      worker.on("error", ({ message }) => fail(message)).on("exit", () => fail("its thread ended"))
      worker.on("message", (message: ThreadMessage) => {
        if (message === "damaged") return fail("its file is missing or not whole")
        worker.unref()
        resume(Effect.void)
      })
    })
    const caller = Exchange.caller(exchange)
    const answered = Effect.async<void, OutOfCandidates>((resume) => {
      const settle = () => {
        waiting.delete(resume)
        if (waiting.size === 0) worker.unref()
      }
      // The process stays while it waits.
      worker.ref()
      waiting.add(resume)
      caller.answered().then(() => {
        settle()
        resume(Effect.void)
      })
      return Effect.sync(settle)
    })
    const search: OpenGraph["search"] = (query, count) => {
      if (ended) return new OutOfCandidates()
      // One that was interrupted is still being answered.
      if (!caller.isIdle()) return Effect.flatMap(answered, () => search(query, count))
      caller.ask(query, count)
      return caller.wait(patience) ? Effect.succeed(caller.answer()) : Effect.map(answered, caller.answer)
    }
    return { size, bytes: bytesFor(size), isOpen: () => !ended, search }
  })

/** Verifies the file and opens it; it is closed with the scope. */
export const open = (
  file: GraphFile,
  settings: GraphSettings,
  size: number
): Effect.Effect<OpenGraph, GraphDamaged, Scope.Scope> =>
  Effect.gen(function* () {
    if (size > hereLimit) return yield* openInThread(file, settings, size)
    // Before and after: with what it takes to load the library or to let go of other memory, a turn would be too long.
    const library = yield* loadLibrary
    const thread = yield* openInThread(file, settings, size)
    const here = yield* Effect.try({ try: () => library.view(file, settings, size), catch: unusable })
    yield* nextTurn
    return {
      ...thread,
      search: (query, count) => (count <= hereCount ? Effect.succeed(here(query, count)) : thread.search(query, count))
    }
  })

/** Milliseconds that a child process waits for another task. */
const idleTime = 5_000

export interface Builder {
  /**
   * Builds a graph, or finds that somebody else has meanwhile (`undefined`). No other process builds for the collection
   * until the scope ends.
   */
  readonly build: (
    task: BuildTask,
    onProgress: (share: number) => void
  ) => Effect.Effect<Built | undefined, BuildFailed, Scope.Scope>
}

/** One task at a time, in a child process that is there while it has any. */
export const makeBuilder: Effect.Effect<Builder, never, Scope.Scope> = Effect.gen(function* () {
  const turn = yield* Effect.makeSemaphore(1)
  let idle: ChildProcess | undefined
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    clearTimeout(timer)
    idle?.kill("SIGKILL")
    idle = undefined
  }
  yield* Effect.addFinalizer(() => Effect.sync(stop))

  const borrow = Effect.sync(() => {
    const child = idle?.connected === true && idle.exitCode === null ? idle : startProcess("SqliteGraphBuilder")
    clearTimeout(timer)
    idle = undefined
    return child
  })

  const giveBack = (child: ChildProcess, exit: Exit.Exit<unknown, unknown>) =>
    Effect.sync(() => {
      if (Exit.isFailure(exit) || !child.connected) return void child.kill("SIGKILL")
      child.send({ type: "release" } satisfies BuilderRequest)
      idle = child
      timer = setTimeout(stop, idleTime).unref()
    })

  const ask = (child: ChildProcess, task: BuildTask, onProgress: (share: number) => void) =>
    Effect.async<Built | undefined, BuildFailed>((resume) => {
      const settle = (result: Effect.Effect<Built | undefined, BuildFailed>) => {
        child.off("message", onMessage).off("exit", onExit)
        resume(result)
      }
      const fail = (message: string) => settle(new BuildFailed({ message }))
      const onExit = (code: number | null, signal: string | null) =>
        fail(`the process that builds ended (${signal ?? code}; out of memory?)`)
      const onMessage = (message: BuilderMessage) => {
        switch (message.type) {
          case "progress":
            return onProgress(message.done / Math.max(1, message.total))
          case "built":
            return settle(Effect.succeed(message.built))
          case "superseded":
            return settle(Effect.succeed(undefined))
          case "failed":
            return fail(message.message)
        }
      }
      child.on("message", onMessage).on("exit", onExit)
      child.send({ type: "build", task } satisfies BuilderRequest, (error) => {
        if (error !== null) fail(error.message)
      })
    })

  return {
    build: (task, onProgress) =>
      Effect.gen(function* () {
        const missing = whyMissing("SqliteGraphBuilder")
        if (missing !== undefined) return yield* new BuildFailed({ message: missing })
        yield* Effect.acquireRelease(turn.take(1), () => turn.release(1))
        const child = yield* Effect.acquireRelease(borrow, giveBack)
        return yield* ask(child, task, onProgress)
      })
  }
})
