/**
 * `db-hub mcp` beside `@bytebase/dbhub`, both as npm installs them and on the Node 24 that the peer asks for, driven over
 * stdio by the official client: the time to start up to the first answer, the time of a call, what the list of tools costs
 * a model. The peer's tool may write; that it can be told to read only, which it does with a transaction, is measured
 * beside it. A tool of the same SDK that does nothing tells how much of a call is the protocol's.
 */
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import { Client } from "@modelcontextprotocol/client"
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio"
import Database from "better-sqlite3"
import * as Pg from "pg"
import { startPostgres } from "../scripts/engines/postgres.mjs"
import { installPacked } from "../scripts/packed.mjs"
import { median, temporaryFolder } from "./support.js"

const starts = 9
const rounds = 6
const calls = 150

interface Server {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly cwd?: string
  readonly env?: Record<string, string>
  readonly tool: string
  readonly argumentsOf: (sql: string) => Record<string, unknown>
}

const connect = async ({ args, command, cwd, env }: Server) => {
  const client = new Client({ name: "bench", version: "1.0.0" })
  await client.connect(
    new StdioClientTransport({
      command,
      args: [...args],
      stderr: "ignore",
      ...(cwd === undefined ? {} : { cwd }),
      env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env }
    })
  )
  return client
}

const ask = async (client: Client, server: Server, sql: string, expected: string) => {
  const answer = await client.callTool({ name: server.tool, arguments: server.argumentsOf(sql) })
  if (!JSON.stringify(answer).includes(expected)) throw new Error(`${server.name}: ${JSON.stringify(answer)}`)
}

const sql = (n: number) => `SELECT id, body, at FROM notes WHERE id = ${n + 1}`

/** From the start of the process to the answer of the first query. */
const startUp = async (server: Server): Promise<number> => {
  const started = performance.now()
  const client = await connect(server)
  await ask(client, server, sql(0), "note 1")
  const taken = performance.now() - started
  await client.close()
  return taken
}

const percentile = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))]!

const row = (name: string, values: ReadonlyArray<number>, unit: string) =>
  `  ${name.padEnd(34)} ${values.map((value) => `${value.toFixed(value < 10 ? 2 : 0).padStart(8)} ${unit}`).join("  ")}`

const compare = async (title: string, [ours, theirs, reading]: readonly [Server, Server, Server]) => {
  const both = [ours, theirs]
  const started = new Map(both.map((server): [Server, Array<number>] => [server, []]))
  for (let n = 0; n < starts; n++) for (const server of both) started.get(server)!.push(await startUp(server))
  const up = both.map((server) => median(started.get(server)!))
  console.log(`${title}: start to the first answer (median of ${starts})`)
  for (const [i, server] of both.entries()) console.log(row(server.name, [up[i]!], "ms"))
  console.log(`  ratio ${(up[0]! / up[1]!).toFixed(2)}`)

  const asked = [ours, theirs, reading, floor]
  const clients = await Promise.all(asked.map(connect))
  const taken = asked.map((): Array<number> => [])
  for (let round = -1; round < rounds; round++) {
    for (const [i, server] of asked.entries()) {
      for (let n = 0; n < calls; n++) {
        const started = performance.now()
        await ask(clients[i]!, server, sql(n), `note ${n + 1}`)
        // The first round warms up.
        if (round >= 0) taken[i]!.push(performance.now() - started)
      }
    }
  }
  const [p50, p99] = [0.5, 0.99].map((part) => taken.map((values) => percentile(values, part)))
  console.log(`${title}: one call, p50 and p99 of ${rounds * calls}`)
  for (const [i, server] of asked.entries()) console.log(row(server.name, [p50![i]!, p99![i]!], "ms"))
  for (const i of [1, 2]) {
    const ratios = [p50!, p99!].map((values) => (values[0]! / values[i]!).toFixed(2))
    console.log(`  ratio to ${asked[i]!.name} ${ratios[0]} (p50), ${ratios[1]} (p99)`)
  }

  const lists = await Promise.all(clients.slice(0, 2).map((client) => client.listTools()))
  const cost = (list: unknown) => Math.ceil(JSON.stringify(list).length / 4)
  console.log(`${title}: tools/list, characters / 4`)
  for (const [i, server] of both.entries()) {
    console.log(`  ${server.name.padEnd(34)} ${cost(lists[i]!.tools)} for ${lists[i]!.tools.length} tools`)
  }
  await Promise.all(clients.map((client) => client.close()))
}

const folder = temporaryFolder()
const rows = Array.from({ length: 1000 }, (_, i) => [i + 1, `note ${i + 1}`, "2026-01-01"])
const program = temporaryFolder()
const postgresDrivers = ["pg", "pg-cursor", "@effect/sql-pg", "libpg-query"]
const { command, node } = installPacked(program, [...postgresDrivers, "@bytebase/dbhub@1.4.0"])
const ours = (rest: Partial<Server>): Server => ({
  name: "db-hub mcp",
  command: node,
  args: [command, "mcp"],
  tool: "db_hub_query",
  argumentsOf: (query) => ({ query }),
  ...rest
})
const theirs = (dsn: string): Server => ({
  name: "@bytebase/dbhub 1.4.0",
  command: node,
  args: [NodePath.join(program, "node_modules/.bin/dbhub"), "--transport", "stdio", "--dsn", dsn],
  cwd: folder,
  tool: "execute_sql",
  argumentsOf: (statement) => ({ sql: statement })
})

const readingOnly = (dsn: string): Server => {
  const tools = `[[tools]]\nname = "execute_sql"\nsource = "default"\nreadonly = true\n`
  const config = NodePath.join(folder, `${new URL(dsn).protocol.slice(0, -1)}.toml`)
  NodeFs.writeFileSync(config, `[[sources]]\nid = "default"\ndsn = "${dsn}"\n\n${tools}`)
  const [program = ""] = theirs(dsn).args
  return {
    ...theirs(dsn),
    name: "the same, told to read only",
    args: [program, "--transport", "stdio", "--config", config]
  }
}

const floor: Server = {
  name: "a tool that does nothing",
  command: node,
  args: [fileURLToPath(new URL("./mcp.child.js", import.meta.url))],
  tool: "nothing",
  argumentsOf: (query) => ({ query })
}

const file = `${folder}/hub.db`
const db = new Database(file)
db.pragma("journal_mode = WAL")
db.exec("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, at TEXT)")
const insert = db.prepare("INSERT INTO notes VALUES (?, ?, ?)")
db.transaction(() => {
  for (const values of rows) insert.run(...values)
})()
db.close()
await compare("SQLite", [
  ours({ cwd: folder, env: { DATABASE_URL: `sqlite:${file}` } }),
  theirs(`sqlite://${file}`),
  readingOnly(`sqlite://${file}`)
])

const postgres = await startPostgres()
if (postgres.kind === "none") console.log(`PostgreSQL: not measured, ${postgres.reason}`)
else {
  const client = new Pg.Client({ connectionString: postgres.url })
  await client.connect()
  await client.query("DROP TABLE IF EXISTS notes; CREATE TABLE notes (id int PRIMARY KEY, body text, at text)")
  await client.query("INSERT INTO notes SELECT n, 'note ' || n, '2026-01-01' FROM generate_series(1, 1000) n")
  await compare("PostgreSQL", [
    ours({ cwd: folder, env: { DATABASE_URL: `${postgres.url}?sslmode=disable` } }),
    theirs(`${postgres.url}?sslmode=disable`),
    readingOnly(`${postgres.url}?sslmode=disable`)
  ])
  await client.query("DROP TABLE notes")
  await client.end()
  await postgres.stop?.()
}
