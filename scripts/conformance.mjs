// The Model Context Protocol's own conformance scenarios for servers, against `db-hub mcp --http`. They ask for Node 22
// or later, so npx brings a Node 24. What fails by design stands in conformance.yaml, with the reason; whatever else
// fails, or does not fail any more, fails the run.
//   npm run conformance -- --scenario tools-list --verbose
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const version = "0.1.16"
const token = "conformance"
const root = fileURLToPath(new URL("..", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "effect-db-hub-conformance-"))

const hub = spawn(process.execPath, [join(root, "bin/db-hub"), "mcp", "--http", "0"], {
  cwd: folder,
  env: { ...process.env, DATABASE_URL: `sqlite:${join(folder, "hub.db")}`, DB_HUB_MCP_TOKEN: token },
  stdio: ["ignore", "inherit", "pipe"]
})

const port = await new Promise((resolve, reject) => {
  let said = ""
  hub.stderr.on("data", (data) => {
    said += data
    const found = /127\.0\.0\.1:(\d+)\/mcp/.exec(said)
    if (found) resolve(Number(found[1]))
  })
  hub.once("exit", (code) => reject(new Error(`db-hub ended with ${code}: ${said}`)))
})

// The scenarios know no tokens: this adds it to what they send, and nothing else.
const proxy = createServer((incoming, outgoing) => {
  const headers = { ...incoming.headers, authorization: `Bearer ${token}` }
  const asked = request({ host: "127.0.0.1", port, path: incoming.url, method: incoming.method, headers }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers)
    answer.pipe(outgoing)
  })
  asked.on("error", () => outgoing.destroy())
  outgoing.on("close", () => asked.destroy())
  incoming.pipe(asked)
})
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve))

const expected = join(root, "scripts/conformance.yaml")
const code = await new Promise((resolve) => {
  const url = `http://127.0.0.1:${proxy.address().port}/mcp`
  const packages = ["-y", "-p", "node@24", "-p", `@modelcontextprotocol/conformance@${version}`]
  const args = ["server", "--url", url, "--expected-failures", expected, ...process.argv.slice(2)]
  spawn("npx", [...packages, "conformance", ...args], { stdio: "inherit" }).once("exit", (exit) => resolve(exit ?? 1))
})

proxy.close()
proxy.closeAllConnections()
hub.removeAllListeners("exit")
hub.kill()
rmSync(folder, { recursive: true, force: true })
process.exit(code)
