/**
 * Conversations of a user, their messages in the order of their numbers, and what an agent keeps beside them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { DbError } from "../errors/index.js"
import { Embedding } from "./MemoryStore.js"
import {
  Cost,
  Count,
  Id,
  JsonRecord,
  JsonValue,
  Key,
  optional,
  type Page,
  type PageOptions,
  Text,
  Timestamp,
  UserId
} from "./Model.js"
import type { StoreSearchAnswer, StoreSearchRequest } from "./Search.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * A conversation of a user in a channel, with what its messages came to.
 *
 * @since 0.1.0
 * @category models
 */
export const Conversation = Schema.Struct({
  id: Id,
  userId: UserId,
  channel: Key,
  threadId: Schema.NullOr(Key),
  title: Schema.NullOr(Text),
  /** The first 100 characters of the first message of role `user`. */
  preview: Schema.NullOr(Text),
  model: Schema.NullOr(Key),
  systemPrompt: Schema.NullOr(Text),
  /** The conversation whose agent started this one. */
  parentId: Schema.NullOr(Id),
  /** The conversation that this one branched off, and the number of the last message they share. */
  forkedFrom: Schema.NullOr(Id),
  forkedSeq: Schema.NullOr(Count),
  /** The entry that stands for everything before the context; see `context`. */
  summaryMessageId: Schema.NullOr(Id),
  config: JsonRecord,
  activeSkills: Schema.Array(Text),
  metadata: JsonRecord,
  /** The number of the newest entry. Numbers are never used again. */
  lastSeq: Count,
  /** Messages, without compactions. */
  messageCount: Count,
  userMessageCount: Count,
  promptTokens: Count,
  completionTokens: Count,
  cost: Cost,
  startedAt: Timestamp,
  /** When the last entry was added, or `touch` called; never goes back. */
  lastActivityAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type Conversation = typeof Conversation.Type

/**
 * A conversation in a list.
 *
 * @since 0.1.0
 * @category models
 */
export interface ConversationSummary
  extends Pick<
    Conversation,
    "id" | "channel" | "threadId" | "forkedSeq" | "messageCount" | "userMessageCount" | "startedAt" | "lastActivityAt"
  > {
  /** The title, else the preview, else `routine_name` of the metadata. */
  readonly title: string | null
  /** `thread_type` of the metadata. */
  readonly threadType: string | null
}

/**
 * An entry of a conversation. A compaction is an entry of its own kind, whatever its text says.
 *
 * @since 0.1.0
 * @category models
 */
export const Message = Schema.Struct({
  /** Unique in its conversation; a fork's copy has the same. */
  id: Id,
  conversationId: Id,
  /** The place in the conversation, counted from 1. */
  seq: Count,
  kind: Schema.Literal("message", "compaction"),
  role: Key,
  content: Text,
  name: Schema.NullOr(Key),
  toolCallId: Schema.NullOr(Key),
  toolCalls: JsonValue,
  toolResults: JsonValue,
  model: Schema.NullOr(Key),
  promptTokens: Schema.NullOr(Count),
  completionTokens: Schema.NullOr(Count),
  cost: Schema.NullOr(Cost),
  metadata: JsonRecord,
  /** Of a compaction: the number of the last message that it stands for. */
  coversSeq: Schema.NullOr(Count),
  createdAt: Timestamp,
  finishedAt: Schema.NullOr(Timestamp)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Message = typeof Message.Type

/**
 * A fact that a conversation keeps.
 *
 * @since 0.1.0
 * @category models
 */
export const Fact = Schema.Struct({ conversationId: Id, fact: Text, createdAt: Timestamp })

/**
 * @since 0.1.0
 * @category models
 */
export type Fact = typeof Fact.Type

const one = { user: UserId, id: Id }

const within = { user: UserId, conversation: Id }

const newMessage = {
  id: optional(Id),
  role: Key,
  content: Text,
  name: optional(Key),
  toolCallId: optional(Key),
  toolCalls: optional(JsonValue),
  toolResults: optional(JsonValue),
  model: optional(Key),
  promptTokens: optional(Count),
  completionTokens: optional(Count),
  cost: optional(Cost),
  metadata: optional(JsonRecord),
  finishedAt: optional(Timestamp)
}

/**
 * A message to add. Its tokens and its cost are added to those of the conversation.
 *
 * @since 0.1.0
 * @category models
 */
export const NewMessage = Schema.Struct(newMessage)

/**
 * @since 0.1.0
 * @category models
 */
export type NewMessage = typeof NewMessage.Type

const Added = Schema.Struct({ id: Id, seq: Count })

/**
 * Begins a conversation and succeeds with its id. An id that is taken is `DbConflict`, a parent of somebody else
 * `NotFound`.
 *
 * @since 0.1.0
 * @category operations
 */
export const CreateConversation = operation("ConversationStore.create", {
  payload: {
    user: UserId,
    channel: Key,
    id: optional(Id),
    threadId: optional(Key),
    title: optional(Text),
    model: optional(Key),
    systemPrompt: optional(Text),
    parentId: optional(Id),
    config: optional(JsonRecord),
    activeSkills: optional(Schema.Array(Text)),
    metadata: optional(JsonRecord)
  },
  success: Id
})

/**
 * Begins a conversation of that id, or touches it if it is there. Succeeds with false, and changes nothing, if it
 * belongs to another user or channel.
 *
 * @since 0.1.0
 * @category operations
 */
export const EnsureConversation = operation("ConversationStore.ensure", {
  payload: { user: UserId, id: Id, channel: Key, threadId: optional(Key) },
  success: Schema.Boolean
})

/**
 * The one conversation of a user's routine, made if it is not there: channel `routine`, with `thread_type`, `routine_id`
 * and `routine_name` in its metadata. The name is not refreshed later.
 *
 * @since 0.1.0
 * @category operations
 */
export const GetOrCreateRoutineConversation = operation("ConversationStore.getOrCreateRoutine", {
  payload: { user: UserId, routine: Key, name: Text },
  success: Id
})

/**
 * The one heartbeat conversation of a user, made if it is not there: channel `heartbeat`.
 *
 * @since 0.1.0
 * @category operations
 */
export const GetOrCreateHeartbeatConversation = operation("ConversationStore.getOrCreateHeartbeat", {
  payload: { user: UserId },
  success: Id
})

/**
 * The one assistant conversation of a user in a channel, made if it is not there.
 *
 * @since 0.1.0
 * @category operations
 */
export const GetOrCreateAssistantConversation = operation("ConversationStore.getOrCreateAssistant", {
  payload: { user: UserId, channel: Key },
  success: Id
})

/**
 * Makes now the time of the last activity.
 *
 * @since 0.1.0
 * @category operations
 */
export const TouchConversation = operation("ConversationStore.touch", { payload: one })

/**
 * Replaces the given fields; null takes a value away. A summary message must be one of the conversation's (`NotFound`).
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateConversation = operation("ConversationStore.update", {
  payload: {
    ...one,
    threadId: optional(Schema.NullOr(Key)),
    title: optional(Schema.NullOr(Text)),
    model: optional(Schema.NullOr(Key)),
    systemPrompt: optional(Schema.NullOr(Text)),
    summaryMessageId: optional(Schema.NullOr(Id)),
    config: optional(JsonRecord),
    activeSkills: optional(Schema.Array(Text))
  }
})

/**
 * Replaces exactly one path of the metadata; null is stored as null. Objects that are missing on the way are made; a path
 * through anything else is `InvalidInput`.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetConversationField = operation("ConversationStore.setField", {
  payload: { ...one, path: Schema.NonEmptyArray(Text), value: JsonValue }
})

/**
 * Merges into the metadata (RFC 7396): null takes a key away.
 *
 * @since 0.1.0
 * @category operations
 */
export const MergeConversationMetadata = operation("ConversationStore.mergeMetadata", {
  payload: { ...one, patch: JsonRecord }
})

/**
 * Adds to the counters of tokens and cost, exactly.
 *
 * @since 0.1.0
 * @category operations
 */
export const AddConversationUsage = operation("ConversationStore.addUsage", {
  payload: { ...one, promptTokens: optional(Count), completionTokens: optional(Count), cost: optional(Cost) }
})

/**
 * Makes the given facts all that the conversation has, in their order. One that was there keeps its time.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetConversationFacts = operation("ConversationStore.setFacts", {
  payload: { ...one, facts: Schema.Array(Text) }
})

/**
 * Deletes a conversation with its entries and facts. Its branches stay, as conversations of their own.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteConversation = operation("ConversationStore.delete", { payload: one })

/**
 * Begins a branch: a conversation of its own with the entries up to and including `message`, under the same ids and
 * numbers. Its counters of tokens and cost begin at zero. Succeeds with its id.
 *
 * @since 0.1.0
 * @category operations
 */
export const ForkConversation = operation("ConversationStore.fork", {
  payload: { ...within, message: Id, id: optional(Id), title: optional(Text) },
  success: Id
})

/**
 * Adds a message at the end. An id that the conversation has already is `DbConflict`.
 *
 * @since 0.1.0
 * @category operations
 */
export const AddMessage = operation("ConversationStore.addMessage", {
  payload: { ...within, ...newMessage },
  success: Added
})

/**
 * Adds messages at the end, all or none, with nobody else's between them.
 *
 * @since 0.1.0
 * @category operations
 */
export const AddMessages = operation("ConversationStore.addMessages", {
  payload: { ...within, messages: Schema.NonEmptyArray(NewMessage) },
  success: Schema.Array(Added)
})

/**
 * Replaces the given fields of an entry, as when a streamed answer is complete.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateMessage = operation("ConversationStore.updateMessage", {
  payload: {
    ...within,
    id: Id,
    content: optional(Text),
    toolCalls: optional(JsonValue),
    toolResults: optional(JsonValue),
    metadata: optional(JsonRecord),
    finishedAt: optional(Schema.NullOr(Timestamp))
  }
})

/**
 * Deletes one entry; `NotFound` if there is none.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteMessage = operation("ConversationStore.deleteMessage", { payload: { ...within, id: Id } })

/**
 * Adds a compaction: `summary` stands for every message up to number `through`, and is the conversation's summary
 * message from now on. Messages that came while the summary was being written keep their place after it. One that
 * reaches less far than the present one is `DbConflict`. Its metadata tell `messagesBefore` and `messagesAfter`.
 *
 * @since 0.1.0
 * @category operations
 */
export const CompactConversation = operation("ConversationStore.compact", {
  payload: { ...within, summary: Text, through: Count, model: optional(Key), metadata: optional(JsonRecord) },
  success: Added
})

/**
 * Deletes the messages that the summary message stands for, and older compactions. Succeeds with how many entries.
 *
 * @since 0.1.0
 * @category operations
 */
export const DropCompacted = operation("ConversationStore.dropCompacted", { payload: within, success: Count })

/**
 * Deletes all messages but the newest `keep`; compactions stay and do not count. Succeeds with how many.
 *
 * @since 0.1.0
 * @category operations
 */
export const RotateConversation = operation("ConversationStore.rotate", {
  payload: { ...within, keep: Count },
  success: Count
})

/**
 * Deletes all entries, compactions too. Succeeds with how many.
 *
 * @since 0.1.0
 * @category operations
 */
export const ClearConversation = operation("ConversationStore.clear", { payload: within, success: Count })

/**
 * Gives entries their vectors, which are of the contents with these hashes (SHA-256, in hexadecimal); null where there is
 * nothing to embed. What was changed or deleted meanwhile is passed over. Succeeds with how many were not.
 *
 * @since 0.1.0
 * @category operations
 */
export const EmbedMessages = operation("ConversationStore.embedMessages", {
  payload: {
    user: UserId,
    model: Embedding.fields.model,
    embeddings: Schema.Array(
      Schema.Struct({
        conversation: Id,
        seq: Count,
        contentHash: Key,
        vector: Schema.NullOr(Embedding.fields.vector)
      })
    ).pipe(Schema.maxItems(1000))
  },
  success: Count
})

/**
 * What is asked of the search of messages.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchMessagesRequest extends StoreSearchRequest {
  /** Those of one conversation. */
  readonly conversation?: string
  /** Those of these roles. */
  readonly roles?: ReadonlyArray<string>
}

/**
 * An entry that was found by its content; highlights are places in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface FoundMessage {
  readonly message: Message
}

/**
 * Another user's conversation is `NotFound` everywhere.
 *
 * @since 0.1.0
 * @category tags
 */
export class ConversationStore extends Context.Tag("effect-db-hub/ConversationStore")<
  ConversationStore,
  {
    readonly create: Submit<typeof CreateConversation>
    readonly ensure: Submit<typeof EnsureConversation>
    readonly getOrCreateRoutine: Submit<typeof GetOrCreateRoutineConversation>
    readonly getOrCreateHeartbeat: Submit<typeof GetOrCreateHeartbeatConversation>
    readonly getOrCreateAssistant: Submit<typeof GetOrCreateAssistantConversation>
    readonly touch: Submit<typeof TouchConversation>
    readonly update: Submit<typeof UpdateConversation>
    readonly setField: Submit<typeof SetConversationField>
    readonly mergeMetadata: Submit<typeof MergeConversationMetadata>
    readonly addUsage: Submit<typeof AddConversationUsage>
    readonly setFacts: Submit<typeof SetConversationFacts>
    readonly delete: Submit<typeof DeleteConversation>
    readonly fork: Submit<typeof ForkConversation>
    readonly addMessage: Submit<typeof AddMessage>
    readonly addMessages: Submit<typeof AddMessages>
    readonly updateMessage: Submit<typeof UpdateMessage>
    readonly deleteMessage: Submit<typeof DeleteMessage>
    readonly embedMessages: Submit<typeof EmbedMessages>
    readonly compact: Submit<typeof CompactConversation>
    readonly dropCompacted: Submit<typeof DropCompacted>
    readonly rotate: Submit<typeof RotateConversation>
    readonly clear: Submit<typeof ClearConversation>
    /** `NotFound` if there is none. */
    readonly get: (user: string, id: string) => Effect.Effect<Conversation, DbError>
    /** Whether there is such a conversation and it is the user's. */
    readonly belongsTo: (user: string, id: string) => Effect.Effect<boolean, DbError>
    /** Newest activity first, of one channel or all. */
    readonly list: (
      user: string,
      options?: PageOptions & { readonly channel?: string }
    ) => Effect.Effect<Page<ConversationSummary>, DbError>
    /** What was forked off a conversation, newest activity first. */
    readonly branches: (
      user: string,
      id: string,
      options?: PageOptions
    ) => Effect.Effect<Page<ConversationSummary>, DbError>
    /** The conversations whose parent it is, newest activity first. */
    readonly children: (
      user: string,
      id: string,
      options?: PageOptions
    ) => Effect.Effect<Page<ConversationSummary>, DbError>
    /** In the order in which they were set. */
    readonly facts: (user: string, id: string) => Effect.Effect<ReadonlyArray<Fact>, DbError>
    /**
     * The user's entries, compactions too, found by the words of their contents, by an embedding, or by both, as one
     * ranking. An entry has a vector once `StoreEmbedding`, or a program by `embedMessages`, has given it one.
     */
    readonly searchMessages: (
      user: string,
      request: SearchMessagesRequest
    ) => Effect.Effect<StoreSearchAnswer<FoundMessage>, DbError>
    /** One entry of a conversation; `NotFound` if there is none. */
    readonly getMessage: (user: string, conversation: string, id: string) => Effect.Effect<Message, DbError>
    /**
     * A page of entries, oldest first: the newest below number `before`, or the next above number `after`. Default
     * limit 50, at most 1000. `hasMore` is whether there are more in that direction.
     */
    readonly messages: (
      user: string,
      conversation: string,
      options?: { readonly before?: number; readonly after?: number; readonly limit?: number }
    ) => Effect.Effect<{ readonly items: ReadonlyArray<Message>; readonly hasMore: boolean }, DbError>
    /** All entries, oldest first, a page at a time. */
    readonly allMessages: (user: string, conversation: string) => Stream.Stream<Message, DbError>
    /** What a model needs to go on: the summary message, if there is one, and the messages that it does not stand for. */
    readonly context: (
      user: string,
      conversation: string
    ) => Effect.Effect<{ readonly summary: Message | null; readonly messages: ReadonlyArray<Message> }, DbError>
  }
>() {}
