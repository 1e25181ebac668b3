// Puts the command into a few files, dist/bundle: loading hundreds of small ones takes most of the time in which it
// starts. After tsc.
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { programs } from "../dist/layers/sqlite/ChildProgram.js"
import { bundleOptions } from "./bundleOptions.mjs"

const root = fileURLToPath(new URL("..", import.meta.url))

await build({
  ...bundleOptions,
  absWorkingDir: root,
  // What the command starts as processes and threads of their own, it looks for beside itself.
  entryPoints: ["dist/cli/main.js", ...programs.map((name) => `dist/layers/sqlite/${name}.js`)],
  outdir: "dist/bundle",
  entryNames: "[name]"
})
