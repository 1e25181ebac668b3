/**
 * The files of a folder that are meant to be read.
 */
import * as NodeFs from "node:fs/promises"
import * as NodePath from "node:path"
import * as Effect from "effect/Effect"
import ignore, { type Ignore } from "ignore"
import { InvalidInput } from "../../errors/index.js"
import type { SkippedFile } from "../../services/Ingest.js"

export interface Listing {
  /** The real path of the folder. */
  readonly root: string
  /** Relative to the root, with `/`, in order. */
  readonly files: ReadonlyArray<string>
  readonly skipped: ReadonlyArray<SkippedFile>
}

export interface Content {
  readonly path: string
  readonly bytes: Buffer
  readonly text: string
}

/** What `.gitignore` files say of paths relative to `base`. */
interface Rules {
  readonly base: string
  readonly rules: Ignore
}

/** The default of git where file names do not differ by case alone. */
const ignorecase = ["darwin", "win32"].includes(process.platform)

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""

const relative = (from: string, to: string): string => NodePath.relative(from, to).split(NodePath.sep).join("/")

/**
 * The lines of a `.gitignore` as they would stand above `folder`: in one list the last that matches decides, as the
 * deepest file does for git, and a folder that it takes in again is not left out by those above.
 */
const patternsFrom = (folder: string, text: string): ReadonlyArray<string> => {
  const lines = text.replace(/^\ufeff/, "").split(/\r?(?:\n|$)/)
  if (folder === "") return lines
  const at = `/${folder.replace(/[\\*?[\]]/g, "\\$&")}/`
  return lines.flatMap((line) => {
    const [, not = "", slash = "", pattern = ""] = /^(!?)(\/?)(.*)$/.exec(line) ?? []
    if (pattern.trim() === "" || line.startsWith("#")) return []
    const isAnchored = slash !== "" || /\/(?!\s*$)/.test(pattern)
    return [`${not}${at}${isAnchored ? "" : "**/"}${pattern}`]
  })
}

const withRulesIn = async (folder: string, { base, rules }: Rules): Promise<Rules> => {
  const text = await NodeFs.readFile(NodePath.join(folder, ".gitignore"), "utf8").catch((error) => {
    if (["ENOENT", "EISDIR", "ENOTDIR"].includes(codeOf(error))) return undefined
    throw error
  })
  if (text === undefined) return { base, rules }
  return {
    base,
    rules: ignore({ ignorecase })
      .add(rules)
      .add(patternsFrom(relative(base, folder), text))
  }
}

const exists = (path: string): Promise<boolean> =>
  NodeFs.access(path).then(
    () => true,
    () => false
  )

/** The rules above a folder, from the root of its repository down; none where it is in no repository. */
const rulesAbove = async (folder: string): Promise<Rules> => {
  const above: Array<string> = []
  for (let at = folder; !(await exists(NodePath.join(at, ".git"))); above.unshift(at)) {
    if (NodePath.dirname(at) === at) return { base: folder, rules: ignore() }
    at = NodePath.dirname(at)
  }
  let all: Rules = { base: above[0] ?? folder, rules: ignore() }
  for (const at of above) all = await withRulesIn(at, all)
  return all
}

const isLeftOut = (name: string): boolean => name.startsWith(".") || name === "node_modules"

const walk = async (
  root: string,
  folder: string,
  above: Rules,
  files: Array<string>,
  skipped: Array<SkippedFile>
): Promise<void> => {
  const all = await withRulesIn(folder, above)
  for (const entry of await NodeFs.readdir(folder, { withFileTypes: true })) {
    const at = NodePath.join(folder, entry.name)
    const fromBase = `${relative(all.base, at)}${entry.isDirectory() ? "/" : ""}`
    if (isLeftOut(entry.name) || all.rules.ignores(fromBase)) continue
    const path = relative(root, at)
    if (entry.isSymbolicLink()) skipped.push({ path, reason: "symbolic link" })
    else if (entry.isFile()) files.push(path)
    else if (!entry.isDirectory()) skipped.push({ path, reason: "not a file" })
    else {
      await walk(root, at, all, files, skipped).catch((error) => {
        if (!["EACCES", "EPERM", "ENOENT"].includes(codeOf(error))) throw error
        skipped.push({ path: `${path}/`, reason: "unreadable" })
      })
    }
  }
}

const list = async (folder: string): Promise<Listing> => {
  const root = await NodeFs.realpath(folder)
  const files: Array<string> = []
  const skipped: Array<SkippedFile> = []
  await walk(root, root, await rulesAbove(root), files, skipped)
  return { root, files: files.sort(), skipped }
}

const realPath = (path: string): Promise<string> =>
  NodeFs.realpath(path).catch(async () => {
    const above = NodePath.dirname(path)
    return above === path ? path : NodePath.join(await realPath(above), NodePath.basename(path))
  })

/** The real path of a folder; of one that is gone, what it would be. */
export const rootOf = (folder: string): Effect.Effect<string> =>
  Effect.promise(() => realPath(NodePath.resolve(folder)))

/** `InvalidInput` for what is no folder, or cannot be read. */
export const listing = (folder: string): Effect.Effect<Listing, InvalidInput> =>
  Effect.tryPromise({
    try: () => list(folder),
    catch: (error) => {
      const code = codeOf(error)
      const problem = code === "ENOENT" ? "is not there" : code === "ENOTDIR" ? "is no folder" : "cannot be read"
      const allowed = "a folder that is there and readable"
      const message = `path ${folder} ${problem} (${code}); allowed: ${allowed}`
      return new InvalidInput({ operation: "Ingest.folder", code, field: "path", allowed, message })
    }
  })

const utf8 = new TextDecoder("utf-8", { fatal: true })

const readFile = async (root: string, path: string, maxSize: number): Promise<Content | SkippedFile> => {
  const at = NodePath.join(root, path)
  // Opened and then looked at, so that it is one file of which both are said.
  const handle = await NodeFs.open(at, NodeFs.constants.O_RDONLY | (NodeFs.constants.O_NOFOLLOW ?? 0))
  try {
    const { size } = await handle.stat()
    if (size > maxSize) return { path, reason: "too large" }
    const bytes = await handle.readFile()
    if (bytes.length > maxSize) return { path, reason: "too large" }
    if (bytes.includes(0)) return { path, reason: "binary" }
    const decoded = decode(bytes)
    return decoded === undefined ? { path, reason: "not UTF-8" } : { path, bytes, text: decoded }
  } finally {
    await handle.close()
  }
}

const decode = (bytes: Buffer): string | undefined => {
  try {
    return utf8.decode(bytes)
  } catch {
    // The decoder has no other way to say that it is no UTF-8.
    return undefined
  }
}

/** A file's text, or why it has none. */
export const read = (root: string, path: string, maxSize: number): Effect.Effect<Content | SkippedFile> =>
  Effect.orElseSucceed(
    Effect.tryPromise(() => readFile(root, path, maxSize)),
    (): SkippedFile => ({ path, reason: "unreadable" })
  )
