/**
 * Where backups may be written.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import * as Effect from "effect/Effect"
import { type InvalidInput, invalidInput } from "../errors/DbError.js"

const refused = (problem: string, allowed: string) =>
  invalidInput({ operation: "cli.backup" }, "output", problem, allowed)

/** The real path of a file whose last parts may not exist yet; throws at a link that leads nowhere. */
const realPath = (path: string): string =>
  NodeFs.lstatSync(path, { throwIfNoEntry: false }) === undefined
    ? NodePath.join(realPath(NodePath.dirname(path)), NodePath.basename(path))
    : NodeFs.realpathSync(path)

const isBelow = (path: string, folder: string): boolean => {
  const relative = NodePath.relative(folder, path)
  return relative !== "" && relative.split(NodePath.sep)[0] !== ".." && !NodePath.isAbsolute(relative)
}

const under = (output: string, folder: string): Effect.Effect<string, InvalidInput> =>
  Effect.gen(function* () {
    const file = NodePath.resolve(folder, output)
    const outside = refused(
      "leads out of the backups folder",
      "a path below it, or an absolute one with --allow-outside"
    )
    if (!isBelow(file, folder)) return yield* outside
    const [real, realFolder] = yield* Effect.try({
      try: () => [realPath(NodePath.dirname(file)), realPath(folder)] as const,
      catch: () => refused("cannot be followed to a folder", "a path without broken links")
    })
    return real === realFolder || isBelow(real, realFolder) ? file : yield* outside
  })

/**
 * The file that `--output` names: below the backups folder, links followed, or anywhere if that was allowed.
 *
 * @since 0.1.0
 * @category paths
 */
export const outputFile = (
  output: string,
  folder: string,
  allowOutside: boolean
): Effect.Effect<string, InvalidInput> => {
  if (output.trim() === "" || output.includes("\0") || /[\\/]$/.test(output)) {
    return Effect.fail(refused("names no file", "the name of a file"))
  }
  if (!NodePath.isAbsolute(output)) return under(output, folder)
  return allowOutside
    ? Effect.succeed(NodePath.resolve(output))
    : Effect.fail(refused("is an absolute path", "a path below the backups folder, or --allow-outside"))
}

/**
 * The name of the n-th backup of a database within one second.
 *
 * @since 0.1.0
 * @category paths
 */
export const defaultName = (database: string, at: Date, n: number): string => {
  const stamp = at.toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-")
  return `${NodePath.parse(database).name}-${stamp}${n === 1 ? "" : `-${n}`}.db`
}
