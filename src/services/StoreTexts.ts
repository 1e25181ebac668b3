/**
 * By which texts the things that stores keep are found: a text collection for each kind, the owner in its metadata.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import { Records } from "../vector/index.js"
import type { Message } from "./ConversationStore.js"
import type { Memory } from "./MemoryStore.js"
import type { TextRecord } from "./TextStore.js"
import type { Chunk, DocumentInfo } from "./WorkspaceStore.js"

/**
 * The names of the collections.
 *
 * @since 0.1.0
 * @category constants
 */
export const collections = {
  memories: "db_hub_memories",
  messages: "db_hub_messages",
  chunks: "db_hub_chunks"
} as const

/**
 * Tells one text from another, in `contentHash`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const hashOf = (text: string): string => NodeCrypto.createHash("sha256").update(text).digest("hex")

/**
 * A store takes longer texts than a text collection: of those, the beginning is found.
 *
 * @since 0.1.0
 * @category constructors
 */
export const beginning = (text: string): string => {
  const bytes = Buffer.from(text)
  if (bytes.length <= Records.longestText) return text
  // A character that was cut in two is left out.
  return bytes
    .subarray(0, Records.longestText)
    .toString()
    .replace(/\ufffd+$/, "")
}

/**
 * What a memory is found by, and may be left out by.
 *
 * @since 0.1.0
 * @category models
 */
export type FoundMemory = Pick<
  Memory,
  "id" | "userId" | "kind" | "content" | "summary" | "importance" | "tags" | "expiresAt"
>

/**
 * What a memory may be left out by, in the text and in the vector store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const memoryMetadata = ({
  expiresAt,
  importance,
  kind,
  tags,
  userId
}: Omit<FoundMemory, "id" | "content" | "summary">) => ({
  user: userId,
  kind,
  importance,
  tags: [...tags],
  ...(expiresAt === null ? {} : { expires: expiresAt.getTime() })
})

/**
 * The content comes first, so that places in it are places in the text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const ofMemory = (memory: FoundMemory): TextRecord => ({
  id: memory.id,
  text: beginning(
    [memory.content, memory.summary ?? "", memory.tags.join(" ")].filter((part) => part !== "").join("\n")
  ),
  metadata: memoryMetadata(memory)
})

/**
 * The number of an entry is never used again, while its id is unique in its conversation only.
 *
 * @since 0.1.0
 * @category constructors
 */
export const messageId = ({ conversationId, seq }: Pick<Message, "conversationId" | "seq">): string =>
  `${seq}:${conversationId}`

/**
 * What a message may be left out by, in the text and in the vector store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const messageMetadata = (
  user: string,
  { conversationId, kind, role, seq }: Pick<Message, "conversationId" | "seq" | "kind" | "role">
) => ({ user, conversation: conversationId, seq, kind, role })

/**
 * @since 0.1.0
 * @category constructors
 */
export const ofMessage = (
  user: string,
  message: Pick<Message, "conversationId" | "seq" | "kind" | "role" | "content">
): TextRecord => ({
  id: messageId(message),
  text: beginning(message.content),
  metadata: messageMetadata(user, message)
})

/**
 * What a chunk may be left out by, in the text and in the vector store.
 *
 * @since 0.1.0
 * @category constructors
 */
export const chunkMetadata = (document: Pick<DocumentInfo, "id" | "userId" | "agentId" | "path">) => ({
  user: document.userId,
  agent: document.agentId ?? "",
  document: document.id,
  path: document.path
})

/**
 * @since 0.1.0
 * @category constructors
 */
export const ofChunk = (
  document: Pick<DocumentInfo, "id" | "userId" | "agentId" | "path">,
  { id, text }: Pick<Chunk, "id" | "text">
): TextRecord => ({ id, text: beginning(text), metadata: chunkMetadata(document) })
