/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Backend } from "../services/Backend.js"
import { type Conversation, ConversationStore, type Message } from "../services/ConversationStore.js"
import { WorkspaceStore } from "../services/WorkspaceStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, later, pagesOf, type Suite } from "./Case.js"

type Store = ConversationStore["Type"]

/** A test with a new user and a new conversation of that user. */
const withConversation = (
  test: (store: Store, user: string, conversation: string) => Effect.Effect<void, unknown, Backend>
): Effect.Effect<void, unknown, Backend | ConversationStore> =>
  Effect.gen(function* () {
    const store = yield* ConversationStore
    const user = yield* fresh("user")
    yield* test(store, user, yield* store.create({ user, channel: "web" }))
  })

/** Adds messages `1` to `n`, of user and assistant in turn: their ids. */
const talk = (store: Store, user: string, conversation: string, n: number) =>
  Effect.forEach(Array.from({ length: n }), (_, i) =>
    Effect.map(
      store.addMessage({ user, conversation, role: i % 2 === 0 ? "user" : "assistant", content: String(i + 1) }),
      ({ id }) => id
    )
  )

const contents = (messages: ReadonlyArray<Message>) => messages.map(({ content }) => content)

const everything = (store: Store, user: string, conversation: string) =>
  Effect.map(Stream.runCollect(store.allMessages(user, conversation)), (all) => contents(Chunk.toReadonlyArray(all)))

const counters = ({ completionTokens, cost, messageCount, promptTokens, userMessageCount }: Conversation) => [
  messageCount,
  userMessageCount,
  promptTokens,
  completionTokens,
  Number(cost)
]

const many = <A, E, R>(n: number, effect: (i: number) => Effect.Effect<A, E, R>) =>
  Effect.all(
    Array.from({ length: n }, (_, i) => effect(i)),
    { concurrency: "unbounded" }
  )

/**
 * @since 0.1.0
 * @category suites
 */
export const conversationSuite: Suite = {
  "a message comes back with all that it was added with": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const finishedAt = new Date("2026-02-03T04:05:06.789Z")
      const given = {
        role: "tool",
        content: "日本語 🙂\n",
        name: "search",
        toolCallId: "call_1",
        toolCalls: [{ id: "call_2", arguments: { q: null } }],
        toolResults: { ok: true },
        model: "m-1",
        promptTokens: 12,
        completionTokens: 3,
        metadata: { a: { b: [1, null] } },
        finishedAt
      }
      const { id, seq } = yield* store.addMessage({ user, conversation, ...given, cost: "0.000015" })
      const { cost, createdAt, ...message } = yield* store.getMessage(user, conversation, id)
      yield* equal(message, { id, conversationId: conversation, seq, kind: "message", coversSeq: null, ...given })
      yield* equal([Number(cost), createdAt instanceof Date], [0.000015, true])
      const plain = yield* store.addMessage({ user, conversation, role: "user", content: "" })
      const { name, toolCalls, toolResults } = yield* store.getMessage(user, conversation, plain.id)
      yield* equal([name, toolCalls, toolResults], [null, null, null])
    })
  ),

  "messages keep the order in which they were added, with ids of their own and times that do not go back":
    withConversation((store, user, conversation) =>
      Effect.gen(function* () {
        const ids = yield* talk(store, user, conversation, 5)
        const { hasMore, items } = yield* store.messages(user, conversation)
        yield* equal(
          items.map(({ content, id, seq }) => [id, seq, content]),
          ids.map((id, i) => [id, i + 1, String(i + 1)])
        )
        yield* equal([hasMore, new Set(ids).size], [false, 5])
        NodeAssert.ok(items.every(({ createdAt }, i) => i === 0 || createdAt >= items[i - 1]!.createdAt))
      })
    ),

  "a page of 3 of 5 is the newest, oldest first, and says that there are more": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        yield* talk(store, user, conversation, 5)
        const newest = yield* store.messages(user, conversation, { limit: 3 })
        yield* equal([contents(newest.items), newest.hasMore], [["3", "4", "5"], true])
        const rest = yield* store.messages(user, conversation, { before: newest.items[0]!.seq, limit: 3 })
        yield* equal([contents(rest.items), rest.hasMore], [["1", "2"], false])
        const onwards = yield* store.messages(user, conversation, { after: 1, limit: 2 })
        yield* equal([contents(onwards.items), onwards.hasMore], [["2", "3"], true])
        yield* failsWith("InvalidInput", store.messages(user, conversation, { limit: 0 }))
        yield* failsWith("InvalidInput", store.messages(user, conversation, { before: -1 }))
        yield* failsWith("InvalidInput", store.messages(user, conversation, { before: 3, after: 1 }))
      })
  ),

  "pages skip nothing where all messages have one timestamp": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* talk(store, user, conversation, 7)
      yield* backend.execute("UPDATE db_hub_messages SET created_at = ? WHERE conversation_id = ?", [
        new Date("2026-01-01T00:00:00.000Z"),
        conversation
      ])
      let seen: ReadonlyArray<string> = []
      let before: number | undefined
      do {
        const page = yield* store.messages(
          user,
          conversation,
          before === undefined ? { limit: 2 } : { before, limit: 2 }
        )
        seen = [...contents(page.items), ...seen]
        before = page.hasMore ? page.items[0]!.seq : undefined
      } while (before !== undefined)
      yield* equal(seen, ["1", "2", "3", "4", "5", "6", "7"])
    })
  ),

  "20 messages added at once all land, each with a number of its own, and are counted": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const added = yield* many(20, (i) =>
          store.addMessage({ user, conversation, role: "user", content: `${i}`, promptTokens: 2, cost: "0.1" })
        )
        yield* equal(
          added.map(({ seq }) => seq).sort((a, b) => a - b),
          Array.from({ length: 20 }, (_, i) => i + 1)
        )
        yield* equal(counters(yield* store.get(user, conversation)), [20, 20, 40, 0, 2])
      })
  ),

  "messages added together have nobody else's between them, and fail together": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const turn = (i: number) =>
          store.addMessages({
            user,
            conversation,
            messages: [
              { role: "user", content: `question ${i}` },
              { role: "assistant", content: `answer ${i}` }
            ]
          })
        yield* many(5, turn)
        const all = yield* everything(store, user, conversation)
        for (let i = 0; i < all.length; i += 2) {
          yield* equal(all[i + 1], all[i]!.replace("question", "answer"))
        }
        const twice = [
          { id: "same", role: "user", content: "a" },
          { id: "same", role: "user", content: "b" }
        ] as const
        yield* failsWith("DbConflict", store.addMessages({ user, conversation, messages: twice }))
        yield* equal((yield* everything(store, user, conversation)).length, 10)
        yield* equal((yield* store.get(user, conversation)).messageCount, 10)
      })
  ),

  "a message added twice under one idempotency key is there once": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const key = yield* fresh("key")
      const add = withIdempotencyKey(key)(store.addMessage({ user, conversation, role: "user", content: "once" }))
      yield* equal(yield* add, yield* add)
      yield* equal(yield* everything(store, user, conversation), ["once"])
    })
  ),

  "all messages are streamed beyond one page": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const message = (i: number) => ({ role: "user", content: String(i) })
      const [first, ...rest] = Array.from({ length: 1200 }, (_, i) => message(i))
      yield* store.addMessages({ user, conversation, messages: [first!, ...rest] })
      const all = yield* everything(store, user, conversation)
      yield* equal([all.length, all[0], all[1199]], [1200, "0", "1199"])
    })
  ),

  "an entry is updated and deleted, and the counters follow": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const [first, second] = yield* talk(store, user, conversation, 3)
      const finishedAt = new Date("2026-01-01T00:00:00.000Z")
      yield* store.updateMessage({ user, conversation, id: second!, content: "whole", toolCalls: [1], finishedAt })
      const whole = yield* store.getMessage(user, conversation, second!)
      yield* equal([whole.content, whole.toolCalls, whole.finishedAt, whole.seq], ["whole", [1], finishedAt, 2])
      yield* store.updateMessage({ user, conversation, id: second!, toolCalls: null, finishedAt: null })
      const reset = yield* store.getMessage(user, conversation, second!)
      yield* equal([reset.content, reset.toolCalls, reset.finishedAt], ["whole", null, null])
      yield* store.deleteMessage({ user, conversation, id: first! })
      yield* equal(counters(yield* store.get(user, conversation)), [2, 1, 0, 0, 0])
      yield* failsWith("NotFound", store.deleteMessage({ user, conversation, id: first! }))
      yield* failsWith("NotFound", store.updateMessage({ user, conversation, id: first!, content: "x" }))
      yield* failsWith("NotFound", store.getMessage(user, conversation, first!))
      const { seq } = yield* store.addMessage({ user, conversation, role: "user", content: "next" })
      yield* equal(seq, 4)
    })
  ),

  "a conversation comes back as it was created": Effect.gen(function* () {
    const store = yield* ConversationStore
    const [user, id] = [yield* fresh("user"), yield* fresh("conversation")]
    const parentId = yield* store.create({ user, channel: "cli" })
    const given = {
      channel: "web",
      threadId: "t",
      title: "A title",
      model: "m",
      systemPrompt: "Be brief.",
      parentId,
      config: { temperature: 0.5 },
      activeSkills: ["search", "日本"],
      metadata: { a: null }
    }
    yield* equal(yield* store.create({ user, id, ...given }), id)
    const { cost, lastActivityAt, startedAt, ...conversation } = yield* store.get(user, id)
    yield* equal(conversation, {
      id,
      userId: user,
      ...given,
      preview: null,
      forkedFrom: null,
      forkedSeq: null,
      summaryMessageId: null,
      lastSeq: 0,
      messageCount: 0,
      userMessageCount: 0,
      promptTokens: 0,
      completionTokens: 0
    })
    yield* equal([Number(cost), lastActivityAt], [0, startedAt])
    yield* failsWith("DbConflict", store.create({ user, channel: "web", id }))
    const children = yield* store.children(user, parentId)
    yield* equal(
      children.items.map((child) => child.id),
      [id]
    )
  }),

  "a conversation is ensured twice; somebody else's or another channel's stays as it is": Effect.gen(function* () {
    const store = yield* ConversationStore
    const [user, stranger, id] = [yield* fresh("user"), yield* fresh("stranger"), yield* fresh("conversation")]
    yield* equal(yield* store.ensure({ user, id, channel: "web", threadId: "t" }), true)
    const before = yield* store.get(user, id)
    yield* equal(yield* store.ensure({ user: stranger, id, channel: "web" }), false)
    yield* equal(yield* store.ensure({ user, id, channel: "cli" }), false)
    yield* equal(yield* store.get(user, id), before)
    yield* equal(yield* later(1)(store.ensure({ user, id, channel: "web", threadId: "other" })), true)
    const after = yield* store.get(user, id)
    yield* equal([after.threadId, after.lastActivityAt > before.lastActivityAt], ["t", true])
    yield* equal([yield* store.belongsTo(user, id), yield* store.belongsTo(stranger, id)], [true, false])
  }),

  "a conversation ensured by 8 at once is one": Effect.gen(function* () {
    const store = yield* ConversationStore
    const user = yield* fresh("user")
    // Once in ten times on PostgreSQL, two of them met at a key that they had not named.
    for (let conversations = 1; conversations <= 20; conversations++) {
      const id = yield* fresh("conversation")
      const ensured = yield* many(8, () => store.ensure({ user, id, channel: "web" }))
      yield* equal([ensured.every(Boolean), (yield* store.list(user)).items.length], [true, conversations])
    }
  }),

  "8 that get or create routine, heartbeat and assistant conversations at once get one of each": Effect.gen(
    function* () {
      const store = yield* ConversationStore
      const user = yield* fresh("user")
      const distinct = (get: Effect.Effect<string, unknown>) =>
        Effect.map(
          many(8, () => get),
          (ids) => new Set(ids).size
        )
      const name = "Daily"
      yield* equal(
        yield* Effect.all(
          [
            distinct(store.getOrCreateRoutine({ user, routine: "r1", name })),
            distinct(store.getOrCreateRoutine({ user, routine: "r2", name })),
            distinct(store.getOrCreateHeartbeat({ user })),
            distinct(store.getOrCreateAssistant({ user, channel: "web" })),
            distinct(store.getOrCreateAssistant({ user, channel: "cli" }))
          ],
          { concurrency: "unbounded" }
        ),
        [1, 1, 1, 1, 1]
      )
      const { items } = yield* store.list(user)
      yield* equal(items.map(({ threadType }) => threadType).sort(), [
        "assistant",
        "assistant",
        "heartbeat",
        "routine",
        "routine"
      ])
    }
  ),

  "a routine's conversation stays the one after messages, with its metadata and first name": Effect.gen(function* () {
    const store = yield* ConversationStore
    const [user, other] = [yield* fresh("user"), yield* fresh("other")]
    const id = yield* store.getOrCreateRoutine({ user, routine: "r", name: "Daily" })
    yield* store.addMessage({ user, conversation: id, role: "assistant", content: "done" })
    yield* equal(yield* store.getOrCreateRoutine({ user, routine: "r", name: "Renamed" }), id)
    const { channel, metadata } = yield* store.get(user, id)
    yield* equal([channel, metadata], ["routine", { thread_type: "routine", routine_id: "r", routine_name: "Daily" }])
    yield* equal((yield* store.list(user)).items[0]!.title, "Daily")
    NodeAssert.notEqual(yield* store.getOrCreateRoutine({ user: other, routine: "r", name: "Daily" }), id)
  }),

  "conversations with the metadata of one routine, as an import may bring them, are no obstacle": Effect.gen(
    function* () {
      const store = yield* ConversationStore
      const user = yield* fresh("user")
      const metadata = { thread_type: "routine", routine_id: "r", routine_name: "Daily" }
      yield* store.create({ user, channel: "routine", metadata })
      yield* store.create({ user, channel: "routine", metadata })
      const one = yield* store.getOrCreateRoutine({ user, routine: "r", name: "Daily" })
      yield* equal(yield* store.getOrCreateRoutine({ user, routine: "r", name: "Daily" }), one)
    }
  ),

  "a field of the metadata is replaced whole, null included, and the others stay": withConversation((store, user, id) =>
    Effect.gen(function* () {
      const metadata = Effect.map(store.get(user, id), (conversation) => conversation.metadata)
      yield* store.setField({ user, id, path: ["first"], value: { y: 2 } })
      yield* store.setField({ user, id, path: ["second"], value: [1] })
      yield* store.setField({ user, id, path: ["first"], value: { x: 1 } })
      yield* equal(yield* metadata, { first: { x: 1 }, second: [1] })
      yield* store.setField({ user, id, path: ["second"], value: null })
      yield* equal(yield* metadata, { first: { x: 1 }, second: null })
      yield* store.setField({ user, id, path: ["first", "a.b", "$c"], value: "deep" })
      yield* equal(yield* metadata, { first: { x: 1, "a.b": { $c: "deep" } }, second: null })
      yield* failsWith("InvalidInput", store.setField({ user, id, path: ["second", "a"], value: 1 }))
      yield* store.setField({ user, id, path: ["second"], value: {} })
      yield* store.setField({ user, id, path: ["second", "__proto__"], value: 1 })
      yield* equal(JSON.stringify((yield* metadata)["second"]), '{"__proto__":1}')
      const deep = Array.from({ length: 40 }, () => "k") as unknown as readonly [string]
      yield* failsWith("InvalidInput", store.setField({ user, id, path: deep, value: 1 }))
    })
  ),

  "a merge into the metadata follows RFC 7396": withConversation((store, user, id) =>
    Effect.gen(function* () {
      yield* store.mergeMetadata({ user, id, patch: { a: { b: 1, c: 2 }, d: [1, 2] } })
      yield* store.mergeMetadata({ user, id, patch: { a: { b: null, e: { f: null, g: 3 } }, d: [3], h: null } })
      yield* equal((yield* store.get(user, id)).metadata, { a: { c: 2, e: { g: 3 } }, d: [3] })
    })
  ),

  "fields of the metadata written at once are all there": withConversation((store, user, id) =>
    Effect.gen(function* () {
      yield* many(8, (i) => store.setField({ user, id, path: [`k${i}`], value: i }))
      yield* equal(Object.keys((yield* store.get(user, id)).metadata).length, 8)
    })
  ),

  "title, thread, model, prompt, config and skills are updated one by one, and taken away": withConversation(
    (store, user, id) =>
      Effect.gen(function* () {
        yield* store.update({ user, id, title: "t", threadId: "h", model: "m", systemPrompt: "s" })
        yield* store.update({ user, id, config: { a: 1 }, activeSkills: ["x"] })
        yield* store.update({ user, id, title: null, model: null })
        const { activeSkills, config, model, systemPrompt, threadId, title } = yield* store.get(user, id)
        yield* equal(
          [title, threadId, model, systemPrompt, config, activeSkills],
          [null, "h", null, "s", { a: 1 }, ["x"]]
        )
        yield* store.update({ user, id })
        yield* failsWith("NotFound", store.update({ user, id, summaryMessageId: "none" }))
      })
  ),

  "costs add up exactly, and tokens do not get lost": withConversation((store, user, id) =>
    Effect.gen(function* () {
      yield* many(10, () => store.addUsage({ user, id, promptTokens: 3, completionTokens: 1, cost: "0.1" }))
      yield* store.addUsage({ user, id, cost: "0.000000000000000001" })
      yield* store.addUsage({ user, id, cost: "12345678901234567890" })
      const conversation = yield* store.get(user, id)
      yield* equal([conversation.promptTokens, conversation.completionTokens], [30, 10])
      yield* equal(conversation.cost.replace(/0+$/, ""), "12345678901234567891.000000000000000001")
      yield* failsWith("InvalidInput", store.addUsage({ user, id, cost: "-1" }))
      yield* failsWith("InvalidInput", store.addUsage({ user, id, promptTokens: -1 }))
      yield* failsWith("InvalidInput", store.addUsage({ user, id, cost: "99999999999999999999" }))
      yield* failsWith("InvalidInput", store.addUsage({ user, id, promptTokens: Number.MAX_SAFE_INTEGER }))
    })
  ),

  "facts are replaced together, keep their order, and those that stay keep their time": withConversation(
    (store, user, id) =>
      Effect.gen(function* () {
        yield* store.setFacts({ user, id, facts: ["b", "a"] })
        const before = yield* store.facts(user, id)
        yield* later(1000)(store.setFacts({ user, id, facts: ["c", "a"] }))
        const after = yield* store.facts(user, id)
        yield* equal(
          after.map(({ fact }) => fact),
          ["c", "a"]
        )
        yield* equal(after[1], before[1])
        yield* store.setFacts({ user, id, facts: [] })
        yield* equal(yield* store.facts(user, id), [])
      })
  ),

  "a list has the newest activity first, of one channel or all, with title, counts and type": Effect.gen(function* () {
    const store = yield* ConversationStore
    const user = yield* fresh("user")
    const a = yield* store.create({ user, channel: "web" })
    const b = yield* store.create({ user, channel: "cli", title: "Given", metadata: { thread_type: "thread" } })
    yield* later(1000)(talk(store, user, a, 3))
    const { cursor, items } = yield* store.list(user)
    yield* equal(cursor, null)
    yield* equal(
      items.map(({ channel, id, messageCount, threadType, title, userMessageCount }) => [
        id,
        channel,
        title,
        threadType,
        messageCount,
        userMessageCount
      ]),
      [
        [a, "web", "1", null, 3, 2],
        [b, "cli", "Given", "thread", 0, 0]
      ]
    )
    yield* equal(
      (yield* store.list(user, { channel: "cli" })).items.map(({ id }) => id),
      [b]
    )
    yield* later(2000)(store.touch({ user, id: b }))
    yield* equal((yield* store.list(user, { limit: 1 })).items[0]!.id, b)
  }),

  "pages miss nothing and repeat nothing where others wrote times finer than a millisecond": Effect.gen(function* () {
    const [store, workspace, backend] = [yield* ConversationStore, yield* WorkspaceStore, yield* Backend]
    const user = yield* fresh("user")
    const ids = yield* many(6, () => store.create({ user, channel: "web" }))
    const documents = yield* many(6, (n) => workspace.write({ user, path: `p${n}`, content: "" }))
    const at = (n: number) => `2026-01-01T00:00:00.123${[400, 100, 300, 200, 600, 500][n]}Z`
    for (let n = 0; n < 6; n++) {
      yield* backend.execute("UPDATE db_hub_conversations SET last_activity_at = ? WHERE id = ?", [at(n), ids[n]!])
      yield* backend.execute("UPDATE db_hub_documents SET updated_at = ? WHERE id = ?", [at(n), documents[n]!.id])
    }
    const order = [4, 5, 0, 2, 3, 1]
    const conversations = yield* pagesOf((cursor) => store.list(user, { limit: 2, cursor }))
    yield* equal(
      conversations.map(({ id }) => id),
      order.map((n) => ids[n])
    )
    const listed = yield* pagesOf((cursor) => workspace.listDocuments(user, { limit: 2, cursor }))
    yield* equal(
      listed.map(({ id }) => id),
      order.map((n) => documents[n]!.id)
    )
  }),

  "a list is read page by page where all have one time of activity": Effect.gen(function* () {
    const [store, backend] = [yield* ConversationStore, yield* Backend]
    const user = yield* fresh("user")
    const created = yield* many(7, () => store.create({ user, channel: "web" }))
    yield* backend.execute("UPDATE db_hub_conversations SET last_activity_at = ? WHERE user_id = ?", [
      new Date("2026-01-01T00:00:00.123Z"),
      user
    ])
    const seen = yield* pagesOf((cursor) => store.list(user, { limit: 3, cursor }))
    yield* equal(
      seen.map(({ id }) => id),
      created.sort().reverse()
    )
    for (const cursor of ["somewhere", "|", "2026-01-01|", "now|a", "2026-01-01T00:00:00Z' OR 1 = 1 --|a"]) {
      yield* failsWith("InvalidInput", store.list(user, { cursor }))
    }
    yield* failsWith("InvalidInput", store.list(user, { limit: 1.5 }))
  }),

  "activity is told apart within a second": Effect.gen(function* () {
    const store = yield* ConversationStore
    const user = yield* fresh("user")
    const ids = yield* Effect.forEach([1, 2, 3, 4], (n) => later(100 * n)(store.create({ user, channel: "web" })))
    const order = Effect.map(store.list(user), ({ items }) => items.map(({ id }) => id))
    yield* equal(yield* order, [...ids].reverse())
    yield* later(500)(store.touch({ user, id: ids[1]! }))
    yield* equal((yield* order)[0], ids[1])
  }),

  "adding a message is activity, also where a clock was ahead": withConversation((store, user, id) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      const ahead = new Date(Date.now() + 3_600_000)
      yield* backend.execute("UPDATE db_hub_conversations SET last_activity_at = ? WHERE id = ?", [ahead, id])
      yield* talk(store, user, id, 1)
      yield* equal((yield* store.get(user, id)).lastActivityAt, ahead)
    })
  ),

  "a preview is cut after 100 characters, never within one": withConversation((store, user, id) =>
    Effect.gen(function* () {
      yield* store.addMessage({ user, conversation: id, role: "assistant", content: "not the user" })
      yield* store.addMessage({ user, conversation: id, role: "user", content: `説明${"🙂".repeat(200)}` })
      yield* store.addMessage({ user, conversation: id, role: "user", content: "second" })
      const [summary] = (yield* store.list(user)).items
      yield* equal(summary!.title, `説明${"🙂".repeat(98)}`)
    })
  ),

  "rotation keeps the newest messages and the compactions, and sets the counters right": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        yield* talk(store, user, conversation, 6)
        const { id } = yield* store.compact({ user, conversation, summary: "S", through: 3 })
        yield* equal(yield* store.rotate({ user, conversation, keep: 10 }), 0)
        yield* equal(yield* store.rotate({ user, conversation, keep: 2 }), 4)
        yield* equal(yield* everything(store, user, conversation), ["5", "6", "S"])
        yield* equal(counters(yield* store.get(user, conversation)).slice(0, 2), [2, 1])
        yield* equal((yield* store.get(user, conversation)).summaryMessageId, id)
        yield* equal(yield* store.rotate({ user, conversation, keep: 0 }), 2)
        yield* equal(yield* store.clear({ user, conversation }), 1)
        const { lastSeq, messageCount, summaryMessageId } = yield* store.get(user, conversation)
        yield* equal([lastSeq, messageCount, summaryMessageId], [7, 0, null])
      })
  ),

  "a compaction stands for the messages up to its number; those that came meanwhile stay after it": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        yield* talk(store, user, conversation, 6)
        yield* equal(contents((yield* store.context(user, conversation)).messages).length, 6)
        const { id, seq } = yield* store.compact({
          user,
          conversation,
          summary: "S",
          through: 4,
          metadata: { by: "me" }
        })
        yield* store.addMessage({ user, conversation, role: "user", content: "7" })
        const { messages, summary } = yield* store.context(user, conversation)
        yield* equal(contents(messages), ["5", "6", "7"])
        yield* equal(
          [summary!.id, summary!.kind, summary!.content, summary!.coversSeq, summary!.seq],
          [id, "compaction", "S", 4, seq]
        )
        yield* equal(summary!.metadata, { by: "me", messagesBefore: 6, messagesAfter: 2 })
        yield* equal(counters(yield* store.get(user, conversation)).slice(0, 2), [7, 4])
        yield* failsWith("DbConflict", store.compact({ user, conversation, summary: "late", through: 3 }))
        yield* failsWith("InvalidInput", store.compact({ user, conversation, summary: "far", through: 99 }))
      })
  ),

  "what a compaction stands for is dropped, older compactions too, and no message passes for one": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const metadata = { type: "compaction_summary", tool_summary: "compaction_summary" }
        yield* talk(store, user, conversation, 3)
        yield* store.addMessage({ user, conversation, role: "system", content: "compaction_summary", metadata })
        yield* equal(yield* store.dropCompacted({ user, conversation }), 0)
        yield* store.compact({ user, conversation, summary: "S1", through: 2 })
        yield* store.compact({ user, conversation, summary: "S2", through: 3 })
        yield* equal(yield* store.dropCompacted({ user, conversation }), 4)
        yield* equal(yield* everything(store, user, conversation), ["compaction_summary", "S2"])
        yield* equal(contents((yield* store.context(user, conversation)).messages), ["compaction_summary"])
        yield* equal((yield* store.get(user, conversation)).messageCount, 1)
      })
  ),

  "a plain message can be the summary message, until it is deleted": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const ids = yield* talk(store, user, conversation, 4)
      yield* store.update({ user, id: conversation, summaryMessageId: ids[1]! })
      const { messages, summary } = yield* store.context(user, conversation)
      yield* equal([summary!.content, contents(messages)], ["2", ["3", "4"]])
      yield* store.deleteMessage({ user, conversation, id: ids[1]! })
      yield* equal((yield* store.context(user, conversation)).summary, null)
    })
  ),

  "a fork has what was said up to its message, and both go on by themselves": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const ids = yield* talk(store, user, conversation, 5)
        yield* store.update({ user, id: conversation, title: "T", config: { a: 1 } })
        yield* store.addUsage({ user, id: conversation, cost: "1", promptTokens: 9 })
        const fork = yield* store.fork({ user, conversation, message: ids[2]! })
        const branch = yield* store.get(user, fork)
        yield* equal(
          [branch.forkedFrom, branch.forkedSeq, branch.title, branch.preview, branch.config, branch.lastSeq],
          [conversation, 3, "T", "1", { a: 1 }, 3]
        )
        yield* equal(counters(branch), [3, 2, 0, 0, 0])
        yield* store.addMessage({ user, conversation: fork, role: "user", content: "4b" })
        yield* store.updateMessage({ user, conversation: fork, id: ids[0]!, content: "1b" })
        yield* equal(yield* everything(store, user, fork), ["1b", "2", "3", "4b"])
        yield* equal(yield* everything(store, user, conversation), ["1", "2", "3", "4", "5"])
        yield* equal((yield* store.get(user, conversation)).messageCount, 5)
        yield* failsWith("NotFound", store.fork({ user, conversation, message: "none" }))
      })
  ),

  "a fork has the summary that was there at its message": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      yield* talk(store, user, conversation, 2)
      const first = yield* store.compact({ user, conversation, summary: "S1", through: 1 })
      const message = yield* store.addMessage({ user, conversation, role: "user", content: "3" })
      yield* store.compact({ user, conversation, summary: "S2", through: message.seq })
      const fork = yield* store.fork({ user, conversation, message: message.id })
      const { messages, summary } = yield* store.context(user, fork)
      yield* equal([summary!.id, contents(messages)], [first.id, ["2", "3"]])
    })
  ),

  "branches are listed, and outlive what they branched off": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const [message] = yield* talk(store, user, conversation, 1)
      const child = yield* store.create({ user, channel: "web", parentId: conversation })
      const one = yield* store.fork({ user, conversation, message: message!, title: "one" })
      const two = yield* later(1000)(store.fork({ user, conversation, message: message!, title: "two" }))
      const first = yield* store.branches(user, conversation, { limit: 1 })
      const rest = yield* store.branches(user, conversation, { limit: 1, cursor: first.cursor })
      yield* equal(
        [...first.items, ...rest.items].map(({ id, title }) => [id, title]),
        [
          [two, "two"],
          [one, "one"]
        ]
      )
      yield* equal(rest.cursor, null)
      yield* store.delete({ user, id: conversation })
      yield* equal(yield* everything(store, user, one), ["1"])
      yield* equal((yield* store.get(user, one)).forkedFrom, null)
      yield* equal((yield* store.get(user, child)).parentId, null)
      yield* failsWith("NotFound", store.branches(user, conversation))
    })
  ),

  "whatever is written at once, nobody is in another's way and the counters are right": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const ids = yield* talk(store, user, conversation, 20)
        const id = conversation
        yield* many(10, (i) =>
          Effect.all(
            [
              store.addMessage({ user, conversation, role: "user", content: "more" }),
              store.updateMessage({ user, conversation, id: ids[10 + i]!, content: "changed" }),
              store.deleteMessage({ user, conversation, id: ids[i]! }),
              store.compact({ user, conversation, summary: "S", through: 0 }),
              store.setFacts({ user, id, facts: [String(i)] }),
              Effect.flatMap(store.fork({ user, conversation, message: ids[19]! }), (fork) =>
                i % 2 === 0 ? store.delete({ user, id: fork }) : Effect.void
              )
            ],
            { concurrency: "unbounded" }
          )
        )
        const { items } = yield* store.messages(user, conversation, { limit: 100 })
        const messages = items.filter(({ kind }) => kind === "message")
        const { lastSeq, messageCount, userMessageCount } = yield* store.get(user, conversation)
        yield* equal([items.length, messages.length, lastSeq], [30, 20, 40])
        yield* equal(
          [messageCount, userMessageCount],
          [messages.length, messages.filter(({ role }) => role === "user").length]
        )
        yield* equal((yield* store.facts(user, id)).length, 1)
        yield* equal((yield* store.branches(user, id)).items.length, 5)
      })
  ),

  "a deleted conversation leaves nothing behind": withConversation((store, user, id) =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* talk(store, user, id, 2)
      yield* store.setFacts({ user, id, facts: ["a"] })
      yield* store.delete({ user, id })
      for (const table of ["db_hub_messages", "db_hub_conversation_facts"]) {
        yield* equal(yield* backend.query(`SELECT 1 AS found FROM ${table} WHERE conversation_id = ?`, [id]), [])
      }
      yield* failsWith("NotFound", store.get(user, id))
      yield* failsWith("NotFound", store.delete({ user, id }))
    })
  ),

  "a routine's, a heartbeat's and an assistant's conversation say what they are": Effect.gen(function* () {
    const store = yield* ConversationStore
    const user = yield* fresh("user")
    const told = (id: string) =>
      Effect.map(store.get(user, id), ({ channel, metadata, userId }) => [channel, userId, metadata])
    const routine = yield* store.getOrCreateRoutine({ user, routine: "r", name: "Daily" })
    yield* equal(yield* told(routine), [
      "routine",
      user,
      { thread_type: "routine", routine_id: "r", routine_name: "Daily" }
    ])
    yield* equal(yield* store.getOrCreateRoutine({ user, routine: "r", name: "Renamed" }), routine)
    yield* equal((yield* store.get(user, routine)).metadata["routine_name"], "Daily")
    yield* equal(yield* told(yield* store.getOrCreateHeartbeat({ user })), [
      "heartbeat",
      user,
      { thread_type: "heartbeat" }
    ])
    const assistant = yield* store.getOrCreateAssistant({ user, channel: "web" })
    yield* equal(yield* told(assistant), ["web", user, { thread_type: "assistant", title: "Assistant" }])
    const other = yield* fresh("user")
    yield* equal(
      (yield* store.getOrCreateHeartbeat({ user: other })) === (yield* store.getOrCreateHeartbeat({ user })),
      false
    )
  }),

  "what a message cost is kept and summed to the last digit": withConversation((store, user, conversation) =>
    Effect.gen(function* () {
      const costs = ["0.1", "0.2", "0.000000000000000001", "12345678901234567890.123456789012345678"]
      const kept = yield* Effect.forEach(costs, (cost) =>
        Effect.flatMap(store.addMessage({ user, conversation, role: "assistant", content: "", cost }), ({ id }) =>
          store.getMessage(user, conversation, id)
        )
      )
      yield* equal(
        kept.map(({ cost }) => cost),
        costs
      )
      yield* equal((yield* store.get(user, conversation)).cost, "12345678901234567890.423456789012345679")
      for (const cost of ["1e3", "NaN", "-1", "0.1234567890123456789"]) {
        yield* failsWith("InvalidInput", store.addMessage({ user, conversation, role: "user", content: "", cost }))
      }
    })
  ),

  "a fork's entries are the ones that they were copied from, in every field": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const { id } = yield* store.addMessage({
          user,
          conversation,
          role: "tool",
          content: "日本語 🙂",
          name: "search",
          toolCallId: "call",
          toolCalls: [{ id: "next", arguments: { q: null } }],
          toolResults: { ok: [true] },
          model: "m",
          promptTokens: 3_000_000_000,
          completionTokens: 1,
          cost: "0.000015",
          metadata: { a: { b: [1, null] } },
          finishedAt: new Date("2026-02-03T04:05:06.789Z")
        })
        yield* store.compact({ user, conversation, summary: "S", through: 1, metadata: { by: "me" } })
        const last = yield* store.addMessage({ user, conversation, role: "user", content: "on" })
        yield* store.setFacts({ user, id: conversation, facts: ["one"] })
        const fork = yield* store.fork({ user, conversation, message: last.id })
        const entries = (of: string) => Effect.map(store.messages(user, of), ({ items }) => items)
        const copied = yield* entries(fork)
        yield* equal(
          copied.map((entry) => ({ ...entry, conversationId: conversation })),
          yield* entries(conversation)
        )
        yield* equal([copied.length, copied[0]!.id], [3, id])
      })
  ),

  "somebody else's conversation is NotFound for every operation, and stays as it was": withConversation(
    (store, owner, id) =>
      Effect.gen(function* () {
        const user = yield* fresh("stranger")
        const [message] = yield* talk(store, owner, id, 1)
        const before = yield* store.get(owner, id)
        const conversation = id
        for (const attempt of [
          store.get(user, id),
          store.facts(user, id),
          store.branches(user, id),
          store.children(user, id),
          store.messages(user, id),
          store.getMessage(user, id, message!),
          Stream.runCollect(store.allMessages(user, id)),
          store.context(user, id),
          store.create({ user, channel: "web", parentId: id }),
          store.touch({ user, id }),
          store.update({ user, id, title: "stolen" }),
          store.setField({ user, id, path: ["a"], value: 1 }),
          store.mergeMetadata({ user, id, patch: { a: 1 } }),
          store.addUsage({ user, id, promptTokens: 1 }),
          store.setFacts({ user, id, facts: ["a"] }),
          store.delete({ user, id }),
          store.fork({ user, conversation, message: message! }),
          store.addMessage({ user, conversation, role: "user", content: "x" }),
          store.addMessages({ user, conversation, messages: [{ role: "user", content: "x" }] }),
          store.updateMessage({ user, conversation, id: message!, content: "x" }),
          store.deleteMessage({ user, conversation, id: message! }),
          store.compact({ user, conversation, summary: "x", through: 1 }),
          store.dropCompacted({ user, conversation }),
          store.rotate({ user, conversation, keep: 0 }),
          store.clear({ user, conversation })
        ]) {
          yield* failsWith<unknown, unknown, never>("NotFound", attempt)
        }
        yield* failsWith("DbConflict", store.create({ user, channel: "web", id }))
        yield* equal(yield* store.get(owner, id), before)
        yield* equal(yield* everything(store, owner, id), ["1"])
        yield* equal((yield* store.list(user)).items, [])
      })
  ),

  "a message to a conversation that is not there is NotFound": Effect.gen(function* () {
    const store = yield* ConversationStore
    const [user, conversation] = [yield* fresh("user"), yield* fresh("conversation")]
    yield* failsWith("NotFound", store.addMessage({ user, conversation, role: "user", content: "x" }))
    yield* failsWith("NotFound", store.touch({ user, id: conversation }))
  }),

  "an entry that cannot be read is named by table and id, without its text": withConversation(
    (store, user, conversation) =>
      Effect.gen(function* () {
        const backend = yield* Backend
        const [id] = yield* talk(store, user, conversation, 1)
        yield* backend.execute("UPDATE db_hub_messages SET metadata = ? WHERE conversation_id = ? AND id = ?", [
          ["s3cret"],
          conversation,
          id!
        ])
        const error = yield* failsWith("DbCorrupt", store.messages(user, conversation))
        const { message } = error as { readonly message: string }
        NodeAssert.ok(message.includes("db_hub_messages") && message.includes(id!), message)
        NodeAssert.ok(!JSON.stringify(error).includes("s3cret"))
      })
  )
}
