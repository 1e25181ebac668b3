/**
 * Scripts of this folder as single files: a process that is started and killed many times should spend its time on the
 * database, and loading a thousand modules through a compiler takes seven times as long as loading one.
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { build } from "esbuild"
import type { programs } from "../../src/layers/sqlite/ChildProgram.js"

const bundles = new Map<string, Promise<string>>()

/** Made by globalProcesses.ts; each process that runs tests has its own files in it. */
const folder = (): string => {
  const root = process.env["DB_HUB_TEST_PROCESSES"]
  if (root === undefined) throw new Error("DB_HUB_TEST_PROCESSES is not set: run the tests with vitest")
  return NodePath.join(root, String(process.pid))
}

const bundle = async (source: string): Promise<string> => {
  const outfile = NodePath.join(folder(), NodePath.basename(source).replace(/ts$/, "mjs"))
  await build({
    entryPoints: [fileURLToPath(new URL(source, import.meta.url))],
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

const once = (source: string): Promise<string> => {
  const known = bundles.get(source) ?? bundle(source)
  bundles.set(source, known)
  return known
}

const programOf = (name: (typeof programs)[number]): string => `../../src/layers/sqlite/${name}.ts`

/** The file to give to Node.js for a script of this folder; made once. */
export const bundled = async (script: string): Promise<string> => {
  // Any that shares its writes may start it.
  await once(programOf("SqliteCheckpointThread"))
  return once(script)
}

/** Puts a program that the library starts beside the scripts, which without it do without; gone with the scope. */
export const withProgram = (name: (typeof programs)[number]): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.promise(() => bundle(programOf(name))),
      (file) => Effect.sync(() => NodeFs.rmSync(file))
    )
  )
