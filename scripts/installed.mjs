// What a user gets: packs the package, installs it in an empty folder under a Node 24 that npx brings, and runs a program
// and the command there. The checkout alone does not show what npm chooses, nor a native driver that another Node breaks:
// whatever is collected as garbage goes through it.
import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "effect-db-hub-installed-"))

const program = `
import { Backend, SqliteLive } from "effect-db-hub"
import * as Effect from "effect/Effect"

const collect = Effect.async((resume) => {
  setImmediate(() => {
    globalThis.gc()
    resume(Effect.void)
  })
})
const run = Effect.gen(function* () {
  const backend = yield* Backend
  const agents = yield* backend.agentSql()
  yield* backend.execute("CREATE TABLE notes (n INTEGER)")
  for (let n = 0; n < 500; n++) {
    yield* backend.execute("INSERT INTO notes VALUES (" + n + ")")
    const { rows } = yield* agents.query("SELECT n, " + n + " FROM notes WHERE n = " + n)
    if (rows[0][0] !== n) throw new Error("Read " + JSON.stringify(rows) + " for " + n)
    if (n % 50 === 0) yield* collect
  }
})
await Effect.runPromise(Effect.scoped(Effect.provide(run, SqliteLive)))
`

try {
  const options = { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] }
  const run = (command, args, more) =>
    execFileSync(command, args, { ...options, shell: process.platform === "win32", ...more })
  const node = run("npx", ["-y", "-p", "node@24", "node", "-p", "process.execPath"]).trim()
  const env = { ...process.env, PATH: dirname(node) + delimiter + process.env.PATH }
  const [{ filename }] = JSON.parse(
    run("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], { cwd: root })
  )
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }))
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", `./${filename}`, "effect"], { env })
  writeFileSync(join(folder, "program.js"), program)
  run(node, ["--expose-gc", "program.js"], { env })
  const counted = run("npx", ["db-hub", "query", "SELECT count(*) AS n FROM notes", "--json"], { env })
  if (JSON.parse(counted).rows[0].n !== 500) throw new Error(`The command answers ${counted}`)
  console.log(`Installed and run under Node ${run(node, ["--version"]).trim()}`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
