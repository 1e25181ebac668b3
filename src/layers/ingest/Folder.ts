/**
 * The files of a folder that are meant to be read.
 */
import * as NodeFs from "node:fs/promises"
import * as NodePath from "node:path"
import * as Effect from "effect/Effect"
import ignore, { type Ignore } from "ignore"
import { type InvalidInput, invalidInput } from "../../errors/index.js"
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

/** A `.gitignore` and where it stands. */
interface Rules {
  readonly folder: string
  readonly rules: Ignore
}

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""

const rulesIn = async (folder: string): Promise<ReadonlyArray<Rules>> => {
  const text = await NodeFs.readFile(NodePath.join(folder, ".gitignore"), "utf8").catch((error) => {
    if (["ENOENT", "EISDIR", "ENOTDIR"].includes(codeOf(error))) return undefined
    throw error
  })
  return text === undefined ? [] : [{ folder, rules: ignore().add(text) }]
}

const exists = (path: string): Promise<boolean> =>
  NodeFs.access(path).then(
    () => true,
    () => false
  )

/** The rules above a folder, from the root of its repository down; none where it is in no repository. */
const rulesAbove = async (folder: string): Promise<ReadonlyArray<Rules>> => {
  if (await exists(NodePath.join(folder, ".git"))) return []
  const above: Array<Rules> = []
  for (let at = folder; NodePath.dirname(at) !== at; ) {
    at = NodePath.dirname(at)
    above.unshift(...(await rulesIn(at)))
    if (await exists(NodePath.join(at, ".git"))) return above
  }
  return []
}

/** The deepest rules that say something decide. */
const isIgnored = (path: string, isFolder: boolean, all: ReadonlyArray<Rules>): boolean =>
  all.reduce((ignored, { folder, rules }) => {
    const relative = NodePath.relative(folder, path).split(NodePath.sep).join("/")
    const said = rules.test(isFolder ? `${relative}/` : relative)
    return said.ignored || (ignored && !said.unignored)
  }, false)

const isLeftOut = (name: string): boolean => name.startsWith(".") || name === "node_modules"

const walk = async (
  root: string,
  folder: string,
  above: ReadonlyArray<Rules>,
  files: Array<string>,
  skipped: Array<SkippedFile>
): Promise<void> => {
  const rules = [...above, ...(await rulesIn(folder))]
  for (const entry of await NodeFs.readdir(folder, { withFileTypes: true })) {
    const at = NodePath.join(folder, entry.name)
    if (isLeftOut(entry.name) || isIgnored(at, entry.isDirectory(), rules)) continue
    const path = NodePath.relative(root, at).split(NodePath.sep).join("/")
    if (entry.isSymbolicLink()) skipped.push({ path, reason: "symbolic link" })
    else if (entry.isFile()) files.push(path)
    else if (!entry.isDirectory()) skipped.push({ path, reason: "not a file" })
    else {
      await walk(root, at, rules, files, skipped).catch((error) => {
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
    catch: (error) =>
      invalidInput(
        { operation: "Ingest.folder" },
        "path",
        `${folder} cannot be read (${codeOf(error)})`,
        "a folder that is there and readable"
      )
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
