/** The peer of forward-process.ts without the hub: `raw-process.ts FILE NAME COUNT`, BEGIN IMMEDIATE, busy_timeout 5 s. */
import * as NodeFs from "node:fs"
import Database from "better-sqlite3"

const [path = "", name = "", count = "0"] = process.argv.slice(2)
const db = new Database(path, { timeout: 5_000 })
db.pragma("journal_mode = WAL")
db.pragma("synchronous = NORMAL")
db.exec("CREATE TABLE IF NOT EXISTS ledger (id TEXT NOT NULL, process TEXT NOT NULL)")
db.exec("CREATE TABLE IF NOT EXISTS totals (process TEXT PRIMARY KEY, n INTEGER NOT NULL)")
db.exec("CREATE TABLE IF NOT EXISTS changes (id INTEGER PRIMARY KEY, operation TEXT, ids TEXT, at TEXT)")
const insert = db.prepare("INSERT INTO ledger (id, process) VALUES (?, ?)")
const total = db.prepare(
  "INSERT INTO totals (process, n) VALUES (?, 1) ON CONFLICT (process) DO UPDATE SET n = n + 1 RETURNING n"
)
const change = db.prepare("INSERT INTO changes (operation, ids, at) VALUES (?, ?, ?)")
const write = db.transaction((id: string) => {
  insert.run(id, name)
  total.get(name)
  change.run("append", JSON.stringify([id]), new Date().toISOString())
})

NodeFs.writeSync(1, "ready\n")
process.stdin.once("data", async () => {
  const times: Array<number> = []
  let failures = 0
  const started = performance.now()
  for (let n = 0; n < Number(count); n++) {
    const began = performance.now()
    try {
      write.immediate(`${name}:${n}`)
    } catch (cause) {
      failures++
      NodeFs.writeSync(2, `${String(cause)}\n`)
    }
    times.push(performance.now() - began)
    await new Promise(setImmediate)
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!
  const report = { p50: at(0.5), p99: at(0.99), max: at(1), stall: at(1) }
  const failed = failures === 0 ? {} : { DbBusy: failures }
  NodeFs.writeSync(1, `${JSON.stringify({ failures: failed, millis: performance.now() - started, ...report })}\n`)
  process.stdin.on("end", () => process.exit(0)).resume()
})
