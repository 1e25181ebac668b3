/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { AuditLog } from "../services/AuditLog.js"
import { Backend, Json, type SqlValue } from "../services/Backend.js"
import { ConversationStore } from "../services/ConversationStore.js"
import { FileStore } from "../services/FileStore.js"
import { JobStore } from "../services/JobStore.js"
import { MemoryStore } from "../services/MemoryStore.js"
import { ProjectStore } from "../services/ProjectStore.js"
import { PromptTemplateStore } from "../services/PromptTemplateStore.js"
import { SandboxStore } from "../services/SandboxStore.js"
import { ScheduledJobStore } from "../services/ScheduledJobStore.js"
import { SecretStore, secretsKey } from "../services/SecretStore.js"
import { SessionScoreStore } from "../services/SessionScoreStore.js"
import { SettingsStore } from "../services/SettingsStore.js"
import { SkillStore } from "../services/SkillStore.js"
import { WorkspaceStore, WorkspaceStoreAdmin } from "../services/WorkspaceStore.js"
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

/** A row that belongs to a thing, a column of it and a value that its model has not, and what reads it. */
interface Part {
  readonly table: string
  /** What picks it, and its values. */
  readonly where: readonly [sql: string, ...params: ReadonlyArray<SqlValue>]
  /** What names it. */
  readonly id: string
  readonly column: string
  readonly value: SqlValue
  readonly reads: ReadonlyArray<Effect.Effect<unknown, unknown>>
}

const parts = (user: string) =>
  Effect.gen(function* () {
    const jobs = yield* JobStore
    const sandbox = yield* SandboxStore
    const files = yield* FileStore
    const workspace = yield* WorkspaceStore
    const settings = yield* SettingsStore
    const secrets = yield* SecretStore
    const audit = yield* AuditLog
    yield* settings.set({ user, key: "k", value: 1 })
    const sealed = secrets.put({ user, name: "n", value: Redacted.make("x") })
    yield* Effect.withConfigProvider(sealed, ConfigProvider.fromMap(new Map([[secretsKey, "k".repeat(32)]])))
    const job = yield* jobs.save({ user, title: "t", description: "" })
    yield* jobs.transition({ user, id: job, to: "in_progress" })
    const action = yield* jobs.addAction({ user, job, toolName: "t", input: null, success: true })
    const use = { provider: "p", model: "m", inputTokens: 1, outputTokens: 1, cost: "1" }
    const call = yield* jobs.recordLlmCall({ user, job, ...use })
    const guess = { category: "c", toolNames: [], estimatedCost: "1", estimatedSeconds: 1, estimatedValue: "1" }
    const estimation = yield* jobs.saveEstimation({ user, job, ...guess })
    const box = yield* sandbox.save({ user, task: "t", worker: "w", leaseMillis: 1000 })
    yield* sandbox.addEvent({ user, job: box, eventType: "e", data: 1 })
    const file = yield* files.save({ user, sessionId: "s", path: "f", content: "" })
    const document = yield* workspace.write({ user, path: "d", content: "1", chunks: [{ text: "1" }] })
    yield* workspace.write({ user, path: "d", content: "2", chunks: [{ text: "2" }] })
    const [chunk] = yield* workspace.chunks(user, document.id)
    yield* (yield* WorkspaceStoreAdmin).setLayers({ user, layers: [] })
    const entry = yield* audit.record({ tool: "t", caller: user, level: "read", allowed: true })
    const all: ReadonlyArray<Part> = [
      {
        table: "db_hub_settings",
        where: ["user_id = ?", user],
        id: "",
        column: "key",
        value: "",
        reads: [settings.list(user), settings.get(user, "")]
      },
      {
        table: "db_hub_secrets",
        where: ["user_id = ?", user],
        id: "n",
        column: "usage_count",
        value: -1,
        reads: [secrets.list(user), secrets.info(user, "n"), secrets.get(user, "n")]
      },
      {
        table: "db_hub_job_transitions",
        where: ["job_id = ?", job],
        id: job,
        column: "to_status",
        value: "nonsense",
        reads: [jobs.transitions(user, job)]
      },
      {
        table: "db_hub_job_actions",
        where: ["id = ?", action.id],
        id: action.id,
        column: "sanitization_warnings",
        value: new Json("x"),
        reads: [jobs.actions(user, job)]
      },
      {
        table: "db_hub_llm_calls",
        where: ["id = ?", call],
        id: call,
        column: "cost",
        value: "NaN",
        reads: [jobs.llmCalls(user), jobs.llmUsage(user), jobs.llmUsage(user, job)]
      },
      {
        table: "db_hub_job_estimations",
        where: ["id = ?", estimation],
        id: estimation,
        column: "estimated_seconds",
        value: -1,
        reads: [jobs.estimations(user, job)]
      },
      {
        table: "db_hub_sandbox_events",
        where: ["job_id = ?", box],
        id: box,
        column: "event_type",
        value: "",
        reads: [sandbox.events(user, box), Stream.runHead(sandbox.tail(user, box))]
      },
      {
        table: "db_hub_file_versions",
        where: ["file_id = ?", file.id],
        id: file.id,
        column: "version",
        value: -1,
        reads: [files.versions(user, file.id)]
      },
      {
        table: "db_hub_document_versions",
        where: ["document_id = ?", document.id],
        id: document.id,
        column: "version",
        value: -1,
        reads: [workspace.versions(user, document.id)]
      },
      {
        table: "db_hub_document_chunks",
        where: ["id = ?", chunk!.id],
        id: chunk!.id,
        column: "chunk_index",
        value: -1,
        reads: [workspace.chunks(user, document.id)]
      },
      {
        table: "db_hub_workspace_layers",
        where: ["user_id = ?", user],
        id: user,
        column: "layers",
        value: new Json("x"),
        reads: [workspace.layers(user), workspace.getAcross(user, "d")]
      },
      {
        table: "db_hub_audit",
        where: ["id = ?", entry],
        id: entry,
        column: "tool",
        value: "",
        reads: [audit.recent({ caller: user })]
      }
    ]
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
  ),

  "an unreadable part of a thing is an error that names table and id": Effect.gen(function* () {
    const backend = yield* Backend
    for (const { column, id, reads, table, value, where } of yield* parts(yield* fresh("user"))) {
      const [condition, ...params] = where
      yield* backend.execute(`UPDATE ${table} SET ${column} = ? WHERE ${condition}`, [value, ...params])
      for (const read of reads) {
        const { message } = (yield* failsWith("DbCorrupt", read)) as Error
        yield* Effect.sync(() => NodeAssert.ok(message.startsWith(`${table} ${id}: `), `${table}: ${message}`))
      }
    }
  })
}
