/**
 * The stores on SQLite and on PostgreSQL, against exactly the statements and parameters that they send, BEGIN, COMMIT,
 * the index of texts and the row of the change feed included, replayed on the raw driver: prepared by better-sqlite3, named by `pg`.
 *
 * Each job is first done once over a recording backend; the raw side replays that on a copy of the database as it was
 * before, while the hub does the same job on another. So both do the same to the data, with the same guarantees: one
 * transaction, the same locks, the row of the feed. The raw side takes its parameters ready made and looks at no answer;
 * checks, ids, JSON, and rows as their models are the hub's to pay. In turn the raw side waits for each statement, as
 * `await client.query` does, where the hub sends those together whose answers it does not need.
 */
import * as NodePath from "node:path"
import Database from "better-sqlite3"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Redacted from "effect/Redacted"
import { Backend, type BackendShape, Json, Sqlite } from "effect-db-hub"
import { Postgres } from "effect-db-hub/postgres"
import {
  ConversationStore,
  JobQueue,
  JobStore,
  SettingsStore,
  type StoreServices,
  StoresLive
} from "effect-db-hub/stores"
import * as Pg from "pg"
import { type LocalPostgres, startPostgres } from "../scripts/engines/postgres.mjs"
import * as PostgresTextStore from "../src/layers/postgres/PostgresTextStore.js"
import * as SqlTextStore from "../src/layers/sql/SqlTextStore.js"
import * as SqliteTextStore from "../src/layers/sqlite/SqliteTextStore.js"
import { type Contender, compare, median, temporaryFolder } from "./support.js"

type Stores = ManagedRuntime.ManagedRuntime<StoreServices | Backend, unknown>

interface Sent {
  readonly sql: string
  readonly params: ReadonlyArray<unknown>
}

/** What one call of a store sent. */
type Call = ReadonlyArray<Sent>

interface Job {
  readonly times: number
  readonly rounds: number
  readonly run: (n: number) => Effect.Effect<unknown, unknown, StoreServices>
}

const user = "bench"
const toolCalls = [{ id: "call_1", name: "search", input: { query: "weather in Oslo", limit: 5 } }]
const message = (conversation: string, n: number) => ({
  user,
  conversation,
  role: n % 2 === 0 ? ("user" as const) : ("assistant" as const),
  content: `Message ${n}: ${"what somebody says in a line or two. ".repeat(4)}`,
  promptTokens: 120,
  completionTokens: 40,
  cost: "0.000150",
  metadata: { source: "bench", turn: n },
  ...(n % 4 === 3 ? { toolCalls } : {})
})

const append = (conversation: string, n: number) =>
  Effect.flatMap(ConversationStore, (store) => store.addMessage(message(conversation, n)))

const page = (conversation: string, after: number) =>
  Effect.flatMap(ConversationStore, (store) => store.messages(user, conversation, { after, limit: 50 }))

const jobsOf = (scale: number): Readonly<Record<string, Job>> => ({
  "append message": { times: 400 * scale, rounds: 7, run: (n) => append("append", n) },
  "page of 50 messages": { times: 200 * scale, rounds: 7, run: (n) => page("page", (n * 37) % 900) },
  "claim job": {
    times: 150 * scale,
    rounds: 7,
    run: () => Effect.flatMap(JobQueue, (queue) => queue.claim({ worker: "bench", leaseMillis: 60_000 }))
  },
  "upsert setting": {
    times: 400 * scale,
    rounds: 7,
    run: (n) =>
      Effect.flatMap(SettingsStore, (store) => store.set({ user, key: `key ${n % 100}`, value: { theme: "dark", n } }))
  }
})

const prepare = (claims: number) =>
  Effect.gen(function* () {
    const [conversations, jobs] = [yield* ConversationStore, yield* JobStore]
    for (const id of ["append", "page"]) yield* conversations.create({ id, user, channel: "bench" })
    const messages = Array.from({ length: 1000 }, (_, n) => {
      const { conversation: _conversation, user: _user, ...rest } = message("page", n)
      return rest
    })
    yield* conversations.addMessages({ user, conversation: "page", messages: messages as [never] })
    for (let n = 0; n < claims; n++) yield* jobs.save({ user, title: `job ${n}`, description: "what to do" })
  })

const claimsOf = (jobs: Readonly<Record<string, Job>>): number =>
  Object.values(jobs).reduce((most, { rounds, times }) => Math.max(most, (rounds + 1) * times), 0)

/** A backend that also writes down what it is sent, by its index of texts, too. */
const recording = (backend: BackendShape, sent: Array<Sent>): BackendShape => {
  const note = (sql: string, params: ReadonlyArray<unknown> = []) => Effect.sync(() => sent.push({ sql, params }))
  // Transactions within one are savepoints; one call is recorded after the other.
  let depth = 0
  const recorded: BackendShape = {
    ...backend,
    query: (sql, params) => Effect.zipRight(note(sql, params), backend.query(sql, params)),
    execute: (sql, params) => Effect.zipRight(note(sql, params), backend.execute(sql, params)),
    enqueue: (sql, params) => Effect.zipRight(note(sql, params), backend.enqueue(sql, params)),
    transaction: (effect, options) => {
      const begin = backend.kind === "sqlite" ? "BEGIN IMMEDIATE" : "BEGIN"
      return Effect.acquireUseRelease(
        Effect.zipRight(
          depth === 0 ? note(begin) : note(`SAVEPOINT s${depth}`),
          Effect.sync(() => ++depth)
        ),
        () => backend.transaction(effect, options),
        () =>
          Effect.suspend(() => {
            depth--
            return depth === 0 ? note("COMMIT") : note(`RELEASE s${depth}`)
          })
      )
    }
  }
  const texts =
    backend.kind === "sqlite" ? SqliteTextStore.make(recorded, backend.name) : PostgresTextStore.make(recorded)
  return { ...recorded, text: SqlTextStore.make(recorded, texts) }
}

const stores = (backend: Layer.Layer<Backend, unknown>): Stores =>
  ManagedRuntime.make(Layer.provideMerge(StoresLive, backend))

const record = async (
  hub: Stores,
  jobs: Readonly<Record<string, Job>>
): Promise<ReadonlyArray<ReadonlyArray<Call>>> => {
  const sent: Array<Sent> = []
  const backend = await hub.runPromise(Backend)
  const services = await Effect.runPromise(
    Effect.scoped(Layer.build(Layer.provide(StoresLive, Layer.succeed(Backend, recording(backend, sent)))))
  )
  const calls: Array<ReadonlyArray<Call>> = []
  for (const { rounds, run, times } of Object.values(jobs)) {
    const ofJob: Array<Call> = []
    for (let n = 0; n < (rounds + 1) * times; n++) {
      await Effect.runPromise(Effect.provide(run(n), services as Context.Context<StoreServices>))
      ofJob.push(sent.splice(0))
    }
    calls.push(ofJob)
  }
  return calls
}

const hubLoop = (hub: Stores, job: Job): Contender => {
  let done = 0
  return (times) => {
    const from = done
    done += times
    return hub.runPromise(
      Effect.asVoid(
        Effect.iterate(from, { while: (n) => n < from + times, body: (n) => Effect.as(job.run(n), n + 1) })
      ) as Effect.Effect<void, unknown, StoreServices | Backend>
    )
  }
}

const plain = (value: unknown): unknown => {
  if (value instanceof Json) return JSON.stringify(value.value)
  if (value instanceof Date) return value.toISOString()
  if (typeof value === "boolean") return value ? 1 : 0
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array) ? JSON.stringify(value) : value
}

const overSqlite = async () => {
  const jobs = jobsOf(2)
  const folder = temporaryFolder()
  const path = (name: string) => NodePath.join(folder, `${name}.db`)
  const hub = stores(Sqlite.layer({ path: path("hub") }))
  await hub.runPromise(prepare(claimsOf(jobs)))
  const backend = await hub.runPromise(Backend)
  for (const copy of ["recorded", "raw"]) await Effect.runPromise(backend.backup!(path(copy)))
  const recorded = stores(Sqlite.layer({ path: path("recorded") }))
  const calls = await record(recorded, jobs)
  await recorded.dispose()

  const raw = new Database(path("raw"))
  for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"]) raw.pragma(pragma)
  const prepared = new Map<string, Database.Statement<Array<unknown>>>()
  const statementOf = (sql: string) => {
    const statement = prepared.get(sql) ?? raw.prepare<Array<unknown>>(sql)
    prepared.set(sql, statement)
    return statement
  }
  for (const [index, [name, job]] of Object.entries(jobs).entries()) {
    const replayed = calls[index]!.map((call) =>
      call.map(({ params, sql }) => ({ statement: statementOf(sql), params: params.map(plain) }))
    )
    let done = 0
    await compare(`SQLite: ${name}`, job, {
      "raw better-sqlite3, the same statements": (times) => {
        for (const call of replayed.slice(done, done + times)) {
          for (const { params, statement } of call) {
            if (statement.reader) statement.all(...params)
            else statement.run(...params)
          }
        }
        done += times
      },
      hub: hubLoop(hub, job)
    })
  }
  raw.close()
  await longConversation("SQLite", hub)
  await hub.dispose()
}

const overPostgres = async () => {
  const jobs = jobsOf(1)
  const server = (await startPostgres()) as LocalPostgres
  const urlOf = (database: string): string => {
    const url = new URL(server.url)
    url.pathname = `/${database}`
    return url.href
  }
  const layerOf = (database: string) => Postgres.layer({ url: Redacted.make(urlOf(database)) })
  const admin = new Pg.Client({ connectionString: server.url })
  await admin.connect()
  await admin.query("CREATE DATABASE prepared")
  const before = stores(layerOf("prepared"))
  await before.runPromise(prepare(claimsOf(jobs)))
  await before.dispose()
  for (const copy of ["hub", "recorded", "raw"]) await admin.query(`CREATE DATABASE ${copy} TEMPLATE prepared`)
  await admin.end()
  const recorded = stores(layerOf("recorded"))
  const calls = await record(recorded, jobs)
  await recorded.dispose()

  const hub = stores(layerOf("hub"))
  const raw = new Pg.Pool({ connectionString: urlOf("raw"), max: 25 })
  for (const database of ["raw", "hub"]) {
    const client = new Pg.Client({ connectionString: urlOf(database) })
    await client.connect()
    await client.query("VACUUM ANALYZE")
    await client.end()
  }
  const names = new Map<string, string>()
  const nameOf = (sql: string): string => {
    const name = names.get(sql) ?? `s${names.size}`
    names.set(sql, name)
    return name
  }
  const numbered = (sql: string): string => {
    let n = 0
    return sql.replaceAll("?", () => `$${++n}`)
  }
  for (const [index, [name, job]] of Object.entries(jobs).entries()) {
    const replayed = calls[index]!.map((call) =>
      call.map(({ params, sql }) =>
        params.length === 0 ? sql : { name: nameOf(sql), text: numbered(sql), values: params.map(plain) }
      )
    )
    let done = 0
    await compare(`PostgreSQL: ${name}`, job, {
      "raw pg, the same statements": async (times) => {
        for (const call of replayed.slice(done, done + times)) {
          const client = await raw.connect()
          for (const statement of call) await client.query(statement)
          client.release()
        }
        done += times
      },
      hub: hubLoop(hub, job)
    })
  }
  await raw.end()
  await longConversation("PostgreSQL", hub)
  await hub.dispose()
  await server.stop()
}

/** A page costs the same wherever in a conversation it lies. */
const longConversation = async (engine: string, hub: Stores) => {
  const length = 100_000
  const piece = 1000
  await hub.runPromise(
    Effect.gen(function* () {
      const store = yield* ConversationStore
      yield* store.create({ id: "long", user, channel: "bench" })
      for (let n = 0; n < length; n += piece) {
        const messages = Array.from({ length: piece }, (_, at) => ({ role: "user" as const, content: `${n + at}` }))
        yield* store.addMessages({ user, conversation: "long", messages: messages as unknown as [never] })
      }
    })
  )
  console.log(`${engine}: a page of 50 of ${length} messages (median of 300)`)
  const places = { beginning: 0, middle: length / 2, end: length - 60 }
  const costs = new Map<string, Array<number>>(Object.keys(places).map((place) => [place, []]))
  for (let n = 0; n < 350; n++) {
    for (const [place, after] of Object.entries(places)) {
      const started = performance.now()
      await hub.runPromise(page("long", after + (n % 10)))
      if (n >= 50) costs.get(place)!.push((performance.now() - started) * 1000)
    }
  }
  const first = median(costs.get("beginning")!)
  for (const [place, all] of costs) {
    console.log(
      `  ${place.padEnd(44)} ${median(all).toFixed(2).padStart(9)} µs ${(median(all) / first).toFixed(2).padStart(7)}×`
    )
  }
}

const only = process.env["BENCH_ENGINE"]
if (only !== "postgresql") await overSqlite()
if (only !== "sqlite") await overPostgres()
