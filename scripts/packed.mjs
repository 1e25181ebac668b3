// Installs the package as npm would for a user, under a Node 24 that npx brings.
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

/** Installs what was built, with these packages beside it, in an empty folder; `run` runs a command there. */
export const installPacked = (folder, packages = []) => {
  const execute = (command, args, more) =>
    execFileSync(command, args, {
      cwd: folder,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
      shell: process.platform === "win32",
      ...more
    }).trim()
  const node = execute("npx", ["-y", "-p", "node@24", "node", "-p", "process.execPath"])
  const env = { ...process.env, PATH: dirname(node) + delimiter + process.env.PATH }
  const run = (command, ...args) => execute(command, args, { env })
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder]
  const [{ filename }] = JSON.parse(execute("npm", pack, { cwd: root }))
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  run("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", `./${filename}`, "effect", ...packages)
  return { node, run, command: join(folder, "node_modules/effect-db-hub/bin/db-hub") }
}
