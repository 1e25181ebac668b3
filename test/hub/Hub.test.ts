import * as NodeFs from "node:fs"
import * as NodePath from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { DbConnection } from "../../src/errors/index.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { BackendFactory, BackendSettings } from "../../src/services/Hub.js"
import { failureOf, temporaryFolder } from "../support/index.js"

const sqlite: BackendFactory = (name, settings) =>
  Sqlite.make({ path: ":memory:", ...(settings as BackendSettings & { readonly path?: string }), name })

const openHub = (options: Partial<HubMake.HubOptions> = {}) =>
  HubMake.make({ primary: { type: "sqlite" }, factories: { sqlite }, ...options })

/** The files of a folder that this process has open, where the system tells. */
const openFiles = (folder: string): ReadonlyArray<string> =>
  NodeFs.existsSync("/proc/self/fd")
    ? NodeFs.readdirSync("/proc/self/fd").flatMap((descriptor) => {
        try {
          const file = NodeFs.readlinkSync(`/proc/self/fd/${descriptor}`)
          return file.startsWith(folder) ? [file] : []
        } catch (_closedMeanwhile) {
          return []
        }
      })
    : []

describe("Hub", () => {
  it.scoped("opens the primary and every named connection", () =>
    Effect.gen(function* () {
      const hub = yield* openHub({ connections: { logs: { type: "sqlite" }, cache: { type: "sqlite" } } })
      assert.deepStrictEqual([...(yield* hub.list)].sort(), ["cache", "logs", "primary"])
      assert.strictEqual((yield* hub.list)[0], "primary")
      assert.strictEqual(yield* hub.get(), hub.primary)
      assert.strictEqual(yield* hub.get(""), hub.primary)
      assert.strictEqual((yield* hub.get("logs")).name, "logs")
    })
  )

  it.scoped("query, exec, migrate and vectorSearch go to the named backend", () =>
    Effect.gen(function* () {
      const hub = yield* openHub({ connections: { other: { type: "sqlite" } } })
      yield* hub.exec("CREATE TABLE t (a INTEGER)", [], "other")
      yield* hub.exec("INSERT INTO t VALUES (?)", [1], "other")
      assert.deepStrictEqual(yield* hub.query("SELECT a FROM t WHERE a = ?", [1], "other"), [{ a: 1 }])
      assert.strictEqual((yield* failureOf(hub.query("SELECT a FROM t")))._tag, "DbQuery")
      assert.deepStrictEqual((yield* hub.migrate()).applied, [])
      yield* hub.primary.vector.createCollection("c", { dimension: 2 })
      yield* hub.primary.vector.insert("c", { id: "id1", vector: [1, 0] })
      const hits = yield* hub.vectorSearch("c", [1, 0], { k: 10 })
      assert.deepStrictEqual(
        hits.map(({ id }) => id),
        ["id1"]
      )
    })
  )

  it.scoped("an unknown name is NotFound and names what is near", () =>
    Effect.gen(function* () {
      const hub = yield* openHub({ connections: { archive: { type: "sqlite" } } })
      const error = yield* failureOf(hub.get("archvie"))
      assert.strictEqual(error._tag, "NotFound")
      assert.include(error.message, "archive")
    })
  )

  it.scoped("a taken name, a bad name and an unknown type are refused with a type", () =>
    Effect.gen(function* () {
      const hub = yield* openHub({ aliases: { memory: "primary" } })
      const tagOf = (name: string, type = "sqlite") =>
        Effect.map(failureOf(hub.add(name, { type })), (error) => error._tag)
      assert.strictEqual(yield* tagOf("primary"), "DbConflict")
      assert.strictEqual(yield* tagOf("memory"), "DbConflict")
      for (const name of ["", "1st", "a b", "x".repeat(64), "a;DROP"]) {
        assert.strictEqual(yield* tagOf(name), "InvalidInput")
      }
      assert.strictEqual(yield* tagOf("ok", "oracle"), "InvalidInput")
      assert.strictEqual(yield* tagOf("ok", "mysql"), "DbUnsupported")
      assert.deepStrictEqual(yield* hub.list, ["primary"])
    })
  )

  it.scoped("adding a slow backend does not hold up the others, and its name is taken meanwhile", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const slow: BackendFactory = (name, settings) => Effect.zipRight(Deferred.await(gate), sqlite(name, settings))
      const hub = yield* openHub()
      yield* hub.registerFactory("slow", slow)
      const adding = yield* Effect.fork(hub.add("late", { type: "slow" }))
      yield* Effect.yieldNow()
      assert.deepStrictEqual(yield* hub.query("SELECT 1 AS one"), [{ one: 1 }])
      assert.strictEqual((yield* failureOf(hub.add("late", { type: "sqlite" })))._tag, "DbConflict")
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(adding)).name, "late")
    })
  )

  it.scoped("a backend that fails to open leaves its name free", () =>
    Effect.gen(function* () {
      const hub = yield* openHub()
      yield* hub.registerFactory("broken", () =>
        Effect.fail(new DbConnection({ operation: "open", message: "no route" }))
      )
      assert.strictEqual((yield* failureOf(hub.add("b", { type: "broken" })))._tag, "DbConnection")
      yield* hub.add("b", { type: "sqlite" })
    })
  )

  it.scoped("remove refuses the primary, also by its alias, and what is not there", () =>
    Effect.gen(function* () {
      const hub = yield* openHub({ aliases: { memory: "primary" } })
      assert.strictEqual((yield* failureOf(hub.remove("primary")))._tag, "InvalidInput")
      assert.strictEqual((yield* failureOf(hub.remove("memory")))._tag, "InvalidInput")
      assert.strictEqual((yield* failureOf(hub.remove("nowhere")))._tag, "NotFound")
    })
  )

  it.scopedLive("remove lets a running transaction come to its end, then closes", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const path = NodePath.join(folder, "other.db")
      const hub = yield* openHub()
      const settings = { type: "sqlite", path } as BackendSettings
      const other = yield* hub.add("other", settings)
      yield* other.execute("CREATE TABLE t (a INTEGER)")
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const writing = yield* Effect.fork(
        other.transaction(
          Effect.gen(function* () {
            yield* other.execute("INSERT INTO t VALUES (1)")
            yield* Deferred.succeed(begun, undefined)
            yield* Deferred.await(go)
            yield* other.execute("INSERT INTO t VALUES (2)")
          })
        )
      )
      yield* Deferred.await(begun)
      const removing = yield* Effect.fork(hub.remove("other"))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* failureOf(hub.get("other")))._tag, "NotFound")
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(writing)
      yield* Fiber.join(removing)
      assert.strictEqual((yield* failureOf(other.query("SELECT 1 AS one")))._tag, "DbConnection")
      const again = yield* hub.add("other", settings)
      assert.deepStrictEqual(yield* again.query("SELECT count(*) AS n FROM t"), [{ n: 2 }])
    })
  )

  it.scopedLive("status asks all side by side; a dead backend delays nobody past its timeout", () =>
    Effect.gen(function* () {
      const dead: BackendFactory = (name, settings) =>
        Effect.map(sqlite(name, settings), (backend) => ({
          ...backend,
          health: { ...backend.health, status: Effect.never }
        }))
      const hub = yield* openHub({
        connections: { dead1: { type: "dead" }, dead2: { type: "dead" } },
        factories: { sqlite, dead }
      })
      const started = performance.now()
      const status = yield* hub.status({ timeout: 300 })
      const took = performance.now() - started
      assert.isBelow(took, 900)
      assert.isTrue(status["primary"]?.healthy)
      assert.isFalse(status["dead1"]?.healthy)
      assert.include(status["dead2"]?.error, "did not answer")
    })
  )

  it.scoped("remove takes the name away also when the backend calls itself something else", () =>
    Effect.gen(function* () {
      const renamed: BackendFactory = (_name, settings) => sqlite("itself", settings)
      const hub = yield* openHub({ factories: { sqlite, renamed } })
      yield* hub.add("other", { type: "renamed" })
      yield* hub.remove("other")
      assert.deepStrictEqual(yield* hub.list, ["primary"])
    })
  )

  it.scoped("lists connections in the order of the configuration, however fast they open", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const slow: BackendFactory = (name, settings) => Effect.zipRight(Deferred.await(gate), sqlite(name, settings))
      const last: BackendFactory = (name, settings) =>
        Effect.zipLeft(sqlite(name, settings), Deferred.succeed(gate, undefined))
      const hub = yield* openHub({
        connections: { z: { type: "slow" }, a: { type: "last" } },
        factories: { sqlite, slow, last }
      })
      assert.deepStrictEqual(yield* hub.list, ["primary", "z", "a"])
    })
  )

  it.scoped("of which one connection cannot be opened opens nothing", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const at = (file: string) => ({ type: "sqlite", path: NodePath.join(folder, file) }) as BackendSettings
      const opening = openHub({
        primary: at("primary.db"),
        connections: { a: at("a.db"), bad: at("."), b: at("b.db") }
      })
      assert.strictEqual((yield* failureOf(Effect.scoped(opening)))._tag, "DbConnection")
      assert.deepStrictEqual(openFiles(folder), [])
    })
  )

  it.scoped("once closed opens nothing, nor keeps what was being opened", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const gate = yield* Deferred.make<void>()
      const slow: BackendFactory = (name, settings) => Effect.zipRight(Deferred.await(gate), sqlite(name, settings))
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(openHub({ factories: { sqlite, slow } }), scope)
      const late = (type: string) => ({ type, path: NodePath.join(folder, `${type}.db`) }) as BackendSettings
      const adding = yield* Effect.fork(failureOf(hub.add("slow", late("slow"))))
      yield* Effect.yieldNow()
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(gate, undefined)
      for (const error of [yield* Fiber.join(adding), yield* failureOf(hub.add("late", late("sqlite")))]) {
        assert.strictEqual(error._tag, "DbConnection")
        assert.strictEqual(error.code, "HUB_CLOSED")
      }
      assert.deepStrictEqual(openFiles(folder), [])
    })
  )

  it.scoped("status outlives the bug of one backend's check", () =>
    Effect.gen(function* () {
      const buggy: BackendFactory = (name, settings) =>
        Effect.map(sqlite(name, settings), (backend) => ({
          ...backend,
          health: { ...backend.health, status: Effect.die(new Error("bug")) }
        }))
      const hub = yield* openHub({ connections: { other: { type: "buggy" } }, factories: { sqlite, buggy } })
      const status = yield* hub.status()
      assert.isTrue(status["primary"]?.healthy)
      assert.isFalse(status["other"]?.healthy)
    })
  )

  it.scoped("closing closes every backend, the last opened first", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const noted: BackendFactory = (name, settings) =>
        Effect.tap(sqlite(name, settings), () => Effect.addFinalizer(() => Effect.sync(() => closed.push(name))))
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(openHub({ factories: { sqlite: noted } }), scope)
      yield* hub.add("second", { type: "sqlite" })
      yield* hub.add("third", { type: "sqlite" })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(closed, ["third", "second", "primary"])
      assert.strictEqual((yield* failureOf(hub.query("SELECT 1")))._tag, "DbConnection")
    })
  )

  it.scoped("an opening that is interrupted leaves nothing open", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const stuck: BackendFactory = (name) =>
        Effect.zipRight(
          Effect.addFinalizer(() => Effect.sync(() => closed.push(name))),
          Effect.never
        )
      const hub = yield* openHub({ factories: { sqlite, stuck } })
      const adding = yield* Effect.fork(hub.add("s", { type: "stuck" }))
      yield* Effect.yieldNow()
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(adding)
      assert.deepStrictEqual(closed, ["s"])
      yield* hub.add("s", { type: "sqlite" })
    })
  )
})
