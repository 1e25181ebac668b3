/**
 * By what the entries of conversations are found: their texts, and the vectors of these. All that writes belongs to the
 * transaction of the caller.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { DbError, ErrorContext } from "../../errors/index.js"
import type { BackendShape, Row, SqlValue } from "../../services/Backend.js"
import type { EmbedMessages, Message, SearchMessagesRequest } from "../../services/ConversationStore.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import { compareCodePoints } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"
import type { Fragment } from "../sql/SqlFilter.js"
import * as StoreSearch from "./StoreSearch.js"
import * as StoreVectors from "./StoreVectors.js"

/**
 * In `embedded_in`, in place of the collection that the vector of an entry is in: what waits for one.
 *
 * @since 0.1.0
 * @category constants
 */
export const waiting = ""

const nothingToEmbed = "none"

/** Entries that are looked up in one statement. */
const lookupSize = 100

const { messages: texts } = StoreTexts.collections

const vectorsOf = (model: string, vector: ReadonlyArray<number>): string =>
  StoreVectors.collectionOf(texts, model, vector.length)

const idOf = ({ conversation_id: conversationId, seq }: Row): string =>
  StoreTexts.messageId({ conversationId: String(conversationId), seq: Number(seq) })

/** Entries of a user, by their conversations and numbers. */
const those = (
  user: string,
  wanted: ReadonlyArray<{ readonly conversation: string; readonly seq: number }>
): Fragment => ({
  sql: `(${wanted.map(() => "(conversation_id = ? AND seq = ?)").join(" OR ")})
    AND conversation_id IN (SELECT id FROM db_hub_conversations WHERE user_id = ?)`,
  params: [...wanted.flatMap(({ conversation, seq }) => [conversation, seq]), user]
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: BackendShape,
  entries: (rest: string, params: ReadonlyArray<SqlValue>) => Effect.Effect<ReadonlyArray<Message>, DbError>
) => {
  const { dialect } = backend
  const searchAll = StoreSearch.make(backend)

  /** Takes the vectors of entries away, which nobody else changes before the end of the transaction. */
  const dropVectors = (found: ReadonlyArray<Row>): Effect.Effect<void, DbError> =>
    Effect.forEach(
      Object.entries(Arr.groupBy(found, ({ embedded_in: collection }) => String(collection))),
      ([collection, rows]) =>
        collection === waiting || collection === nothingToEmbed
          ? Effect.void
          : StoreVectors.drop(backend.vector, collection, rows.map(idOf)),
      { discard: true }
    )

  return {
    /** Finds entries by their content, as it is now; those without any are left out. */
    put: (
      user: string,
      found: ReadonlyArray<Pick<Message, "conversationId" | "seq" | "kind" | "role" | "content">>
    ): Effect.Effect<void, DbError> => {
      const records = found
        .filter(({ content }) => content.trim() !== "")
        .map((entry) => StoreTexts.ofMessage(user, entry))
      return records.length === 0 ? Effect.void : backend.text.add(texts, records)
    },

    /** The entries of a conversation that match are no longer found. */
    drop: (conversationId: string, matching: string, params: ReadonlyArray<SqlValue>): Effect.Effect<void, DbError> =>
      Effect.gen(function* () {
        const found = yield* backend.query(
          `SELECT conversation_id, seq, embedded_in FROM db_hub_messages
            WHERE conversation_id = ? AND ${matching} ORDER BY seq${dialect.forUpdate}`,
          [conversationId, ...params]
        )
        yield* dropVectors(found)
        yield* backend.text.delete(texts, found.map(idOf))
      }),

    /** Gives vectors to those of a user's entries whose content is still the one that was embedded. */
    embed: ({ embeddings, model, user }: (typeof EmbedMessages)["payloadSchema"]["Type"]) =>
      Effect.gen(function* () {
        // Whoever locks the same entries locks them in the same order.
        const ordered = Array.from(embeddings).sort(
          (a, b) => compareCodePoints(a.conversation, b.conversation) || a.seq - b.seq
        )
        const conversations = new Set<string>()
        let embedded = 0
        for (const piece of Arr.chunksOf(ordered, lookupSize)) {
          const { params, sql } = those(user, piece)
          const rows = yield* backend.query(
            `SELECT conversation_id, seq, kind, role, content, embedded_in FROM db_hub_messages
              WHERE ${sql} ORDER BY conversation_id, seq${dialect.forUpdate}`,
            params
          )
          const byId = new Map(rows.map((row) => [idOf(row), row]))
          const settled = piece.flatMap(({ contentHash, conversation, seq, vector }) => {
            const row = byId.get(StoreTexts.messageId({ conversationId: conversation, seq }))
            if (row === undefined || StoreTexts.hashOf(String(row["content"])) !== contentHash) return []
            return [
              { row, conversation, seq, vector, into: vector === null ? nothingToEmbed : vectorsOf(model, vector) }
            ]
          })
          yield* dropVectors(settled.map(({ row }) => row))
          for (const [into, some] of Object.entries(Arr.groupBy(settled, ({ into }) => into))) {
            const records = some.flatMap(({ conversation, row, seq, vector }) => {
              const entry = { conversationId: conversation, seq, kind: row["kind"], role: row["role"] } as Message
              return vector === null
                ? []
                : [{ id: idOf(row), vector, metadata: StoreTexts.messageMetadata(user, entry) }]
            })
            yield* StoreVectors.put(backend.vector, into, model, records)
            for (const [conversation, those] of Object.entries(Arr.groupBy(some, (each) => each.conversation))) {
              yield* backend.enqueue(
                `UPDATE db_hub_messages SET embedded_in = ? WHERE conversation_id = ? AND seq IN (${marks(those)})`,
                [into, conversation, ...those.map(({ seq }) => seq)]
              )
              conversations.add(conversation)
            }
          }
          embedded += settled.length
        }
        return { embedded, conversations: Array.from(conversations) }
      }),

    /** The entries of a user that are found. */
    search: (user: string, { conversation, roles, ...request }: SearchMessagesRequest, at: ErrorContext) =>
      Effect.gen(function* () {
        const filter = {
          $and: [
            { user },
            ...(conversation === undefined ? [] : [{ conversation }]),
            ...(roles === undefined ? [] : [{ role: { $in: roles } }])
          ]
        }
        const answer = yield* searchAll(texts, ({ model, vector }) => vectorsOf(model, vector), request, filter, at)
        const found = new Map<string, Message>()
        for (const piece of Arr.chunksOf(answer.results, lookupSize)) {
          const wanted = piece.map(({ metadata }) => ({
            conversation: String(metadata["conversation"]),
            seq: Number(metadata["seq"])
          }))
          const { params, sql } = those(user, wanted)
          for (const message of yield* entries(`WHERE ${sql}`, params)) {
            found.set(StoreTexts.messageId(message), message)
          }
        }
        return StoreSearch.withFound(answer, ({ id }) => {
          const message = found.get(id)
          return message && { message }
        })
      })
  }
}
