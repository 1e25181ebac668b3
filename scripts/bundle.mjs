// Puts the command into a few files, dist/bundle: loading hundreds of small ones takes most of the time in which it
// starts. What is native, or installed only by those who need it, stays outside. After tsc.
import { rmSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { programs } from "../dist/layers/sqlite/ChildProgram.js"

const root = fileURLToPath(new URL("..", import.meta.url))

rmSync(`${root}/dist/bundle`, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  // What the command starts as processes and threads of their own, it looks for beside itself.
  entryPoints: ["dist/cli/main.js", ...programs.map((name) => `dist/layers/sqlite/${name}.js`)],
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
  alias: { "@modelcontextprotocol/server/_shims": `${root}/scripts/mcpShims.mjs` },
  banner: {
    js: 'import { createRequire as createRequireOfBundle } from "node:module"; const require = createRequireOfBundle(import.meta.url);'
  },
  logLevel: "warning"
})
