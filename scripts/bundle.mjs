// Puts the command into a few files, dist/bundle: loading hundreds of small ones takes most of the time in which it
// starts. What is native, or installed only by those who need it, stays outside. After tsc.
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const root = fileURLToPath(new URL("..", import.meta.url))

/** What the command starts as processes and threads of their own, which it looks for beside itself. */
const programs = readdirSync(`${root}/dist/layers/sqlite`)
  .filter((file) => file.endsWith(".js"))
  .flatMap((file) =>
    Array.from(
      readFileSync(`${root}/dist/layers/sqlite/${file}`, "utf8").matchAll(/\b(?:program|startThread)\("(\w+)"/g),
      ([, name]) => `dist/layers/sqlite/${name}.js`
    )
  )

rmSync(`${root}/dist/bundle`, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  entryPoints: ["dist/cli/main.js", ...new Set(programs)],
  outdir: "dist/bundle",
  entryNames: "[name]",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  external: ["better-sqlite3", "usearch", "pg", "pg-cursor", "pg-native", "libpg-query", "@electric-sql/*"],
  banner: {
    js: 'import { createRequire as createRequireOfBundle } from "node:module"; const require = createRequireOfBundle(import.meta.url);'
  },
  logLevel: "warning"
})
