/**
 * Writes of 8 processes on one file: the hub's channel against raw better-sqlite3 with BEGIN IMMEDIATE and a
 * busy_timeout of 5 s; and, in one process, what a group commit saves under synchronous=FULL.
 */
import { spawn } from "node:child_process"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Sqlite } from "effect-db-hub"
import * as Coordinator from "../src/layers/write/Coordinator.js"
import { compare, temporaryFolder } from "./support.js"

const folder = temporaryFolder()
const processes = 8
const writes = Number(process.env["BENCH_WRITES"] ?? 500)

interface Report {
  readonly failures: object
  readonly millis: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly stall: number
}

/** Starts the processes, lets them go together, and waits for their reports. */
const together = async (script: string, argumentsOf: (n: number) => ReadonlyArray<string>): Promise<Array<Report>> => {
  const file = fileURLToPath(new URL(script, import.meta.url))
  const children = Array.from({ length: processes }, (_, n) => {
    const child = spawn(process.execPath, ["--import", "tsx", file, ...argumentsOf(n)], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    let said = ""
    const waiting: Array<() => void> = []
    child.stdout.on("data", (data) => {
      said += String(data)
      for (const look of waiting) look()
    })
    const line = (index: number) =>
      new Promise<string>((resolve) => {
        const look = () => {
          const lines = said.split("\n")
          if (lines.length > index + 1) resolve(lines[index]!)
        }
        waiting.push(look)
        look()
      })
    return { child, line }
  })
  await Promise.all(children.map(({ line }) => line(0)))
  for (const { child } of children) child.stdin.write("go\n")
  const reports = await Promise.all(children.map(async ({ line }) => JSON.parse(await line(1)) as Report))
  for (const { child } of children) child.stdin.end()
  return reports
}

const print = (name: string, reports: ReadonlyArray<Report>) => {
  const millis = Math.max(...reports.map((report) => report.millis))
  const worst = (field: "p99" | "max" | "stall") => Math.max(...reports.map((report) => report[field])).toFixed(1)
  const failures = reports.map((report) => Object.keys(report.failures).length).reduce((a, b) => a + b)
  const rate = Math.round((processes * writes * 1000) / millis)
  console.log(
    `  ${name.padEnd(40)} ${String(rate).padStart(6)} writes/s  p99 ${worst("p99")} ms  max ${worst("max")} ms  event loop ${worst("stall")} ms  failures ${failures}`
  )
}

console.log(`${processes} processes × ${writes} writes on one file`)
for (const [name, options] of Object.entries({
  "hub, local-first": {},
  "hub, forward-always": { strategy: "forward-always" },
  "hub, forward-always, 8 fibers each": { strategy: "forward-always", fibers: 8 }
})) {
  const path = NodePath.join(folder, `${name.replace(/\W/g, "")}.db`)
  print(
    name,
    await together("../test/support/forward-process.ts", (n) => [
      path,
      `w${n}`,
      String(writes),
      "",
      JSON.stringify(options)
    ])
  )
}
const raw = NodePath.join(folder, "raw.db")
print(
  "raw BEGIN IMMEDIATE, busy_timeout 5 s",
  await together("../test/support/raw-process.ts", (n) => [raw, `w${n}`, String(writes)])
)

const scope = Effect.runSync(Scope.make())
const open = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))
for (const synchronous of ["FULL", "NORMAL"] as const) {
  const backend = await open(Sqlite.make({ path: NodePath.join(folder, `group-${synchronous}.db`), synchronous }))
  await Effect.runPromise(backend.execute("CREATE TABLE t (x)"))
  const insert = Effect.asVoid(backend.execute("INSERT INTO t VALUES (?)", ["one"]))
  const coordinator = await open(
    Coordinator.make(
      backend,
      { capacity: 256, maxGroup: 128, maxGroupMillis: 20 },
      { guard: Effect.void, onCommit: Effect.void, onFenced: Effect.void }
    )
  )
  const sixteen = (write: Effect.Effect<unknown, unknown>) => (times: number) =>
    Effect.runPromise(
      Effect.forEach(
        Array.from({ length: 16 }),
        () => Effect.iterate(0, { while: (i) => i < times / 16, body: (i) => Effect.as(write, i + 1) }),
        { concurrency: "unbounded", discard: true }
      )
    )
  await compare(
    `16 writers that wait, synchronous=${synchronous}, per write`,
    { rounds: 5, times: 800 },
    {
      "grouped by the coordinator": sixteen(
        Effect.suspend(() =>
          coordinator.submit({ source: "bench", operation: "bench", deadline: Date.now() + 60_000, write: insert })
        )
      ),
      "a commit per write": sixteen(backend.transaction(insert))
    }
  )
}
await Effect.runPromise(Scope.close(scope, Exit.void))
