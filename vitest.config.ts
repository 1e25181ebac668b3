import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

const source = (path: string) => fileURLToPath(new URL(`./src/${path}`, import.meta.url))

export default defineConfig({
  resolve: {
    alias: [
      { find: /^effect-db-hub$/, replacement: source("index.ts") },
      { find: /^effect-db-hub\/(sqlite|postgres)$/, replacement: source("layers/$1/index.ts") },
      { find: /^effect-db-hub\/stores$/, replacement: source("stores.ts") },
      { find: /^effect-db-hub\/(\w+)$/, replacement: source("$1/index.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    globalSetup: [
      "test/support/globalTemporary.ts",
      "test/support/globalPostgres.ts",
      "test/support/globalProcesses.ts"
    ],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    pool: "forks",
    poolOptions: { forks: { maxForks: 2 } }
  }
})
