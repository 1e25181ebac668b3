/**
 * Where the records of a folder are.
 *
 * @since 0.1.0
 */
import * as NodePath from "node:path"

/**
 * A file as it is named from here, where it is below, so that it can be opened.
 *
 * @since 0.1.0
 * @category places
 */
export const fileOf = (folder: unknown, path: string): string => {
  if (typeof folder !== "string") return path
  const file = NodePath.join(folder, path)
  const fromHere = NodePath.relative(process.cwd(), file)
  return fromHere.startsWith("..") || NodePath.isAbsolute(fromHere) ? file : fromHere
}
