import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import { fileClient, openClient } from "../support/index.js"

interface Level {
  readonly parts: ReadonlyArray<Level | "write" | "bad write">
  readonly fails: boolean
}

const level: FastCheck.Arbitrary<Level> = FastCheck.letrec<{ level: Level }>((tie) => ({
  level: FastCheck.record({
    parts: FastCheck.array(
      FastCheck.oneof(
        { maxDepth: 4, depthIdentifier: "level" },
        FastCheck.constantFrom("write" as const, "bad write" as const),
        tie("level")
      ),
      { maxLength: 4 }
    ),
    fails: FastCheck.boolean()
  })
})).level

describe("any tree of transactions", () => {
  it.effect("keeps exactly the writes of the levels that succeeded within levels that did", () =>
    Effect.gen(function* () {
      for (const tree of FastCheck.sample(level, 200)) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const client = yield* openClient({ path: ":memory:" })
            yield* client.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, x NOT NULL)")
            let next = 0
            const run = (node: Level): Effect.Effect<ReadonlyArray<number>> => {
              const body = Effect.gen(function* () {
                const kept: Array<number> = []
                for (const part of node.parts) {
                  if (part === "write") {
                    const id = next++
                    yield* client.execute("INSERT INTO t VALUES (?, 1)", [id])
                    kept.push(id)
                  } else if (part === "bad write") {
                    yield* Effect.flip(client.execute("INSERT INTO t VALUES (?, NULL)", [next++]))
                  } else kept.push(...(yield* run(part)))
                }
                if (node.fails) return yield* Effect.fail("no")
                return kept
              })
              return client.transaction(body).pipe(Effect.orElseSucceed((): ReadonlyArray<number> => []))
            }
            const kept = yield* run(tree)
            const rows = yield* client.query("SELECT id FROM t ORDER BY id")
            assert.deepStrictEqual(
              rows.map((row) => row["id"]),
              [...kept].sort((a, b) => a - b)
            )
            assert.isFalse(client.writer.inTransaction)
          })
        )
      }
    })
  )
})

describe("many fibers that write, fail and are interrupted at any moment", () => {
  for (const [name, options] of [
    ["a file", {}],
    ["a file with a rollback journal", { journalMode: "DELETE", synchronous: "OFF" }]
  ] as const) {
    it.scopedLive(`keep what was acknowledged, and nothing by halves (${name})`, () =>
      Effect.gen(function* () {
        const client = yield* fileClient(options)
        const acknowledged = new Set<number>()
        const refused = new Set<number>()
        const pair = (id: number, nested: boolean) => {
          const body = Effect.gen(function* () {
            yield* client.execute("INSERT INTO t (id) VALUES (?)", [id])
            yield* Effect.yieldNow()
            if (nested)
              yield* Effect.ignore(
                client.transaction(Effect.zipRight(client.execute("DELETE FROM t"), Effect.fail("no")))
              )
            yield* client.query("SELECT count(*) FROM t")
            yield* Effect.yieldNow()
            if (id % 7 === 0) return yield* Effect.fail("no")
            yield* client.execute("INSERT INTO t (id) VALUES (?)", [id + 1])
          })
          return Effect.onExit(client.transaction(body), (exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit)) acknowledged.add(id).add(id + 1)
              else if (!Exit.isInterrupted(exit)) refused.add(id).add(id + 1)
            })
          )
        }
        const plain = (id: number) =>
          Effect.onExit(client.execute("INSERT INTO t (id) VALUES (?), (?)", [id, id + 1]), (exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit)) acknowledged.add(id).add(id + 1)
            })
          )
        let seed = 7
        const random = (below: number) => {
          seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
          return Math.floor(seed / 65_536) % below
        }
        for (let round = 0; round < 40; round++) {
          const fibers = yield* Effect.forEach(Array.from({ length: 12 }), (_, i) => {
            const id = 2 * (round * 12 + i) + 2
            const work: Effect.Effect<unknown, unknown> = i % 3 === 0 ? plain(id) : pair(id, i % 3 === 1)
            // Fibers that yield after few steps (Effect itself stands still below some 20) meet each other in the middle of everything.
            return Effect.fork(Effect.withMaxOpsBeforeYield(work, 32 + random(64)))
          })
          for (let i = random(30); i > 0; i--) yield* Effect.yieldNow()
          yield* Effect.forEach(fibers, (fiber) => (random(3) === 0 ? Fiber.interruptFork(fiber) : Effect.void))
          yield* Effect.forEach(fibers, Fiber.await)
          assert.isFalse(client.lane.isHeld())
          assert.isFalse(client.writer.inTransaction)
        }
        const stored = new Set((yield* client.query("SELECT id FROM t")).map((row) => Number(row["id"])))
        for (const id of stored) assert.isTrue(stored.has(id % 2 === 0 ? id + 1 : id - 1), `${id} is alone`)
        for (const id of acknowledged) assert.isTrue(stored.has(id), `${id} is lost`)
        for (const id of refused) assert.isFalse(stored.has(id), `${id} was refused`)
        assert.isAbove(acknowledged.size, 100)
        assert.isAbove(refused.size, 0)
      })
    )
  }
})
