/**
 * Graphs of collections, as the process that searches sees them: opened in a thread each, built in a child process.
 */
import type { ChildProcess } from "node:child_process"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { type HnswIndex, OutOfCandidates } from "../../vector/index.js"
import { startProcess, startThread, whyMissing } from "./ChildProgram.js"
import type { BuilderMessage, BuilderRequest, BuildTask, Built } from "./SqliteGraphBuilder.js"
import type { GraphFile, GraphSettings } from "./SqliteGraphFile.js"
import type { ThreadAnswer, ThreadData, ThreadRequest } from "./SqliteGraphThread.js"

/** The file is gone, cut short or altered, or cannot be opened here. */
export class GraphDamaged extends Data.TaggedError("GraphDamaged")<{ readonly message: string }> {}

/** The child process could not build. */
export class BuildFailed extends Data.TaggedError("BuildFailed")<{ readonly message: string }> {}

export interface OpenGraph extends HnswIndex.Graph {
  /** False once its thread has ended. */
  readonly isOpen: () => boolean
}

/** What the library holds per vector beside the file: its place, and its key in a table. */
export const heapBytes = 96

/** Verifies the file and opens it; it is closed with the scope. */
export const open = (
  file: GraphFile,
  settings: GraphSettings,
  size: number
): Effect.Effect<OpenGraph, GraphDamaged, Scope.Scope> =>
  Effect.gen(function* () {
    const missing = whyMissing("SqliteGraphThread")
    if (missing !== undefined) return yield* new GraphDamaged({ message: missing })
    const worker = yield* Effect.acquireRelease(
      Effect.sync(() => startThread("SqliteGraphThread", { file, settings, size } satisfies ThreadData)),
      (worker) => Effect.promise(() => worker.terminate())
    )
    type Settle = (found: Effect.Effect<Float64Array, OutOfCandidates>) => void
    const waiting = new Map<number, Settle>()
    let ended = false
    let next = 0
    const settle = (id: number, found: Effect.Effect<Float64Array, OutOfCandidates>) => {
      waiting.get(id)?.(found)
      waiting.delete(id)
      if (waiting.size === 0) worker.unref()
    }
    const end = () => {
      ended = true
      for (const id of Array.from(waiting.keys())) settle(id, new OutOfCandidates())
    }
    yield* Effect.async<void, GraphDamaged>((resume) => {
      const fail = (message: string) => {
        end()
        resume(new GraphDamaged({ message }))
      }
      worker.on("error", ({ message }) => fail(message)).on("exit", () => fail("its thread ended"))
      worker.on("message", (answer: ThreadAnswer) => {
        if (answer.type === "found") return settle(answer.id, Effect.succeed(answer.keys))
        if (answer.type === "damaged") return fail("its file is missing or not whole")
        worker.unref()
        resume(Effect.void)
      })
    })
    return {
      size,
      bytes: size * heapBytes,
      isOpen: () => !ended,
      search: (query, count) =>
        Effect.async<Float64Array, OutOfCandidates>((resume) => {
          if (ended) return resume(new OutOfCandidates())
          const id = next++
          // The process stays while it waits.
          if (waiting.size === 0) worker.ref()
          waiting.set(id, resume)
          worker.postMessage({ id, query, count } satisfies ThreadRequest)
          return Effect.sync(() => settle(id, Effect.never))
        })
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
