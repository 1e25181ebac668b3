// How the command is put into a few files. What is native, or installed only by those who need it, stays outside.
import { fileURLToPath } from "node:url"

export const bundleOptions = {
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  minifySyntax: true,
  minifyWhitespace: true,
  external: ["better-sqlite3", "usearch", "pg", "pg-cursor", "pg-native", "libpg-query", "@electric-sql/*"],
  alias: { "@modelcontextprotocol/server/_shims": fileURLToPath(new URL("mcpShims.mjs", import.meta.url)) },
  banner: {
    js: 'import { createRequire as createRequireOfBundle } from "node:module"; const require = createRequireOfBundle(import.meta.url);'
  },
  logLevel: "warning"
}
