/**
 * What the commands read from and write to.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { type InvalidInput, invalidInput } from "../errors/DbError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface IoShape {
  /** Writes text and a line feed to standard output. */
  readonly out: (text: string) => Effect.Effect<void>
  /** Writes text and a line feed to standard error. */
  readonly err: (text: string) => Effect.Effect<void>
  /** All of standard input. */
  readonly stdin: Effect.Effect<string, InvalidInput>
  /** The width to which output is cut; undefined where nobody watches it. */
  readonly columns: number | undefined
  /** Whether standard output takes colours. */
  readonly colors: boolean
  /** Whether standard error does. */
  readonly errorColors: boolean
  /** Replaces the line of progress, or takes it away; undefined where nobody watches it. */
  readonly progress: ((line: string) => void) | undefined
}

/**
 * @since 0.1.0
 * @category tags
 */
export class Io extends Context.Tag("effect-db-hub/cli/Io")<Io, IoShape>() {}

/** Succeeds also when the reader has gone, as `head` does: there is nobody left to tell. */
const write = (stream: NodeJS.WriteStream, text: string): Effect.Effect<void> =>
  Effect.async((resume) => {
    stream.write(`${text}\n`, () => resume(Effect.void))
  })

const readAll = async (): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  for await (const chunk of process.stdin) chunks.push(chunk)
  return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks))
}

/**
 * The streams of this process; ANSI escapes only to a terminal that takes them, and never under `NO_COLOR`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fromProcess = (): IoShape => {
  const { env, stderr, stdout } = process
  const watched = env["TERM"] !== "dumb"
  const colorful = (stream: NodeJS.WriteStream) => stream.isTTY === true && watched && !env["NO_COLOR"]
  let shown = 0
  return {
    out: (text) => write(stdout, text),
    err: (text) => write(stderr, text),
    stdin: Effect.tryPromise({
      try: readAll,
      catch: () => invalidInput({ operation: "cli" }, "standard input", "cannot be read", "text in UTF-8")
    }),
    columns: stdout.isTTY ? stdout.columns || 80 : undefined,
    colors: colorful(stdout),
    errorColors: colorful(stderr),
    // Blanks instead of an escape to clear the line, so that it needs no colours.
    progress:
      stderr.isTTY && watched
        ? (line) => {
            stderr.write(`\r${line.padEnd(shown)}${line === "" ? "\r" : ""}`)
            shown = line.length
          }
        : undefined
  }
}

/**
 * Shows progress while an effect runs, and takes it away after; the effect is told how to show it.
 *
 * @since 0.1.0
 * @category progress
 */
export const withProgress = <A, E, R>(
  use: (show: (line: string) => Effect.Effect<void>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R | Io> =>
  Effect.flatMap(Io, ({ progress }) =>
    progress === undefined
      ? use(() => Effect.void)
      : Effect.ensuring(
          use((line) => Effect.sync(() => progress(line))),
          Effect.sync(() => progress(""))
        )
  )
