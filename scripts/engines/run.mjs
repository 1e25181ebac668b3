// npm run engines: PostgreSQL, PgBouncer and a replica until Ctrl-C. With --json one line of JSON for programs.
import { realpathSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { startPgBouncer, startPostgres, startReplica } from "./postgres.mjs"

export const foreground = async ({ only = false, json = false } = {}) => {
  const started = []
  let stopping
  const stop = () => {
    stopping ??= (async () => {
      for (const server of started.reverse()) await server.stop()
    })()
    return stopping
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.once(signal, () => {
      if (!json) console.log("\nStopping")
      stop().then(() => process.exit(0))
    })
  }
  const begin = async (name, start) => {
    const before = performance.now()
    const server = await start()
    const ms = Math.round(performance.now() - before)
    if (server.kind === "none") throw new Error(`${name}: ${server.reason}`)
    started.push(server)
    if (stopping) await new Promise(() => {})
    if (!json) console.log(`${name.padEnd(12)}${server.url}   (${server.kind}, ${ms} ms)`)
    const { kind, url, port, pid, dataDir, adminUrl } = server
    return { kind, url, port, pid, dataDir, adminUrl, ms }
  }
  const keepAlive = setInterval(() => {}, 60_000)
  try {
    const postgres = await begin("PostgreSQL", () => startPostgres())
    const result = { postgres }
    if (!only) {
      result.pgbouncer = await begin("PgBouncer", () => startPgBouncer({ postgresUrl: postgres.url }))
      result.replica = await begin("Replica", () => startReplica(started[0]))
    }
    console.log(json ? JSON.stringify(result) : "Ctrl-C stops everything and removes its data.")
  } catch (error) {
    if (stopping) return
    console.error(error instanceof Error ? error.message : error)
    await stop()
    clearInterval(keepAlive)
    process.exitCode = 1
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const unknown = process.argv.slice(2).find((argument) => argument !== "--json")
  if (unknown) {
    console.error(`Unknown argument ${unknown}. Usage: npm run engines [-- --json]`)
    process.exitCode = 2
  } else await foreground({ json: process.argv.includes("--json") })
}
