/**
 * Programs of this folder that run in a process or a thread of their own.
 *
 * @since 0.1.0
 */
import { type ChildProcess, fork } from "node:child_process"
import * as NodeModule from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { Worker } from "node:worker_threads"

/**
 * All of them; each has a file of its own also where the rest is put into few.
 *
 * @since 0.1.0
 * @category constants
 */
export const programs = ["SqliteAgentWorker", "SqliteGraphBuilder", "SqliteGraphThread"] as const

type Program = (typeof programs)[number]

const source = import.meta.url.endsWith(".ts")

const fileOf = (name: Program): string => fileURLToPath(new URL(`./${name}.${source ? "ts" : "js"}`, import.meta.url))

/**
 * Starts a program as a process that does not keep this one alive. It gets nothing of this process's environment and no
 * stream to write to; what happens to it while nobody listens is seen when it is next used.
 *
 * @since 0.1.0
 * @category constructors
 */
export const startProcess = (name: Program): ChildProcess => {
  const child = fork(fileOf(name), {
    // A checkout runs its own source.
    execArgv: source ? ["--import", pathToFileURL(NodeModule.createRequire(import.meta.url).resolve("tsx")).href] : [],
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

const watch = (maxMemory: number) => `
const parent = process.ppid
setInterval(() => {
  if (process.ppid !== parent || process.memoryUsage.rss() > ${maxMemory}) process.kill(process.pid, "SIGKILL")
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
