/**
 * A process that writes to several stores and journals what was acknowledged: `journal-process.ts FILE NAME JOURNAL
 * OPTIONS`. It says `ready`, waits for a line, and writes until it has done its count or is killed; then it says how
 * often it had to send again, and stays for the others until its input ends.
 *
 * Under its name it goes on where its journal ends: the write that was under way when it died is sent again under its
 * key.
 */
import * as NodeCrypto from "node:crypto"
import * as NodeFs from "node:fs"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Sqlite } from "effect-db-hub"
import { StoresShared } from "../../src/layers/stores/index.js"
import type { ForwardingOptions } from "../../src/layers/write/ForwardingWrites.js"
import { AuditLog } from "../../src/services/AuditLog.js"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { withIdempotencyKey, withWriteTimeout } from "../../src/services/WriteChannel.js"
import { ledger } from "./ledger.js"

interface Options extends ForwardingOptions {
  /** Fibers that write under keys of their own. */
  readonly keyed: number
  /** Fibers that leave the key to the channel; what they have not finished when the process dies is left. */
  readonly unkeyed?: number
  /** Writes of each fiber; endless by default. */
  readonly count?: number
  /** Milliseconds that one attempt may take; under a key of its own, a write is sent until it is acknowledged. */
  readonly attempt: number
}

const [path = "", name = "", journal = "", given = "{}"] = process.argv.slice(2)
const { attempt, count = Number.POSITIVE_INFINITY, keyed, unkeyed = 0, ...options } = JSON.parse(given) as Options

const say = (line: string) => NodeFs.writeSync(1, `${line}\n`)

/** Of this start alone: an id of the system comes again, and with it what its last bearer had under way. */
const life = NodeCrypto.randomUUID()

const note = (line: string) => NodeFs.appendFileSync(journal, `${line}\n`)

/** How many writes of each fiber the journal has. */
const done = new Map<string, number>()
for (const line of NodeFs.existsSync(journal) ? NodeFs.readFileSync(journal, "utf8").split("\n") : []) {
  const [, fiber, n] = /^done (.*):(\d+)$/.exec(line) ?? []
  if (fiber !== undefined) done.set(fiber, Number(n) + 1)
}

const told = Effect.async<void>((resume) => {
  process.stdin.once("data", () => resume(Effect.void))
})

const inputEnds = Effect.async<void>((resume) => {
  if (process.stdin.readableEnded) return resume(Effect.void)
  process.stdin.once("end", () => resume(Effect.void))
  process.stdin.resume()
})

const program = Effect.gen(function* () {
  const append = yield* ledger
  const [audit, conversations, settings] = [yield* AuditLog, yield* ConversationStore, yield* SettingsStore]
  say("ready")
  yield* told
  let resent = 0
  const open = { user: name, channel: "test" }
  const conversation = yield* withWriteTimeout(60_000)(conversations.getOrCreateAssistant(open))

  const write = (id: string, n: number) => {
    switch (n % 5) {
      case 0:
        return audit.record({ tool: id, caller: name, level: "user", allowed: true })
      case 1:
        return settings.set({ user: name, key: id, value: n })
      case 2:
        return conversations.addMessage({ user: name, conversation, role: "user", content: id })
      default:
        return append({ id, process: name })
    }
  }

  const underKey = (id: string, n: number): Effect.Effect<void> =>
    write(id, n).pipe(
      withIdempotencyKey(id),
      withWriteTimeout(attempt),
      Effect.matchEffect({
        onSuccess: () => Effect.sync(() => note(`done ${id}`)),
        onFailure: (error) => {
          if (!error.retryable) return Effect.dieMessage(`${id}: ${error._tag} ${error.message}`)
          resent++
          return underKey(id, n)
        }
      })
    )

  const once = (id: string, n: number): Effect.Effect<void> =>
    write(id, n).pipe(
      withWriteTimeout(attempt),
      Effect.match({
        onSuccess: () => note(`done ${id}`),
        onFailure: ({ _tag, applied }) => note(`${applied} ${id} ${_tag}`)
      })
    )

  const fiber = (called: string, one: (id: string, n: number) => Effect.Effect<void>) =>
    Effect.iterate(done.get(called) ?? 0, {
      while: (n) => n < count,
      body: (n) => Effect.as(one(`${called}:${n}`, n), n + 1)
    })

  yield* Effect.all(
    [
      ...Array.from({ length: keyed }, (_, f) => fiber(`${name}:${f}`, underKey)),
      ...Array.from({ length: unkeyed }, (_, f) => fiber(`${name}:${life}:${f}`, once))
    ],
    { concurrency: "unbounded", discard: true }
  )
  say(JSON.stringify({ resent }))
  yield* inputEnds
})

const services = Layer.provideMerge(StoresShared(options), Sqlite.layer({ path }))
Effect.runPromise(Effect.provide(program, services)).then(
  () => process.exit(0),
  (error) => {
    NodeFs.writeSync(2, `${String(error)}\n`)
    process.exit(1)
  }
)
