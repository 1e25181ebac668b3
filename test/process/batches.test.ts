import * as NodeFs from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Sqlite } from "effect-db-hub"
import { probePrimary } from "../../src/layers/write/ForwardingWrites.js"
import { temporaryFile } from "../support/index.js"
import { startScript } from "../support/processes.js"

const countOf = (path: string, sql: string) => {
  const db = new Database(path, { readonly: true })
  try {
    return db.prepare(sql).pluck().get()
  } finally {
    db.close()
  }
}

interface EndedSpan {
  readonly name: string
  readonly trace: string
  readonly id: string
  readonly parent?: string
}

const spansOf = (file: string): ReadonlyArray<EndedSpan> =>
  NodeFs.readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))

/** A process to which lines are given, and which answers each. */
const start = (path: string, options: object) =>
  Effect.gen(function* () {
    const started = yield* startScript("batch-process.ts", path, options)
    assert.strictEqual(yield* started.line(0), '"ready"')
    let asked = 0
    const ask = (line: string) =>
      Effect.suspend(() => {
        asked++
        return Effect.map(Effect.zipRight(started.tell(`${line}\n`), started.line(asked)), (answer) =>
          JSON.parse(answer!)
        )
      })
    return { ...started, ask }
  })

/** One process that is primary, and one that sends it all of its writes. */
const pair = (options: object = {}) =>
  Effect.gen(function* () {
    const path = yield* temporaryFile
    const backend = yield* Sqlite.make({ path })
    const one = yield* start(path, { trace: `${path}.one`, ...options })
    const elected = Effect.retry(probePrimary(backend), Schedule.spaced("50 millis"))
    assert.strictEqual((yield* elected).pid, one.child.pid)
    const two = yield* start(path, { strategy: "forward-always", timeout: "20 seconds", trace: `${path}.two` })
    return { backend, elected, one, path, two }
  })

describe("writes of your own through another process", () => {
  it.scopedLive(
    "a batch of statements is done once under its key, there or by the next primary",
    () =>
      Effect.gen(function* () {
        const { backend, elected, one, path, two } = yield* pair()
        const before = (yield* elected).completed
        const first = yield* two.ask("batch k1")
        assert.deepStrictEqual(
          first.result.map(({ rowsAffected }: { readonly rowsAffected: number }) => rowsAffected).slice(1, 2),
          [1]
        )
        assert.deepStrictEqual(first.result[2].rows, [{ n: 1 }])
        assert.deepStrictEqual(yield* two.ask("batch k1"), first)
        assert.deepStrictEqual(yield* one.ask("batch k1"), first)
        assert.isAbove((yield* probePrimary(backend)).completed, before)
        one.child.kill("SIGKILL")
        yield* one.ended
        assert.deepStrictEqual(yield* two.ask("batch k1"), first)
        assert.strictEqual((yield* probePrimary(backend)).pid, two.child.pid)
        assert.strictEqual(countOf(path, "SELECT count(*) FROM done"), 1)
      }),
    60_000
  )

  it.scopedLive(
    "values of every kind arrive as they were",
    () =>
      Effect.gen(function* () {
        const { one, two } = yield* pair()
        const [there, here] = [yield* two.ask("values"), yield* one.ask("values")]
        assert.deepStrictEqual(there, here)
        assert.strictEqual(there.result[0].rows[0].text, "Zürich 🦀")
        assert.strictEqual(there.result[0].rows[0].big, `${2n ** 60n}n`)
      }),
    60_000
  )

  it.scopedLive(
    "an operation that a program declares has one effect per key, whichever process does it",
    () =>
      Effect.gen(function* () {
        const { one, path, two } = yield* pair()
        assert.deepStrictEqual(yield* two.ask("vote a"), { result: { votes: 1 } })
        assert.deepStrictEqual(yield* one.ask("vote b"), { result: { votes: 2 } })
        assert.deepStrictEqual(yield* two.ask("vote a"), { result: { votes: 1 } })
        assert.deepStrictEqual(yield* one.ask("vote a"), { result: { votes: 1 } })
        assert.strictEqual(countOf(path, "SELECT votes FROM votes"), 2)
      }),
    60_000
  )

  it.scopedLive(
    "over TCP on the loopback it is the same",
    () =>
      Effect.gen(function* () {
        const { backend, two } = yield* pair({ transport: "tcp" })
        assert.match((yield* backend.sharing!.read)!.socket, /^tcp:/)
        assert.deepStrictEqual(yield* two.ask("vote a"), { result: { votes: 1 } })
      }),
    60_000
  )

  it.scopedLive(
    "an operation that the primary does not have is named as such",
    () =>
      Effect.gen(function* () {
        const { two } = yield* pair({ known: false })
        assert.deepStrictEqual(yield* two.ask("absent"), { _tag: "UnknownOperation" })
      }),
    60_000
  )

  it.scopedLive(
    "a forwarded write is one trace over both processes, down to its statements",
    () =>
      Effect.gen(function* () {
        const { path, two } = yield* pair()
        assert.hasAllKeys(yield* two.ask("vote a"), ["result"])
        const [here, there] = [spansOf(`${path}.two`), spansOf(`${path}.one`)]
        const call = here.find(({ name }) => name === "vote a")
        const sent = here.find(({ name, parent }) => parent === call?.id && name.endsWith(".Forward"))
        const done = there.find(({ parent }) => parent === sent?.id)
        assert.deepStrictEqual(
          [sent?.name, done?.name],
          ["effect-db-hub.forward.Forward", "effect-db-hub.primary.Forward"]
        )
        assert.deepStrictEqual([sent?.trace, done?.trace], [call?.trace, call?.trace])
        const below = (span: EndedSpan): boolean => {
          const parent = there.find(({ id }) => id === span.parent)
          return parent !== undefined && (parent === done || below(parent))
        }
        const statements = there.filter(({ name, trace }) => name === "sql.execute" && trace === call?.trace)
        // Its key, what it changes, its change and its result.
        assert.isAtLeast(statements.length, 4)
        assert.isTrue(statements.every(below))
      }),
    60_000
  )
})
