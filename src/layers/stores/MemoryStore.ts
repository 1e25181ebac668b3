/**
 * @since 0.1.0
 */
import * as NodeUtil from "node:util"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { DbConflict, type DbError, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import {
  DeleteMemory,
  type Embedding,
  EmbedMemories,
  Importance,
  Memory,
  MemoryKind,
  type MemoryRanking,
  MemoryStore,
  MergeMemoryMetadata,
  PruneMemories,
  RecordMemoryAccess,
  SetMemoryField,
  type SimilarMemory,
  type SimilarMemoryOptions,
  StoreMemory,
  UpdateMemory
} from "../../services/MemoryStore.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import type { SearchHit } from "../../services/VectorStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import {
  compareCodePoints,
  type FilterInput,
  type JsonObject,
  JsonPatch,
  type JsonValue,
  parseJsonObject,
  Records
} from "../../vector/index.js"
import { marks } from "../sql/Marks.js"
import { given, json } from "./Fields.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as StoreSearch from "./StoreSearch.js"
import * as StoreVectors from "./StoreVectors.js"
import * as Table from "./Table.js"
import * as ToEmbed from "./ToEmbed.js"

const day = 86_400_000

/** Rows looked up in one statement. */
const lookupSize = 500

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<MemoryStore, never, Backend | WriteChannel> = Layer.effect(
  MemoryStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect, vector } = backend
    const memories = Table.make(backend, "db_hub_memories", Memory)
    const tagged = dialect.insertIfAbsent(
      "db_hub_memory_tags",
      ["user_id", "tag", "memory_id"],
      ["user_id", "tag", "memory_id"]
    )

    const notFound = (operation: string) => Rows.orNotFound(backend.name, operation, "memory")

    /** Makes this transaction the only one that writes memories of a user, so that what it finds stays so. */
    const hold = Owner.make(backend, "db_hub_memory_users")

    const find = (user: string, id: string) => memories.first("WHERE id = ? AND user_id = ?", [id, user])

    const findAlive = (user: string, id: string, operation: string) =>
      Effect.zipWith(find(user, id), Fresh.now, (found, now) =>
        found === undefined || hasExpired(found, now) ? undefined : found
      ).pipe(Effect.flatMap(notFound(operation)))

    const dropVector = ({ dimension, embeddingModel, id }: Stored) =>
      embeddingModel === null || dimension === null
        ? Effect.void
        : StoreVectors.drop(vector, collectionOf(embeddingModel, dimension), [id])

    /** What must be known of memories to delete them, be they readable or not. */
    const storedOf = (where: string, params: ReadonlyArray<SqlValue>): Effect.Effect<ReadonlyArray<Stored>, DbError> =>
      Effect.map(
        backend.query(`SELECT id, embedding_model, dimension FROM db_hub_memories WHERE ${where}`, params),
        (rows) =>
          rows.map((row) => ({
            id: String(row["id"]),
            embeddingModel: row["embedding_model"] as string | null,
            dimension: row["dimension"] as number | null
          }))
      )

    const putVector = (memory: Filtered, { model, vector: components }: Embedding) =>
      StoreVectors.put(vector, collectionOf(model, components.length), model, [
        { id: memory.id, vector: components, metadata: filteredBy(memory) }
      ])

    /** Takes the stored vector along when what it is filtered by changes. */
    const moveVector = (memory: Memory, changed: Filtered) =>
      Effect.gen(function* () {
        if (NodeUtil.isDeepStrictEqual(filteredBy(memory), filteredBy(changed))) return
        const { dimension, embeddingModel, id } = memory
        if (embeddingModel === null || dimension === null) return
        const [stored] = yield* StoreVectors.ifThere(vector.get(collectionOf(embeddingModel, dimension), [id]), [])
        if (stored === undefined) return
        yield* putVector(changed, { model: embeddingModel, vector: Array.from(stored.vector) })
      })

    /** Finds a memory by its words, as it is now. */
    const putText = (memory: StoreTexts.FoundMemory) =>
      backend.text.insert(StoreTexts.collections.memories, StoreTexts.ofMemory(memory))

    const dropText = ({ id }: Pick<Memory, "id">) => backend.text.delete(StoreTexts.collections.memories, [id])

    const putTags = (user: string, id: string, tags: ReadonlyArray<string>) =>
      Effect.forEach(tags, (tag) => backend.enqueue(tagged, [user, tag, id]), { discard: true })

    const dropTags = (id: string) => backend.enqueue("DELETE FROM db_hub_memory_tags WHERE memory_id = ?", [id])

    const remove = (memory: Stored) =>
      Effect.gen(function* () {
        yield* dropVector(memory)
        yield* dropText(memory)
        yield* dropTags(memory.id)
        yield* backend.enqueue("DELETE FROM db_hub_memories WHERE id = ?", [memory.id])
      })

    /** The user's memory of the same content; one that has expired makes room. */
    const twinOf = (user: string, content: string) =>
      Effect.gen(function* () {
        const twin = yield* memories.first("WHERE user_id = ? AND single_key = ?", [user, hashOf(content)])
        if (twin === undefined || !hasExpired(twin, yield* Fresh.now)) return twin
        yield* remove(twin)
        return undefined
      })

    const search = (user: string, { model, vector: components }: Embedding, k: number, options: SimilarMemoryOptions) =>
      Effect.flatMap(Fresh.now, (now) =>
        StoreVectors.ifThere(
          vector.search(collectionOf(model, components.length), components, {
            k,
            filter: filterOf(user, options, now),
            ...(options.minSimilarity === undefined ? {} : { minScore: options.minSimilarity })
          }),
          [] as ReadonlyArray<SearchHit>
        )
      )

    const supersede = (old: Memory, by: string) =>
      Effect.gen(function* () {
        yield* dropVector(old)
        yield* dropText(old)
        yield* memories.set(old.id, {
          singleKey: `id:${old.id}`,
          supersededBy: by,
          embeddingModel: null,
          dimension: null,
          updatedAt: yield* Fresh.now
        })
      })

    const superseded = (operation: string) =>
      Effect.fail(
        new DbConflict({
          backend: backend.name,
          operation,
          reason: "compare-and-set",
          message: "The memory was superseded meanwhile: read the one that took its place"
        })
      )

    const editMetadata = (
      operation: string,
      user: string,
      id: string,
      edit: (metadata: JsonObject, at: ErrorContext) => Effect.Effect<JsonObject, InvalidInput>
    ) =>
      Effect.gen(function* () {
        yield* hold(user)
        const { metadata, supersededBy } = yield* findAlive(user, id, operation)
        if (supersededBy !== null) return yield* superseded(operation)
        const edited = yield* edit(metadata, { backend: backend.name, operation })
        yield* memories.set(id, { metadata: new Json(edited), updatedAt: yield* Fresh.now })
        return { result: undefined, ids: [id] }
      })

    const rowsOf = (user: string, hits: ReadonlyArray<{ readonly id: string }>) =>
      Effect.gen(function* () {
        const found = new Map<string, Memory>()
        for (let i = 0; i < hits.length; i += lookupSize) {
          const ids = hits.slice(i, i + lookupSize).map(({ id }) => id)
          const rows = yield* memories.all(`WHERE user_id = ? AND id IN (${marks(ids)})`, [user, ...ids])
          for (const memory of rows) found.set(memory.id, memory)
        }
        return found
      })

    /** The rows of what a search found; what was deleted meanwhile is left out. */
    const load = (user: string, hits: ReadonlyArray<SearchHit>) =>
      Effect.map(rowsOf(user, hits), (found) =>
        hits.flatMap(({ id, score }) => {
          const memory = found.get(id)
          return memory === undefined ? [] : [{ memory, similarity: score, score }]
        })
      )

    const searchAll = StoreSearch.make(backend)

    return {
      store: channel.handle(StoreMemory, ({ duplicateFrom, embedding, user, ...payload }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const { content, id = Fresh.id(), tags = [] } = payload
          const old =
            payload.supersedes === undefined ? undefined : yield* findAlive(user, payload.supersedes, StoreMemory._tag)
          if (old !== undefined && old.supersededBy !== null) return yield* superseded(StoreMemory._tag)

          const twin = yield* twinOf(user, content)
          const near =
            twin !== undefined || embedding === undefined || duplicateFrom === undefined
              ? []
              : yield* search(user, embedding, 2, { minSimilarity: duplicateFrom })
          const duplicate = twin?.id ?? near.find((hit) => hit.id !== old?.id)?.id
          if (duplicate !== undefined) {
            const result = { id: duplicate, duplicate: true }
            if (old === undefined || old.id === duplicate) return { result, ids: [] }
            yield* supersede(old, duplicate)
            return { result, ids: [old.id] }
          }

          const now = yield* Fresh.now
          const kind = payload.kind ?? "semantic"
          const importance = payload.importance ?? 0.5
          if (old !== undefined) yield* supersede(old, id)
          yield* memories.insert(
            given({
              ...payload,
              id,
              userId: user,
              singleKey: hashOf(content),
              kind,
              importance,
              tags: json(tags),
              metadata: json(payload.metadata ?? {}),
              embeddingModel: embedding?.model,
              dimension: embedding?.vector.length,
              accessCount: 0,
              createdAt: now,
              updatedAt: now
            })
          )
          yield* putTags(user, id, tags)
          const { expiresAt = null, summary = null } = payload
          const stored = { id, userId: user, kind, content, summary, importance, tags, expiresAt }
          yield* putText(stored)
          if (embedding !== undefined) yield* putVector(stored, embedding)
          return { result: { id, duplicate: false }, ids: old === undefined ? [id] : [id, old.id] }
        })
      ),

      update: channel.handle(UpdateMemory, ({ embedding, id, user, ...fields }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const memory = yield* findAlive(user, id, UpdateMemory._tag)
          if (memory.supersededBy !== null) return yield* superseded(UpdateMemory._tag)
          const content = fields.content ?? memory.content
          const reworded = hashOf(content) !== hashOf(memory.content)
          if (reworded && (yield* twinOf(user, content)) !== undefined) return yield* Effect.fail(taken(backend.name))

          const changed = { ...memory, ...withoutUndefined(fields) }
          const replaced = embedding ?? (embedding === null || reworded ? null : undefined)
          if (replaced === undefined) yield* moveVector(memory, changed)
          else yield* dropVector(memory)
          if (replaced !== undefined && replaced !== null) yield* putVector(changed, replaced)
          if (!NodeUtil.isDeepStrictEqual(StoreTexts.ofMemory(memory), StoreTexts.ofMemory(changed))) {
            yield* putText(changed)
          }
          if (fields.tags !== undefined) {
            yield* dropTags(id)
            yield* putTags(user, id, fields.tags)
          }
          yield* memories.set(
            id,
            given({
              ...fields,
              singleKey: hashOf(content),
              tags: json(fields.tags),
              metadata: json(fields.metadata),
              embeddingModel: replaced === null ? null : replaced?.model,
              dimension: replaced === null ? null : replaced?.vector.length,
              updatedAt: yield* Fresh.now
            })
          )
          return { result: undefined, ids: [id] }
        })
      ),

      setField: channel.handle(SetMemoryField, ({ id, path, user, value }) =>
        editMetadata(SetMemoryField._tag, user, id, (metadata, at) =>
          JsonPatch.setField(metadata, path, value as JsonValue, at)
        )
      ),
      mergeMetadata: channel.handle(MergeMemoryMetadata, ({ id, patch, user }) =>
        editMetadata(MergeMemoryMetadata._tag, user, id, (metadata, at) =>
          parseJsonObject(JsonPatch.mergeObject(metadata, patch), "patch", at)
        )
      ),

      embed: channel.handle(EmbedMemories, ({ embeddings, model, user }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const embedded: Array<string> = []
          const now = yield* Fresh.now
          const found = yield* rowsOf(user, embeddings)
          for (const { contentHash, id, vector } of embeddings) {
            const memory = found.get(id)
            if (memory === undefined || memory.supersededBy !== null || hasExpired(memory, now)) continue
            if (StoreTexts.hashOf(memory.content) !== contentHash) continue
            yield* dropVector(memory)
            yield* putVector(memory, { model, vector })
            yield* memories.set(id, { embeddingModel: model, dimension: vector.length })
            embedded.push(id)
          }
          return { result: embedded.length, ids: embedded }
        })
      ),

      delete: channel.handle(DeleteMemory, ({ id, user }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const [stored] = yield* storedOf("id = ? AND user_id = ?", [id, user])
          yield* Effect.flatMap(notFound(DeleteMemory._tag)(stored), remove)
          return { result: undefined, ids: [id] }
        })
      ),

      recordAccess: channel.handle(RecordMemoryAccess, ({ ids, user }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const now = yield* Fresh.now
          const wanted = Array.from(new Set(ids))
          const touched = yield* Effect.filter(wanted, (id) =>
            Effect.map(
              backend.execute(
                "UPDATE db_hub_memories SET access_count = access_count + 1, accessed_at = ? WHERE id = ? AND user_id = ?",
                [now, id, user]
              ),
              ({ rowsAffected }) => rowsAffected === 1
            )
          )
          return { result: touched.length, ids: touched }
        })
      ),

      prune: channel.handle(PruneMemories, ({ user }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const expired = yield* storedOf("user_id = ? AND expires_at <= ?", [user, yield* Fresh.now])
          yield* Effect.forEach(expired, remove, { discard: true })
          return { result: expired.length, ids: expired.map(({ id }) => id) }
        })
      ),

      get: (user, id) => findAlive(user, id, "MemoryStore.get"),

      list: (user, { kind, minImportance, notEmbeddedBy, superseded = false, tag, ...page } = {}) =>
        Effect.gen(function* () {
          const conditions: Array<Page.Condition> = [
            ["user_id = ?", user],
            ["(expires_at IS NULL OR expires_at > ?)", yield* Fresh.now]
          ]
          if (!superseded) conditions.push(["superseded_by IS NULL"])
          if (kind !== undefined) conditions.push(["kind = ?", kind])
          if (minImportance !== undefined) conditions.push(["importance >= ?", minImportance])
          if (notEmbeddedBy !== undefined) {
            const at = { backend: backend.name, operation: "MemoryStore.list" }
            conditions.push(...(yield* ToEmbed.conditions(notEmbeddedBy, "notEmbeddedBy", "content", at)))
          }
          if (tag !== undefined) {
            const tagged = "id IN (SELECT memory_id FROM db_hub_memory_tags WHERE user_id = ? AND tag = ?)"
            conditions.push([tagged, user, tag])
          }
          return yield* memories.newest("MemoryStore.list", "createdAt", conditions, page)
        }),

      searchSimilar: (user, embedding, given = {}) =>
        Effect.gen(function* () {
          const at = { backend: backend.name, operation: "MemoryStore.searchSimilar" }
          yield* Records.checkObject(given, "options", at, similarFields)
          const options = yield* StoreSearch.checked(user, given, similarFields, narrowing, at)
          yield* StoreSearch.checked(user, { embedding: embedding ?? null }, ["embedding"], {}, at)
          const limit = yield* Page.limit(options.limit, 10, at)
          const { ranking } = options
          if (ranking === undefined) return yield* load(user, yield* search(user, embedding, limit, options))
          yield* checkRanking(ranking, at)
          const mostGained = (ranking.access ?? 0) + (ranking.importance ?? 0) / 2
          const now = (yield* Fresh.now).getTime()
          for (let k = limit * 4; ; k *= 4) {
            const hits = yield* search(user, embedding, k, options)
            const ranked = (yield* load(user, hits)).map((found) => ({ ...found, score: rank(found, ranking, now) }))
            const first = ranked.sort(byScore).slice(0, limit)
            const last = first[limit - 1]
            // Whatever was not looked at is less similar than the last hit, and cannot make up for it.
            const complete = last !== undefined && last.score > hits.at(-1)!.score + mostGained
            if (complete || hits.length < k) return first
          }
        }),

      search: (user, asked) =>
        Effect.gen(function* () {
          const at = { backend: backend.name, operation: "MemoryStore.search" }
          const given = yield* StoreSearch.checked(user, asked, StoreSearch.fields, narrowing, at)
          const { kinds, minImportance, ranking, tags, ...request } = given
          if (ranking !== undefined) yield* checkRanking(ranking, at)
          const { limit = 10, preFusionLimit = 50 } = request
          const wanted = ranking === undefined ? request : { ...request, limit: Math.max(limit, preFusionLimit) }
          const filtered = {
            ...(kinds === undefined ? {} : { kinds }),
            ...(minImportance === undefined ? {} : { minImportance }),
            ...(tags === undefined ? {} : { tags })
          }
          const now = yield* Fresh.now
          const filter = filterOf(user, filtered, now)
          const answer = yield* searchAll(
            StoreTexts.collections.memories,
            ({ model, vector }) => collectionOf(model, vector.length),
            wanted,
            filter,
            at
          )
          const found = yield* rowsOf(user, answer.results)
          const { failed, results } = StoreSearch.withFound(answer, ({ id }) => {
            const memory = found.get(id)
            return memory && { memory }
          })
          const inContent = results.map((result) => ({
            ...result,
            highlights: result.highlights.filter(({ end }) => end <= result.memory.content.length)
          }))
          if (ranking === undefined) return { failed, results: inContent }
          const scores = inContent.map(({ score }) => score)
          const [least, most] = [Math.min(...scores), Math.max(...scores)]
          const ranked = inContent.map((result) => {
            const similarity = most === least ? 1 : (result.score - least) / (most - least)
            return {
              ...result,
              scoreKind: "ranking" as const,
              score: rank({ ...result, similarity }, ranking, now.getTime())
            }
          })
          return { failed, results: ranked.sort(byScore).slice(0, limit) }
        })
    }
  })
)

/** What only memories are narrowed by. */
const narrowing = {
  kinds: [Schema.is(Schema.Array(MemoryKind)), `a list of ${MemoryKind.literals.join(", ")}`],
  tags: StoreSearch.texts,
  minImportance: [Schema.is(Importance), "a number from 0 to 1"],
  ranking: StoreSearch.object
} satisfies Readonly<Record<string, StoreSearch.Rule>>

const similarFields = ["limit", "minSimilarity", ...Object.keys(narrowing)]

type Stored = Pick<Memory, "id" | "embeddingModel" | "dimension">

/** What a search may leave a memory out by. */
type Filtered = Omit<StoreTexts.FoundMemory, "content" | "summary">

const filteredBy = StoreTexts.memoryMetadata

const filterOf = (
  user: string,
  { kinds, minImportance, tags = [] }: Pick<SimilarMemoryOptions, "kinds" | "minImportance" | "tags">,
  now: Date
): FilterInput => ({
  $and: [
    { user },
    { $or: [{ expires: { $exists: false } }, { expires: { $gt: now.getTime() } }] },
    ...(kinds === undefined ? [] : [{ kind: { $in: kinds } }]),
    ...(minImportance === undefined ? [] : [{ importance: { $gte: minImportance } }]),
    ...tags.map((tag) => ({ tags: { $contains: tag } }))
  ]
})

const hashOf = (content: string): string => StoreTexts.hashOf(content.normalize("NFC").trim().replaceAll(/\s+/g, " "))

const collectionOf = (model: string, dimension: number): string =>
  StoreVectors.collectionOf(StoreTexts.collections.memories, model, dimension)

const hasExpired = ({ expiresAt }: Memory, now: Date): boolean => expiresAt !== null && expiresAt <= now

const withoutUndefined = <A extends object>(fields: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof A]: Exclude<A[K], undefined>
  }

const taken = (backend: string): DbConflict =>
  new DbConflict({
    backend,
    operation: UpdateMemory._tag,
    reason: "unique",
    message: "The user has another memory of that content: delete one of the two"
  })

const rank = ({ memory, similarity }: Omit<SimilarMemory, "score">, ranking: MemoryRanking, now: number): number => {
  const { access = 0, decay = 0, halfLife = 30, importance = 0 } = ranking
  const age = Math.max(0, now - memory.updatedAt.getTime()) / day
  return (
    similarity -
    decay * (1 - 0.5 ** (age / halfLife)) +
    access * Math.min(1, Math.log1p(memory.accessCount) / Math.log(11)) +
    importance * (memory.importance - 0.5)
  )
}

const byScore = (a: Omit<SimilarMemory, "similarity">, b: Omit<SimilarMemory, "similarity">): number =>
  b.score - a.score || compareCodePoints(a.memory.id, b.memory.id)

const checkRanking = (ranking: MemoryRanking, at: ErrorContext): Effect.Effect<void, InvalidInput> => {
  const known = Records.checkObject(ranking, "ranking", at, ["decay", "halfLife", "access", "importance"])
  if (Either.isLeft(known)) return Effect.fail(known.left)
  const { halfLife = 30 } = ranking
  const weight = (["decay", "access", "importance"] as const).find((name) => {
    const value = ranking[name] ?? 0
    return !(value >= 0 && value <= 1)
  })
  if (weight !== undefined) {
    return Effect.fail(invalidInput(at, `ranking.${weight}`, "is out of range", "a number from 0 to 1"))
  }
  return halfLife > 0 && Number.isFinite(halfLife)
    ? Effect.void
    : Effect.fail(invalidInput(at, "ranking.halfLife", "is out of range", "a positive number of days"))
}
