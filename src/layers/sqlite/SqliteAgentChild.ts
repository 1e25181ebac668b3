/**
 * What the child processes have in common in which agents' statements run on SQLite. It stands alone, so that they load
 * fast.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodeV8 from "node:v8"
import { dieWithParent, pipeDescriptor } from "./ChildProgram.js"

/** Bytes that a process may hold: one value may have a gigabyte, a sort as much as there is. */
const maxMemory = 768 * 1024 * 1024

/**
 * What a process says that is done but for its commit, and hears if it may: before that nothing is applied.
 *
 * @since 0.1.0
 * @category constants
 */
export const mayCommit = "mayCommit"

/**
 * The code that a statement fails with that would make the database too much larger.
 *
 * @since 0.1.0
 * @category constants
 */
export const largeWrite = "HUB_TOO_LARGE"

/**
 * Bytes by which a statement may make the database larger; what it changes of the rest is held in memory until the commit,
 * so that whoever is killed leaves nothing in the write-ahead log.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxGrowth = 256 * 1024 * 1024

/**
 * @since 0.1.0
 * @category models
 */
export interface Failed {
  readonly type: "failed"
  readonly name: string
  readonly message: string
  readonly code: string | undefined
}

/**
 * What the driver threw, as it travels.
 *
 * @since 0.1.0
 * @category conversions
 */
export const failed = (cause: unknown): Failed => {
  const { code, message, name } = cause as { code?: unknown; message?: unknown; name?: unknown }
  return {
    type: "failed",
    name: String(name),
    message: String(message),
    code: code === undefined ? undefined : String(code)
  }
}

const minSafe = BigInt(Number.MIN_SAFE_INTEGER)
const maxSafe = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * A number where that is exact.
 *
 * @since 0.1.0
 * @category conversions
 */
export const exact = (value: unknown): unknown =>
  typeof value === "bigint" && value >= minSafe && value <= maxSafe ? Number(value) : value

/**
 * What tells one file from another that took its place under the same path.
 *
 * @since 0.1.0
 * @category conversions
 */
export const fileOf = (path: string): string => {
  // Exact inodes would come as slow big integers: where these are rounded, the time of birth tells files apart.
  const { birthtimeMs, dev, ino } = NodeFs.statSync(path)
  return `${dev} ${ino} ${birthtimeMs} ${path}`
}

/** Where a message begins, and most have room. */
const room = Buffer.allocUnsafeSlow(64 * 1024)

/** Fills a buffer from the pipe so far; when it is closed, nobody is left to work for. */
const fill = (buffer: Buffer, from: number, to: number): number => {
  let at = from
  while (at < to) {
    const got = NodeFs.readSync(pipeDescriptor, buffer, at, buffer.length - at, null)
    if (got === 0) process.exit(0)
    at += got
  }
  return at
}

/**
 * Waits for the next message. There is one at a time: what comes with its length belongs to it.
 *
 * @since 0.1.0
 * @category running
 */
export const take = (): unknown => {
  const got = fill(room, 0, 4)
  const end = 4 + room.readUInt32LE()
  const message = end <= room.length ? room : Buffer.allocUnsafe(end)
  if (message !== room) room.copy(message, 0, 0, got)
  fill(message, got, end)
  return NodeV8.deserialize(message.subarray(4, end))
}

/**
 * @since 0.1.0
 * @category running
 */
export const tell = (message: unknown): void => {
  const buffer = Buffer.from(`\0\0\0\0${JSON.stringify(message)}`)
  buffer.writeUInt32LE(buffer.length - 4)
  for (let at = 0; at < buffer.length; ) at += NodeFs.writeSync(pipeDescriptor, buffer, at)
}

/**
 * Says that the process is there, and ends it with the one that started it.
 *
 * @since 0.1.0
 * @category running
 */
export const begin = (): void => {
  dieWithParent(maxMemory)
  tell("up")
}
