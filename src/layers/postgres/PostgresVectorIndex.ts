/**
 * The indexes of collections: what they are made of, how they are searched, and the building of them behind the
 * program's back once a collection is large enough.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Metric } from "../../vector/index.js"
import { pause } from "../EventLoop.js"
import type { PostgresClient } from "./PostgresClient.js"
import * as Dedicated from "./PostgresDedicated.js"
import { hasVectorFaults } from "./PostgresHealth.js"
import type { ResolvedPostgresOptions } from "./PostgresOptions.js"

/**
 * pgvector as it is installed in this database.
 *
 * @since 0.1.0
 * @category models
 */
export interface Extension {
  /** The name of its schema, quoted. */
  readonly schema: string
  /** The number of the type `vector`. */
  readonly type: number
  readonly version: string
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Indexed {
  readonly id: number
  readonly dimension: number
  readonly metric: Metric
}

const classes = { cosine: "cosine_ops", dot: "ip_ops", l2: "l2_ops" } as const

const operators = { cosine: "<=>", dot: "<#>", l2: "<->" } as const

/** What an index can hold, by the most dimensions of it (pgvector's README). */
const limits = [
  ["vector", 2000],
  ["halfvec", 4000],
  ["bit", 64_000]
] as const

/** Candidates fetched per result: what the index holds of a vector decides how far its order can be trusted. */
const overfetch = { vector: 1, halfvec: 2, bit: 20 } as const

const storageOf = ({ vector }: ResolvedPostgresOptions, { dimension }: Indexed) => {
  const fits = limits.filter(([, most]) => dimension <= most).map(([storage]) => storage)
  return fits.find((storage) => storage === vector.storage) ?? fits[0] ?? "bit"
}

/**
 * @since 0.1.0
 * @category names
 */
export const nameOf = (id: number): string => `db_hub_vectors_${id}_index`

/**
 * The exact distance, in a form that no index matches.
 *
 * @since 0.1.0
 * @category searching
 */
export const exactOrder = ({ schema }: Extension, { metric }: Indexed): string =>
  `embedding OPERATOR(${schema}.${operators[metric]}) ?::${schema}.vector`

/**
 * The distance as the index has it. `isScore`: it tells the score to seven digits, since it is of the whole vector and
 * its scale is known.
 *
 * @since 0.1.0
 * @category searching
 */
export const indexOrder = (
  options: ResolvedPostgresOptions,
  { schema }: Extension,
  collection: Indexed
): { readonly sql: string; readonly overfetch: number; readonly isScore: boolean } => {
  const { dimension, metric } = collection
  const storage = storageOf(options, collection)
  const sql =
    storage === "bit"
      ? `${schema}.binary_quantize(embedding)::bit(${dimension}) OPERATOR(${schema}.<~>) ${schema}.binary_quantize(?::${schema}.vector)::bit(${dimension})`
      : `(embedding::${schema}.${storage}(${dimension})) OPERATOR(${schema}.${operators[metric]}) (?::${schema}.vector::${schema}.${storage}(${dimension}))`
  return { sql, overfetch: overfetch[storage], isScore: storage === "vector" && metric === "cosine" }
}

const definition = (
  { vector }: ResolvedPostgresOptions,
  { schema }: Extension,
  collection: Indexed,
  storage: ReturnType<typeof storageOf>,
  records: number
): string => {
  const { dimension, id, metric } = collection
  const expression =
    storage === "bit"
      ? `(${schema}.binary_quantize(embedding)::bit(${dimension})) ${schema}.bit_hamming_ops`
      : `(embedding::${schema}.${storage}(${dimension})) ${schema}.${storage}_${classes[metric]}`
  const lists = vector.lists ?? listsOf(records)
  const settings =
    vector.index === "ivfflat" ? `lists = ${lists}` : `m = ${vector.m}, ef_construction = ${vector.efConstruction}`
  return (
    `CREATE INDEX CONCURRENTLY IF NOT EXISTS ${nameOf(id)} ON db_hub_vectors ` +
    `USING ${vector.index} (${expression}) WITH (${settings}) WHERE collection_id = ${id}`
  )
}

/** As pgvector advises. */
const listsOf = (records: number): number =>
  Math.min(32_768, Math.max(10, Math.round(records <= 1_000_000 ? records / 1000 : Math.sqrt(records))))

/**
 * The settings of a search for so many candidates, as pairs; those of every session are left out.
 *
 * @since 0.1.0
 * @category searching
 */
export const settingsFor = (
  options: ResolvedPostgresOptions,
  candidates: number,
  lists: number | null
): ReadonlyArray<readonly [string, string]> => {
  const { vector } = options
  if (vector.index === "ivfflat") {
    const probes = vector.probes ?? Math.ceil(Math.sqrt(lists ?? 1))
    return [
      ["ivfflat.probes", String(probes)],
      ["ivfflat.iterative_scan", "relaxed_order"]
    ]
  }
  const efSearch = Math.min(1000, Math.max(vector.efSearch, candidates))
  return options.pooler !== "transaction" && efSearch === vector.efSearch
    ? []
    : [
        ["hnsw.ef_search", String(efSearch)],
        ["hnsw.iterative_scan", "relaxed_order"]
      ]
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Builder {
  /** Tells that records were added; an index is built when there are enough of them. */
  readonly added: (extension: Extension, collection: Indexed, records: number) => void
}

/** Milliseconds between the last insert and a look at the collection: bulk loads come in pieces. */
const settle = 300

/**
 * Builds indexes over a connection of its own, since a build takes minutes and must not take a place in the pool.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeBuilder = (
  client: PostgresClient,
  onReady: (collection: Indexed) => void
): Effect.Effect<Builder, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { options } = client
    const context = { backend: options.name, operation: "VectorStore.index" }
    const threshold = options.vector.indexAfter
    const pending = new Map<number, { readonly extension: Extension; readonly collection: Indexed }>()
    let wake = () => {}

    /** A build takes as long as it takes; in parallel it is safe from pgvector 0.8.2 on only. */
    const connection = ({ version }: Extension) =>
      Dedicated.connect(client, context, {
        statement_timeout: "0",
        ...(hasVectorFaults(version) ? { max_parallel_maintenance_workers: "0" } : {})
      })

    const stateOf = (id: number) =>
      Effect.map(
        client.query(
          `SELECT i.indisvalid AS valid, EXISTS (
             SELECT 1 FROM pg_catalog.pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid
           ) AS building FROM pg_catalog.pg_index AS i WHERE i.indexrelid = to_regclass(?::text)`,
          [nameOf(id)]
        ),
        ([row]) => (row === undefined ? "none" : row["valid"] ? "ready" : row["building"] ? "building" : "failed")
      )

    const build = (extension: Extension, collection: Indexed, records: number) =>
      Effect.scoped(
        Effect.gen(function* () {
          const made = yield* connection(extension)
          const sql = definition(options, extension, collection, storageOf(options, collection), records)
          yield* Dedicated.run(made, context, { text: sql })
          // After a bulk load the planner thinks the table nearly empty, and an index not worth its while.
          yield* Dedicated.run(made, context, { text: "ANALYZE db_hub_vectors" })
        })
      )

    const ensure = ({ collection, extension }: { readonly extension: Extension; readonly collection: Indexed }) =>
      Effect.gen(function* () {
        const state = yield* stateOf(collection.id)
        if (state === "building") return
        if (state === "ready") return onReady(collection)
        const [counted] = yield* client.query("SELECT count(*) AS n FROM db_hub_vectors WHERE collection_id = ?", [
          collection.id
        ])
        const records = Number(counted?.["n"])
        if (records < threshold) return
        if (state === "failed") {
          yield* Effect.scoped(
            Effect.flatMap(connection(extension), (made) =>
              Dedicated.run(made, context, { text: `DROP INDEX CONCURRENTLY IF EXISTS ${nameOf(collection.id)}` })
            )
          )
        }
        yield* build(extension, collection, records)
        onReady(collection)
      })

    const woken = Effect.async<void>((resume) => {
      wake = () => resume(Effect.void)
      if (pending.size > 0) wake()
    })

    const work = Effect.gen(function* () {
      yield* woken
      yield* pause(settle)
      const batch = Array.from(pending.values())
      pending.clear()
      // What fails here fails again when there is more to index; searches are exact until then.
      yield* Effect.forEach(batch, (each) => Effect.ignoreLogged(ensure(each)), { discard: true })
    })

    if (options.vector.index !== "none" && !options.readOnly) yield* Effect.forkScoped(Effect.forever(work))
    const since = new Map<number, number>()

    return {
      added: (extension, collection, records) => {
        // A count reads the whole collection, so that it is worth one only after some growth.
        const grown = (since.get(collection.id) ?? threshold) + records
        if (grown < threshold / 10) {
          since.set(collection.id, grown)
          return
        }
        since.set(collection.id, 0)
        pending.set(collection.id, { extension, collection })
        wake()
      }
    }
  })
