/**
 * The embeddings of what `Search` keeps: by which model they are, which are pending, and how they move to another model.
 *
 * Locks are taken in one order: the text collection, its texts, pending records, vectors.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import {
  type DbError,
  DbUnsupported,
  DimensionMismatch,
  type ErrorContext,
  type InvalidInput,
  invalidInput,
  ModelMismatch,
  NotFound
} from "../../errors/index.js"
import type { BackendShape, TransactionOptions } from "../../services/Backend.js"
import type { EmbeddingsShape, VectorModel } from "../../services/Embeddings.js"
import type { EmbeddingReport, ReembedReport, SearchRecord } from "../../services/Search.js"
import type { CollectionOptions, VectorRecord } from "../../services/VectorStore.js"
import { Records } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"
import * as EmbeddingPass from "./EmbeddingPass.js"
import { settingsOf, type VectorSettings } from "./VectorSettings.js"

type OnProgress = EmbeddingPass.OnProgress

type Pass = EmbeddingPass.Pass

const isSame = (a: VectorSettings | VectorModel, b: VectorModel): boolean =>
  a.model === b.model && a.dimension === b.dimension

/** A collection on its way to another model: its new vectors are gathered in the collection `target`. */
interface Reembedding extends VectorModel {
  readonly target: string
}

/** Tells one text of a record from a later one. */
const keyOf = ({ id, token }: { readonly id: string; readonly token: string }): string => `${id}\u0000${token}`

/** No id holds a U+0000. */
const idOf = (key: string): string => key.slice(0, key.indexOf("\u0000"))

const refusedOf = (refused: EmbeddingPass.Refused): Pick<EmbeddingReport, "refused"> =>
  refused.size === 0 ? {} : { refused: Array.from(refused, ([key, error]) => ({ id: idOf(key), error })) }

/** What the vector is, is looked at with the collection. */
const checkRecord = (record: SearchRecord, field: string, at: ErrorContext): Effect.Effect<void, InvalidInput> =>
  Effect.flatMap(Records.checkText(record, field, at), () =>
    record.model === undefined || Records.isModel(record.model)
      ? Effect.void
      : Effect.fail(invalidInput(at, `${field}.model`, "is not a name", "the name of a model, 1 to 200 characters"))
  )

/** Ids in one statement. */
const statementIds = 500

/** Pending records that are embedded and written at once. */
const pendingBatch = 256

/**
 * Transactions that lose to another one are run again, so often.
 *
 * @since 0.1.0
 * @category constants
 */
export const onConflict: TransactionOptions = { retryConflicts: 5 }

const { isBlank, nameOf } = EmbeddingPass

/**
 * With the `Embeddings` at hand, if there are any.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "text" | "vector" | "dialect">,
  own: EmbeddingsShape | undefined
) => {
  const { text: texts, vector: vectors } = backend
  /** By model: the one at hand, and those that collections were moved to. */
  const embedders = new Map(own === undefined ? [] : [[nameOf(own), own]])

  const settings = (collection: string): Effect.Effect<VectorSettings | undefined, DbError> =>
    Effect.map(settingsOf(backend, [collection]), (found) => found.get(collection))

  const reembedding = (collection: string): Effect.Effect<Reembedding | undefined, DbError> =>
    Effect.map(
      backend.query(
        `SELECT r.target, r.model, c.dimension FROM db_hub_reembeddings AS r LEFT JOIN db_hub_collections AS c ON c.name = r.target
          WHERE r.collection = ?`,
        [collection]
      ),
      ([row]) =>
        row && { target: String(row["target"]), model: String(row["model"]), dimension: Number(row["dimension"]) }
    )

  const otherModel = (collection: string, expected: string, actual: string, at: ErrorContext): ModelMismatch =>
    new ModelMismatch({
      ...at,
      collection,
      expected,
      actual,
      message: `The vectors of the collection are of the model ${expected}, not of ${actual}: use ${expected}, or move the collection to ${actual} by reembed`
    })

  /** The model at hand is not that of a collection. */
  const notOf = (
    collection: string,
    { dimension, model }: VectorModel,
    own: EmbeddingsShape,
    at: ErrorContext
  ): ModelMismatch | DimensionMismatch =>
    model === own.model
      ? new DimensionMismatch({
          ...at,
          collection,
          expected: dimension,
          actual: own.dimension,
          message: `The collection has ${dimension} dimensions, and the model ${model} is configured with ${own.dimension}: configure ${dimension}, or move the collection to ${own.dimension} by reembed`
        })
      : otherModel(collection, model, own.model, at)

  /** The model at hand for a collection. */
  const embedderOf = (
    collection: string,
    of: VectorModel,
    at: ErrorContext
  ): Effect.Effect<EmbeddingsShape, DbError> => {
    const found = embedders.get(nameOf(of))
    if (found !== undefined) return Effect.succeed(found)
    return Effect.fail(
      own === undefined
        ? new DbUnsupported({ ...at, message: `No embedding model is at hand: provide Embeddings of ${of.model}` })
        : notOf(collection, of, own, at)
    )
  }

  /** Fails where a collection is there with another model than the one at hand. */
  const checkModel = (collection: string, at: ErrorContext): Effect.Effect<void, DbError> =>
    Effect.flatMap(settings(collection), (found) => {
      const model = found?.model ?? null
      if (own === undefined || found === undefined || model === null) return Effect.void
      const of = { ...found, model }
      return embedders.has(nameOf(of)) ? Effect.void : Effect.fail(notOf(collection, of, own, at))
    })

  /** The model of a collection with these settings, to embed a question. */
  const questionEmbedder = (
    collection: string,
    { dimension, model }: VectorSettings,
    at: ErrorContext
  ): Effect.Effect<EmbeddingsShape, DbError> =>
    model === null ? Effect.fail(withoutModel(at)) : embedderOf(collection, { dimension, model }, at)

  /** The vectors that are there for texts that are there. */
  const stored = (collection: string, records: ReadonlyArray<SearchRecord>) =>
    Effect.gen(function* () {
      const given = new Map(records.map(({ id, text }) => [id, text]))
      const there = yield* texts.get(collection, Array.from(given.keys()))
      const unchanged = there.filter(({ id, text }) => given.get(id) === text).map(({ id }) => id)
      const found = unchanged.length === 0 ? [] : yield* vectors.get(collection, unchanged)
      return new Map(found.map(({ id, vector }) => [id, vector]))
    })

  /** Keeps vectors at hand instead of writing them. */
  const keep =
    (made: Map<string, Float32Array>) =>
    (asked: ReadonlyArray<{ readonly id: string }>, vectors: ReadonlyArray<Float32Array>) =>
      Effect.sync(() => {
        for (const [i, { id }] of asked.entries()) made.set(id, vectors[i]!)
        return asked.length
      })

  /** The same records with vectors, as far as the collection has a model that is at hand and does not fail. */
  const embed = (collection: string, records: ReadonlyArray<SearchRecord>, at: ErrorContext) =>
    Effect.gen(function* () {
      yield* Effect.forEach(records, (record, i) => checkRecord(record, `records[${i}]`, at), { discard: true })
      const untouched: EmbeddingReport & { readonly records: ReadonlyArray<SearchRecord> } = {
        records,
        embedded: 0,
        pending: 0
      }
      const lacking = records.filter(({ text, vector }) => vector === undefined && !isBlank(text))
      if (own === undefined || lacking.length === 0) return untouched
      const found = yield* settings(collection)
      const model = found?.model ?? null
      if (found === undefined || model === null) return untouched
      const of = { ...found, model }
      const moving = embedders.has(nameOf(of)) ? undefined : yield* reembedding(collection)
      if (moving !== undefined && embedders.has(nameOf(moving))) return { ...untouched, pending: lacking.length }
      const embedder = yield* embedderOf(collection, of, at)
      const made = new Map(yield* stored(collection, lacking))
      const asked = lacking
        .filter(({ id }) => !made.has(id))
        .map(({ id, text }) => ({ id, text, key: keyOf({ id, token: "" }) }))
      const { embedded, failed, refused } =
        asked.length === 0 ? EmbeddingPass.nothing : yield* EmbeddingPass.embed(embedder, keep(made), asked)
      const withVectors = records.map((record): SearchRecord => {
        if (record.vector !== undefined || isBlank(record.text)) return record
        const vector = made.get(record.id)
        return vector === undefined ? { ...record, vector: null } : { ...record, vector, model }
      })
      return {
        records: withVectors,
        embedded,
        pending: asked.length - embedded,
        ...refusedOf(refused),
        ...(failed === undefined ? {} : { failed })
      }
    })

  /** Keeps reembeddings of a collection from beginning and ending before the transaction does, or all writes. */
  const lockedTexts = (collection: string, how: "forShare" | "forUpdate") =>
    backend.query(`SELECT id FROM db_hub_text_collections WHERE name = ?${backend.dialect[how]}`, [collection])

  const lock = (collection: string, how: "forShare" | "forUpdate"): Effect.Effect<void, DbError> =>
    Effect.asVoid(lockedTexts(collection, how))

  const inStatements = (
    ids: ReadonlyArray<string>,
    run: (some: ReadonlyArray<string>) => Effect.Effect<unknown, DbError>
  ) => Effect.forEach(Arr.chunksOf(ids, statementIds), run, { discard: true })

  const settle = (collection: string, ids: ReadonlyArray<string>): Effect.Effect<void, DbError> =>
    inStatements(ids, (some) =>
      backend.execute(`DELETE FROM db_hub_pending_embeddings WHERE collection = ? AND id IN (${marks(some)})`, [
        collection,
        ...some
      ])
    )

  /** The same of ids and tokens: what has another token by now waits for another text. */
  const settleTokens = (
    collection: string,
    tokens: ReadonlyArray<readonly [id: string, token: string]>
  ): Effect.Effect<void, DbError> =>
    Effect.forEach(
      Arr.chunksOf(tokens, statementIds),
      (some) =>
        backend.execute(
          `DELETE FROM db_hub_pending_embeddings
            WHERE collection = ? AND (id, token) IN (VALUES ${some.map(() => "(?, ?)").join(", ")})`,
          [collection, ...some.flat()]
        ),
      { discard: true }
    )

  const defer = (collection: string, ids: ReadonlyArray<string>): Effect.Effect<void, DbError> => {
    const token = crypto.randomUUID()
    return inStatements(ids, (some) =>
      backend.execute(
        `INSERT INTO db_hub_pending_embeddings (collection, id, token) VALUES ${some.map(() => "(?, ?, ?)").join(", ")}`,
        some.flatMap((id) => [collection, id, token])
      )
    )
  }

  /** All texts of a collection by its number, for vectors in `into`; some model's name is token enough for the first. */
  const deferAll = (texts: number, into: string) =>
    backend.execute(
      `INSERT INTO db_hub_pending_embeddings (collection, id, token)
        SELECT c.name, t.id, c.model FROM db_hub_texts_${texts} AS t JOIN db_hub_collections AS c ON c.name = ?`,
      [into]
    )

  const deleteVectors = (collection: string, ids: ReadonlyArray<string>): Effect.Effect<unknown, DbError> =>
    ids.length === 0 ? Effect.void : Effect.catchTag(vectors.delete(collection, ids), "NotFound", () => Effect.void)

  /** Gives a collection of texts its vectors, inside a transaction; texts that are there already wait for theirs. */
  const create = (collection: string, options: CollectionOptions): Effect.Effect<void, DbError> =>
    Effect.gen(function* () {
      const [texts] = yield* lockedTexts(collection, "forUpdate")
      const before = yield* settings(collection)
      yield* vectors.createCollection(collection, options)
      if (before === undefined && options.model !== undefined && texts !== undefined) {
        yield* deferAll(Number(texts["id"]), collection)
      }
    })

  /** Takes away, inside a transaction, what is kept beside the texts of these ids. */
  const forget = (collection: string, ids: ReadonlyArray<string>): Effect.Effect<void, DbError> =>
    Effect.gen(function* () {
      const moving = yield* reembedding(collection)
      const both = moving === undefined ? [collection] : [collection, moving.target]
      yield* Effect.forEach(both, (name) => settle(name, ids))
      yield* Effect.forEach(both, (name) => deleteVectors(name, ids))
    })

  /**
   * Writes records, inside a transaction. The texts without vectors are pending where the collection has a model;
   * succeeds with their number.
   */
  const write = (
    collection: string,
    records: ReadonlyArray<SearchRecord>,
    at: ErrorContext
  ): Effect.Effect<number, DbError> =>
    Effect.gen(function* () {
      yield* lock(collection, "forShare")
      yield* texts.insertMany(collection, records)
      const found = yield* settings(collection)
      const model = found?.model ?? null
      const other = records.find((record) => record.model !== undefined && record.model !== model)?.model
      if (other !== undefined) return yield* otherModel(collection, model ?? "no recorded name", other, at)

      const ids = records.map(({ id }) => id)
      const embedded: Array<VectorRecord> = []
      for (const [i, { id, metadata = {}, vector }] of records.entries()) {
        if (vector === undefined || vector === null) continue
        // The store would count the records with vectors alone.
        if (found !== undefined)
          yield* Records.parseVector(vector, `records[${i}].vector`, { name: collection, ...found }, at)
        embedded.push({ id, vector, metadata })
      }
      const having = new Set(embedded.map(({ id }) => id))
      const waiting = records.filter(({ id, text }) => !having.has(id) && !isBlank(text)).map(({ id }) => id)
      const pending = model === null ? [] : waiting
      const moving = yield* reembedding(collection)
      yield* settle(collection, ids)
      yield* defer(collection, pending)
      if (moving !== undefined) {
        yield* settle(moving.target, ids)
        yield* defer(
          moving.target,
          records.filter(({ text }) => !isBlank(text)).map(({ id }) => id)
        )
        yield* deleteVectors(moving.target, ids)
      }
      // The vector of an earlier text would find what is no longer there.
      yield* deleteVectors(
        collection,
        ids.filter((id) => !having.has(id))
      )
      if (embedded.length > 0) yield* vectors.insertMany(collection, embedded)
      return pending.length
    })

  /** The number of records that wait for their vectors. */
  const pending = (collection: string): Effect.Effect<number, DbError> =>
    Effect.map(
      backend.query("SELECT count(*) AS n FROM db_hub_pending_embeddings WHERE collection = ?", [collection]),
      ([row]) => Number(row?.["n"])
    )

  interface Waiting extends EmbeddingPass.Waiting {
    readonly id: string
    readonly token: string
    readonly metadata: SearchRecord["metadata"]
  }

  /** Writes the vectors of texts that nobody has changed since they were read; succeeds with their number. */
  const fill = (into: string, waiting: ReadonlyArray<Waiting>, made: ReadonlyArray<Float32Array>) =>
    backend.transaction(
      Effect.gen(function* () {
        const ids = waiting.map(({ id }) => id)
        const rows = yield* backend.query(
          `SELECT id, token FROM db_hub_pending_embeddings WHERE collection = ? AND id IN (${marks(ids)})
            ORDER BY id${backend.dialect.forUpdate}`,
          [into, ...ids]
        )
        const tokens = new Map(rows.map(({ id, token }) => [id, token]))
        const settled = waiting.flatMap(({ id, metadata = {}, token }, i) =>
          tokens.get(id) === token ? [{ id, metadata, vector: made[i]! }] : []
        )
        yield* settle(
          into,
          settled.map(({ id }) => id)
        )
        if (settled.length > 0) yield* vectors.insertMany(into, settled)
        return settled.length
      }),
      onConflict
    )

  /** Goes once through what is pending for the vector collection `into`, but for some keys. */
  const embedAll = (
    collection: string,
    into: string,
    embedder: EmbeddingsShape,
    skip: EmbeddingPass.Refused,
    onProgress: OnProgress
  ): Effect.Effect<Pass, DbError> => {
    let after = ""
    const next = Effect.gen(function* () {
      const rows = yield* backend.query(
        `SELECT id, token FROM db_hub_pending_embeddings WHERE collection = ? AND id > ?
          ORDER BY id LIMIT ${pendingBatch}`,
        [into, after]
      )
      const last = rows[rows.length - 1]
      if (last === undefined) return undefined
      after = String(last["id"])
      // Texts are read after the tokens: one that is changed in between has another token, and is not taken for this.
      const tokens = new Map(rows.map(({ id, token }) => [String(id), String(token)]))
      const there = yield* texts.get(collection, Array.from(tokens.keys()))
      const waiting = there
        .filter(({ text }) => !isBlank(text))
        .map((found): Waiting => {
          const token = tokens.get(found.id) ?? ""
          return { ...found, token, key: keyOf({ id: found.id, token }) }
        })
      const ids = new Set(waiting.map(({ id }) => id))
      yield* settleTokens(
        into,
        Array.from(tokens).filter(([id]) => !ids.has(id))
      )
      return { seen: rows.length, waiting }
    })
    const fillInto = (waiting: ReadonlyArray<Waiting>, made: ReadonlyArray<Float32Array>) => fill(into, waiting, made)
    return EmbeddingPass.run(embedder, { total: pending(into), next, fill: fillInto }, skip, onProgress)
  }

  const embedPending = (
    collection: string,
    onProgress: OnProgress,
    at: ErrorContext
  ): Effect.Effect<EmbeddingReport, DbError> =>
    Effect.gen(function* () {
      const found = yield* settings(collection)
      const model = found?.model ?? null
      if (found === undefined || model === null) return yield* withoutModel(at)
      const embedder = yield* embedderOf(collection, { ...found, model }, at)
      return yield* reportOf(collection, yield* embedAll(collection, collection, embedder, new Map(), onProgress))
    })

  const reportOf = (collection: string, { embedded, failed, refused }: Pass): Effect.Effect<EmbeddingReport, DbError> =>
    Effect.map(pending(collection), (pending) => ({
      embedded,
      pending,
      ...refusedOf(refused),
      ...(failed === undefined ? {} : { failed })
    }))

  /** Begins to move a collection, or finds what was begun; succeeds with the target, if there is anything to do. */
  const beginReembedding = (
    collection: string,
    to: EmbeddingsShape,
    at: ErrorContext
  ): Effect.Effect<string | undefined, DbError> =>
    backend.transaction(
      Effect.gen(function* () {
        const [texts] = yield* lockedTexts(collection, "forUpdate")
        const found = yield* settings(collection)
        if (found === undefined || texts === undefined) return yield* withoutModel(at)
        const moving = yield* reembedding(collection)
        if (moving !== undefined && isSame(moving, to)) return moving.target
        if (moving !== undefined) yield* dropTarget(collection, moving)
        const { dimension, model } = to
        if (isSame(found, to)) return undefined
        const target = `${Records.ownPrefix}reembedding_${crypto.randomUUID()}`
        yield* vectors.createCollection(target, { dimension, metric: found.metric, model })
        yield* backend.execute("INSERT INTO db_hub_reembeddings (collection, target, model) VALUES (?, ?, ?)", [
          collection,
          target,
          model
        ])
        yield* deferAll(Number(texts["id"]), target)
        return target
      }),
      onConflict
    )

  /** Puts the target in the collection's place, if all but these keys are embedded; succeeds with whether it did. */
  const finishReembedding = (collection: string, target: string, refused: EmbeddingPass.Refused) =>
    backend.transaction(
      Effect.gen(function* () {
        yield* lock(collection, "forUpdate")
        // Somebody else has finished it.
        if ((yield* reembedding(collection))?.target !== target) return true
        const left = yield* backend.query(
          `SELECT id, token FROM db_hub_pending_embeddings WHERE collection = ? LIMIT ${refused.size + 1}`,
          [target]
        )
        if (left.some(({ id, token }) => !refused.has(keyOf({ id: String(id), token: String(token) })))) return false
        yield* backend.execute("DELETE FROM db_hub_reembeddings WHERE collection = ?", [collection])
        yield* drop(collection)
        for (const [table, column] of [
          ["db_hub_collections", "name"],
          ["db_hub_pending_embeddings", "collection"]
        ]) {
          yield* backend.execute(`UPDATE ${table} SET ${column} = ? WHERE ${column} = ?`, [collection, target])
        }
        return true
      }),
      onConflict
    )

  const reembed = (
    collection: string,
    given: EmbeddingsShape | undefined,
    onProgress: OnProgress,
    at: ErrorContext
  ): Effect.Effect<ReembedReport, DbError> =>
    Effect.gen(function* () {
      const to = given ?? own
      if (to === undefined) {
        return yield* new DbUnsupported({ ...at, message: "No embedding model is at hand: provide Embeddings" })
      }
      const target = yield* beginReembedding(collection, to, at)
      embedders.set(nameOf(to), to)
      if (target === undefined) return { ...(yield* embedPending(collection, onProgress, at)), moved: true }
      let all = EmbeddingPass.nothing
      while (true) {
        const pass = yield* embedAll(collection, target, to, all.refused, onProgress)
        // What a pass leaves out still waits; what it does not tell of is gone.
        all = { ...EmbeddingPass.together(all, pass), refused: pass.refused }
        if (pass.stopped) return { ...(yield* reportOf(target, all)), moved: false }
        // What others wrote meanwhile is done in another pass.
        if (yield* finishReembedding(collection, target, all.refused)) break
      }
      return { ...(yield* reportOf(collection, all)), moved: true }
    })

  const withoutModel = (at: ErrorContext): NotFound =>
    new NotFound({
      ...at,
      entity: "collection",
      message: "There is no such collection with an embedding model: create it with one"
    })

  const dropVectors = (collection: string): Effect.Effect<void, DbError> =>
    Effect.zipRight(
      backend.execute("DELETE FROM db_hub_pending_embeddings WHERE collection = ?", [collection]),
      Effect.catchTag(vectors.dropCollection(collection), "NotFound", () => Effect.void)
    )

  const dropTarget = (collection: string, { target }: Reembedding): Effect.Effect<void, DbError> =>
    Effect.zipRight(
      backend.execute("DELETE FROM db_hub_reembeddings WHERE collection = ?", [collection]),
      dropVectors(target)
    )

  /** Takes away, inside a transaction, what is kept beside the texts of a collection. */
  const drop = (collection: string): Effect.Effect<void, DbError> =>
    Effect.gen(function* () {
      const moving = yield* reembedding(collection)
      if (moving !== undefined) yield* dropTarget(collection, moving)
      yield* dropVectors(collection)
    })

  return {
    settings,
    checkModel,
    create,
    questionEmbedder,
    pending,
    embed,
    lock,
    write,
    forget,
    embedPending,
    reembed,
    drop
  }
}
