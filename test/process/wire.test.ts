import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Sqlite } from "effect-db-hub"
import { probePrimary } from "../../src/layers/write/ForwardingWrites.js"
import { temporaryFolder } from "../support/index.js"
import { compareJournals } from "../support/journals.js"
import { startScript } from "../support/processes.js"
import { random, seedOfRun } from "../support/random.js"
import { wireProxy } from "../support/wire-proxy.js"

const writes = Number(process.env["DB_HUB_WIRE_WRITES"] ?? 10_000)

const faults = { drop: 0.005, delay: 0.02, duplicate: 0.02, cut: 0.004, truncate: 0.004 }

/** Puts another socket into the record by which processes find the primary. */
const redirect = (path: string, socket: string) => {
  const db = new Database(`${path}-primary`, { timeout: 5_000 })
  try {
    db.prepare("UPDATE record SET record = json_set(record, '$.socket', ?)").run(socket)
  } finally {
    db.close()
  }
}

describe("a wire that drops, delays, duplicates and cuts frames", () => {
  it.scopedLive(
    "loses no acknowledged write, and has none done twice",
    () =>
      Effect.gen(function* () {
        const seed = seedOfRun()
        const folder = yield* temporaryFolder
        const path = NodePath.join(folder, "hub.db")
        const backend = yield* Sqlite.make({ path })
        const start = (name: string, options: object) =>
          startScript("journal-process.ts", path, name, NodePath.join(folder, `${name}.journal`), {
            deadAfter: "10 minutes",
            ...options
          })
        const primary = yield* start("primary", { keyed: 1, count: 5, attempt: 30_000 })
        yield* primary.tell("go\n")
        const { epoch, pid } = yield* Effect.retry(probePrimary(backend), Schedule.spaced("50 millis"))
        assert.strictEqual(pid, primary.child.pid)

        const { socket } = (yield* backend.sharing!.read)!
        // A private folder of a name that no new primary would clear away.
        const between = NodePath.join(folder, "between")
        NodeFs.mkdirSync(between)
        const proxy = yield* wireProxy(NodePath.join(between, "s"), socket, faults, random(seed))
        redirect(path, proxy.path)

        const [processes, fibers] = [4, 25]
        const count = writes / (processes * fibers)
        const names = Array.from({ length: processes }, (_, n) => `s${n}`)
        const writers = yield* Effect.forEach(names, (name) =>
          start(name, { strategy: "forward-always", keyed: fibers, count, attempt: 1_000 })
        )
        for (const { line } of writers) assert.strictEqual(yield* line(0), "ready")
        for (const { tell } of writers) yield* tell("go\n")
        let resent = 0
        for (const { line } of writers) resent += Number(JSON.parse((yield* line(1)) ?? "{}").resent)

        const journals = ["primary", ...names].map((name) => NodePath.join(folder, `${name}.journal`))
        const found = compareJournals(path, journals)
        console.log(`wire: seed ${seed}, ${found.acknowledged} acknowledged, ${resent} sent again,`, proxy.counts)
        assert.deepStrictEqual(found, {
          acknowledged: writes + 5,
          written: writes + 5,
          lost: [],
          doubled: [],
          denied: [],
          failures: {},
          totalsAgree: true,
          integrity: "ok"
        })
        for (const [fault, times] of Object.entries(proxy.counts)) assert.isAbove(times, 0, fault)
        assert.isAbove(resent, 0)
        redirect(path, socket)
        assert.strictEqual((yield* probePrimary(backend)).epoch, epoch)
      }),
    1_200_000
  )
})
