import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import { Sqlite } from "effect-db-hub"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { Backend, type BackendShape } from "../../src/services/Backend.js"
import { temporaryFile } from "../support/index.js"

/** Pages of the log after which the writes of this process make a checkpoint. */
const pagesOf = (backend: BackendShape) =>
  Effect.map(backend.query("PRAGMA wal_autocheckpoint"), ([row]) => row?.["wal_autocheckpoint"])

const share = (backend: BackendShape, options: ForwardingWrites.ForwardingOptions = {}) =>
  Layer.build(Layer.provide(ForwardingWrites.layer(options), Layer.succeed(Backend, backend)))

/** Fills more pages of the log than a primary leaves in it, and fewer than a writer does. */
const manyPages =
  "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) INSERT INTO t SELECT zeroblob(3000) FROM n"

const soon = Schedule.intersect(Schedule.spaced("20 millis"), Schedule.recurs(500))

describe("checkpoints", () => {
  it.scopedLive("a process leaves them to the primary for as long as it shares its writes", () =>
    Effect.gen(function* () {
      const backend = yield* Sqlite.make({ path: yield* temporaryFile })
      assert.strictEqual(yield* pagesOf(backend), 1_000)
      for (const strategy of ["local-first", "forward-always"] as const) {
        const scope = yield* Scope.make()
        yield* Scope.extend(share(backend, { strategy }), scope)
        assert.strictEqual(yield* pagesOf(backend), 8_192)
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual(yield* pagesOf(backend), 1_000)
      }
    })
  )

  it.scopedLive("a backend whose writes are its own, or that has no such log, makes them as SQLite does", () =>
    Effect.gen(function* () {
      const own = yield* Sqlite.make({ path: yield* temporaryFile })
      yield* share(own, { strategy: "local-only" })
      assert.strictEqual(yield* pagesOf(own), 1_000)
      const other = yield* Sqlite.make({ path: yield* temporaryFile, journalMode: "DELETE" })
      yield* share(other)
      assert.strictEqual(yield* pagesOf(other), 1_000)
    })
  )

  it.scopedLive("the log is put away when the backend is closed, while the process goes on", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const scope = yield* Scope.make()
      const backend = yield* Scope.extend(Sqlite.make({ path }), scope)
      yield* Scope.extend(share(backend), scope)
      yield* backend.execute("CREATE TABLE t (x)")
      yield* backend.execute(manyPages)
      const waiting = Effect.map(
        backend.execute("PRAGMA wal_checkpoint(NOOP)"),
        ({ rows: [row] }) => Number(row?.["log"]) - Number(row?.["checkpointed"])
      )
      assert.isAbove(yield* waiting, 1_000)
      yield* Effect.retry(
        Effect.filterOrFail(waiting, (pages) => pages === 0),
        soon
      )
      yield* Scope.close(scope, Exit.void)
      assert.isFalse(NodeFs.existsSync(`${path}-wal`))
    })
  )

  it.scopedLive("the primary says once that it cannot make them, and writes go on", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (logLevel.label === "WARN") warnings.push(String(message))
      })
      const backend = yield* Sqlite.make({ path })
      yield* backend.execute("CREATE TABLE t (x)")
      const insert = backend.execute(manyPages)
      yield* Effect.provide(share(backend), Logger.replace(Logger.defaultLogger, logger))
      yield* Effect.retry(ForwardingWrites.probePrimary(backend), soon)
      NodeFs.renameSync(path, `${path}.moved`)
      yield* insert
      yield* Effect.retry(
        Effect.filterOrFail(Effect.succeed(warnings), ({ length }) => length > 0),
        soon
      )
      yield* insert
      assert.lengthOf(warnings, 1)
      assert.match(
        warnings[0]!,
        /^Checkpoints of primary are left to those who write.*failed \(ENOENT\): check file and disk/
      )
    })
  )
})
