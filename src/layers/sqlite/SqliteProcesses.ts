/**
 * Processes that work for agents, one task at a time each: SQLite cannot be stopped from within its own process, so one
 * that takes too long is killed, with all that it holds.
 *
 * @since 0.1.0
 */
import * as NodeV8 from "node:v8"
import * as Either from "effect/Either"
import type { DbError } from "../../errors/index.js"
import { type Piped, type Program, startPiped } from "./ChildProgram.js"
import { mayCommit } from "./SqliteAgentChild.js"

/** Milliseconds that a process may take to start. */
const startBudget = 30_000

/**
 * @since 0.1.0
 * @category models
 */
export interface Settings {
  readonly program: Program
  /** Processes that work side by side; what else is asked waits. */
  readonly concurrency: number
  /** Milliseconds that a task may take. */
  readonly deadline: number
  /** What a task fails with that took too long, and one whose process ended: before it was let commit, or after. */
  readonly late: (committing: boolean) => DbError
  readonly gone: (committing: boolean) => DbError
  /** What a task fails with that is asked after the end, or is not let commit before it. */
  readonly closed: () => DbError
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Processes<Task, Answer> {
  /** Starts one, to be there when it is needed. */
  readonly warm: () => void
  /** Tells the answer of a task once; the function that it returns gives the task up, and then nothing is told. */
  readonly ask: (task: Task, tell: (answer: Either.Either<Answer, DbError>) => void) => () => void
  /** Kills them all, and waits until they have ended; nothing is asked of them any more. */
  readonly close: () => Promise<void>
}

interface Child extends Piped {
  /** It can take a task. */
  up: boolean
  /** Who waits for a message; undefined tells that the process has ended. */
  hear: (message: unknown) => void
}

const kill = ({ process }: Piped) => void process.kill("SIGKILL")

/** A process that has not ended has the database open: nobody else can be the last to close it and put its log away. */
const ended = ({ process }: Piped): Promise<void> =>
  new Promise((resolve) => {
    process.once("exit", () => resolve())
    process.ref()
  })

const usable = ({ pipe, process }: Piped) => !pipe.destroyed && !process.killed

/** Whole messages out of the pieces that a pipe brings: a length, then as much JSON; one is on its way at most. */
const messages = (use: (message: unknown) => void) => {
  let pieces: Array<Buffer> = []
  let size = 0
  return (piece: Buffer) => {
    pieces.push(piece)
    size += piece.length
    if (size < 4) return
    if (pieces[0]!.length < 4) pieces = [Buffer.concat(pieces)]
    if (size < 4 + pieces[0]!.readUInt32LE()) return
    const text = (pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces)).toString("utf8", 4)
    pieces = []
    size = 0
    use(JSON.parse(text))
  }
}

const send = ({ pipe }: Child, task: unknown) => {
  const bytes = NodeV8.serialize(task)
  const message = Buffer.allocUnsafe(4 + bytes.length)
  message.writeUInt32LE(bytes.length)
  message.set(bytes, 4)
  pipe.write(message)
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <Task, Answer>({
  closed: isClosed,
  concurrency,
  deadline,
  gone,
  late,
  program
}: Settings): Processes<Task, Answer> => {
  interface Job {
    readonly task: Task
    readonly tell: (answer: Either.Either<Answer, DbError>) => void
    child?: Child
    timer?: NodeJS.Timeout
    committing: boolean
    over: boolean
  }
  const children = new Set<Child>()
  const idle: Array<Child> = []
  const waiting = new Set<Job>()
  let working = 0
  let closed = false

  const spawn = (): Child => {
    const child: Child = { ...startPiped(program), up: false, hear: () => {} }
    // What could not be started has no end.
    if (child.process.pid !== undefined) {
      children.add(child)
      child.process.once("exit", () => children.delete(child))
    }
    child.pipe.on(
      "data",
      messages((message) => {
        const { up } = child
        // Its first message says no more than that.
        child.up = true
        child.hear(up ? message : "up")
      })
    )
    child.pipe.once("close", () => child.hear(undefined))
    return child
  }

  const borrow = (): Child => {
    for (let child = idle.pop(); child !== undefined; child = idle.pop()) if (usable(child)) return child
    return spawn()
  }

  /** The process is free again, and whoever waited longest is next. */
  const end = (job: Job) => {
    const { child, timer } = job
    job.over = true
    clearTimeout(timer)
    if (child === undefined) return
    child.hear = () => {}
    child.pipe.unref()
    working--
    if (closed) return
    if (usable(child)) idle.push(child)
    // The next task finds a process that has started meanwhile.
    else if (idle.length === 0) idle.push(spawn())
    const [next] = waiting
    if (next !== undefined) begin(next)
  }

  const settle = (job: Job, answer: Either.Either<Answer, DbError>) => {
    end(job)
    job.tell(answer)
  }

  /** Real timers: the processes live outside of any test's clock. */
  const limit = (job: Job, child: Child, millis: number, error: Settings["late"]) => {
    clearTimeout(job.timer)
    job.timer = setTimeout(() => {
      kill(child)
      settle(job, Either.left(error(job.committing)))
    }, millis)
  }

  const begin = (job: Job) => {
    waiting.delete(job)
    working++
    const child = borrow()
    job.child = child
    const work = () => {
      limit(job, child, deadline, late)
      send(child, job.task)
    }
    child.hear = (message) => {
      if (message === undefined) settle(job, Either.left(closed && !job.committing ? isClosed() : gone(job.committing)))
      else if (message === "up") work()
      else if (message === mayCommit) {
        job.committing = true
        limit(job, child, deadline, late)
        send(child, mayCommit)
      } else settle(job, Either.right(message as Answer))
    }
    child.pipe.ref()
    if (child.up) work()
    else limit(job, child, startBudget, gone)
  }

  return {
    warm: () => void idle.push(spawn()),
    ask: (task, tell) => {
      const job: Job = { task, tell, committing: false, over: false }
      if (closed) settle(job, Either.left(isClosed()))
      else if (working < concurrency) begin(job)
      else waiting.add(job)
      return () => {
        // Its process may work for another by now.
        if (job.over) return
        waiting.delete(job)
        if (job.child?.up === true) kill(job.child)
        end(job)
      }
    },
    close: async () => {
      closed = true
      for (const child of children) kill(child)
      for (const job of waiting) settle(job, Either.left(isClosed()))
      waiting.clear()
      await Promise.all(Array.from(children, ended))
    }
  }
}
