import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { cli, hub as command, emptyPlace, errorOf } from "../cli/support.js"
import { compareJournals } from "../support/journals.js"
import { startScript } from "../support/processes.js"

/** What the doctor says of the primary. */
const primaryIn = (run: { readonly out: string }) =>
  JSON.parse(run.out).checks.find(({ name }: { readonly name: string }) => name === "primary")

describe("db-hub primary", { timeout: 120_000 }, () => {
  it.scopedLive("where nobody writes for others it says so, and makes no file", () =>
    Effect.gen(function* () {
      const { folder, hub } = yield* emptyPlace
      const absent = yield* hub(["primary", "status", "--json"])
      assert.deepStrictEqual([absent.code, errorOf(absent).code], [1, "HUB_NO_FILE"])
      const memory = yield* cli(["primary", "status", "--json"], { variables: { DATABASE_URL: "sqlite::memory:" } })
      assert.deepStrictEqual([memory.code, errorOf(memory).type], [1, "DbUnsupported"])
      yield* hub(["migrate"])
      for (const name of ["status", "step-down"]) {
        const run = yield* hub(["primary", name, "--json"])
        assert.deepStrictEqual([run.code, run.out, errorOf(run).code], [1, "", "HUB_NO_PRIMARY"])
      }
      assert.deepStrictEqual(primaryIn(yield* hub(["doctor", "--json"])), {
        name: "primary",
        status: "ok",
        message: "no process writes for others at the moment"
      })
      const files = NodeFs.readdirSync(NodePath.join(folder, "data"))
      assert.deepStrictEqual(
        files.filter((name) => name.includes("primary")),
        []
      )
    })
  )

  it.scopedLive("tells the process, its epoch and its queue; after step-down another writes, and no write fails", () =>
    Effect.gen(function* () {
      const { database, folder, hub } = yield* emptyPlace
      yield* hub(["migrate"])
      const names = ["a", "b"]
      const journals = names.map((name) => NodePath.join(folder, `${name}.journal`))
      const processes = yield* Effect.forEach(names, (name, n) =>
        startScript("journal-process.ts", database, name, journals[n]!, {
          // The first one may write here; the second one's writes are those in the queue of the first.
          strategy: n === 0 ? "local-first" : "forward-always",
          keyed: 1,
          unkeyed: 1,
          attempt: 20_000
        })
      )
      for (const { line, tell } of processes) {
        assert.strictEqual(yield* line(0), "ready")
        yield* tell("go\n")
      }
      const status = yield* command(folder, ["primary", "status", "--json"])
      assert.strictEqual(status.code, 0, status.err)
      const { primary, queue } = JSON.parse(status.out)
      const pids = processes.map(({ child }) => child.pid)
      assert.include(pids, primary.pid)
      assert.strictEqual(primary.epoch, 1)
      assert.isAbove(queue.completed, 0)
      assert.hasAllKeys(queue, [
        "depth",
        "max_depth",
        "accepted",
        "completed",
        "failed",
        "dropped",
        "overloaded",
        "groups",
        "max_group"
      ])
      const { checks } = JSON.parse((yield* hub(["doctor", "--json"])).out)
      const check = checks.find(({ name }: { readonly name: string }) => name === "primary")
      assert.match(
        check.message,
        new RegExp(`^process ${primary.pid} writes for the others, epoch 1; its queue: \\d+ `)
      )

      const before = compareJournals(database, journals).acknowledged
      const run = yield* command(folder, ["primary", "step-down", "--json"])
      assert.strictEqual(run.code, 0, run.err)
      const change = JSON.parse(run.out)
      assert.deepStrictEqual([change.before.pid, change.before.epoch], [primary.pid, 1])
      assert.include(pids, change.after.pid)
      assert.notStrictEqual(change.after.pid, primary.pid)
      assert.isAbove(change.after.epoch, 1)
      const text = (yield* hub(["primary", "status"])).out
      assert.match(text, new RegExp(`^pid +${change.after.pid}$`, "m"))

      for (const { child, ended } of processes) {
        child.kill("SIGKILL")
        yield* ended
      }
      const { acknowledged, failures, lost, doubled, denied } = compareJournals(database, journals)
      assert.deepStrictEqual([failures, lost, doubled, denied], [{}, [], [], []])
      assert.isAbove(acknowledged, before)
    })
  )

  it.scopedLive("a primary that was stopped is told from none", () =>
    Effect.gen(function* () {
      const { database, folder, hub } = yield* emptyPlace
      yield* hub(["migrate"])
      const journal = NodePath.join(folder, "journal")
      const only = yield* startScript("journal-process.ts", database, "a", journal, {
        keyed: 1,
        count: 3,
        attempt: 9_000
      })
      yield* only.tell("go\n")
      yield* only.line(1)
      const asked = hub(["primary", "status", "--json"])
      yield* Effect.repeat(asked, { until: ({ code }) => code === 0, times: 100 })
      only.child.kill("SIGSTOP")
      const hangs = yield* asked
      assert.deepStrictEqual([hangs.code, errorOf(hangs).code], [1, "HUB_PRIMARY_HANGS"])
      assert.strictEqual(primaryIn(yield* hub(["doctor", "--json"])).status, "warn")
      only.child.kill("SIGCONT")
      assert.strictEqual((yield* asked).code, 0)
      only.child.kill("SIGKILL")
      yield* only.ended
      const gone = yield* asked
      assert.deepStrictEqual([gone.code, errorOf(gone).code], [1, "HUB_NO_PRIMARY"])
    })
  )
})
