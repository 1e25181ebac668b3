/**
 * Scripts of this folder as single files: a process that is started and killed many times should spend its time on the
 * database, and loading a thousand modules through a compiler takes seven times as long as loading one.
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

/** Inside the checkout, so that what is not bundled is found. */
const root = fileURLToPath(new URL("../../.processes/", import.meta.url))

const bundles = new Map<string, Promise<string>>()
let folder: string | undefined

const bundle = async (script: string): Promise<string> => {
  if (folder === undefined) {
    NodeFs.mkdirSync(root, { recursive: true })
    const made = NodeFs.mkdtempSync(root)
    process.once("exit", () => NodeFs.rmSync(made, { recursive: true, force: true }))
    folder = made
  }
  const outfile = NodePath.join(folder, script.replace(/ts$/, "mjs"))
  await build({
    entryPoints: [fileURLToPath(new URL(script, import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    format: "esm",
    // CommonJS inside the bundle asks for Node's own modules.
    banner: { js: 'import * as __module from "node:module"; const require = __module.createRequire(import.meta.url);' },
    external: ["better-sqlite3", "usearch", "pg", "pg-cursor", "libpg-query", "@electric-sql/*"],
    logLevel: "error"
  })
  return outfile
}

/** The file to give to Node.js for a script of this folder; made once. */
export const bundled = (script: string): Promise<string> => {
  const known = bundles.get(script) ?? bundle(script)
  bundles.set(script, known)
  return known
}
