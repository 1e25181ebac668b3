import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { JobStore } from "../../src/services/JobStore.js"
import { LightweightAction, ManualTrigger, RoutineStore } from "../../src/services/RoutineStore.js"
import { SandboxStore } from "../../src/services/SandboxStore.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"
import { ToolFailureStore } from "../../src/services/ToolFailureStore.js"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"
import * as Postgres from "../support/postgres.js"

const user = "ada"

/** A row or more in each of the stores that the first steps make. */
const fill = Effect.gen(function* () {
  const settings = yield* SettingsStore
  yield* settings.set({ user, key: "tone", value: "short" })
  const workspace = yield* WorkspaceStore
  for (const content of ["one", "two"]) {
    yield* workspace.write({ user, path: "notes", content, chunks: [{ text: content }] })
  }
  const conversations = yield* ConversationStore
  const conversation = yield* conversations.create({ user, channel: "web" })
  yield* conversations.addMessage({ user, conversation, role: "user", content: "hello" })
  yield* conversations.setFacts({ user, id: conversation, facts: ["likes tea"] })
  const failures = yield* ToolFailureStore
  yield* failures.record({ tool: "hammer", error: "broke" })
  const jobs = yield* JobStore
  const job = yield* jobs.save({ user, title: "a", description: "b", conversationId: conversation })
  yield* jobs.transition({ user, id: job, to: "in_progress" })
  yield* jobs.addAction({ user, job, toolName: "hammer", input: {}, success: true })
  const llmCall = { provider: "p", model: "m", inputTokens: 1, outputTokens: 2, cost: "0.1" }
  yield* jobs.recordLlmCall({ user, job, conversation, ...llmCall })
  const sandbox = yield* SandboxStore
  const box = yield* sandbox.save({ user, task: "build", worker: "w", leaseMillis: 60_000 })
  yield* sandbox.addEvent({ user, job: box, eventType: "log", data: {} })
  const routines = yield* RoutineStore
  const action = LightweightAction.make({ prompt: "p" })
  const { id } = yield* routines.create({ user, name: "daily", trigger: ManualTrigger.make({}), action })
  yield* routines.startRun({ user, routineId: id })
})

const tables = [
  ...["settings", "documents", "document_versions", "document_chunks", "conversations", "messages"],
  ...["conversation_facts", "tool_failures", "jobs", "job_transitions", "job_actions", "llm_calls"],
  ...["sandbox_jobs", "sandbox_events", "routines", "routine_runs"]
]

const counts = Effect.flatMap(Backend, (backend) =>
  Effect.forEach(tables, (table) =>
    Effect.map(backend.query(`SELECT count(*) AS n FROM db_hub_${table}`), ([row]) => [table, Number(row!["n"])])
  )
)

const engines = [
  ["SQLite", Sqlite.SqliteMemory, false],
  ["PostgreSQL", Postgres.layer(), Postgres.noServer]
] as const

for (const [engine, layer, missing] of engines) {
  describe.skipIf(missing)(`the hub's own migrations on ${engine}`, () => {
    it.live(
      "take no row away that was there before their step, neither up nor down",
      () =>
        Effect.gen(function* () {
          const { migrator } = yield* Backend
          yield* fill
          const before = yield* counts
          for (const [table, n] of before) assert.isAbove(Number(n), 0, String(table))
          const history = yield* migrator.history
          const own = history.find(({ name }) => name === "routines")!.id
          const targets = Array.from({ length: history.length - own }, (_, n) => own + n)
          for (const target of [...targets.toReversed(), ...targets.slice(1), history.length]) {
            yield* migrator.migrate({ target })
            assert.deepStrictEqual(yield* counts, before, `version ${target}`)
          }
        }).pipe(Effect.provide(Layer.provideMerge(StoresLive, layer))),
      120_000
    )
  })
}
