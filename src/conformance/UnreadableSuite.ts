/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { Backend, Json, type SqlValue } from "../services/Backend.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { FileStore } from "../services/FileStore.js"
import { JobStore } from "../services/JobStore.js"
import { MemoryStore } from "../services/MemoryStore.js"
import { ProjectStore } from "../services/ProjectStore.js"
import { PromptTemplateStore } from "../services/PromptTemplateStore.js"
import { SandboxStore } from "../services/SandboxStore.js"
import { ScheduledJobStore } from "../services/ScheduledJobStore.js"
import { SessionScoreStore } from "../services/SessionScoreStore.js"
import { SkillStore } from "../services/SkillStore.js"
import { WorkspaceStore } from "../services/WorkspaceStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

/** A store with one thing in it, a column of whose row is then given a value that its model has not. */
interface Thing {
  readonly table: string
  readonly id: string
  readonly column: string
  readonly value: SqlValue
  readonly get: Effect.Effect<unknown, unknown>
  readonly list: Effect.Effect<unknown, unknown>
  readonly remove: Effect.Effect<unknown, unknown>
}

const noObject = new Json([1])

const things = (user: string) =>
  Effect.gen(function* () {
    const conversations = yield* ConversationStore
    const memories = yield* MemoryStore
    const jobs = yield* JobStore
    const sandbox = yield* SandboxStore
    const scheduled = yield* ScheduledJobStore
    const projects = yield* ProjectStore
    const files = yield* FileStore
    const skills = yield* SkillStore
    const templates = yield* PromptTemplateStore
    const scores = yield* SessionScoreStore
    const workspace = yield* WorkspaceStore
    const conversation = yield* conversations.create({ user, channel: "c" })
    const memory = yield* memories.store({ user, content: "x", embedding: { model: "unreadable", vector: [1, 0] } })
    const job = yield* jobs.save({ user, title: "t", description: "" })
    const sandboxed = yield* sandbox.save({ user, task: "t", worker: "w", leaseMillis: 1000 })
    const schedule = yield* scheduled.save({ user, schedule: "@daily", type: "cron", command: "c" })
    const project = yield* projects.create({ user, name: "p", path: "/p" })
    const file = yield* files.save({ user, sessionId: "s", path: "f", content: "" })
    const { skill } = yield* skills.insert({ user, title: "t", content: "c", taskType: "x" })
    const template = yield* templates.save({ user, name: "n", section: "s", content: "c" })
    const score = yield* scores.record({
      user,
      sessionId: "s",
      reward: 0.5,
      success: 0.5,
      efficiency: 0.5,
      tokens: 1,
      messageCount: 1,
      userCorrections: 0
    })
    const document = yield* workspace.write({ user, path: "d", content: "" })
    const all: Readonly<Record<string, Thing>> = {
      conversation: {
        table: "db_hub_conversations",
        id: conversation,
        column: "metadata",
        value: noObject,
        get: conversations.get(user, conversation),
        list: conversations.list(user),
        remove: conversations.delete({ user, id: conversation })
      },
      memory: {
        table: "db_hub_memories",
        id: memory.id,
        column: "metadata",
        value: noObject,
        get: memories.get(user, memory.id),
        list: memories.list(user),
        remove: memories.delete({ user, id: memory.id })
      },
      job: {
        table: "db_hub_jobs",
        id: job,
        column: "metadata",
        value: noObject,
        get: jobs.get(user, job),
        list: jobs.list(user),
        remove: jobs.delete({ user, id: job })
      },
      "sandbox job": {
        table: "db_hub_sandbox_jobs",
        id: sandboxed,
        column: "credential_grants",
        value: new Json("x"),
        get: sandbox.get(user, sandboxed),
        list: sandbox.list(user),
        remove: sandbox.delete({ user, id: sandboxed })
      },
      "scheduled job": {
        table: "db_hub_scheduled_jobs",
        id: schedule,
        column: "labels",
        value: new Json("x"),
        get: scheduled.get(user, schedule),
        list: scheduled.list(user),
        remove: scheduled.deleteIfExists({ user, id: schedule })
      },
      project: {
        table: "db_hub_projects",
        id: project.id,
        column: "status",
        value: "",
        get: projects.get(user, project.id),
        list: projects.list(user),
        remove: projects.delete({ user, id: project.id })
      },
      file: {
        table: "db_hub_files",
        id: file.id,
        column: "version",
        value: -1,
        get: files.get(user, file.id),
        list: files.list(user, "s"),
        remove: files.delete({ user, id: file.id })
      },
      skill: {
        table: "db_hub_skills",
        id: skill.id,
        column: "usage_count",
        value: -1,
        get: skills.get(user, skill.id),
        list: skills.list(user),
        remove: skills.delete({ user, id: skill.id })
      },
      "prompt template": {
        table: "db_hub_prompt_templates",
        id: template.id,
        column: "version",
        value: -1,
        get: templates.get(user, template.id),
        list: templates.versions(user, "n"),
        remove: templates.delete({ user, id: template.id })
      },
      "session score": {
        table: "db_hub_session_scores",
        id: score.id,
        column: "reward",
        value: 7,
        get: scores.get(user, score.id),
        list: scores.listBySession(user, "s"),
        remove: scores.delete({ user, id: score.id })
      },
      document: {
        table: "db_hub_documents",
        id: document.id,
        column: "metadata",
        value: noObject,
        get: workspace.get(user, "d"),
        list: workspace.listDocuments(user),
        remove: workspace.delete({ user, path: "d" })
      }
    }
    return all
  })

/**
 * What every store promises of a row that somebody spoilt.
 *
 * @since 0.1.0
 * @category suites
 */
export const unreadableSuite: Suite = {
  "an unreadable row is an error that names table and id, alone and in a list, and can be deleted": Effect.gen(
    function* () {
      const backend = yield* Backend
      const user = yield* fresh("user")
      const all = yield* things(user)
      for (const [what, { column, get, id, list, remove, table, value }] of Object.entries(all)) {
        yield* backend.execute(`UPDATE ${table} SET ${column} = ? WHERE id = ?`, [value, id])
        for (const read of [get, list]) {
          const error = yield* failsWith("DbCorrupt", read)
          yield* Effect.sync(() => NodeAssert.ok((error as Error).message.startsWith(`${table} ${id}: `), what))
        }
        yield* remove
        yield* equal(yield* backend.query(`SELECT id FROM ${table} WHERE id = ?`, [id]), [])
        yield* list
      }
    }
  )
}
