/**
 * The stores of one user: the user is applied already, so that a handler can neither forget nor choose it.
 *
 * @since 0.1.0
 */
import * as Rpc from "@effect/rpc/Rpc"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Conversations from "./ConversationStore.js"
import * as Files from "./FileStore.js"
import * as Jobs from "./JobStore.js"
import * as Memories from "./MemoryStore.js"
import * as Projects from "./ProjectStore.js"
import * as PromptTemplates from "./PromptTemplateStore.js"
import * as Routines from "./RoutineStore.js"
import * as Sandbox from "./SandboxStore.js"
import * as ScheduledJobs from "./ScheduledJobStore.js"
import * as Secrets from "./SecretStore.js"
import * as SessionScores from "./SessionScoreStore.js"
import * as Settings from "./SettingsStore.js"
import * as Skills from "./SkillStore.js"
import * as Workspace from "./WorkspaceStore.js"

type ScopedMember<F> = F extends () => unknown
  ? never
  : F extends (user: string, ...rest: infer Rest) => infer Result
    ? (...rest: Rest) => Result
    : F extends (payload: infer Payload extends { readonly user: string }) => infer Result
      ? (payload: Omit<Payload, "user">) => Result
      : never

/**
 * A store without its user: gone from the payloads of its operations, and from the front of its other members. What
 * takes no user is no part of it.
 *
 * @since 0.1.0
 * @category models
 */
export type Scoped<Store> = {
  readonly [Member in keyof Store as ScopedMember<Store[Member]> extends never ? never : Member]: ScopedMember<
    Store[Member]
  >
}

/**
 * How a store is handed to a user: its tag, and the module that declares its operations, whose names say which members
 * take a payload.
 *
 * @since 0.1.0
 * @category constructors
 */
export const scoped = <Id, Store extends object>(tag: Context.Tag<Id, Store>, operations: object) => {
  const prefix = `${tag.key.slice(tag.key.lastIndexOf("/") + 1)}.`
  const writes = new Set(Object.values(operations).flatMap((value) => (Rpc.isRpc(value) ? [value._tag] : [])))
  return (user: string): Effect.Effect<Scoped<Store>, never, Id> =>
    Effect.map(tag, (store) => {
      const members = Object.entries(store).flatMap(([name, member]) => {
        if (typeof member !== "function") return []
        const call = writes.has(`${prefix}${name}`)
          ? (payload: object) => member({ ...payload, user })
          : (...rest: ReadonlyArray<unknown>) => member(user, ...rest)
        return [[name, call]]
      })
      return Object.fromEntries(members) as Scoped<Store>
    })
}

/**
 * Every store that has users.
 *
 * @since 0.1.0
 * @category stores
 */
export const scopedStores = {
  conversations: scoped(Conversations.ConversationStore, Conversations),
  files: scoped(Files.FileStore, Files),
  jobs: scoped(Jobs.JobStore, Jobs),
  memories: scoped(Memories.MemoryStore, Memories),
  projects: scoped(Projects.ProjectStore, Projects),
  promptTemplates: scoped(PromptTemplates.PromptTemplateStore, PromptTemplates),
  routines: scoped(Routines.RoutineStore, Routines),
  sandbox: scoped(Sandbox.SandboxStore, Sandbox),
  scheduledJobs: scoped(ScheduledJobs.ScheduledJobStore, ScheduledJobs),
  secrets: scoped(Secrets.SecretStore, Secrets),
  sessionScores: scoped(SessionScores.SessionScoreStore, SessionScores),
  settings: scoped(Settings.SettingsStore, Settings),
  skills: scoped(Skills.SkillStore, Skills),
  workspace: scoped(Workspace.WorkspaceStore, Workspace)
}

/**
 * The stores of one user, by their names.
 *
 * @since 0.1.0
 * @category models
 */
export type ScopedStores = {
  readonly [Name in keyof typeof scopedStores]: Effect.Effect.Success<ReturnType<(typeof scopedStores)[Name]>>
}

/**
 * What a handler of a request needs instead of the stores themselves.
 *
 * @since 0.1.0
 * @category tags
 */
export class UserScope extends Context.Tag("effect-db-hub/UserScope")<
  UserScope,
  { readonly user: string } & ScopedStores
>() {}
