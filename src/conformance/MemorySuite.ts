/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { Backend } from "../services/Backend.js"
import { type Memory, MemoryStore, type SimilarMemory } from "../services/MemoryStore.js"
import { VectorStore } from "../services/VectorStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, later, pagesOf, type Suite } from "./Case.js"

type Store = MemoryStore["Type"]

/** A test with a new user, and embeddings of a model that no other case uses. */
const withUser = (
  test: (
    store: Store,
    user: string,
    embed: (...vector: ReadonlyArray<number>) => { model: string; vector: ReadonlyArray<number> }
  ) => Effect.Effect<void, unknown, Backend | VectorStore>
): Effect.Effect<void, unknown, Backend | VectorStore | MemoryStore> =>
  Effect.gen(function* () {
    const [user, model] = [yield* fresh("user"), yield* fresh("model")]
    yield* test(yield* MemoryStore, user, (...vector) => ({ model, vector }))
  })

const many = <A, E, R>(n: number, effect: (i: number) => Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, (_, i) => effect(i)),
    { concurrency: "unbounded" }
  )

const contents = (memories: ReadonlyArray<Memory>) => memories.map(({ content }) => content)

const found = (similar: ReadonlyArray<SimilarMemory>) => similar.map(({ memory }) => memory.content)

/** An angle's unit vector: the cosine of two of them is that of the angle between. */
const at = (degrees: number): [number, number] => [
  Math.cos((degrees * Math.PI) / 180),
  Math.sin((degrees * Math.PI) / 180)
]

const near = (actual: number, expected: number) =>
  Effect.sync(() => NodeAssert.ok(Math.abs(actual - expected) < 1e-5, `${actual}, not ${expected}`))

/**
 * @since 0.1.0
 * @category suites
 */
export const memorySuite: Suite = {
  "a memory comes back as it was stored": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const id = yield* fresh("memory")
      const given = {
        kind: "procedural",
        content: "説明: 🙂\nstep 2",
        summary: "how",
        importance: 0.9,
        tags: ["a", "ü"],
        source: "chat",
        metadata: { x: [null, { y: 1 }] },
        expiresAt: new Date("2999-01-01T00:00:00.123Z")
      } as const
      const embedding = embed(1, 2, 3)
      yield* equal(yield* store.store({ user, id, ...given, embedding }), { id, duplicate: false })
      const { createdAt, updatedAt, ...memory } = yield* store.get(user, id)
      yield* equal(memory, {
        id,
        userId: user,
        ...given,
        embeddingModel: embedding.model,
        dimension: 3,
        accessCount: 0,
        accessedAt: null,
        supersedes: null,
        supersededBy: null
      })
      yield* equal(createdAt, updatedAt)
      const plain = yield* store.get(user, (yield* store.store({ user, content: "plain" })).id)
      yield* equal(
        [plain.kind, plain.importance, plain.tags, plain.metadata, plain.embeddingModel, plain.expiresAt],
        ["semantic", 0.5, [], {}, null, null]
      )
    })
  ),

  "kind and importance are checked, also by the database": withUser((store, user) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const content = "x"
      yield* failsWith("InvalidInput", store.store({ user, content, importance: 1.1 }))
      yield* failsWith("InvalidInput", store.store({ user, content, importance: Number.NaN }))
      yield* failsWith("InvalidInput", store.store({ user, content, kind: "other" as "semantic" }))
      const { id } = yield* store.store({ user, content, importance: 1 })
      const set = (column: string, value: string | number) =>
        backend.execute(`UPDATE db_hub_memories SET ${column} = ? WHERE id = ?`, [value, id])
      yield* failsWith("DbConstraint", set("kind", "other"))
      yield* failsWith("DbConstraint", set("importance", -0.5))
    })
  ),

  "the same content is stored once, whatever its spacing and Unicode form": withUser((store, user) =>
    Effect.gen(function* () {
      const other = yield* fresh("other")
      const { id } = yield* store.store({ user, content: "likes caf\u00e9 au lait", importance: 0.9 })
      yield* equal(yield* store.store({ user, content: "  likes cafe\u0301\n au lait ", importance: 0.1 }), {
        id,
        duplicate: true
      })
      const kept = yield* store.get(user, id)
      yield* equal([kept.content, kept.importance], ["likes caf\u00e9 au lait", 0.9])
      yield* equal((yield* store.store({ user: other, content: "likes caf\u00e9 au lait" })).duplicate, false)
      yield* equal((yield* store.store({ user, content: "Likes caf\u00e9 au lait" })).duplicate, false)
    })
  ),

  "8 that store the same content at once store one memory": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const stored = yield* many(8, () => store.store({ user, content: "one", embedding: embed(1, 0) }))
      yield* equal(stored.filter(({ duplicate }) => !duplicate).length, 1)
      yield* equal(new Set(stored.map(({ id }) => id)).size, 1)
      yield* equal((yield* store.list(user)).items.length, 1)
    })
  ),

  "8 that store nearly the same vector at once store one memory": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const stored = yield* many(8, (i) =>
        store.store({ user, content: `version ${i}`, embedding: embed(...at(i / 10)), duplicateFrom: 0.95 })
      )
      yield* equal(stored.filter(({ duplicate }) => !duplicate).length, 1)
      yield* equal((yield* store.list(user)).items.length, 1)
      const far = yield* store.store({ user, content: "far", embedding: embed(...at(60)), duplicateFrom: 0.95 })
      yield* equal(far.duplicate, false)
    })
  ),

  "a field of the metadata is replaced whole, null included; a merge follows RFC 7396": withUser((store, user) =>
    Effect.gen(function* () {
      const { id } = yield* store.store({ user, content: "x", metadata: { first: { y: 2 } } })
      const metadata = Effect.map(store.get(user, id), (memory) => memory.metadata)
      yield* store.setField({ user, id, path: ["first"], value: { x: 1 } })
      yield* store.setField({ user, id, path: ["second"], value: null })
      yield* equal(yield* metadata, { first: { x: 1 }, second: null })
      yield* store.mergeMetadata({ user, id, patch: { first: { x: null, z: [1] }, second: null } })
      yield* equal(yield* metadata, { first: { z: [1] } })
      const fields = Array.from({ length: 8 }, (_, i) => store.setField({ user, id, path: [`k${i}`], value: i }))
      yield* Effect.all(fields, { concurrency: "unbounded" })
      yield* equal(Object.keys(yield* metadata).length, 9)
      yield* failsWith("InvalidInput", store.setField({ user, id, path: ["k0", "deeper"], value: 1 }))
      yield* failsWith("NotFound", store.setField({ user: "another", id, path: ["a"], value: 1 }))
      yield* failsWith("NotFound", store.mergeMetadata({ user: "another", id, patch: {} }))
    })
  ),

  "a memory stored twice under one idempotency key is the first one both times": withUser((store, user) =>
    Effect.gen(function* () {
      const key = yield* fresh("key")
      const write = withIdempotencyKey(key)(store.store({ user, content: "once" }))
      yield* equal(yield* write, yield* write)
    })
  ),

  "search finds the nearest by true cosine, only above the least similarity, and no more than asked for": withUser(
    (store, user, embed) =>
      Effect.gen(function* () {
        for (const degrees of [0, 30, 60, 90, 180]) {
          const [x, y] = at(degrees)
          yield* store.store({ user, content: String(degrees), embedding: embed(7 * x, 7 * y) })
        }
        yield* store.store({ user, content: "without a vector" })
        const all = yield* store.searchSimilar(user, embed(...at(0)))
        yield* equal(found(all), ["0", "30", "60", "90", "180"])
        for (const { memory, score, similarity } of all) {
          yield* near(similarity, Math.cos((Number(memory.content) * Math.PI) / 180))
          yield* equal(score, similarity)
        }
        yield* equal(found(yield* store.searchSimilar(user, embed(...at(0)), { minSimilarity: 0.49 })), [
          "0",
          "30",
          "60"
        ])
        yield* equal(found(yield* store.searchSimilar(user, embed(...at(0)), { limit: 2 })), ["0", "30"])
        yield* failsWith("InvalidInput", store.searchSimilar(user, embed(...at(0)), { limit: 0 }))
        yield* failsWith("InvalidInput", store.searchSimilar(user, embed(0, 0)))
      })
  ),

  "a user gets as many as asked for, however many nearer ones others have": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const other = yield* fresh("other")
      yield* Effect.forEach(Array.from({ length: 60 }), (_, i) =>
        store.store({ user: other, content: `theirs ${i}`, embedding: embed(...at(i / 100)) })
      )
      for (const degrees of [40, 50, 60]) {
        yield* store.store({ user, content: String(degrees), embedding: embed(...at(degrees)) })
      }
      yield* equal(found(yield* store.searchSimilar(user, embed(...at(0)), { limit: 3 })), ["40", "50", "60"])
    })
  ),

  "vectors of another model or dimension are neither mixed in nor lost": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const other = yield* fresh("other")
      yield* store.store({ user, content: "old", embedding: embed(1, 0) })
      yield* equal(yield* store.searchSimilar(user, { model: other, vector: [1, 0] }), [])
      yield* store.store({ user, content: "new", embedding: { model: other, vector: [1, 0] } })
      yield* store.store({ user, content: "longer", embedding: embed(1, 0, 0) })
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0))), ["old"])
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0, 0))), ["longer"])
      yield* equal(found(yield* store.searchSimilar(user, { model: other, vector: [1, 0] })), ["new"])
      const waiting = (dimension: number) =>
        Effect.map(store.list(user, { notEmbeddedBy: { model: other, dimension } }), ({ items }) =>
          contents(items).sort()
        )
      yield* store.store({ user, content: " \u3000\n" })
      yield* equal(
        [yield* waiting(2), yield* waiting(3)],
        [
          ["longer", "old"],
          ["longer", "new", "old"]
        ]
      )
      for (const [notEmbeddedBy, field] of [
        [{ model: "", dimension: 2 }, "notEmbeddedBy.model"],
        [{ model: other, dimension: 0 }, "notEmbeddedBy.dimension"],
        [other as unknown as { model: string; dimension: number }, "notEmbeddedBy"]
      ] as const) {
        const error = yield* failsWith("InvalidInput", store.list(user, { notEmbeddedBy }))
        yield* equal(error._tag === "InvalidInput" && error.field, field)
      }
    })
  ),

  "search is narrowed by kind, tags and importance, and still full": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const add = (degrees: number, kind: Memory["kind"], tags: ReadonlyArray<string>, importance: number) =>
        store.store({ user, content: String(degrees), embedding: embed(...at(degrees)), kind, tags, importance })
      yield* add(1, "episodic", ["a"], 0.1)
      yield* add(2, "semantic", ["a", "b"], 0.9)
      yield* add(3, "procedural", ["b"], 0.5)
      const search = (options: Parameters<Store["searchSimilar"]>[2]) =>
        Effect.map(store.searchSimilar(user, embed(...at(0)), options), found)
      yield* equal(yield* search({ kinds: ["semantic", "procedural"], limit: 1 }), ["2"])
      yield* equal(yield* search({ tags: ["b"] }), ["2", "3"])
      yield* equal(yield* search({ tags: ["a", "b"] }), ["2"])
      yield* equal(yield* search({ minImportance: 0.5 }), ["2", "3"])
      yield* equal(yield* search({ kinds: [] }), [])
    })
  ),

  "a row and its vector are written together or not at all": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const [backend, vectors] = [yield* Backend, yield* VectorStore]
      yield* store.store({ user, content: "there", embedding: embed(1, 0) })
      yield* failsWith("InvalidInput", store.store({ user, content: "zero", embedding: embed(0, 0) }))
      yield* Effect.ignore(
        backend.transaction(
          Effect.zipRight(store.store({ user, content: "undone", embedding: embed(1, 0) }), Effect.fail("no"))
        )
      )
      yield* equal(contents((yield* store.list(user)).items), ["there"])
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0))), ["there"])
      const own = (yield* vectors.collections).filter(({ model }) => model === embed().model)
      yield* equal(
        own.map(({ count, dimension, metric }) => [count, dimension, metric]),
        [[1, 2, "cosine"]]
      )
    })
  ),

  "an update replaces the given fields, and search follows": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const { id } = yield* store.store({ user, content: "a", tags: ["old"], embedding: embed(1, 0), source: "s" })
      yield* store.update({ user, id, kind: "episodic", tags: ["new"], importance: 1, summary: "short" })
      const memory = yield* store.get(user, id)
      yield* equal(
        [memory.kind, memory.tags, memory.importance, memory.summary, memory.source, memory.content],
        ["episodic", ["new"], 1, "short", "s", "a"]
      )
      const search = (tag: string) =>
        Effect.map(store.searchSimilar(user, embed(1, 0), { tags: [tag], kinds: ["episodic"] }), found)
      yield* equal([yield* search("old"), yield* search("new")], [[], ["a"]])
      const list = (tag: string) => Effect.map(store.list(user, { tag }), ({ items }) => contents(items))
      yield* equal([yield* list("old"), yield* list("new")], [[], ["a"]])
      yield* store.update({ user, id, embedding: embed(0, 1), summary: null })
      const [hit] = yield* store.searchSimilar(user, embed(0, 1))
      yield* near(hit!.similarity, 1)
      yield* equal(hit!.memory.summary, null)
      yield* store.update({ user, id })
      yield* equal((yield* store.get(user, id)).content, "a")
    })
  ),

  "an end and a source are given, changed and taken away by an update": withUser((store, user) =>
    Effect.gen(function* () {
      const { id } = yield* store.store({ user, content: "x", source: "chat", expiresAt: new Date("2100-01-01") })
      const told = Effect.map(store.get(user, id), ({ expiresAt, source }) => [expiresAt?.getUTCFullYear(), source])
      yield* equal(yield* told, [2100, "chat"])
      yield* store.update({ user, id, expiresAt: new Date("2101-01-01"), source: "file" })
      yield* equal(yield* told, [2101, "file"])
      yield* store.update({ user, id, expiresAt: null, source: null })
      yield* equal(yield* told, [undefined, null])
      yield* store.update({ user, id, expiresAt: new Date(0) })
      yield* failsWith("NotFound", store.get(user, id))
      yield* failsWith("NotFound", store.update({ user, id, expiresAt: null }))
    })
  ),

  "new words lose the vector of the old ones, unless they bring their own": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const { id } = yield* store.store({ user, content: "a", embedding: embed(1, 0) })
      yield* store.update({ user, id, content: " a " })
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0))), [" a "])
      yield* store.update({ user, id, content: "b" })
      yield* equal(yield* store.searchSimilar(user, embed(1, 0)), [])
      yield* equal((yield* store.get(user, id)).embeddingModel, null)
      yield* store.update({ user, id, content: "c", embedding: embed(1, 0, 0) })
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0, 0))), ["c"])
      yield* equal((yield* store.store({ user, content: "a" })).duplicate, false)
      yield* failsWith("DbConflict", store.update({ user, id, content: "a" }))
      yield* store.update({ user, id, embedding: null })
      yield* equal(yield* store.searchSimilar(user, embed(1, 0, 0)), [])
    })
  ),

  "a memory that is superseded is found by its id alone, and makes room for its words": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const old = yield* store.store({ user, content: "likes tea", tags: ["t"], embedding: embed(1, 0) })
      const embedding = embed(...at(1))
      const now = yield* store.store({ user, content: "likes coffee", embedding, supersedes: old.id })
      yield* equal(contents((yield* store.list(user)).items), ["likes coffee"])
      yield* equal((yield* store.list(user, { superseded: true })).items.length, 2)
      yield* equal((yield* store.list(user, { tag: "t" })).items, [])
      yield* equal(found(yield* store.searchSimilar(user, embed(1, 0))), ["likes coffee"])
      yield* equal((yield* store.get(user, old.id)).supersededBy, now.id)
      yield* equal((yield* store.get(user, now.id)).supersedes, old.id)
      yield* failsWith("DbConflict", store.update({ user, id: old.id, importance: 1 }))
      yield* failsWith("DbConflict", store.store({ user, content: "likes milk", supersedes: old.id }))
      yield* failsWith("NotFound", store.store({ user, content: "likes milk", supersedes: "none" }))
      const again = yield* store.store({ user, content: "likes tea", supersedes: now.id })
      yield* equal(again.duplicate, false)
      yield* equal(contents((yield* store.list(user)).items), ["likes tea"])
      yield* equal(yield* store.store({ user, content: "likes tea", supersedes: again.id }), {
        id: again.id,
        duplicate: true
      })
      yield* equal(contents((yield* store.list(user)).items), ["likes tea"])
    })
  ),

  "of 8 that supersede one memory at once, one does": withUser((store, user) =>
    Effect.gen(function* () {
      const { id } = yield* store.store({ user, content: "old" })
      const won = yield* many(8, (i) => Effect.isSuccess(store.store({ user, content: `new ${i}`, supersedes: id })))
      yield* equal(won.filter(Boolean).length, 1)
      yield* equal((yield* store.list(user)).items.length, 1)
    })
  ),

  "whatever is written at once, nobody is in another's way and each vector has its row": withUser(
    (store, user, embed) =>
      Effect.gen(function* () {
        const vectors = yield* VectorStore
        const old = yield* Effect.forEach(Array.from({ length: 20 }), (_, i) =>
          store.store({ user, content: `old ${i}`, tags: ["t"], embedding: embed(...at(i)) })
        )
        const ids = old.map(({ id }) => id)
        yield* many(10, (i) =>
          Effect.all(
            [
              store.store({ user, content: `new ${i}`, embedding: embed(...at(i)), supersedes: ids[i]! }),
              store.update({ user, id: ids[10 + i]!, tags: ["u"] }),
              store.recordAccess({ user, ids }),
              i % 2 === 0 ? store.store({ user, content: "same", embedding: embed(1, 1) }) : store.prune({ user })
            ],
            { concurrency: "unbounded" }
          )
        )
        yield* many(5, (i) => store.delete({ user, id: ids[10 + i]! }))
        const { items } = yield* store.list(user)
        const own = (yield* vectors.collections).find(({ model }) => model === embed().model)
        yield* equal([items.length, own?.count], [16, 16])
        yield* equal((yield* store.searchSimilar(user, embed(1, 0), { limit: 50 })).length, 16)
        yield* equal((yield* store.searchSimilar(user, embed(1, 0), { limit: 50, tags: ["u"] })).length, 5)
        yield* equal(
          items.filter(({ tags }) => tags.includes("u")).map(({ accessCount }) => accessCount),
          Array.from({ length: 5 }, () => 10)
        )
      })
  ),

  "what has expired is not found, makes room for its words, and is pruned with its vector": withUser(
    (store, user, embed) =>
      Effect.gen(function* () {
        const vectors = yield* VectorStore
        const expiresAt = new Date(Date.now() + 60_000)
        const embedding = embed(1, 0)
        const brief = yield* store.store({ user, content: "brief", expiresAt, embedding })
        const again = yield* store.store({ user, content: "again", expiresAt, embedding })
        yield* store.store({ user, content: "lasting", embedding: embed(...at(1)) })
        yield* equal((yield* store.list(user)).items.length, 3)
        const ended = Effect.gen(function* () {
          yield* failsWith("NotFound", store.get(user, brief.id))
          yield* failsWith("NotFound", store.update({ user, id: brief.id, importance: 1 }))
          yield* equal(contents((yield* store.list(user)).items), ["lasting"])
          yield* equal(found(yield* store.searchSimilar(user, embedding, { limit: 1 })), ["lasting"])
          const renewed = yield* store.store({ user, content: "again", embedding })
          yield* equal([renewed.duplicate, renewed.id === again.id], [false, false])
          yield* equal([yield* store.prune({ user }), yield* store.prune({ user })], [1, 0])
        })
        yield* later(60_000)(ended)
        const own = (yield* vectors.collections).find(({ model }) => model === embedding.model)
        yield* equal(own?.count, 2)
      })
  ),

  "accesses are counted, none lost, and only the owner's": withUser((store, user) =>
    Effect.gen(function* () {
      const other = yield* fresh("other")
      const [a, b] = [yield* store.store({ user, content: "a" }), yield* store.store({ user, content: "b" })]
      yield* many(8, (i) => store.recordAccess({ user, ids: i % 2 === 0 ? [a.id, b.id] : [b.id, a.id, b.id] }))
      yield* equal(yield* store.recordAccess({ user: other, ids: [a.id] }), 0)
      yield* equal(yield* store.recordAccess({ user, ids: [a.id, "none"] }), 1)
      const memory = yield* store.get(user, a.id)
      yield* equal([memory.accessCount, memory.accessedAt instanceof Date], [9, true])
      yield* equal((yield* store.get(user, b.id)).accessCount, 8)
    })
  ),

  "a ranking moves scores within its bounds, leaves similarity as it is, and misses nobody": withUser(
    (store, user, embed) =>
      Effect.gen(function* () {
        const backend = yield* Backend
        const used = yield* store.store({ user, content: "used", embedding: embed(...at(40)) })
        for (let i = 0; i < 30; i++) {
          yield* store.store({ user, content: `near ${i}`, embedding: embed(...at(10 + i / 2)) })
        }
        for (let i = 0; i < 40; i++) yield* store.recordAccess({ user, ids: [used.id] })
        const plain = yield* store.searchSimilar(user, embed(...at(0)), { limit: 1 })
        yield* equal(found(plain), ["near 0"])
        const [first] = yield* store.searchSimilar(user, embed(...at(0)), { limit: 1, ranking: { access: 0.3 } })
        yield* equal(first!.memory.content, "used")
        yield* near(first!.similarity, Math.cos((40 * Math.PI) / 180))
        yield* near(first!.score, first!.similarity + 0.3)

        const [nearest] = plain
        const monthAgo = new Date(Date.now() - 30 * 86_400_000)
        yield* backend.execute("UPDATE db_hub_memories SET updated_at = ? WHERE id = ?", [monthAgo, nearest!.memory.id])
        yield* store.recordAccess({ user, ids: [nearest!.memory.id] })
        const all = yield* store.searchSimilar(user, embed(...at(0)), { limit: 100, ranking: { decay: 0.2 } })
        const aged = all.find(({ memory }) => memory.id === nearest!.memory.id)!
        yield* near(aged.score, aged.similarity - 0.1)
        yield* equal([all.length, all.indexOf(aged) > 0], [31, true])
        NodeAssert.ok(all.every(({ score }, i) => i === 0 || score <= all[i - 1]!.score))

        const similarity = { minSimilarity: 0.9, limit: 50, ranking: { access: 1 } }
        NodeAssert.ok(!found(yield* store.searchSimilar(user, embed(...at(0)), similarity)).includes("used"))
        yield* failsWith("InvalidInput", store.searchSimilar(user, embed(1, 0), { ranking: { decay: 2 } }))
        yield* failsWith("InvalidInput", store.searchSimilar(user, embed(1, 0), { ranking: { halfLife: 0 } }))
      })
  ),

  "importance counts in a ranking": withUser((store, user, embed) =>
    Effect.gen(function* () {
      yield* store.store({ user, content: "idle", importance: 0, embedding: embed(...at(5)) })
      yield* store.store({ user, content: "vital", importance: 1, embedding: embed(...at(20)) })
      const search = (importance: number) =>
        Effect.map(store.searchSimilar(user, embed(...at(0)), { ranking: { importance } }), found)
      yield* equal(
        [yield* search(0), yield* search(0.5)],
        [
          ["idle", "vital"],
          ["vital", "idle"]
        ]
      )
    })
  ),

  "a list is newest first, by kind, tag and importance, and is read page by page": withUser((store, user) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const ids: Array<string> = []
      for (let i = 0; i < 7; i++) {
        const tags = i % 2 === 0 ? ["even", "even"] : []
        const kind = i < 3 ? "episodic" : "semantic"
        ids.push((yield* store.store({ user, content: String(i), kind, tags, importance: i / 10 })).id)
      }
      const list = (options: Parameters<Store["list"]>[1]) =>
        Effect.map(store.list(user, options), ({ items }) => contents(items).sort())
      yield* equal(yield* list({ kind: "episodic" }), ["0", "1", "2"])
      yield* equal(yield* list({ tag: "even" }), ["0", "2", "4", "6"])
      yield* equal(yield* list({ minImportance: 0.5, kind: "semantic" }), ["5", "6"])
      yield* backend.execute("UPDATE db_hub_memories SET created_at = ? WHERE user_id = ?", [
        new Date("2026-01-01T00:00:00.000Z"),
        user
      ])
      const seen = yield* pagesOf((cursor) => store.list(user, { limit: 3, cursor }))
      yield* equal(
        seen.map(({ id }) => id),
        ids.sort().reverse()
      )
    })
  ),

  "a deleted memory leaves nothing behind, and is NotFound": withUser((store, user, embed) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const { id } = yield* store.store({ user, content: "a", tags: ["t"], embedding: embed(1, 0) })
      yield* store.delete({ user, id })
      yield* failsWith("NotFound", store.get(user, id))
      yield* failsWith("NotFound", store.delete({ user, id }))
      yield* equal(yield* store.searchSimilar(user, embed(1, 0)), [])
      yield* equal(yield* backend.query("SELECT tag FROM db_hub_memory_tags WHERE memory_id = ?", [id]), [])
      yield* equal((yield* store.store({ user, content: "a" })).duplicate, false)
    })
  ),

  "somebody else's memory is NotFound for every operation, and stays as it was": withUser((store, owner, embed) =>
    Effect.gen(function* () {
      const user = yield* fresh("stranger")
      const { id } = yield* store.store({ user: owner, content: "mine", tags: ["t"], embedding: embed(1, 0) })
      const before = yield* store.get(owner, id)
      yield* failsWith("NotFound", store.get(user, id))
      yield* failsWith("NotFound", store.update({ user, id, content: "stolen" }))
      yield* failsWith("NotFound", store.delete({ user, id }))
      yield* failsWith("NotFound", store.store({ user, content: "new", supersedes: id }))
      yield* failsWith("DbConflict", store.store({ user, id, content: "new" }))
      yield* equal((yield* store.list(user, { tag: "t" })).items, [])
      yield* equal(yield* store.searchSimilar(user, embed(1, 0)), [])
      yield* equal(yield* store.prune({ user }), 0)
      yield* equal(yield* store.get(owner, id), before)
    })
  )
}
