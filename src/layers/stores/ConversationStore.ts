/**
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { DbConflict, type DbError, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import {
  AddConversationUsage,
  AddMessage,
  AddMessages,
  ClearConversation,
  CompactConversation,
  Conversation,
  ConversationStore,
  type ConversationSummary,
  CreateConversation,
  DeleteConversation,
  DeleteMessage,
  DropCompacted,
  EmbedMessages,
  EnsureConversation,
  Fact,
  ForkConversation,
  GetOrCreateAssistantConversation,
  GetOrCreateHeartbeatConversation,
  GetOrCreateRoutineConversation,
  MergeConversationMetadata,
  Message,
  type NewMessage,
  RotateConversation,
  SetConversationFacts,
  SetConversationField,
  TouchConversation,
  UpdateConversation,
  UpdateMessage
} from "../../services/ConversationStore.js"
import type { PageOptions } from "../../services/Model.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { type JsonObject, JsonPatch, type JsonValue, parseJsonObject } from "../../vector/index.js"
import * as ConversationTexts from "./ConversationTexts.js"
import { given, json, type Optional } from "./Fields.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as StoreSearch from "./StoreSearch.js"
import * as Table from "./Table.js"
import * as Totals from "./Totals.js"

/** What a fork copies as it is. */
const entryColumns = Table.columnsOf(Message).replace("conversation_id, ", "")

const previewLength = 100

/** Entries that `allMessages` reads at once. */
const streamPage = 500

interface Entry extends NewMessage {
  readonly kind: Message["kind"]
  readonly coversSeq?: number
}

interface Use {
  readonly promptTokens?: number
  readonly completionTokens?: number
  readonly cost?: string
}

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<ConversationStore, never, Backend | WriteChannel> = Layer.effect(
  ConversationStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect } = backend
    const conversations = Table.make(backend, "db_hub_conversations", Conversation)
    const entries = Table.make(backend, "db_hub_messages", Message, { key: ["conversation_id", "id"] })
    const facts = Table.make(backend, "db_hub_conversation_facts", Fact, { key: ["position", "conversation_id"] })

    const notFound = (operation: string, entity = "conversation") =>
      Rows.orNotFound(backend.name, `ConversationStore.${operation}`, entity)

    const find = (user: string, id: string, operation: string, lock = "") =>
      Effect.flatMap(conversations.first(`WHERE id = ? AND user_id = ?${lock}`, [id, user]), notFound(operation))

    const proved = Owner.proof(backend, "db_hub_conversations", "conversation")

    const owned = (user: string, id: string, operation: string) => proved(user, id, `ConversationStore.${operation}`)

    /** Holds a conversation until the end of the transaction, so that its counters and numbers have one writer. */
    const hold = (user: string, id: string, { _tag }: { readonly _tag: string }) =>
      find(user, id, _tag.slice(_tag.indexOf(".") + 1), dialect.forUpdate)

    const findEntry = (conversation: string, id: string, operation: string, lock = "") =>
      Effect.flatMap(
        entries.first(`WHERE conversation_id = ? AND id = ?${lock}`, [conversation, id]),
        notFound(operation, "message")
      )

    /** Sets the fields that have a value; null is one, undefined is none. */
    const change = (id: string, changes: Optional) => conversations.set(id, given(changes))

    /** What a new conversation starts with. */
    const beginning = (user: string, id: string): Effect.Effect<Table.Fields> =>
      Effect.map(Fresh.now, (now) => ({
        id,
        userId: user,
        singleKey: `id:${id}`,
        config: new Json({}),
        activeSkills: new Json([]),
        metadata: new Json({}),
        lastSeq: 0,
        messageCount: 0,
        userMessageCount: 0,
        promptTokens: 0,
        completionTokens: 0,
        cost: "0",
        startedAt: now,
        lastActivityAt: now
      }))

    const begin = (user: string, id: string, fields: Optional) =>
      Effect.flatMap(beginning(user, id), (first) =>
        Effect.as(conversations.insert({ ...first, ...given(fields) }), { result: id, ids: [id] })
      )

    /** The one conversation of a user under a key; its metadata name its type. */
    const getOrCreate = (
      { _tag: operation }: { readonly _tag: string },
      user: string,
      singleKey: string,
      channel: string,
      metadata: JsonObject
    ) =>
      Effect.gen(function* () {
        const id = Fresh.id()
        const fields = { ...(yield* beginning(user, id)), singleKey, channel, metadata: new Json(metadata) }
        const made = yield* conversations.firstOrInsert(
          operation,
          fields,
          ["user_id", "single_key"],
          "user_id = ? AND single_key = ?",
          [user, singleKey]
        )
        return "found" in made ? { result: made.found.id, ids: [] } : { result: id, ids: [id] }
      })

    const editMetadata = (
      operation: { readonly _tag: string },
      user: string,
      id: string,
      edit: (metadata: JsonObject, at: ErrorContext) => Effect.Effect<JsonObject, InvalidInput>
    ) =>
      Effect.gen(function* () {
        const { metadata } = yield* hold(user, id, operation)
        const at = { backend: backend.name, operation: operation._tag }
        yield* change(id, { metadata: new Json(yield* edit(metadata, at)) })
        return { result: undefined, ids: [id] }
      })

    const usage = (conversation: Conversation, uses: ReadonlyArray<Use>, { _tag }: { readonly _tag: string }) =>
      addUses(conversation, uses, { backend: backend.name, operation: _tag })

    const texts = ConversationTexts.make(backend, entries.all)

    /** Adds entries at the end of a conversation that is held. */
    const append = (
      conversation: Conversation,
      added: ReadonlyArray<Entry>,
      operation: { readonly _tag: string },
      changes: (added: ReadonlyArray<{ readonly id: string }>) => Optional = () => ({})
    ) =>
      Effect.gen(function* () {
        const at = yield* activity(conversation)
        const placed = added.map((entry, index) => ({
          ...entry,
          id: entry.id ?? Fresh.id(),
          seq: conversation.lastSeq + index + 1
        }))
        for (const entry of placed) {
          yield* entries.insert(
            given({
              ...entry,
              conversationId: conversation.id,
              toolCalls: json(entry.toolCalls),
              toolResults: json(entry.toolResults),
              metadata: new Json(entry.metadata ?? {}),
              createdAt: at
            })
          )
        }
        yield* texts.put(
          conversation.userId,
          placed.map((entry) => ({ ...entry, conversationId: conversation.id }))
        )
        const messages = placed.filter(({ kind }) => kind === "message")
        const fromUser = messages.filter(({ role }) => role === "user")
        yield* change(conversation.id, {
          lastSeq: conversation.lastSeq + placed.length,
          messageCount: conversation.messageCount + messages.length,
          userMessageCount: conversation.userMessageCount + fromUser.length,
          preview: conversation.preview ?? (fromUser[0] === undefined ? undefined : preview(fromUser[0].content)),
          lastActivityAt: at,
          ...(yield* usage(conversation, placed, operation)),
          ...changes(placed)
        })
        return placed.map(({ id, seq }) => ({ id, seq }))
      })

    /** Deletes entries of a conversation that is held and keeps its counters right: how many entries. */
    const removeEntries = (conversation: Conversation, condition: string, params: ReadonlyArray<SqlValue>) =>
      Effect.gen(function* () {
        const matching = `FROM db_hub_messages WHERE conversation_id = ? AND ${condition}`
        const counted = yield* backend.query(`SELECT kind, role, count(*) AS n ${matching} GROUP BY kind, role`, [
          conversation.id,
          ...params
        ])
        const messages = counted.filter(({ kind }) => kind === "message")
        if (counted.length > 0) yield* texts.drop(conversation.id, condition, params)
        const { rowsAffected } = yield* backend.execute(`DELETE ${matching}`, [conversation.id, ...params])
        if (rowsAffected === 0) return { result: 0, ids: [] }
        const kept =
          conversation.summaryMessageId === null
            ? []
            : yield* backend.query("SELECT 1 AS found FROM db_hub_messages WHERE conversation_id = ? AND id = ?", [
                conversation.id,
                conversation.summaryMessageId
              ])
        yield* change(conversation.id, {
          messageCount: conversation.messageCount - total(messages),
          userMessageCount: conversation.userMessageCount - total(messages.filter(({ role }) => role === "user")),
          summaryMessageId: kept.length === 0 ? null : undefined
        })
        return { result: rowsAffected, ids: [conversation.id] }
      })

    const summaryOf = ({ id, summaryMessageId }: Conversation) =>
      summaryMessageId === null
        ? Effect.succeed(undefined)
        : entries.first(`WHERE conversation_id = ? AND id = ?`, [id, summaryMessageId])

    const countMessages = (conversation: string, after: number, through: number) =>
      Effect.map(
        backend.query(
          `SELECT count(*) AS n FROM db_hub_messages
            WHERE conversation_id = ? AND kind = 'message' AND seq > ? AND seq <= ?`,
          [conversation, after, through]
        ),
        total
      )

    const page = (operation: string, conditions: ReadonlyArray<Page.Condition>, options: PageOptions) =>
      Effect.map(
        conversations.newest(`ConversationStore.${operation}`, "lastActivityAt", conditions, options),
        ({ cursor, items }) => ({ items: items.map(summarize), cursor })
      )

    const messagesAfter = (conversation: string, seq: number, limit: number) =>
      entries.all(`WHERE conversation_id = ? AND seq > ? ORDER BY seq LIMIT ?`, [conversation, seq, limit])

    return {
      create: channel.handle(CreateConversation, ({ id = Fresh.id(), user, ...fields }) =>
        Effect.gen(function* () {
          if (fields.parentId !== undefined) yield* owned(user, fields.parentId, "create")
          return yield* begin(user, id, {
            ...fields,
            config: json(fields.config),
            activeSkills: json(fields.activeSkills),
            metadata: json(fields.metadata)
          })
        })
      ),

      ensure: channel.handle(EnsureConversation, ({ id, user, ...fields }) =>
        Effect.gen(function* () {
          const written = { result: true, ids: [id] }
          const first = yield* beginning(user, id)
          // The id makes its single key, too.
          if (yield* conversations.insertIfAbsent({ ...first, ...given(fields) })) return written
          const own = yield* conversations.first(`WHERE id = ? AND user_id = ? AND channel = ?${dialect.forUpdate}`, [
            id,
            user,
            fields.channel
          ])
          if (own === undefined) return { result: false, ids: [] }
          yield* change(id, { lastActivityAt: yield* activity(own) })
          return written
        })
      ),

      getOrCreateRoutine: channel.handle(GetOrCreateRoutineConversation, ({ name, routine, user }) =>
        getOrCreate(GetOrCreateRoutineConversation, user, `routine:${routine}`, "routine", {
          thread_type: "routine",
          routine_id: routine,
          routine_name: name
        })
      ),
      getOrCreateHeartbeat: channel.handle(GetOrCreateHeartbeatConversation, ({ user }) =>
        getOrCreate(GetOrCreateHeartbeatConversation, user, "heartbeat", "heartbeat", { thread_type: "heartbeat" })
      ),
      getOrCreateAssistant: channel.handle(GetOrCreateAssistantConversation, ({ channel, user }) =>
        getOrCreate(GetOrCreateAssistantConversation, user, `assistant:${channel}`, channel, {
          thread_type: "assistant",
          title: "Assistant"
        })
      ),

      touch: channel.handle(TouchConversation, ({ id, user }) =>
        Effect.gen(function* () {
          const conversation = yield* hold(user, id, TouchConversation)
          yield* change(id, { lastActivityAt: yield* activity(conversation) })
          return { result: undefined, ids: [id] }
        })
      ),

      update: channel.handle(UpdateConversation, (payload) =>
        Effect.gen(function* () {
          const { id, summaryMessageId, user, ...fields } = payload
          yield* hold(user, id, UpdateConversation)
          if (summaryMessageId !== undefined && summaryMessageId !== null) {
            yield* findEntry(id, summaryMessageId, "update")
          }
          yield* change(id, {
            ...fields,
            summaryMessageId,
            config: json(fields.config),
            activeSkills: json(fields.activeSkills)
          })
          return { result: undefined, ids: [id] }
        })
      ),

      setField: channel.handle(SetConversationField, ({ id, path, user, value }) =>
        editMetadata(SetConversationField, user, id, (metadata, at) =>
          JsonPatch.setField(metadata, path, value as JsonValue, at)
        )
      ),
      mergeMetadata: channel.handle(MergeConversationMetadata, ({ id, patch, user }) =>
        editMetadata(MergeConversationMetadata, user, id, (metadata, at) =>
          parseJsonObject(JsonPatch.mergeObject(metadata, patch), "patch", at)
        )
      ),

      addUsage: channel.handle(AddConversationUsage, (payload) =>
        Effect.gen(function* () {
          const conversation = yield* hold(payload.user, payload.id, AddConversationUsage)
          yield* change(payload.id, { ...(yield* usage(conversation, [payload], AddConversationUsage)) })
          return { result: undefined, ids: [payload.id] }
        })
      ),

      setFacts: channel.handle(SetConversationFacts, ({ facts: wanted, id, user }) =>
        Effect.gen(function* () {
          yield* hold(user, id, SetConversationFacts)
          const before = yield* facts.all(`WHERE conversation_id = ?`, [id])
          const known = new Map(before.map(({ createdAt, fact }) => [fact, createdAt]))
          const now = yield* Fresh.now
          yield* backend.enqueue("DELETE FROM db_hub_conversation_facts WHERE conversation_id = ?", [id])
          for (const [position, fact] of wanted.entries()) {
            yield* facts.insert({ conversationId: id, position, fact, createdAt: known.get(fact) ?? now })
          }
          return { result: undefined, ids: [id] }
        })
      ),

      delete: channel.handle(DeleteConversation, ({ id, user }) =>
        Effect.gen(function* () {
          // Its row need not be readable.
          const lock = `SELECT id FROM db_hub_conversations WHERE id = ? AND user_id = ?${dialect.forUpdate}`
          const [held] = yield* backend.query(lock, [id, user])
          yield* notFound("delete")(held)
          yield* texts.drop(id, "seq > 0", [])
          // One by one, since foreign keys may be switched off.
          yield* backend.enqueue("DELETE FROM db_hub_messages WHERE conversation_id = ?", [id])
          yield* backend.enqueue("DELETE FROM db_hub_conversation_facts WHERE conversation_id = ?", [id])
          yield* backend.enqueue("UPDATE db_hub_conversations SET parent_id = NULL WHERE parent_id = ?", [id])
          yield* backend.enqueue("UPDATE db_hub_conversations SET forked_from = NULL WHERE forked_from = ?", [id])
          yield* backend.enqueue("DELETE FROM db_hub_conversations WHERE id = ?", [id])
          return { result: undefined, ids: [id] }
        })
      ),

      fork: channel.handle(ForkConversation, ({ conversation, id = Fresh.id(), message, title, user }) =>
        Effect.gen(function* () {
          const origin = yield* hold(user, conversation, ForkConversation)
          const { seq } = yield* findEntry(conversation, message, "fork")
          const upTo = "conversation_id = ? AND seq <= ?"
          const [first] = yield* entries.all(
            `WHERE ${upTo} AND kind = 'message' AND role = 'user' ORDER BY seq LIMIT 1`,
            [conversation, seq]
          )
          const [summary] = yield* entries.all(
            `WHERE ${upTo} AND (id = ? OR kind = 'compaction') ORDER BY seq DESC LIMIT 1`,
            [conversation, seq, origin.summaryMessageId ?? ""]
          )
          const counted = yield* backend.query(
            `SELECT role, count(*) AS n FROM db_hub_messages WHERE ${upTo} AND kind = 'message' GROUP BY role`,
            [conversation, seq]
          )
          const written = yield* begin(user, id, {
            channel: origin.channel,
            threadId: origin.threadId,
            title: title ?? origin.title,
            preview: first === undefined ? null : preview(first.content),
            model: origin.model,
            systemPrompt: origin.systemPrompt,
            parentId: origin.parentId,
            forkedFrom: conversation,
            forkedSeq: seq,
            lastSeq: seq,
            summaryMessageId: summary?.id ?? null,
            config: json(origin.config),
            activeSkills: json(origin.activeSkills),
            metadata: json(origin.metadata),
            messageCount: total(counted),
            userMessageCount: total(counted.filter(({ role }) => role === "user"))
          })
          yield* backend.enqueue(
            `INSERT INTO db_hub_messages (conversation_id, ${entryColumns})
              SELECT ?, ${entryColumns} FROM db_hub_messages WHERE ${upTo}`,
            [id, conversation, seq]
          )
          for (let copied = yield* messagesAfter(id, 0, streamPage); copied.length > 0; ) {
            yield* texts.put(user, copied)
            copied = yield* messagesAfter(id, copied[copied.length - 1]!.seq, streamPage)
          }
          return written
        })
      ),

      addMessage: channel.handle(AddMessage, ({ conversation, user, ...message }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, AddMessage)
          const [added] = yield* append(held, [{ ...message, kind: "message" }], AddMessage)
          return { result: added!, ids: [conversation] }
        })
      ),
      addMessages: channel.handle(AddMessages, ({ conversation, messages, user }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, AddMessages)
          const added = messages.map((message) => ({ ...message, kind: "message" as const }))
          return { result: yield* append(held, added, AddMessages), ids: [conversation] }
        })
      ),

      updateMessage: channel.handle(UpdateMessage, (payload) =>
        Effect.gen(function* () {
          const { conversation, id, user, ...fields } = payload
          yield* owned(user, conversation, "updateMessage")
          const entry = yield* findEntry(conversation, id, "updateMessage", dialect.forUpdate)
          const { content = entry.content } = fields
          const reworded = content !== entry.content
          if (reworded) yield* texts.drop(conversation, "id = ?", [id])
          const changes = given({
            ...fields,
            toolCalls: json(fields.toolCalls),
            toolResults: json(fields.toolResults),
            metadata: json(fields.metadata),
            embeddedIn: reworded ? ConversationTexts.waiting : undefined
          })
          if (Object.keys(changes).length > 0) {
            yield* entries.update(changes, "conversation_id = ? AND id = ?", [conversation, id])
          }
          if (reworded) yield* texts.put(user, [{ ...entry, content }])
          return { result: undefined, ids: [conversation] }
        })
      ),

      deleteMessage: channel.handle(DeleteMessage, ({ conversation, id, user }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, DeleteMessage)
          yield* findEntry(conversation, id, "deleteMessage")
          const { ids } = yield* removeEntries(held, "id = ?", [id])
          return { result: undefined, ids }
        })
      ),

      embedMessages: channel.handle(EmbedMessages, (payload) =>
        Effect.map(texts.embed(payload), ({ conversations, embedded }) => ({ result: embedded, ids: conversations }))
      ),

      compact: channel.handle(CompactConversation, ({ conversation, model, summary, through, user, ...rest }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, CompactConversation)
          const at = { backend: backend.name, operation: CompactConversation._tag }
          if (through > held.lastSeq) {
            return yield* invalidInput(at, "through", "is beyond the last entry", "the number of an entry")
          }
          const present = yield* summaryOf(held)
          const covered = present === undefined ? 0 : covers(present)
          if (through < covered) return yield* outrun(at)
          const before = yield* countMessages(conversation, covered, held.lastSeq)
          const after = yield* countMessages(conversation, through, held.lastSeq)
          const entry: Entry = {
            kind: "compaction",
            role: "system",
            content: summary,
            coversSeq: through,
            metadata: { ...rest.metadata, messagesBefore: before, messagesAfter: after },
            ...(model === undefined ? {} : { model })
          }
          const [added] = yield* append(held, [entry], CompactConversation, ([made]) => ({
            summaryMessageId: made!.id
          }))
          return { result: added!, ids: [conversation] }
        })
      ),

      dropCompacted: channel.handle(DropCompacted, ({ conversation, user }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, DropCompacted)
          const summary = yield* summaryOf(held)
          if (summary === undefined) return { result: 0, ids: [] }
          return yield* removeEntries(
            held,
            "id <> ? AND ((kind = 'message' AND seq <= ?) OR (kind = 'compaction' AND seq < ?))",
            [summary.id, covers(summary), summary.seq]
          )
        })
      ),

      rotate: channel.handle(RotateConversation, ({ conversation, keep, user }) =>
        Effect.gen(function* () {
          const held = yield* hold(user, conversation, RotateConversation)
          const [newestGone] = yield* backend.query(
            `SELECT seq FROM db_hub_messages WHERE conversation_id = ? AND kind = 'message'
              ORDER BY seq DESC LIMIT 1 OFFSET ?`,
            [conversation, keep]
          )
          if (newestGone === undefined) return { result: 0, ids: [] }
          return yield* removeEntries(held, "kind = 'message' AND seq <= ?", [Number(newestGone["seq"])])
        })
      ),

      clear: channel.handle(ClearConversation, ({ conversation, user }) =>
        Effect.flatMap(hold(user, conversation, ClearConversation), (held) => removeEntries(held, "seq > ?", [0]))
      ),

      get: (user, id) => find(user, id, "get"),
      belongsTo: (user, id) =>
        Effect.map(
          backend.query("SELECT id FROM db_hub_conversations WHERE id = ? AND user_id = ?", [id, user]),
          (found) => found.length > 0
        ),
      list: (user, { channel, ...options } = {}) =>
        page(
          "list",
          [["user_id = ?", user], ...(channel === undefined ? [] : [["channel = ?", channel] as const])],
          options
        ),
      branches: (user, id, options = {}) =>
        Effect.zipRight(owned(user, id, "branches"), page("branches", [["forked_from = ?", id]], options)),
      children: (user, id, options = {}) =>
        Effect.zipRight(owned(user, id, "children"), page("children", [["parent_id = ?", id]], options)),
      facts: (user, id) =>
        Effect.zipRight(owned(user, id, "facts"), facts.all(`WHERE conversation_id = ? ORDER BY position`, [id])),
      searchMessages: (user, asked) =>
        Effect.gen(function* () {
          const at = { backend: backend.name, operation: "ConversationStore.searchMessages" }
          const rules = { conversation: StoreSearch.text, roles: StoreSearch.texts }
          const request = yield* StoreSearch.checked(user, asked, StoreSearch.fields, rules, at)
          const { conversation } = request
          if (conversation !== undefined) yield* owned(user, conversation, "searchMessages")
          return yield* texts.search(user, request, at)
        }),
      getMessage: (user, conversation, id) =>
        Effect.zipRight(owned(user, conversation, "getMessage"), findEntry(conversation, id, "getMessage")),
      messages: (user, conversation, { after, before, limit: wanted } = {}) =>
        Effect.gen(function* () {
          const at = { backend: backend.name, operation: "ConversationStore.messages" }
          const limit = yield* Page.limit(wanted, 50, at)
          yield* checkNumber(before, "before", at)
          yield* checkNumber(after, "after", at)
          if (before !== undefined && after !== undefined) {
            return yield* invalidInput(at, "before", "goes together with after", "one of the two")
          }
          const forward = after !== undefined
          const place = forward ? after : (before ?? Number.MAX_SAFE_INTEGER)
          // The owner is proved in the same statement; only where there is no entry must it be asked whether of none.
          const found = yield* entries.all(
            `WHERE conversation_id = ? AND seq ${forward ? ">" : "<"} ?
              AND EXISTS (SELECT 1 FROM db_hub_conversations WHERE id = ? AND user_id = ?)
              ORDER BY seq ${forward ? "" : "DESC"} LIMIT ?`,
            [conversation, place, conversation, user, limit + 1]
          )
          if (found.length === 0) yield* owned(user, conversation, "messages")
          const items = found.slice(0, limit)
          return { items: forward ? items : items.reverse(), hasMore: found.length > limit }
        }),
      allMessages: (user, conversation) =>
        Stream.unwrap(
          Effect.as(
            owned(user, conversation, "allMessages"),
            Stream.paginateChunkEffect(0, (seq) =>
              Effect.map(messagesAfter(conversation, seq, streamPage), (found) => {
                const last = found.length < streamPage ? undefined : found.at(-1)
                return [Chunk.fromIterable(found), Option.fromNullable(last?.seq)] as const
              })
            )
          )
        ) as Stream.Stream<Message, DbError>,
      context: (user, conversation) =>
        Effect.gen(function* () {
          const summary = yield* Effect.flatMap(find(user, conversation, "context"), summaryOf)
          const messages = yield* entries.all(
            `WHERE conversation_id = ? AND kind = 'message' AND seq > ? ORDER BY seq`,
            [conversation, summary === undefined ? 0 : covers(summary)]
          )
          return { summary: summary ?? null, messages }
        })
    }
  })
)

/** Now, unless a clock that is ahead of this one has been here before. */
const activity = ({ lastActivityAt }: Conversation): Effect.Effect<Date> =>
  Effect.map(Fresh.now, (now) => (now > lastActivityAt ? now : lastActivityAt))

const total = (counted: ReadonlyArray<{ readonly [column: string]: unknown }>): number =>
  counted.reduce((sum, { n }) => sum + Number(n), 0)

/** That many characters never take more than twice as many UTF-16 units. */
const preview = (content: string): string =>
  Array.from(content.slice(0, 2 * previewLength))
    .slice(0, previewLength)
    .join("")

/** The number of the last message that a summary stands for; a plain message stands for what is before it. */
const covers = ({ coversSeq, seq }: Message): number => coversSeq ?? seq

const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null)

const summarize = (conversation: Conversation): ConversationSummary => ({
  id: conversation.id,
  channel: conversation.channel,
  threadId: conversation.threadId,
  title: conversation.title ?? conversation.preview ?? textOrNull(conversation.metadata["routine_name"]),
  threadType: textOrNull(conversation.metadata["thread_type"]),
  forkedSeq: conversation.forkedSeq,
  messageCount: conversation.messageCount,
  userMessageCount: conversation.userMessageCount,
  startedAt: conversation.startedAt,
  lastActivityAt: conversation.lastActivityAt
})

const addUses = (
  before: Required<Use>,
  uses: ReadonlyArray<Use>,
  at: ErrorContext
): Effect.Effect<Use, InvalidInput> => {
  const total = (field: "promptTokens" | "completionTokens") =>
    Totals.count(at, field, before[field], ...uses.map((use) => use[field] ?? 0))
  return Effect.all({
    promptTokens: total("promptTokens"),
    completionTokens: total("completionTokens"),
    cost: Totals.cost(at, before.cost, ...uses.map(({ cost = "0" }) => cost))
  })
}

const checkNumber = (value: number | undefined, field: string, at: ErrorContext): Effect.Effect<void, DbError> =>
  value === undefined || (Number.isSafeInteger(value) && value >= 0)
    ? Effect.void
    : Effect.fail(invalidInput(at, field, "is no number of an entry", "a whole number from 0"))

const outrun = (at: ErrorContext): Effect.Effect<never, DbConflict> =>
  Effect.fail(
    new DbConflict({
      ...at,
      reason: "compare-and-set",
      message: "Another compaction reaches further already: read the context again"
    })
  )
