/**
 * Scripts of this folder as single files: a process that is started and killed many times should spend its time on the
 * database, and loading a thousand modules through a compiler takes seven times as long as loading one.
 */
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const bundles = new Map<string, Promise<string>>()

const bundle = async (script: string): Promise<string> => {
  // Made by globalProcesses.ts; each process that runs tests has its own files in it.
  const folder = process.env["DB_HUB_TEST_PROCESSES"]
  if (folder === undefined) throw new Error("DB_HUB_TEST_PROCESSES is not set: run the tests with vitest")
  const outfile = NodePath.join(folder, String(process.pid), script.replace(/ts$/, "mjs"))
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
