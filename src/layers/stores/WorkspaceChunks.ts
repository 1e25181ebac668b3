/**
 * The chunks of documents, and their embeddings in the vector store. Everything here belongs to the transaction of the
 * caller, who has locked the document: whoever changes chunks locks their documents first.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import type { VectorRecord } from "../../services/VectorStore.js"
import { Chunk, type DocumentInfo, embeddingCollection, type NewChunk } from "../../services/WorkspaceStore.js"
import { marks } from "../sql/Marks.js"
import * as Fresh from "./Fresh.js"
import * as StoreVectors from "./StoreVectors.js"
import * as Table from "./Table.js"

/**
 * @since 0.1.0
 * @category statements
 */
const columns = "id, document_id, chunk_index, text, NULLIF(embedding_model, '') AS embedding_model, dimension"

/**
 * What of a document goes with its embeddings.
 *
 * @since 0.1.0
 * @category models
 */
export type Owner = Pick<DocumentInfo, "id" | "userId" | "agentId" | "path">

interface Embedded {
  readonly model: string
  readonly record: VectorRecord & { readonly vector: ReadonlyArray<number> }
}

const collectionOf = ({ model, record }: Embedded): string => embeddingCollection(model, record.vector.length)

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (backend: BackendShape) => {
  const rows = Table.make(backend, "db_hub_document_chunks", Chunk, { columns })

  const embeddingOf = (
    owner: Owner,
    chunk: Pick<Chunk, "id" | "text">,
    model: string,
    vector: ReadonlyArray<number>
  ) => {
    return { model, record: { id: chunk.id, vector, text: chunk.text, metadata: StoreTexts.chunkMetadata(owner) } }
  }

  const insertEmbeddings = (embedded: ReadonlyArray<Embedded>): Effect.Effect<void, DbError> =>
    Effect.forEach(
      Object.entries(Arr.groupBy(embedded, collectionOf)),
      ([collection, some]) =>
        StoreVectors.put(
          backend.vector,
          collection,
          some[0].model,
          some.map(({ record }) => record)
        ),
      { discard: true }
    )

  const deleteEmbeddings = (chunks: ReadonlyArray<Chunk>): Effect.Effect<void, DbError> => {
    const embedded = chunks.flatMap(({ dimension, embeddingModel, id }) =>
      embeddingModel === null || dimension === null
        ? []
        : [{ id, collection: embeddingCollection(embeddingModel, dimension) }]
    )
    return Effect.forEach(
      Object.entries(Arr.groupBy(embedded, ({ collection }) => collection)),
      ([collection, some]) =>
        StoreVectors.drop(
          backend.vector,
          collection,
          some.map(({ id }) => id)
        ),
      { discard: true }
    )
  }

  const of = (documentId: string): Effect.Effect<ReadonlyArray<Chunk>, DbError> =>
    rows.all("WHERE document_id = ? ORDER BY chunk_index", [documentId])

  /** Takes the chunks of a document away, wherever they are. */
  const clear = (documentId: string): Effect.Effect<void, DbError> =>
    Effect.gen(function* () {
      const old = yield* of(documentId)
      yield* deleteEmbeddings(old)
      if (old.length > 0) {
        yield* backend.text.delete(
          StoreTexts.collections.chunks,
          old.map(({ id }) => id)
        )
      }
      yield* backend.enqueue("DELETE FROM db_hub_document_chunks WHERE document_id = ?", [documentId])
    })

  const replace = (owner: Owner, chunks: ReadonlyArray<NewChunk>): Effect.Effect<ReadonlyArray<string>, DbError> =>
    Effect.gen(function* () {
      yield* clear(owner.id)
      const numbered = chunks.map((chunk, index) => ({ ...chunk, id: Fresh.id(), index }))
      yield* Effect.forEach(
        numbered,
        ({ embedding, id, index, text }) =>
          backend.enqueue(
            `INSERT INTO db_hub_document_chunks (id, document_id, user_id, chunk_index, embedding_model, dimension, text)
             VALUES (?, ?, ?, ?, ?, ?, ?)`,
            [id, owner.id, owner.userId, index, embedding?.model ?? "", embedding?.vector.length ?? null, text]
          ),
        { discard: true }
      )
      if (numbered.length > 0) {
        yield* backend.text.add(
          StoreTexts.collections.chunks,
          numbered.map((chunk) => StoreTexts.ofChunk(owner, chunk))
        )
      }
      yield* insertEmbeddings(
        numbered.flatMap((chunk) =>
          chunk.embedding === undefined
            ? []
            : [embeddingOf(owner, chunk, chunk.embedding.model, chunk.embedding.vector)]
        )
      )
      return numbered.map(({ id }) => id)
    })

  /** The chunks of these ids that a user has, with their documents, which nobody else changes any more. */
  const lock = (user: string, ids: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const found = yield* backend.query(
        `SELECT DISTINCT document_id FROM db_hub_document_chunks WHERE user_id = ? AND id IN (${marks(ids)})`,
        [user, ...ids]
      )
      const documentIds = found.map((row) => String(row["document_id"]))
      if (documentIds.length === 0) return []
      const documents = yield* backend.query(
        `SELECT id, agent_id, path FROM db_hub_documents WHERE id IN (${marks(documentIds)})
         ORDER BY id${backend.dialect.forUpdate}`,
        documentIds
      )
      const owners = new Map(
        documents.map((row): [string, Owner] => {
          const id = String(row["id"])
          return [id, { id, userId: user, agentId: String(row["agent_id"]) || null, path: String(row["path"]) }]
        })
      )
      const chunks = yield* rows.all(`WHERE user_id = ? AND id IN (${marks(ids)})`, [user, ...ids])
      return chunks.flatMap((chunk) => {
        const owner = owners.get(chunk.documentId)
        return owner === undefined ? [] : [{ chunk, owner }]
      })
    })

  const embed = (
    user: string,
    model: string,
    vectors: ReadonlyMap<string, ReadonlyArray<number>>
  ): Effect.Effect<ReadonlyArray<Chunk>, DbError> =>
    Effect.gen(function* () {
      if (vectors.size === 0) return []
      const locked = yield* lock(user, Array.from(vectors.keys()))
      if (locked.length === 0) return []
      const chunks = locked.map(({ chunk }) => chunk)
      const embedded = locked.map(({ chunk, owner }) => embeddingOf(owner, chunk, model, vectors.get(chunk.id) ?? []))
      const elsewhere = ({ dimension, embeddingModel, id }: Chunk) =>
        embeddingModel !== model || dimension !== vectors.get(id)?.length
      yield* deleteEmbeddings(chunks.filter(elsewhere))
      yield* insertEmbeddings(embedded)
      yield* Effect.forEach(
        Object.values(Arr.groupBy(embedded, collectionOf)),
        (some) =>
          backend.enqueue(
            `UPDATE db_hub_document_chunks SET embedding_model = ?, dimension = ? WHERE id IN (${marks(some)})`,
            [model, some[0].record.vector.length, ...some.map(({ record }) => record.id)]
          ),
        { discard: true }
      )
      return chunks
    })

  return {
    clear,
    /** The chunks of a document in its order. */
    of,
    /** Makes these all the chunks of a document; succeeds with their ids. */
    replace,
    /** Gives embeddings to those of the chunks that are still there, and succeeds with these. */
    embed,
    all: rows.all
  }
}
