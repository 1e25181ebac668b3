import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Sqlite } from "effect-db-hub"
import { probePrimary } from "../../src/layers/write/ForwardingWrites.js"
import { checkList, eventsOf, isLinearizable, type Logged } from "../support/histories.js"
import { temporaryFolder } from "../support/index.js"
import { type OtherProcess, startScript } from "../support/processes.js"
import { random, seedOfRun } from "../support/random.js"

const calls = Number(process.env["DB_HUB_CALLS"] ?? 300)
const failovers = 2

/** Lets a process stand still for a while. */
const pause = ({ child }: OtherProcess, millis: number) =>
  Effect.acquireUseRelease(
    Effect.sync(() => child.kill("SIGSTOP")),
    () => Effect.sleep(millis),
    () => Effect.sync(() => child.kill("SIGCONT"))
  )

describe("what clients of many processes see", () => {
  it.scopedLive(
    "under pauses, failovers and a kill, lists and registers behave as if there were one client",
    () =>
      Effect.gen(function* () {
        const seed = seedOfRun()
        const next = random(seed)
        const folder = yield* temporaryFolder
        const path = NodePath.join(folder, "hub.db")
        const backend = yield* Sqlite.make({ path })
        const names = ["a", "b", "c", "d"]
        const log = (name: string) => NodePath.join(folder, `${name}.log`)
        const processes = yield* Effect.forEach(names, (name, n) =>
          startScript("history-process.ts", path, name, log(name), seed + 10 * n, {
            clients: 3,
            calls,
            deadAfter: 1_000
          })
        )
        for (const { line } of processes) assert.strictEqual(yield* line(0), "ready")
        for (const { tell } of processes) yield* tell("go\n")
        const elected = Effect.retry(probePrimary(backend), Schedule.spaced("50 millis"))
        const first = yield* elected
        let alive = processes
        const primary = Effect.map(elected, ({ pid }) => alive.find(({ child }) => child.pid === pid)!)

        for (let n = 0; n < failovers; n++) {
          for (let m = 0; m < 4; m++) {
            yield* pause(alive[Math.floor(next() * alive.length)]!, 50 + next() * 300)
            yield* Effect.sleep(50 + next() * 200)
          }
          // Longer than its heart may stand still: another takes its place, unless it was stopped in a transaction.
          yield* pause(yield* primary, 3_500)
          if (n > 0) continue
          const killed = yield* primary
          killed.child.kill("SIGKILL")
          alive = alive.filter((process) => process !== killed)
        }
        for (const { line } of alive) assert.strictEqual(yield* line(1), "done")
        const last = yield* elected
        assert.isAbove(last.epoch, first.epoch)

        const events = eventsOf(
          names.flatMap((name) =>
            NodeFs.readFileSync(log(name), "utf8")
              .split("\n")
              .slice(0, -1)
              .map((line): Logged => JSON.parse(line))
          )
        )
        const unanswered = events.filter(({ outcome }) => outcome === "unknown").length
        console.log(
          `histories: seed ${seed}, ${events.length} calls, ${unanswered} unanswered, ${last.epoch} primaries`
        )
        for (const key of ["l0", "l1", "l2"]) {
          const final = yield* backend.query("SELECT value FROM lists WHERE key = ? ORDER BY n", [key])
          const own = events.filter(({ call }) => call.key === key)
          assert.deepStrictEqual(
            checkList(
              own,
              final.map(({ value }) => Number(value))
            ),
            []
          )
          assert.isAbove(own.length, 10)
        }
        for (const key of ["r0", "r1", "r2"]) {
          const own = events.filter(({ call }) => call.key === key)
          assert.isTrue(isLinearizable(own), key)
          assert.isAbove(own.filter(({ outcome }) => outcome === "ok").length, 10)
        }
        // The writes were done, whoever was primary; only those of the process that was killed may have no answer.
        const unsettled = events.filter(({ outcome }) => outcome === "unknown" || outcome === "failed")
        const survivors = names.filter((_, n) => alive.includes(processes[n]!))
        assert.deepStrictEqual(
          unsettled.filter(({ id }) => survivors.some((name) => id.startsWith(`${name}:`))),
          []
        )
      }),
    180_000
  )
})
