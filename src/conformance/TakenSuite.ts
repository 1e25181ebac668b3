/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { isDbError } from "../errors/index.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { JobStore } from "../services/JobStore.js"
import { MemoryStore } from "../services/MemoryStore.js"
import { ProjectStore } from "../services/ProjectStore.js"
import { PromptTemplateStore } from "../services/PromptTemplateStore.js"
import { LightweightAction, ManualTrigger, RoutineStore } from "../services/RoutineStore.js"
import { SandboxStore } from "../services/SandboxStore.js"
import { ScheduledJobStore } from "../services/ScheduledJobStore.js"
import { SessionScoreStore } from "../services/SessionScoreStore.js"
import { SkillStore } from "../services/SkillStore.js"
import { equal, fresh, type Suite } from "./Case.js"

/** How a user makes a thing under an id, and reads it. */
interface Making {
  readonly make: (user: string, id: string) => Effect.Effect<unknown, unknown>
  readonly get: (user: string, id: string) => Effect.Effect<unknown, unknown>
}

const makings = Effect.gen(function* () {
  const conversations = yield* ConversationStore
  const memories = yield* MemoryStore
  const jobs = yield* JobStore
  const sandbox = yield* SandboxStore
  const scheduled = yield* ScheduledJobStore
  const projects = yield* ProjectStore
  const skills = yield* SkillStore
  const templates = yield* PromptTemplateStore
  const scores = yield* SessionScoreStore
  const routines = yield* RoutineStore
  const rates = { reward: 0.5, success: 0.5, efficiency: 0.5, tokens: 1, messageCount: 1, userCorrections: 0 }
  const all: Readonly<Record<string, Making>> = {
    conversation: { make: (user, id) => conversations.create({ user, id, channel: "c" }), get: conversations.get },
    fork: {
      make: (user, id) =>
        Effect.gen(function* () {
          const conversation = yield* conversations.create({ user, channel: "c" })
          const message = yield* conversations.addMessage({ user, conversation, role: "user", content: user })
          return yield* conversations.fork({ user, conversation, message: message.id, id })
        }),
      get: conversations.get
    },
    memory: { make: (user, id) => memories.store({ user, id, content: user }), get: memories.get },
    job: { make: (user, id) => jobs.save({ user, id, title: user, description: "" }), get: jobs.get },
    "sandbox job": {
      make: (user, id) => sandbox.save({ user, id, task: user, worker: "w", leaseMillis: 1000 }),
      get: sandbox.get
    },
    "scheduled job": {
      make: (user, id) => scheduled.save({ user, id, schedule: "@daily", type: "cron", command: user }),
      get: scheduled.get
    },
    project: { make: (user, id) => projects.create({ user, id, name: user, path: "/p" }), get: projects.get },
    skill: {
      make: (user, id) => skills.insert({ user, id, title: user, content: "c", taskType: "x" }),
      get: skills.get
    },
    "prompt template": {
      make: (user, id) => templates.save({ user, id, name: "n", section: "s", content: user }),
      get: templates.get
    },
    "session score": { make: (user, id) => scores.record({ user, id, sessionId: "s", ...rates }), get: scores.get },
    routine: {
      make: (user, id) =>
        routines.create({
          user,
          id,
          name: "r",
          trigger: ManualTrigger.make({}),
          action: LightweightAction.make({ prompt: user })
        }),
      get: routines.get
    }
  }
  return all
})

/**
 * What every store promises of an id that is taken.
 *
 * @since 0.1.0
 * @category suites
 */
export const takenSuite: Suite = {
  "an id that somebody else has is refused, and theirs stays as it was": Effect.gen(function* () {
    for (const [what, { get, make }] of Object.entries(yield* makings)) {
      const [ada, bob, id] = [yield* fresh("ada"), yield* fresh("bob"), yield* fresh("id")]
      yield* make(ada, id)
      const before = yield* get(ada, id)
      const error = yield* Effect.flip(make(bob, id))
      yield* Effect.sync(() => {
        const tag = isDbError(error) ? error._tag : String(error)
        NodeAssert.ok(["DbConflict", "NotFound"].includes(tag), `${what}: ${tag}`)
        NodeAssert.ok(!JSON.stringify(error).includes(ada), `${what}: the owner is not named`)
      })
      yield* equal(yield* get(ada, id), before, what)
      yield* equal(yield* Effect.isFailure(get(bob, id)), true, what)
    }
  })
}
