/**
 * Clients that append to lists, and read, write and swap registers, at random: `history-process.ts FILE NAME LOG SEED
 * OPTIONS`. Each call and its end go to LOG with the time of the machine's clock. It says `ready`, waits for a line,
 * says `done` at its end, and stays for the others until its input ends.
 */
import * as NodeFs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { Sqlite } from "effect-db-hub"
import { DbConflict } from "../../src/errors/index.js"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { Backend } from "../../src/services/Backend.js"
import { operation, WriteChannel, withWriteTimeout } from "../../src/services/WriteChannel.js"
import type { Call, Logged } from "./histories.js"
import { random } from "./random.js"

interface Options extends ForwardingWrites.ForwardingOptions {
  readonly clients: number
  readonly calls: number
}

const [path = "", name = "", log = "", seed = "0", given = "{}"] = process.argv.slice(2)
const { calls, clients, ...options } = JSON.parse(given) as Options

const say = (line: string) => NodeFs.writeSync(1, `${line}\n`)
const write = (entry: Logged) => NodeFs.appendFileSync(log, `${JSON.stringify(entry)}\n`)
/** Nanoseconds of a clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint())

const on = (event: "data" | "end") =>
  Effect.async<void>((resume) => {
    if (process.stdin.readableEnded) return resume(Effect.void)
    process.stdin.once(event, () => resume(Effect.void)).resume()
  })

const Append = operation("History.append", { payload: { key: Schema.String, value: Schema.Number } })
const Write = operation("History.write", { payload: { key: Schema.String, value: Schema.Number } })
const Swap = operation("History.swap", {
  payload: { key: Schema.String, expected: Schema.NullOr(Schema.Number), value: Schema.Number }
})

const program = Effect.gen(function* () {
  const backend = yield* Backend
  const channel = yield* WriteChannel
  yield* backend.execute(
    "CREATE TABLE IF NOT EXISTS lists (n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT, value INTEGER)"
  )
  yield* backend.execute("CREATE TABLE IF NOT EXISTS registers (key TEXT PRIMARY KEY, value INTEGER)")

  const list = (key: string) =>
    Effect.map(backend.query("SELECT value FROM lists WHERE key = ? ORDER BY n", [key]), (rows) =>
      rows.map(({ value }) => Number(value))
    )
  const register = (key: string) =>
    Effect.map(backend.query("SELECT value FROM registers WHERE key = ?", [key]), ([row]) =>
      row === undefined ? null : Number(row["value"])
    )
  const put = (key: string, value: number) =>
    Effect.as(
      backend.execute(
        "INSERT INTO registers (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [key, value]
      ),
      { result: undefined, ids: [key] }
    )
  const append = channel.handle(Append, ({ key, value }) =>
    Effect.as(backend.execute("INSERT INTO lists (key, value) VALUES (?, ?)", [key, value]), {
      result: undefined,
      ids: [key]
    })
  )
  const set = channel.handle(Write, ({ key, value }) => put(key, value))
  const swap = channel.handle(Swap, ({ expected, key, value }) =>
    Effect.flatMap(register(key), (found) =>
      found === expected
        ? put(key, value)
        : Effect.fail(
            new DbConflict({ operation: Swap._tag, reason: "compare-and-set", message: "another value than expected" })
          )
    )
  )

  const run = (call: Call) => {
    switch (call.kind) {
      case "append":
        return append(call)
      case "write":
        return set(call)
      case "swap":
        return swap(call)
      case "list":
        return list(call.key)
      case "read":
        return register(call.key)
    }
  }

  const client = (number: number) =>
    Effect.gen(function* () {
      const next = random(Number(seed) + number)
      const pick = (count: number) => Math.floor(next() * count)
      for (let n = 0; n < calls; n++) {
        const value = (Number(seed) % 1000) * 1e6 + number * 1e5 + n
        const [listKey, registerKey] = [`l${pick(3)}`, `r${pick(3)}`]
        const made: ReadonlyArray<Call> = [
          { kind: "append", key: listKey, value },
          { kind: "list", key: listKey },
          { kind: "write", key: registerKey, value },
          { kind: "read", key: registerKey },
          { kind: "swap", key: registerKey, expected: yield* register(registerKey), value }
        ]
        const call = made[pick(made.length)]!
        const id = `${name}:${number}:${n}`
        write({ id, at: now(), call })
        const end = yield* Effect.either(run(call))
        // A swap that found another value is an answer like any other.
        if (end._tag === "Right") write({ id, at: now(), end: "ok", result: end.right ?? null })
        else if (end.left._tag === "DbConflict") write({ id, at: now(), end: "conflict" })
        else write({ id, at: now(), end: end.left.applied === "no" ? "failed" : "unknown" })
        yield* Effect.sleep(next() * 20)
      }
    })

  say("ready")
  yield* on("data")
  yield* withWriteTimeout(20_000)(
    Effect.forEach(
      Array.from({ length: clients }, (_, n) => n),
      client,
      { concurrency: "unbounded", discard: true }
    )
  )
  say("done")
  yield* on("end")
})

const services = Layer.provideMerge(ForwardingWrites.layer(options), Sqlite.layer({ path }))
Effect.runPromise(Effect.provide(program, services)).then(
  () => process.exit(0),
  (error) => {
    NodeFs.writeSync(2, `${String(error)}\n`)
    process.exit(1)
  }
)
