/**
 * Writes of 8 processes on one file: the hub's stores over forwarded writes against raw better-sqlite3 with BEGIN
 * IMMEDIATE and a busy_timeout of 5 s, doing the same statements; how long event loops stand still while a foreign
 * process holds the lock for 2 s; and, in one process, what a group commit saves.
 *
 * BENCH_WRITES (2,000) writes a process, BENCH_ROUNDS (3) rounds, BENCH_PARTS of contention,locked,group, BENCH_ONLY the
 * contenders whose names it matches.
 */
import { spawn } from "node:child_process"
import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { Sqlite } from "effect-db-hub"
import * as Coordinator from "../src/layers/write/Coordinator.js"
import { compare, median, temporaryFolder } from "./support.js"

const folder = temporaryFolder()
const processes = 8
const writes = Number(process.env["BENCH_WRITES"] ?? 2_000)
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 3)

interface Report {
  readonly started: number
  readonly ended: number
  /** Milliseconds. */
  readonly cpu: number
  readonly stall: number
  readonly failures: Readonly<Record<string, number>>
  readonly times: ReadonlyArray<number>
}

const childFile = fileURLToPath(new URL("./forwarding.child.js", import.meta.url))

const start = (...args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [childFile, ...args], { stdio: ["pipe", "pipe", "inherit"] })
  const lines: Array<string> = []
  let rest = ""
  let wake = () => {}
  child.stdout.on("data", (data) => {
    const parts = (rest + String(data)).split("\n")
    rest = parts.pop()!
    lines.push(...parts)
    wake()
  })
  child.once("exit", (code) => {
    if (code !== 0) throw new Error(`A process of the bench ended with ${code}`)
  })
  return {
    tell: (line: string) => child.stdin.write(`${line}\n`),
    end: () => child.stdin.end(),
    line: async () => {
      while (lines.length === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return lines.shift()!
    }
  }
}

/** A file with the hub's tables and the two of the ledger. */
const newFile = async (name: string): Promise<string> => {
  const path = NodePath.join(folder, `${name}.db`)
  await Effect.runPromise(Effect.scoped(Sqlite.make({ path })))
  const db = new Database(path)
  db.exec("CREATE TABLE ledger (id TEXT NOT NULL, process TEXT NOT NULL)")
  db.exec("CREATE TABLE totals (process TEXT PRIMARY KEY, n INTEGER NOT NULL)")
  db.close()
  return path
}

/** Starts the processes, lets them go together, and waits for their reports. */
const together = async (kind: string, path: string, count: number, options: object, lockedFor = 0) => {
  const children = Array.from({ length: processes }, (_, n) =>
    start(kind, path, `w${n}`, String(count), JSON.stringify(options))
  )
  for (const { line } of children) await line()
  for (const { tell } of children) tell("warm up")
  for (const { line } of children) await line()
  const lock = lockedFor > 0 ? start("lock", path, "lock", String(lockedFor)) : undefined
  if (lock !== undefined) {
    await lock.line()
    lock.tell("go")
    await lock.line()
  }
  for (const { tell } of children) tell("go")
  const reports = await Promise.all(children.map(async ({ line }) => JSON.parse(await line()) as Report))
  for (const child of [...children, ...(lock === undefined ? [] : [lock])]) child.end()
  return reports
}

/** How often each write is there that must be there once. */
const lookUp = (path: string, count: number) => {
  const db = new Database(path, { readonly: true })
  const found = new Map(
    db
      .prepare<[], [string, number]>(
        "SELECT id, count(*) FROM (SELECT id FROM ledger UNION ALL SELECT key FROM db_hub_settings) GROUP BY id"
      )
      .raw()
      .all()
  )
  db.close()
  const wanted = Array.from({ length: processes * count }, (_, n) => `w${n % processes}:${Math.floor(n / processes)}`)
  return {
    missing: wanted.filter((id) => !found.has(id)).length,
    doubled: wanted.filter((id) => (found.get(id) ?? 0) > 1).length
  }
}

interface Figures {
  readonly rate: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly cpu: number
  readonly stall: number
  readonly failures: number
  readonly missing: number
  readonly doubled: number
}

const figuresOf = (reports: ReadonlyArray<Report>, path: string, count: number): Figures => {
  const times = reports.flatMap((report) => report.times).sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]!
  const millis = Math.max(...reports.map(({ ended }) => ended)) - Math.min(...reports.map(({ started }) => started))
  for (const [what, n] of reports.flatMap(({ failures }) => Object.entries(failures))) console.log(`  ${n} × ${what}`)
  return {
    rate: (times.length * 1000) / millis,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
    cpu: (reports.reduce((sum, { cpu }) => sum + cpu, 0) * 1000) / times.length,
    stall: Math.max(...reports.map(({ stall }) => stall)),
    failures: reports.flatMap(({ failures }) => Object.values(failures)).reduce((a, b) => a + b, 0),
    ...lookUp(path, count)
  }
}

const contenders = {
  "hub, local-first": ["hub", {}],
  "hub, forward-always": ["hub", { strategy: "forward-always" }],
  "hub, local-first, 8 fibers each": ["hub", { fibers: 8 }],
  "hub, forward-always, 8 fibers each": ["hub", { strategy: "forward-always", fibers: 8 }],
  "raw, the same statements": ["raw", {}],
  "raw, each statement an effect": ["effects", {}],
  "raw, one bare INSERT": ["bare", {}]
} as const

const only = process.env["BENCH_ONLY"]

const contention = async () => {
  const figures = new Map<string, Array<Figures>>()
  const chosen = Object.entries(contenders).filter(([name]) => only === undefined || new RegExp(only).test(name))
  for (let round = 0; round < rounds; round++) {
    for (const [name, [kind, options]] of chosen) {
      const path = await newFile(`contention-${round}-${name.replace(/\W/g, "")}`)
      const reports = await together(kind, path, writes, options)
      const found = figuresOf(reports, path, writes)
      figures.set(name, [...(figures.get(name) ?? []), found])
    }
  }
  const of = (name: string, field: keyof Figures) => median((figures.get(name) ?? []).map((one) => one[field]))
  const base = of("raw, the same statements", "rate")
  console.log(`${processes} processes × ${writes} writes on one file (median of ${rounds} rounds, milliseconds)`)
  console.log(`  ${"".padEnd(36)} writes/s    raw      p50      p99      max  CPU µs/write  failed missing doubled`)
  for (const [name] of chosen) {
    const cell = (field: keyof Figures, digits: number, width: number) =>
      of(name, field).toFixed(digits).padStart(width)
    const ratio = `${(of(name, "rate") / base).toFixed(2)}×`.padStart(6)
    console.log(
      `  ${name.padEnd(36)} ${cell("rate", 0, 8)} ${ratio} ${cell("p50", 2, 8)} ${cell("p99", 2, 8)} ${cell("max", 1, 8)}  ${cell("cpu", 0, 12)}  ${cell("failures", 0, 6)} ${cell("missing", 0, 7)} ${cell("doubled", 0, 7)}`
    )
  }
}

const locked = async () => {
  const stalls: Array<number> = []
  const failures: Array<number> = []
  for (let round = 0; round < rounds; round++) {
    const path = await newFile(`locked-${round}`)
    const figures = figuresOf(await together("hub", path, 20, {}, 2_000), path, 20)
    stalls.push(figures.stall)
    failures.push(figures.failures + figures.missing + figures.doubled)
  }
  console.log(`${processes} processes × 20 writes while a foreign process holds the lock for 2 s`)
  console.log(
    `  longest stall of an event loop ${median(stalls).toFixed(1)} ms (median of ${rounds} rounds; each: ${stalls.map((stall) => stall.toFixed(1)).join(", ")}); failed, missing or doubled ${failures.join(", ")}`
  )
}

const groupCommit = async () => {
  const scope = Effect.runSync(Scope.make())
  const open = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.extend(effect, scope))
  // NORMAL first: its many writes have the code compiled that both sides then run under FULL.
  for (const synchronous of ["NORMAL", "FULL"] as const) {
    const backend = await open(Sqlite.make({ path: NodePath.join(folder, `group-${synchronous}.db`), synchronous }))
    await Effect.runPromise(backend.execute("CREATE TABLE t (x)"))
    const insert = Effect.asVoid(backend.execute("INSERT INTO t VALUES (?)", ["one"]))
    const coordinator = await open(
      Coordinator.make(
        backend,
        backend.sharing!,
        { capacity: 256, maxGroup: 128, maxGroupMillis: 10, lockWait: 1_000, whenLocked: "wait" },
        { guard: Effect.void, onCommit: () => {}, onFenced: Effect.void }
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
      { rounds: 5, times: synchronous === "FULL" ? 800 : 8_000 },
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
}

const parts = (process.env["BENCH_PARTS"] ?? "contention,locked,group").split(",")
if (parts.includes("contention")) await contention()
if (parts.includes("locked")) await locked()
if (parts.includes("group")) await groupCommit()
NodeFs.rmSync(folder, { recursive: true, force: true })
