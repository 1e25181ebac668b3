/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../errors/index.js"
import type { Memory } from "../services/MemoryStore.js"
import type { FillFrom, MigrationStep } from "../services/Migrator.js"
import * as StoreTexts from "../services/StoreTexts.js"
import type { TextRecord } from "../services/TextStore.js"

type Row = { readonly [column: string]: unknown }

/** Rows that are read at once. */
const pageSize = 500

const memory = (row: Row): TextRecord =>
  StoreTexts.ofMemory({
    id: String(row["id"]),
    userId: String(row["user_id"]),
    kind: row["kind"] as Memory["kind"],
    content: String(row["content"]),
    summary: row["summary"] as string | null,
    importance: Number(row["importance"]),
    tags: row["tags"] as ReadonlyArray<string>,
    expiresAt: row["expires_at"] as Date | null
  })

const message = (row: Row): TextRecord =>
  StoreTexts.ofMessage(String(row["user_id"]), {
    conversationId: String(row["conversation_id"]),
    seq: Number(row["seq"]),
    kind: row["kind"] as "message" | "compaction",
    role: String(row["role"]),
    content: String(row["content"])
  })

const chunk = (row: Row): TextRecord =>
  StoreTexts.ofChunk(
    {
      id: String(row["document_id"]),
      userId: String(row["user_id"]),
      agentId: String(row["agent_id"]) || null,
      path: String(row["path"])
    },
    { id: String(row["id"]), text: String(row["text"]) }
  )

/** Fills a collection anew, of rows read page by page, in an order of their own after the key of the page before. */
const fillCollection = (
  { query, text }: FillFrom,
  collection: string,
  page: (after: ReadonlyArray<string | number>) => readonly [sql: string, params: ReadonlyArray<string | number>],
  keyOf: (row: Row) => ReadonlyArray<string | number>,
  recordOf: (row: Row) => TextRecord
): Effect.Effect<void, DbError> =>
  Effect.gen(function* () {
    yield* text.createCollection(collection)
    yield* text.deleteWhere(collection, {})
    let rows = yield* query(...page([]))
    while (rows.length > 0) {
      yield* text.insertMany(collection, rows.map(recordOf))
      rows = yield* query(...page(keyOf(rows[rows.length - 1]!)))
    }
  })

const byId = (row: Row) => [String(row["id"])]

/**
 * Memories, messages and chunks are found by their words, also those that were there before.
 *
 * @since 0.1.0
 * @category migrations
 */
export const storeTexts: Omit<MigrationStep, "id"> = {
  name: "texts of stores",
  up: () => [],
  down: () => [],
  fill: (from) =>
    Effect.gen(function* () {
      yield* fillCollection(
        from,
        StoreTexts.collections.memories,
        ([after = ""]) => [
          `SELECT id, user_id, kind, content, summary, importance, tags, expires_at FROM db_hub_memories
            WHERE superseded_by IS NULL AND id > ? ORDER BY id LIMIT ${pageSize}`,
          [after]
        ],
        byId,
        memory
      )
      yield* fillCollection(
        from,
        StoreTexts.collections.messages,
        ([conversation = "", seq = 0]) => [
          `SELECT c.user_id, m.conversation_id, m.seq, m.kind, m.role, m.content
            FROM db_hub_messages AS m JOIN db_hub_conversations AS c ON c.id = m.conversation_id
            WHERE m.conversation_id >= ? AND (m.conversation_id > ? OR m.seq > ?)
            ORDER BY m.conversation_id, m.seq LIMIT ${pageSize}`,
          [conversation, conversation, seq]
        ],
        (row) => [String(row["conversation_id"]), Number(row["seq"])],
        message
      )
      yield* fillCollection(
        from,
        StoreTexts.collections.chunks,
        ([after = ""]) => [
          `SELECT c.id, c.text, c.document_id, d.user_id, d.agent_id, d.path
            FROM db_hub_document_chunks AS c JOIN db_hub_documents AS d ON d.id = c.document_id
            WHERE c.id > ? ORDER BY c.id LIMIT ${pageSize}`,
          [after]
        ],
        byId,
        chunk
      )
    })
}
