import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { temporaryFile } from "../support/index.js"
import { type OtherProcess, startWriter } from "../support/processes.js"

/** Pages of the log that are not yet in the database, as a handle that changes nothing sees them. */
const waitingPages = (path: string): number => {
  const db = new Database(path, { readonly: true })
  try {
    const [found] = db.pragma("wal_checkpoint(NOOP)") as [{ readonly log: number; readonly checkpointed: number }]
    return found.log - found.checkpointed
  } finally {
    db.close()
  }
}

/** Writes of each burst: more pages than a primary leaves in the log, and fewer than a writer does. */
const writes = 500

const burst = (...writers: ReadonlyArray<OtherProcess>) =>
  Effect.gen(function* () {
    for (const { tell } of writers) yield* tell("go\n")
    for (const { line } of writers) assert.deepStrictEqual(JSON.parse((yield* line(1)) ?? "").failures, {})
  })

const start = (path: string, name: string, count: number) =>
  Effect.tap(startWriter(path, name, count, ""), ({ line }) =>
    Effect.map(line(0), (said) => assert.strictEqual(said, "ready"))
  )

/** Waits for the primary to have copied the log, while nobody writes. */
const copied = (path: string) =>
  Effect.retry(
    Effect.filterOrFail(
      Effect.sync(() => waitingPages(path)),
      (pages) => pages <= 1_000,
      (pages) => new Error(`${pages} pages of the log are not in the database`)
    ),
    Schedule.intersect(Schedule.spaced("50 millis"), Schedule.recurUpTo("20 seconds"))
  )

describe("checkpoints of a file that many write to", { timeout: 60_000 }, () => {
  it.scopedLive("the primary copies what a burst has left in the log, and whoever closes last puts the log away", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const writers = [yield* start(path, "a", writes), yield* start(path, "b", writes)]
      yield* burst(...writers)
      yield* copied(path)
      for (const { child, ended } of writers) {
        child.stdin.end()
        yield* ended
        assert.strictEqual(child.exitCode, 0)
      }
      assert.deepStrictEqual(
        NodeFs.readdirSync(NodePath.dirname(path)).filter((name) => /-(wal|shm)$/.test(name)),
        []
      )
    })
  )

  it.scopedLive("the next primary goes on where one was killed", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const first = yield* start(path, "first", writes)
      const next = yield* start(path, "next", writes)
      yield* burst(first)
      yield* copied(path)
      first.child.kill("SIGKILL")
      yield* first.ended
      yield* burst(next)
      yield* copied(path)
    })
  )
})
