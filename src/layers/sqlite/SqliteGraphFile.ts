/**
 * The files that hold the graphs of collections, in a folder beside the database. They are caches: a row of the database
 * says which file is whole, by its length and checksum, and the library that reads them ends the process on any other.
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"

/** A file, and how to tell that it is whole. */
export interface GraphFile {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

export const folderOf = (database: string): string => `${NodePath.resolve(database)}-vectors`

export const pathOf = (database: string, collectionId: number, token: string): string =>
  NodePath.join(folderOf(database), `${collectionId}-${token}.usearch`)

/** Deletes the files of a collection, but that of one token. */
export const sweep = (database: string, collectionId: number, keep: string | undefined): void => {
  const folder = folderOf(database)
  if (!NodeFs.existsSync(folder)) return
  for (const name of NodeFs.readdirSync(folder)) {
    const token = new RegExp(`^${collectionId}-([0-9a-f-]+)\\.usearch$`).exec(name)?.[1]
    if (token !== undefined && token !== keep) NodeFs.rmSync(NodePath.join(folder, name), { force: true })
  }
}

const blockBytes = 4 * 1024 * 1024

/** Blocks its thread. */
export const sha256Of = (path: string): string => {
  const hash = NodeCrypto.createHash("sha256")
  const file = NodeFs.openSync(path, "r")
  try {
    const block = Buffer.alloc(blockBytes)
    for (let read = NodeFs.readSync(file, block); read > 0; read = NodeFs.readSync(file, block)) {
      hash.update(block.subarray(0, read))
    }
  } finally {
    NodeFs.closeSync(file)
  }
  return hash.digest("hex")
}

/** Whether the file is there and whole. Blocks its thread. */
export const isWhole = ({ bytes, path, sha256 }: GraphFile): boolean => {
  const found = NodeFs.statSync(path, { throwIfNoEntry: false })
  return found?.isFile() === true && found.size === bytes && sha256Of(path) === sha256
}
