/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { AuditLog } from "../services/AuditLog.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { FileStore } from "../services/FileStore.js"
import { JobStore } from "../services/JobStore.js"
import { MemoryStore } from "../services/MemoryStore.js"
import { PromptTemplateStore } from "../services/PromptTemplateStore.js"
import { LightweightAction, ManualTrigger, RoutineGuardrails, RoutineStore } from "../services/RoutineStore.js"
import { SandboxStore } from "../services/SandboxStore.js"
import { ScheduledJobStore } from "../services/ScheduledJobStore.js"
import { SkillStore } from "../services/SkillStore.js"
import { ToolFailureStore } from "../services/ToolFailureStore.js"
import { WorkspaceStore } from "../services/WorkspaceStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, fresh, type Suite } from "./Case.js"

/** A write that counts something, or adds to it, and what is counted. */
interface Counting {
  readonly write: Effect.Effect<unknown, unknown>
  readonly count: Effect.Effect<unknown, unknown>
  /** After one write. */
  readonly once: unknown
}

const counting = (user: string) =>
  Effect.gen(function* () {
    const conversations = yield* ConversationStore
    const jobs = yield* JobStore
    const sandbox = yield* SandboxStore
    const routines = yield* RoutineStore
    const memories = yield* MemoryStore
    const skills = yield* SkillStore
    const templates = yield* PromptTemplateStore
    const scheduled = yield* ScheduledJobStore
    const files = yield* FileStore
    const workspace = yield* WorkspaceStore
    const failures = yield* ToolFailureStore
    const audit = yield* AuditLog
    const conversation = yield* conversations.create({ user, channel: "c" })
    const told = conversations.get(user, conversation)
    const job = yield* jobs.save({ user, title: "t", description: "" })
    const box = yield* sandbox.save({ user, task: "t", worker: "w", leaseMillis: 60_000 })
    const guardrails = RoutineGuardrails.make({ cooldownSeconds: 0, maxConcurrent: 9 })
    const made = { user, trigger: ManualTrigger.make({}), action: LightweightAction.make({ prompt: "p" }), guardrails }
    const [started, failed] = [
      yield* routines.create({ ...made, name: "started" }),
      yield* routines.create({ ...made, name: "failed" })
    ]
    const start = yield* routines.startRun({ user, routineId: failed.id })
    const run = start._tag === "Started" ? start.run.id : ""
    const memory = yield* memories.store({ user, content: "x" })
    const { skill } = yield* skills.insert({ user, title: "t", content: "c", taskType: "x" })
    const schedule = yield* scheduled.save({ user, schedule: "@daily", type: "cron", command: "c" })
    const document = yield* workspace.write({ user, path: "d", content: "a" })
    const [tool, repaired] = [yield* fresh("tool"), yield* fresh("tool")]
    yield* failures.record({ tool: repaired, error: "e" })
    const cases: Readonly<Record<string, Counting>> = {
      "ConversationStore.addMessage": {
        write: conversations.addMessage({ user, conversation, role: "user", content: "x" }),
        count: Effect.map(told, ({ lastSeq, messageCount, userMessageCount }) => [
          lastSeq,
          messageCount,
          userMessageCount
        ]),
        once: [1, 1, 1]
      },
      "ConversationStore.addUsage": {
        write: conversations.addUsage({ user, id: conversation, promptTokens: 2, completionTokens: 3, cost: "0.5" }),
        count: Effect.map(told, ({ completionTokens, cost, promptTokens }) => [
          promptTokens,
          completionTokens,
          Number(cost)
        ]),
        once: [2, 3, 0.5]
      },
      "ConversationStore.fork": {
        write: Effect.flatMap(conversations.messages(user, conversation), ({ items: [first] }) =>
          conversations.fork({ user, conversation, message: first!.id })
        ),
        count: Effect.map(conversations.branches(user, conversation), ({ items }) => items.length),
        once: 1
      },
      "JobStore.addAction": {
        write: jobs.addAction({ user, job, toolName: "t", input: null, success: true, cost: "0.25" }),
        count: Effect.map(jobs.get(user, job), ({ actionCount, actualCost }) => [actionCount, Number(actualCost)]),
        once: [1, 0.25]
      },
      "JobStore.recordLlmCall": {
        write: jobs.recordLlmCall({
          user,
          job,
          provider: "p",
          model: "m",
          inputTokens: 2,
          outputTokens: 3,
          cost: "0.5"
        }),
        count: Effect.map(
          Effect.all([jobs.llmUsage(user, job), jobs.get(user, job)]),
          ([{ calls }, { totalTokensUsed }]) => [calls, totalTokensUsed]
        ),
        once: [1, 5]
      },
      "JobStore.transition": {
        write: jobs.transition({ user, id: job, to: "in_progress" }),
        count: Effect.map(jobs.transitions(user, job), (all) => all.length),
        once: 1
      },
      "SandboxStore.addEvent": {
        write: sandbox.addEvent({ user, job: box, eventType: "e", data: 1 }),
        count: Effect.map(sandbox.events(user, box), (all) => all.length),
        once: 1
      },
      "RoutineStore.startRun": {
        write: routines.startRun({ user, routineId: started.id }),
        count: Effect.map(routines.get(user, started.id), ({ runCount }) => runCount),
        once: 1
      },
      "RoutineStore.completeRun": {
        write: routines.completeRun({ user, id: run, status: "failed" }),
        count: Effect.map(routines.get(user, failed.id), ({ consecutiveFailures }) => consecutiveFailures),
        once: 1
      },
      "MemoryStore.recordAccess": {
        write: memories.recordAccess({ user, ids: [memory.id] }),
        count: Effect.map(memories.get(user, memory.id), ({ accessCount }) => accessCount),
        once: 1
      },
      "SkillStore.recordUse": {
        write: skills.recordUse({ user, id: skill.id, succeeded: true }),
        count: Effect.map(skills.get(user, skill.id), ({ successCount, usageCount }) => [usageCount, successCount]),
        once: [1, 1]
      },
      "PromptTemplateStore.save": {
        write: templates.save({ user, name: "n", section: "s", content: "c" }),
        count: Effect.map(templates.versions(user, "n"), (all) => all.map(({ version }) => version)),
        once: [1]
      },
      "ScheduledJobStore.startRun": {
        write: scheduled.startRun({ user, id: schedule, runCount: 0 }),
        count: Effect.map(scheduled.get(user, schedule), ({ runCount }) => runCount),
        once: 1
      },
      "FileStore.save": {
        write: files.save({ user, sessionId: "s", path: "f", content: "x" }),
        count: Effect.map(files.getByPath(user, "s", "f"), ({ version }) => version),
        once: 1
      },
      "WorkspaceStore.append": {
        write: workspace.append({ user, path: "d", text: "b", separator: "" }),
        count: Effect.map(workspace.getById(user, document.id), ({ content, version }) => [content, version]),
        once: ["ab", 2]
      },
      "ToolFailureStore.record": {
        write: failures.record({ tool, error: "e" }),
        count: Effect.map(failures.get(tool), ({ errorCount }) => errorCount),
        once: 1
      },
      "ToolFailureStore.incrementRepairAttempts": {
        write: failures.incrementRepairAttempts({ tool: repaired }),
        count: Effect.map(failures.get(repaired), ({ repairAttempts }) => repairAttempts),
        once: 1
      },
      "AuditLog.record": {
        write: audit.record({ tool: "t", caller: user, level: "read", allowed: true }),
        count: audit.count({ caller: user }),
        once: 1
      }
    }
    return cases
  })

/**
 * What every write that counts promises of a write that is sent again.
 *
 * @since 0.1.0
 * @category suites
 */
export const repeatedSuite: Suite = {
  "a write that is sent again under its key counts once and has the first one's result": Effect.gen(function* () {
    for (const [what, { count, once, write }] of Object.entries(yield* counting(yield* fresh("user")))) {
      const again = withIdempotencyKey(yield* fresh("key"))(write)
      const first = yield* again
      const more = yield* Effect.all([again, again, again], { concurrency: "unbounded" })
      yield* equal(more, [first, first, first], what)
      yield* equal(yield* count, once, what)
    }
  })
}
