// What a user gets: a program and the command, run where the package was installed under Node 24. The checkout alone does
// not show what npm chooses, nor a native driver that another Node breaks: whatever is collected as garbage goes through it.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { installPacked } from "./packed.mjs"

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
  const { command, node, run } = installPacked(folder)
  writeFileSync(join(folder, "program.js"), program)
  run(node, "--expose-gc", "program.js")
  const counted = run(node, command, "query", "SELECT count(*) AS n FROM notes", "--json")
  if (JSON.parse(counted).rows[0].n !== 500) throw new Error(`The command answers ${counted}`)
  console.log(`Installed and run under Node ${run(node, "--version")}`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
