/**
 * The hub's PostgreSQL against raw `pg` and plain SQL, on one server with fsync off: what is measured is the client.
 * The raw side sends vectors and rows as its users do, as text in one statement.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import { Postgres } from "effect-db-hub/postgres"
import * as Pg from "pg"
import { type LocalPostgres, startPostgres } from "../scripts/engines/postgres.mjs"
import { compare, median, randomOf } from "./support.js"

const server = (await startPostgres()) as LocalPostgres
const scope = Effect.runSync(Scope.make())
const hub = await Effect.runPromise(
  Scope.extend(Postgres.make({ url: Redacted.make(server.url), vector: { indexAfter: 1_000_000 } }), scope)
)
const indexed = await Effect.runPromise(
  Scope.extend(Postgres.make({ url: Redacted.make(server.url), vector: { efSearch: 100, indexAfter: 10_000 } }), scope)
)
const pool = new Pg.Pool({ connectionString: server.url, max: 25 })

await pool.query(`CREATE TABLE item (id BIGINT PRIMARY KEY, name TEXT NOT NULL, score FLOAT8 NOT NULL);
  INSERT INTO item SELECT n, 'item ' || n, n / 7.0 FROM generate_series(1, 10000) AS n;
  CREATE TABLE written (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT, score FLOAT8); ANALYZE`)

const loop =
  (body: (i: number) => Effect.Effect<unknown, unknown>) =>
  (times: number): Promise<void> =>
    Effect.runPromise(
      Effect.asVoid(Effect.iterate(0, { while: (i) => i < times, body: (i) => Effect.as(body(i), i + 1) }))
    )

const key = (i: number) => (i % 10_000) + 1
const select = "SELECT id, name, score FROM item WHERE id = $1"
const portable = "SELECT id, name, score FROM item WHERE id = ?"

await compare(
  "point SELECT, one after the other",
  { rounds: 7, times: 2_000 },
  {
    "raw pg, pool.query": async (times) => {
      for (let i = 0; i < times; i++) await pool.query(select, [key(i)])
    },
    "hub query": loop((i) => hub.query(portable, [key(i)])),
    "sql template": loop((i) => hub.sql`SELECT id, name, score FROM item WHERE id = ${key(i)}`)
  }
)

await compare(
  "point SELECT, 16 at once",
  { rounds: 7, times: 4_000 },
  {
    "raw pg, pool.query": async (times) => {
      let next = 0
      const worker = async () => {
        while (next < times) await pool.query(select, [key(next++)])
      }
      await Promise.all(Array.from({ length: 16 }, worker))
    },
    "hub query": (times) => {
      let next = 0
      const worker = Effect.whileLoop({
        while: () => next < times,
        body: () => hub.query(portable, [key(next++)]),
        step: () => {}
      })
      return Effect.runPromise(
        Effect.all(
          Array.from({ length: 16 }, () => worker),
          { concurrency: 16, discard: true }
        )
      )
    }
  }
)

await compare(
  "INSERT of one row",
  { rounds: 7, times: 1_000 },
  {
    "raw pg, pool.query": async (times) => {
      for (let i = 0; i < times; i++) await pool.query("INSERT INTO written (name, score) VALUES ($1, $2)", ["x", i])
    },
    "hub execute": loop((i) => hub.execute("INSERT INTO written (name, score) VALUES (?, ?)", ["x", i]))
  }
)

const rows = (placeholder: (n: number) => string) =>
  `INSERT INTO written (name, score) VALUES ${Array.from({ length: 1000 }, (_, n) => `(${placeholder(2 * n + 1)}, ${placeholder(2 * n + 2)})`).join(", ")}`
const [numbered, marked] = [rows((n) => `$${n}`), rows(() => "?")]
const values = Array.from({ length: 2000 }, (_, n) => (n % 2 === 0 ? `name ${n}` : n))

await compare(
  "INSERT of 1,000 rows in one statement, per row",
  { rounds: 7, times: 20, perOperation: 1000 },
  {
    "raw pg, pool.query": async (times) => {
      for (let i = 0; i < times; i++) await pool.query(numbered, values)
    },
    "hub execute": loop(() => hub.execute(marked, values))
  }
)

const random = randomOf(1)
const centres = Array.from({ length: 200 }, () => Array.from({ length: 384 }, () => random() - 0.5))
const near = (n: number) => Float32Array.from(centres[n % 200]!, (x) => x + (random() - 0.5) / 3)
const records = Array.from({ length: 20_000 }, (_, n) => ({
  id: `v${n}`,
  vector: near(n),
  metadata: { n },
  text: `text ${n}`
}))

await pool.query(`CREATE TABLE plain (id TEXT PRIMARY KEY, embedding vector(384), metadata JSONB, text TEXT)`)
let collection = 0
await compare(
  "INSERT of 20,000 vectors of 384 dimensions with metadata and text, per vector",
  { rounds: 3, times: 1, perOperation: 20_000 },
  {
    "raw pg, 1,000 rows a statement": async () => {
      await pool.query("TRUNCATE plain")
      const client = await pool.connect()
      await client.query("BEGIN")
      for (let i = 0; i < records.length; i += 1000) {
        const chunk = records.slice(i, i + 1000)
        const text = chunk.map((_, n) => `($${4 * n + 1}, $${4 * n + 2}, $${4 * n + 3}, $${4 * n + 4})`).join(", ")
        await client.query(
          `INSERT INTO plain VALUES ${text} ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding, metadata = excluded.metadata, text = excluded.text`,
          chunk.flatMap(({ id, metadata, text, vector }) => [id, `[${vector.join(",")}]`, metadata, text])
        )
      }
      await client.query("COMMIT")
      client.release()
    },
    "hub insertMany": () =>
      Effect.runPromise(
        Effect.zipRight(
          hub.vector.createCollection(`c${++collection}`, { dimension: 384 }),
          hub.vector.insertMany(`c${collection}`, records)
        )
      )
  }
)

for (let n = 1; n < collection; n++) await Effect.runPromise(hub.vector.dropCollection(`c${n}`))
const name = `c${collection}`
await pool.query("VACUUM ANALYZE db_hub_vectors")
console.log("building indexes …")
await pool.query("SET max_parallel_maintenance_workers = 0")
await pool.query("CREATE INDEX ON plain USING hnsw (embedding vector_cosine_ops) WITH (m = 16, ef_construction = 64)")
await pool.query("VACUUM ANALYZE plain")
await Effect.runPromise(indexed.vector.insert(name, records[0]!))
const ready = () =>
  Effect.runPromise(
    Effect.map(indexed.vector.collections, (all) => all.find((found) => found.name === name)?.index?.state === "ready")
  )
while (!(await ready())) await new Promise((done) => setTimeout(done, 200))
await new Promise((done) => setTimeout(done, 6_000))

const queries = Array.from({ length: 200 }, (_, n) => near(n))
const raw = await pool.connect()
await raw.query("SET hnsw.ef_search = 100")
await raw.query("SET hnsw.iterative_scan = relaxed_order")
const nearest = `SELECT id, 1 - (embedding <=> $1) AS score, metadata, text FROM plain ORDER BY embedding <=> $1 LIMIT 10`
await compare(
  "k-NN, k = 10 of 20,000",
  { rounds: 7, times: 300 },
  {
    "raw pg, plain SQL": async (times) => {
      for (let i = 0; i < times; i++) await raw.query(nearest, [`[${queries[i % 200]!.join(",")}]`])
    },
    "hub search": loop((i) => indexed.vector.search(name, queries[i % 200]!, { k: 10 }))
  }
)

const recalls: Array<number> = []
const rawRecalls: Array<number> = []
for (const query of queries) {
  const exact = await Effect.runPromise(hub.vector.search(name, query, { k: 10, filter: { n: { $gte: 0 } } }))
  const ids = new Set(exact.map(({ id }) => id))
  const hits = await Effect.runPromise(indexed.vector.search(name, query, { k: 10 }))
  recalls.push(hits.filter(({ id }) => ids.has(id)).length / 10)
  const plain = await raw.query(nearest, [`[${query.join(",")}]`])
  rawRecalls.push(plain.rows.filter(({ id }) => ids.has(id)).length / 10)
}
const mean = (all: ReadonlyArray<number>) => all.reduce((sum, x) => sum + x, 0) / all.length
console.log(
  `recall at 10: hub ${mean(recalls).toFixed(4)} (median ${median(recalls)}), plain SQL ${mean(rawRecalls).toFixed(4)}`
)

raw.release()
await pool.end()
await Effect.runPromise(Scope.close(scope, Exit.void))
await server.stop()
