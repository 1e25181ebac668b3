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
  const { dev, ino } = NodeFs.statSync(path, { bigint: true })
  return `${dev} ${ino} ${path}`
}

/** The next bytes of the pipe; when it is closed, nobody is left to work for. */
const bytes = (length: number): Buffer => {
  const buffer = Buffer.allocUnsafe(length)
  for (let at = 0; at < length; ) {
    const got = NodeFs.readSync(pipeDescriptor, buffer, at, length - at, null)
    if (got === 0) process.exit(0)
    at += got
  }
  return buffer
}

/**
 * Waits for the next message.
 *
 * @since 0.1.0
 * @category running
 */
export const take = (): unknown => NodeV8.deserialize(bytes(bytes(4).readUInt32LE()))

/**
 * @since 0.1.0
 * @category running
 */
export const tell = (message: unknown): void => {
  const text = JSON.stringify(message)
  const buffer = Buffer.allocUnsafe(4 + Buffer.byteLength(text))
  buffer.writeUInt32LE(buffer.length - 4)
  buffer.write(text, 4)
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
