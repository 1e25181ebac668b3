import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Sqlite } from "effect-db-hub"
import { probePrimary } from "../../src/layers/write/ForwardingWrites.js"
import { temporaryFile, temporaryFolder } from "../support/index.js"
import { compareJournals } from "../support/journals.js"
import { startScript, startWriter } from "../support/processes.js"

interface Report {
  readonly failures: Readonly<Record<string, number>>
  readonly millis: number
  readonly p99: number
  readonly max: number
  readonly stall: number
}

const reportOf = (line: string | null): Report => {
  if (line === null) throw new Error("the process ended without a report")
  return JSON.parse(line) as Report
}

/** Every id of the ledger and of the settings, with how often it is there. */
const written = (path: string) => {
  const db = new Database(path, { readonly: true })
  try {
    const rows = db
      .prepare("SELECT id, count(*) AS n FROM ledger GROUP BY id UNION ALL SELECT key, 1 FROM db_hub_settings")
      .all() as ReadonlyArray<{ readonly id: string; readonly n: number }>
    const totals = db.prepare("SELECT coalesce(sum(n), 0) FROM totals").pluck().get()
    const entries = db.prepare("SELECT count(*) FROM ledger").pluck().get()
    return {
      ids: new Map(rows.map(({ id, n }) => [id, n])),
      totalsAgree: totals === entries,
      integrity: db.pragma("integrity_check", { simple: true })
    }
  } finally {
    db.close()
  }
}

describe("writes of many processes on one file", () => {
  it.scopedLive(
    "8 processes write at once: none fails, each write is there once",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const count = Number(process.env["DB_HUB_WRITES"] ?? 2_000)
        const writers = yield* Effect.all(
          Array.from({ length: 8 }, (_, n) => startWriter(path, `w${n}`, count, "")),
          { concurrency: "unbounded" }
        )
        for (const { line } of writers) assert.strictEqual(yield* line(0), "ready")
        for (const { tell } of writers) yield* tell("go\n")
        const reports = yield* Effect.forEach(writers, ({ line }) => Effect.map(line(1), reportOf))
        for (const { failures } of reports) assert.deepStrictEqual(failures, {})
        const { ids, integrity, totalsAgree } = written(path)
        assert.strictEqual(ids.size, 8 * count)
        assert.deepStrictEqual(
          Array.from(ids).filter(([, n]) => n !== 1),
          []
        )
        assert.strictEqual(totalsAgree, true)
        assert.strictEqual(integrity, "ok")
      }),
    120_000
  )

  it.scopedLive(
    "16 processes that start together on no file elect one primary",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const writers = yield* Effect.all(
          Array.from({ length: 16 }, (_, n) => startWriter(path, `c${n}`, 4, "")),
          { concurrency: "unbounded" }
        )
        for (const { line } of writers) assert.strictEqual(yield* line(0), "ready")
        for (const { tell } of writers) yield* tell("go\n")
        for (const { line } of writers) assert.deepStrictEqual(reportOf(yield* line(1)).failures, {})
        const { dir, base } = NodePath.parse(path)
        // By another spelling of the path, the primary is the same.
        const relative = yield* Sqlite.make({ path: NodePath.relative(process.cwd(), path) })
        const link = NodePath.join(dir, "link")
        NodeFs.symlinkSync(dir, link)
        const direct = yield* Sqlite.make({ path })
        const linked = yield* Sqlite.make({ path: NodePath.join(link, base) })
        const status = yield* probePrimary(direct)
        assert.include(
          writers.map(({ child }) => child.pid),
          status.pid
        )
        assert.strictEqual((yield* probePrimary(linked)).instance, status.instance)
        assert.strictEqual((yield* probePrimary(relative)).instance, status.instance)
        const [row] = yield* direct.query("SELECT epoch FROM db_hub_primary")
        assert.deepStrictEqual(row, { epoch: 1 })
        for (const file of NodeFs.readdirSync(dir).filter((name) => name.includes("-primary"))) {
          assert.strictEqual(NodeFs.statSync(NodePath.join(dir, file)).mode & 0o777, 0o600, file)
        }
      }),
    120_000
  )

  it.scopedLive(
    "a primary that ends finishes what it has taken; the others elect another, and none of their writes fails",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const path = NodePath.join(folder, "hub.db")
        const backend = yield* Sqlite.make({ path })
        const elected = Effect.retry(probePrimary(backend), every(20_000))
        const names = ["ends", "a", "b"]
        const journals = names.map((name) => NodePath.join(folder, `${name}.journal`))
        const [ends, ...others] = yield* Effect.forEach(names, (name, n) =>
          Effect.gen(function* () {
            const options = name === "ends" ? { keyed: 1, count: 3 } : { keyed: 4, unkeyed: 4 }
            const started = yield* startScript("journal-process.ts", path, name, journals[n]!, {
              ...options,
              attempt: 20_000
            })
            assert.strictEqual(yield* started.line(0), "ready")
            yield* started.tell("go\n")
            if (name === "ends") {
              yield* started.line(1)
              assert.strictEqual((yield* elected).pid, started.child.pid)
            }
            return started
          })
        )
        const before = compareJournals(path, journals).acknowledged
        yield* Effect.repeat(
          Effect.sync(() => compareJournals(path, journals).acknowledged),
          { until: (now) => now > before + 50, schedule: Schedule.spaced("50 millis") }
        )
        ends!.child.stdin.end()
        yield* ends!.ended
        assert.strictEqual(ends!.child.exitCode, 0)
        const next = yield* elected
        assert.include(
          others.map(({ child }) => child.pid),
          next.pid
        )
        const then = compareJournals(path, journals).acknowledged
        yield* Effect.repeat(
          Effect.sync(() => compareJournals(path, journals).acknowledged),
          { until: (now) => now > then, schedule: Schedule.spaced("50 millis") }
        )
        for (const { child, ended } of others) {
          child.kill("SIGKILL")
          yield* ended
        }
        const { denied, doubled, failures, lost } = compareJournals(path, journals)
        assert.deepStrictEqual([failures, lost, doubled, denied], [{}, [], [], []])
      }),
    60_000
  )

  it.scopedLive(
    "a primary that was stopped is replaced, and is fenced off when it goes on",
    () =>
      Effect.gen(function* () {
        const path = yield* temporaryFile
        const backend = yield* Sqlite.make({ path })
        const old = yield* startWriter(path, "old", 4, "", { deadAfter: 1_000 })
        assert.strictEqual(yield* old.line(0), "ready")
        yield* old.tell("go\n")
        assert.deepStrictEqual(reportOf(yield* old.line(1)).failures, {})
        const first = yield* Effect.retry(probePrimary(backend), every(5_000))
        assert.strictEqual(first.pid, old.child.pid)
        const next = yield* startWriter(path, "next", 40, "", {
          strategy: "forward-always",
          deadAfter: 1_000,
          timeout: 20_000
        })
        assert.strictEqual(yield* next.line(0), "ready")
        old.child.kill("SIGSTOP")
        // These wait in the socket of the stopped process, until its place is taken.
        yield* next.tell("go\n")
        assert.deepStrictEqual(reportOf(yield* next.line(1)).failures, {})
        const second = yield* probePrimary(backend)
        assert.strictEqual(second.pid, next.child.pid)
        assert.isAbove(second.epoch, first.epoch)
        old.child.kill("SIGCONT")
        yield* Effect.sleep(2_500)
        assert.strictEqual((yield* probePrimary(backend)).instance, second.instance)
        const { ids } = written(path)
        assert.strictEqual(ids.size, 44)
        assert.deepStrictEqual(
          Array.from(ids).filter(([, n]) => n !== 1),
          []
        )
      }),
    60_000
  )
})

const every = (millis: number) => Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurUpTo(millis))
