/**
 * `Embeddings` that keep what they have embedded in a table of the hub: a text is never embedded twice by one model.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as Arr from "effect/Array"
import * as Cache from "effect/Cache"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { type DbError, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import { Embeddings, type EmbeddingsShape } from "../../services/Embeddings.js"
import { fromBytes, toBytes } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"

/**
 * How much the table keeps.
 *
 * @since 0.1.0
 * @category models
 */
export interface CacheOptions {
  /** Vectors kept at most, of all models, the latest ones; default 100000. */
  readonly capacity?: number
}

type CacheBackend = Pick<BackendShape, "query" | "execute" | "transaction" | "dialect" | "capabilities">

const table = "db_hub_embedding_cache"

/** Questions whose vectors are kept in memory. */
const questions = 1000

/** Hashes looked up in one statement. */
const lookup = 500

const hashOf = (text: string): string => NodeCrypto.createHash("sha256").update(text).digest("hex")

/** Deletes all but the latest vectors. */
const prune = (backend: CacheBackend, keep: number): Effect.Effect<void, DbError> =>
  Effect.gen(function* () {
    const [oldest] = yield* backend.query(
      `SELECT created_at, hash, model FROM ${table} ORDER BY created_at DESC, hash DESC, model DESC LIMIT 1 OFFSET ?`,
      [keep]
    )
    if (oldest === undefined) return
    const { created_at, hash, model } = oldest as { created_at: Date; hash: string; model: string }
    yield* backend.execute(`DELETE FROM ${table} WHERE (created_at, hash, model) <= (?, ?, ?)`, [
      created_at,
      hash,
      model
    ])
  })

/**
 * `embedMany` looks into the table, asks the model for what is not there, and keeps it. `embed`, for questions, looks
 * into memory and the table and writes nothing. `InvalidInput` for a capacity that is no count.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  embeddings: EmbeddingsShape,
  backend: CacheBackend,
  options: CacheOptions = {}
): Effect.Effect<EmbeddingsShape, InvalidInput> =>
  Effect.gen(function* () {
    const { capacity = 100_000 } = options
    const { dimension, model } = embeddings
    if (!Number.isInteger(capacity) || capacity < 1) {
      return yield* invalidInput(
        { operation: "CachedEmbeddings.make" },
        "capacity",
        "is no count",
        "a whole number from 1"
      )
    }

    const known = (hashes: ReadonlyArray<string>): Effect.Effect<ReadonlyMap<string, Float32Array>, DbError> =>
      Effect.map(
        Effect.forEach(Arr.chunksOf(hashes, lookup), (some) =>
          backend.query(`SELECT hash, vector FROM ${table} WHERE model = ? AND hash IN (${marks(some)})`, [
            model,
            ...some
          ])
        ),
        (rows) =>
          new Map(
            rows.flat().flatMap(({ hash, vector }): Array<[string, Float32Array]> => {
              // One of another dimension is from before the model's settings changed, and is replaced.
              const read = fromBytes(vector as Uint8Array, dimension)
              return read === undefined ? [] : [[String(hash), read]]
            })
          )
      )

    const columns = ["model", "hash", "created_at", "vector"]
    const upsert = backend.dialect.upsert(table, columns, ["model", "hash"])
    const keep = (made: ReadonlyMap<string, Float32Array>) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        backend.transaction(
          Effect.zipRight(
            Effect.forEach(
              // In one order, so that processes which embed the same wait for each other instead of blocking.
              Array.from(made).sort(([a], [b]) => (a < b ? -1 : 1)),
              ([hash, vector]) => backend.execute(upsert, [model, hash, new Date(now), toBytes(vector)]),
              { discard: true }
            ),
            prune(backend, capacity)
          ),
          { retryConflicts: 3 }
        )
      )

    const embedMany = (texts: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        const byHash = new Map(texts.map((text) => [hashOf(text), text]))
        const found = new Map(yield* known(Array.from(byHash.keys())))
        const missing = Array.from(byHash).filter(([hash]) => !found.has(hash))
        if (missing.length > 0) {
          const vectors = yield* embeddings.embedMany(missing.map(([, text]) => text))
          const made = new Map(missing.map(([hash], i) => [hash, vectors[i]!]))
          if (backend.capabilities.writable) yield* keep(made)
          for (const [hash, vector] of made) found.set(hash, vector)
        }
        return texts.map((text) => found.get(hashOf(text))!)
      })

    const asked = yield* Cache.makeWith({
      capacity: questions,
      lookup: (text: string): Effect.Effect<Float32Array, DbError> =>
        Effect.flatMap(known([hashOf(text)]), (found) => {
          const [vector] = found.values()
          return vector === undefined ? embeddings.embed(text) : Effect.succeed(vector)
        }),
      timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero)
    })

    return { model, dimension, embedMany, embed: (text) => asked.get(text) }
  })

/**
 * Puts the table of a backend before the `Embeddings` beneath.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = (options: CacheOptions = {}): Layer.Layer<Embeddings, InvalidInput, Embeddings | Backend> =>
  Layer.effect(
    Embeddings,
    Effect.flatMap(Effect.all([Embeddings, Backend]), ([embeddings, backend]) => make(embeddings, backend, options))
  )
