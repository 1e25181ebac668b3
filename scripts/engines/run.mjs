// npm run engines: PostgreSQL, PgBouncer and a replica until Ctrl-C. With --json one line of JSON for programs; with
// --postgres that one alone; with --fetch the programs are only fetched.
import { fetchPrograms, startPgBouncer, startPostgres, startReplica } from "./postgres.mjs"

const foreground = async ({ only, json }) => {
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

const options = process.argv.slice(2)
const unknown = options.find((option) => !["--json", "--postgres", "--fetch"].includes(option))
if (unknown) {
  console.error(`Unknown option ${unknown}. Usage: npm run engines [-- --json] [--postgres] [--fetch]`)
  process.exitCode = 2
} else if (options.includes("--fetch")) {
  const { bin } = await fetchPrograms({ retry: true, download: true })
  console.log(`PostgreSQL in ${bin}`)
} else {
  await foreground({ only: options.includes("--postgres"), json: options.includes("--json") })
}
