// Runs a command of node_modules/.bin after making sure that what package-lock.json names is installed.
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, statSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const modules = join(root, "node_modules")
const installed = join(modules, ".package-lock.json")

const fresh = () => {
  if (!existsSync(installed)) return false
  const mtime = (file) => statSync(file).mtimeMs
  if (mtime(installed) >= mtime(join(root, "package-lock.json"))) return true
  const packages = (file) => JSON.parse(readFileSync(file, "utf8")).packages
  const have = packages(installed)
  return Object.entries(packages(join(root, "package-lock.json"))).every(
    ([name, want]) => name === "" || want.optional || want.peer || have[name]?.version === want.version
  )
}

const run = (command, args, env) =>
  spawnSync(command, args, { stdio: "inherit", env, shell: process.platform === "win32" }).status ?? 1

if (!fresh()) {
  // better-sqlite3 12 crashes under Node 24.19 and later, and 13 under Node 20; npm chooses by itself only where it is not
  // bound by package-lock.json.
  const bundled = Number.parseInt(process.versions.node, 10) >= 22
  console.error(
    bundled
      ? "Installing dependencies"
      : "Installing dependencies (better-sqlite3 compiles if no prebuilt binary can be fetched: about a minute)"
  )
  // Node's own headers, when they lie beside this Node, spare node-gyp a download.
  const prefix = dirname(dirname(process.execPath))
  const headers = existsSync(join(prefix, "include", "node", "node.h")) ? { npm_config_nodedir: prefix } : {}
  // Not `npm ci`: it refuses a lockfile written where another platform's optional binaries could not be looked up.
  const driver = bundled ? ["better-sqlite3@13"] : []
  const status = run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", ...driver], {
    ...headers,
    ...process.env
  })
  if (status !== 0) process.exit(status)
}

const [command, ...args] = process.argv.slice(2)
process.exit(run(command, args, { ...process.env, PATH: join(modules, ".bin") + delimiter + process.env.PATH }))
