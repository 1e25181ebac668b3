/**
 * Programs of this folder that run in a process or a thread of their own.
 *
 * @since 0.1.0
 */
import { type ChildProcess, fork, spawn } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodeModule from "node:module"
import { Socket } from "node:net"
import * as NodePath from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Worker } from "node:worker_threads"

/**
 * All of them; each has a file of its own also where the rest is put into few.
 *
 * @since 0.1.0
 * @category constants
 */
export const programs = [
  "SqliteAgentWorker",
  "SqliteAgentWriter",
  "SqliteCheckpointThread",
  "SqliteGraphBuilder",
  "SqliteGraphThread"
] as const

/**
 * @since 0.1.0
 * @category models
 */
export type Program = (typeof programs)[number]

/** Undefined in a bundle of CommonJS. */
const here: string | undefined = import.meta.url

const source = here?.endsWith(".ts") === true

/** Beside this file, with the extension of this file: a bundle may have another. */
const fileOf = (name: Program): string =>
  here === undefined ? "" : fileURLToPath(new URL(`./${name}${NodePath.extname(here)}`, here))

/**
 * Why a program cannot be started, if its file is not there: whoever puts this library into one file leaves the others
 * behind.
 *
 * @since 0.1.0
 * @category checks
 */
export const whyMissing = (name: Program): string | undefined =>
  NodeFs.existsSync(fileOf(name))
    ? undefined
    : `${fileOf(name) || `the file of ${name}`} is missing: in a bundle, make effect-db-hub external, or bundle ` +
      `dist/layers/sqlite/${name}.js as an ES module of its own beside the rest`

// A checkout runs its own source.
const execArgv = source
  ? ["--import", pathToFileURL(NodeModule.createRequire(import.meta.url).resolve("tsx")).href]
  : []

/**
 * Starts a program as a process that does not keep this one alive. It gets nothing of this process's environment and no
 * stream to write to; what happens to it while nobody listens is seen when it is next used.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startProcess = (name: Program): ChildProcess => {
  const child = fork(fileOf(name), {
    execArgv,
    env: {},
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    serialization: "advanced"
  })
  child.unref()
  child.channel?.unref()
  child.on("error", () => {})
  return child
}

/**
 * The descriptor that a piped program reads its tasks from, and writes its answers to.
 *
 * @since 0.1.0
 * @category constants
 */
export const pipeDescriptor = 3

/**
 * A process and the pipe to it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Piped {
  readonly process: ChildProcess
  readonly pipe: Socket
}

/**
 * Starts a program as `startProcess` does, with a pipe for bytes in place of a channel for messages: it can wait for them
 * in a plain read, and an answer is there in half the time.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startPiped = (name: Program): Piped => {
  const child = spawn(process.execPath, [...execArgv, fileOf(name)], {
    env: {},
    stdio: ["ignore", "ignore", "ignore", "pipe"]
  })
  // Where no more files can be opened, there are no pipes, and soon an error.
  const pipe = (child.stdio?.[pipeDescriptor] ?? new Socket()) as Socket
  child.unref()
  pipe.unref()
  child.on("error", () => pipe.destroy())
  pipe.on("error", () => {})
  return { process: child, pipe }
}

/**
 * Starts a program as a thread.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startThread = (name: Program, workerData: unknown): Worker => {
  const file = fileOf(name)
  if (!source) return new Worker(file, { workerData, execArgv: [] })
  // The compiler does not come along into a thread by itself.
  const compiler = NodeModule.createRequire(import.meta.url).resolve("tsx/cjs/api")
  const code = `require(${JSON.stringify(compiler)}).register(); require(${JSON.stringify(file)})`
  return new Worker(code, { workerData, eval: true, execArgv: [] })
}

/** On Windows a process keeps the id of a parent that is gone. */
const watch = (maxMemory: number) => `
const parent = process.ppid
const isGone = () => {
  if (process.ppid !== parent) return true
  try {
    return !process.kill(parent, 0)
  } catch (error) {
    return error.code === "ESRCH"
  }
}
setInterval(() => {
  if (isGone() || process.memoryUsage.rss() > ${maxMemory}) process.kill(process.pid, "SIGKILL")
}, 100)
`

/**
 * Ends this process with the one that started it, or when it holds more than so many bytes, also while it is deep in a
 * call: a thread beside it looks.
 *
 * @since 0.1.0
 * @category running
 */
export const dieWithParent = (maxMemory = Number.POSITIVE_INFINITY): void => {
  new Worker(watch(maxMemory), { eval: true, execArgv: [] }).unref()
  process.on("disconnect", () => process.exit(0))
  // It may have ended before anybody listened.
  if (process.connected === false) process.exit(0)
}
