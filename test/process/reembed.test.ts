import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as SearchLive from "../../src/layers/search/SearchLive.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import type { BackendShape } from "../../src/services/Backend.js"
import { drawn } from "../support/drawnEmbeddings.js"
import { temporaryFile } from "../support/index.js"
import { inDatabase, noServer, serverUrl, temporaryDatabase } from "../support/postgres.js"
import { startScript } from "../support/processes.js"

const textOf = (n: number) => `record number ${n}`

const killed = (backend: BackendShape, place: string) =>
  Effect.gen(function* () {
    const search = SearchLive.make(backend, drawn("old", 32))
    const nearest = (name: typeof search, text: string) =>
      Effect.map(name.search("notes", { text, mode: "vector", limit: 1 }), ({ results: [first] }) => first?.text)
    yield* search.createCollection("notes", { model: true })
    yield* search.index(
      "notes",
      Array.from({ length: 700 }, (_, n) => ({ id: `r${String(n).padStart(3, "0")}`, text: textOf(n) }))
    )

    const other = yield* startScript("reembed-process.ts", backend.kind, place, "notes")
    assert.deepStrictEqual([yield* other.line(0), yield* other.line(1), yield* other.line(2)], ["256", "256", "188"])
    other.child.kill("SIGKILL")
    yield* other.ended

    assert.strictEqual(yield* nearest(search, textOf(77)), textOf(77))
    yield* search.index("notes", [
      { id: "r005", text: "changed" },
      { id: "new", text: "written in between" }
    ])
    yield* search.delete("notes", ["r006", "r600"])
    assert.strictEqual(yield* nearest(search, "changed"), "changed")

    const asked: Array<string> = []
    const next = drawn("new", 48, (texts) => Effect.sync(() => void asked.push(...texts)))
    const report = yield* SearchLive.make(backend, next).reembed("notes")
    assert.deepStrictEqual(report, { embedded: 189, pending: 0, moved: true })
    assert.sameMembers(
      asked,
      Array.from({ length: 188 }, (_, n) => textOf(512 + n))
        .filter((text) => text !== textOf(600))
        .concat("changed", "written in between")
    )
    const moved = SearchLive.make(backend, next)
    for (const text of [textOf(77), textOf(511), textOf(512), "changed", "written in between"]) {
      assert.strictEqual(yield* nearest(moved, text), text)
    }
    assert.strictEqual(yield* backend.vector.count("notes"), 699)
    assert.deepStrictEqual(
      (yield* backend.vector.collections).map(({ dimension, model, name }) => [name, model, dimension]),
      [["notes", "new", 48]]
    )
  })

describe("moving a collection to another model, killed in the middle", { timeout: 120_000 }, () => {
  it.scopedLive("goes on from there on SQLite, and loses nothing that was written meanwhile", () =>
    Effect.gen(function* () {
      const path = yield* temporaryFile
      yield* killed(yield* Sqlite.make({ path }), path)
    })
  )

  it.scopedLive.skipIf(noServer)("and on PostgreSQL", () =>
    Effect.gen(function* () {
      const url = inDatabase(serverUrl, yield* temporaryDatabase)
      yield* killed(yield* Postgres.make({ url: Redacted.make(url) }), url)
    })
  )
})
