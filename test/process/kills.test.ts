import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Sqlite } from "effect-db-hub"
import { probePrimary } from "../../src/layers/write/ForwardingWrites.js"
import { temporaryFolder } from "../support/index.js"
import { compareJournals } from "../support/journals.js"
import { startScript } from "../support/processes.js"
import { random, seedOfRun } from "../support/random.js"

const kills = Number(process.env["DB_HUB_KILLS"] ?? 300)
const killsPerRound = 50
const names = Array.from({ length: 8 }, (_, n) => `k${n}`)

describe("processes that die at any moment", () => {
  it.scopedLive(
    "take no acknowledged write with them, the primary neither, and none of their writes is done twice",
    () =>
      Effect.gen(function* () {
        const seed = seedOfRun()
        console.log(`kills: ${kills}, seed ${seed}`)
        const next = random(seed)
        const folder = yield* temporaryFolder
        const path = NodePath.join(folder, "hub.db")
        const journals = names.map((name) => NodePath.join(folder, `${name}.journal`))
        const backend = yield* Sqlite.make({ path })
        let [killed, primaries, idle, acknowledged] = [0, 0, 0, 0]

        /** Goes on where the journal of its name ends. */
        const start = (n: number) =>
          Effect.tap(
            startScript("journal-process.ts", path, names[n]!, journals[n]!, { keyed: 4, unkeyed: 2, attempt: 30_000 }),
            ({ tell }) => tell("go\n")
          )

        const round = (count: number) =>
          Effect.gen(function* () {
            const processes = yield* Effect.forEach(names, (_, n) => start(n))
            for (const { line } of processes) assert.strictEqual(yield* line(0), "ready")
            for (let n = 0; n < count; n++) {
              yield* Effect.sleep(50 + next() * 450)
              const pid = Option.map(yield* Effect.option(probePrimary(backend)), (primary) => primary.pid)
              const primary = processes.findIndex(({ child }) => Option.contains(pid, child.pid!))
              // Every third kill meets the primary, if there is one.
              const at = n % 3 === 0 && primary !== -1 ? primary : Math.floor(next() * names.length)
              const victim = processes[at]!
              if (at === primary) primaries++
              victim.child.kill("SIGKILL")
              yield* victim.ended
              processes[at] = yield* start(at)
            }
            for (const { child, ended } of processes) {
              child.kill("SIGKILL")
              yield* ended
            }
          }).pipe(Effect.scoped)

        /** The files of the election, and which ones they are. */
        const locks = () =>
          Object.fromEntries(
            NodeFs.readdirSync(folder)
              .filter((name) => /-primary(-lock\d)?$/.test(name))
              .map((name) => [name, NodeFs.statSync(NodePath.join(folder, name)).ino])
          )
        let known = {}

        while (killed < kills) {
          const count = Math.min(killsPerRound, kills - killed)
          yield* round(count)
          killed += count
          const { acknowledged: now, written, ...found } = compareJournals(path, journals)
          assert.deepStrictEqual(found, {
            lost: [],
            doubled: [],
            denied: [],
            failures: {},
            totalsAgree: true,
            integrity: "ok"
          })
          // No lock is ever unlinked: two processes could hold one each.
          assert.deepInclude(locks(), known)
          known = locks()
          if (now === acknowledged) idle++
          acknowledged = now
          if (killed === kills || killed % 500 === 0) {
            console.log(`${killed} killed, ${primaries} of them primary: ${now} acknowledged, ${written} written`)
          }
        }
        // Between two kills the processes do write, so that each one meets writes under way.
        assert.strictEqual(idle, 0)
        assert.isAbove(acknowledged, 5 * kills)
        assert.isAbove(primaries, 0)
      }),
    3_600_000
  )
})
