/**
 * A process that writes to a shared database: `forward-process.ts FILE NAME COUNT JOURNAL [OPTIONS]`. It says `ready`,
 * waits for a line, writes COUNT entries and as many settings, and notes in JOURNAL each one that was acknowledged.
 */
import * as NodeFs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Sqlite } from "effect-db-hub"
import * as Settings from "../../src/layers/stores/SettingsStore.js"
import * as ForwardingWrites from "../../src/layers/write/ForwardingWrites.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { withIdempotencyKey } from "../../src/services/WriteChannel.js"
import { ledger } from "./ledger.js"

const [path = "", name = "", count = "0", journal = "", given = "{}"] = process.argv.slice(2)
const options = JSON.parse(given) as ForwardingWrites.ForwardingOptions & {
  readonly pause?: number
  readonly fibers?: number
  readonly synchronous?: "FULL" | "NORMAL"
}

const say = (line: string) => NodeFs.writeSync(1, `${line}\n`)

const turn = Effect.async<void>((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
})

const program = Effect.gen(function* () {
  const append = yield* ledger
  const settings = yield* SettingsStore
  say("ready")
  yield* turn
  const times: Array<number> = []
  const failures: Record<string, number> = {}
  let stall = 0
  let last = performance.now()
  const timer = setInterval(() => {
    stall = Math.max(stall, performance.now() - last - 5)
    last = performance.now()
  }, 5)
  const started = performance.now()
  yield* Effect.forEach(
    Array.from({ length: Number(count) }, (_, n) => `${name}:${n}`),
    (id, n) =>
      Effect.gen(function* () {
        const began = performance.now()
        const write = n % 4 === 3 ? settings.set({ user: name, key: id, value: n }) : append({ id, process: name })
        const done = yield* Effect.either(n % 8 === 0 ? withIdempotencyKey(`given ${id}`)(write) : write)
        times.push(performance.now() - began)
        if (done._tag === "Right") {
          if (journal !== "") NodeFs.appendFileSync(journal, `${id}\n`)
        } else {
          const what = `${done.left._tag} ${done.left.applied} ${done.left.code ?? ""}`
          failures[what] = (failures[what] ?? 0) + 1
        }
        if (options.pause !== undefined) yield* Effect.sleep(options.pause)
      }),
    { concurrency: options.fibers ?? 1, discard: true }
  )
  clearInterval(timer)
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  say(
    JSON.stringify({
      name,
      failures,
      millis: performance.now() - started,
      p50: at(0.5),
      p99: at(0.99),
      max: at(1),
      stall
    })
  )
  // Stays for the others until its input ends.
  yield* Effect.async<void>((resume) => {
    process.stdin.once("end", () => resume(Effect.void))
    process.stdin.resume()
  })
})

const { synchronous = "NORMAL" } = options
const stores = Layer.provideMerge(Settings.layer, ForwardingWrites.layer(options))
Effect.runPromise(Effect.provide(program, Layer.provideMerge(stores, Sqlite.layer({ path, synchronous })))).then(
  () => process.exit(0),
  (error) => {
    NodeFs.writeSync(2, `${String(error)}\n`)
    process.exit(1)
  }
)
