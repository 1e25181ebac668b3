/**
 * A process of the forwarding bench: `forwarding.child.js KIND FILE NAME COUNT OPTIONS`. It says `ready`, waits for a
 * line, does COUNT writes and reports. KIND is
 *
 *   hub    the stores over forwarded writes, with the options of `ForwardingWrites` and `fibers`
 *   raw    the same statements on better-sqlite3: BEGIN IMMEDIATE, busy_timeout 5 s
 *   effects  as raw, each statement an effect: what Effect costs without any of what the hub promises
 *   bare   one INSERT a transaction on better-sqlite3, neither a key nor a change event
 *   lock   no writes: holds the lock of the file for COUNT milliseconds
 */
import * as NodeCrypto from "node:crypto"
import * as NodePerf from "node:perf_hooks"
import Database from "better-sqlite3"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Schema from "effect/Schema"
import { Backend, Sqlite } from "effect-db-hub"
import {
  type ForwardingWrites,
  operation,
  SettingsStore,
  StoresShared,
  WriteChannel,
  withIdempotencyKey
} from "effect-db-hub/stores"

const [kind = "", path = "", name = "", count = "0", given = "{}"] = process.argv.slice(2)
const options = JSON.parse(given) as ForwardingWrites.ForwardingOptions & { readonly fibers?: number }

/** Does write `n` under its id. */
type Write = (n: number, id: string) => void | Promise<void>

/** What every process writes: three entries of a ledger for one setting, every eighth write under a key. */
const isSetting = (n: number): boolean => (n & 3) === 3
const keyOf = (n: number, id: string): string | undefined => ((n & 7) === 0 ? `given ${id}` : undefined)

const Append = operation("Ledger.append", {
  payload: { id: Schema.String, process: Schema.String },
  success: Schema.Struct({ total: Schema.Number })
})

const insertEntry = "INSERT INTO ledger (id, process) VALUES (?, ?)"
const countEntry =
  "INSERT INTO totals (process, n) VALUES (?, 1) ON CONFLICT (process) DO UPDATE SET n = n + 1 RETURNING n"

const hub = async (): Promise<Write> => {
  const runtime = ManagedRuntime.make(StoresShared(options).pipe(Layer.provideMerge(Sqlite.layer({ path }))))
  const [append, settings] = await runtime.runPromise(
    Effect.gen(function* () {
      const backend = yield* Backend
      const channel = yield* WriteChannel
      const append = channel.handle(Append, ({ id, process }) =>
        Effect.gen(function* () {
          yield* backend.execute(insertEntry, [id, process])
          const { rows } = yield* backend.execute(countEntry, [process])
          return { result: { total: Number(rows[0]?.["n"]) }, ids: [id] }
        })
      )
      return [append, yield* SettingsStore] as const
    })
  )
  return (n, id) => {
    const write = isSetting(n) ? settings.set({ user: name, key: id, value: n }) : append({ id, process: name })
    const key = keyOf(n, id)
    return runtime.runPromise(Effect.asVoid(key === undefined ? write : withIdempotencyKey(key)(write)))
  }
}

const open = () => {
  const db = new Database(path, { timeout: 5_000 })
  for (const pragma of [
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    "journal_size_limit = 67108864"
  ])
    db.pragma(pragma)
  return db
}

/** The statements that a store's write makes, prepared. */
const prepared = (db: Database.Database) => ({
  insert: db.prepare(insertEntry),
  total: db.prepare<Array<unknown>, { n: number }>(countEntry),
  setting: db.prepare(
    "INSERT INTO db_hub_settings (user_id, key, value, updated_at) VALUES (?, ?, ?, ?) ON CONFLICT (user_id, key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
  ),
  change: db.prepare("INSERT INTO db_hub_changes (store, operation, ids, created_at) VALUES (?, ?, ?, ?)"),
  claim: db.prepare(
    "INSERT INTO db_hub_writes (idempotency_key, operation, payload_hash, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (idempotency_key) DO NOTHING"
  ),
  settle: db.prepare("UPDATE db_hub_writes SET result = ? WHERE idempotency_key = ?")
})

const now = () => new Date().toISOString()

const hashOf = (id: string) =>
  NodeCrypto.createHash("sha256")
    .update(JSON.stringify({ id, process: name }))
    .digest("hex")

const raw = (): Write => {
  const db = open()
  const { change, claim, insert, setting, settle, total } = prepared(db)
  const write = db.transaction((n: number, id: string) => {
    const key = keyOf(n, id)
    if (key !== undefined && claim.run(key, "Ledger.append", hashOf(id), now()).changes === 0) return
    if (isSetting(n)) {
      setting.run(name, id, JSON.stringify(n), now())
      change.run("SettingsStore", "set", JSON.stringify([JSON.stringify([name, id])]), now())
      return
    }
    insert.run(id, name)
    const row = total.get(name)
    change.run("Ledger", "append", JSON.stringify([id]), now())
    if (key !== undefined) settle.run(JSON.stringify({ result: { total: row?.n } }), key)
  })
  return (n, id) => write.immediate(n, id)
}

/** As `raw`, with every statement an effect. */
const effects = (): Write => {
  const db = open()
  const { change, claim, insert, setting, settle, total } = prepared(db)
  const [begin, commit, rollback] = [db.prepare("BEGIN IMMEDIATE"), db.prepare("COMMIT"), db.prepare("ROLLBACK")]
  const run = (statement: Database.Statement<Array<unknown>>, ...params: ReadonlyArray<unknown>) =>
    Effect.try(() => statement.run(...params))
  const entry = (id: string) =>
    Effect.gen(function* () {
      yield* run(insert, id, name)
      const row = yield* Effect.try(() => total.get(name))
      yield* run(change, "Ledger", "append", JSON.stringify([id]), now())
      return row?.n
    })
  const body = (n: number, id: string) => {
    if (isSetting(n)) {
      return Effect.zipRight(
        run(setting, name, id, JSON.stringify(n), now()),
        run(change, "SettingsStore", "set", JSON.stringify([JSON.stringify([name, id])]), now())
      )
    }
    const key = keyOf(n, id)
    if (key === undefined) return entry(id)
    return Effect.gen(function* () {
      const { changes } = yield* run(claim, key, "Ledger.append", hashOf(id), now())
      if (changes === 0) return
      const total = yield* entry(id)
      yield* run(settle, JSON.stringify({ result: { total } }), key)
    })
  }
  const write = (n: number, id: string) =>
    Effect.flatMap(run(begin), () =>
      Effect.matchCauseEffect(body(n, id), {
        onFailure: (cause) => Effect.zipRight(run(rollback), Effect.failCause(cause)),
        onSuccess: () => run(commit)
      })
    )
  const runtime = ManagedRuntime.make(Layer.empty)
  return (n, id) => runtime.runPromise(Effect.asVoid(write(n, id)))
}

const bare = (): Write => {
  const db = open()
  const insert = db.prepare(insertEntry)
  const write = db.transaction((id: string) => insert.run(id, name))
  return (_n, id) => {
    write.immediate(id)
  }
}

const say = (line: string) => process.stdout.write(`${line}\n`)
const told = () => new Promise((resolve) => process.stdin.once("data", resolve))
const turn = () => new Promise(setImmediate)

const holdLock = async () => {
  const db = open()
  say("ready")
  await told()
  db.exec("BEGIN IMMEDIATE")
  say("held")
  setTimeout(() => db.exec("COMMIT"), Number(count))
}

/** Writes before the measured ones, so that code is compiled; in all processes at once, like those. */
const warmUp = 2_000

const measure = async (write: Write) => {
  say("ready")
  await told()
  for (let n = -warmUp; n < 0; n++) {
    try {
      await write(n, `${name}:${n}`)
    } catch (cause) {
      process.stderr.write(`while warming up: ${String(cause)}\n`)
    }
    await turn()
  }
  say("warm")
  await told()
  const times: Array<number> = []
  const failures: Record<string, number> = {}
  const delay = NodePerf.monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const cpu = process.cpuUsage()
  const started = Date.now()
  let next = 0
  const fiber = async () => {
    while (next < Number(count)) {
      const n = next++
      const began = performance.now()
      try {
        await write(n, `${name}:${n}`)
      } catch (cause) {
        const what = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
        failures[what] = (failures[what] ?? 0) + 1
      }
      times.push(Math.round((performance.now() - began) * 1000) / 1000)
      await turn()
    }
  }
  await Promise.all(Array.from({ length: options.fibers ?? 1 }, fiber))
  const { system, user } = process.cpuUsage(cpu)
  const report = { started, ended: Date.now(), cpu: (system + user) / 1000, stall: delay.max / 1e6, failures, times }
  say(JSON.stringify(report))
}

process.stdin.on("end", () => process.exit(0))
if (kind === "lock") await holdLock()
else await measure(kind === "hub" ? await hub() : kind === "raw" ? raw() : kind === "effects" ? effects() : bare())
