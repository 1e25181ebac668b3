/**
 * What agents keep, on whatever backend.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { Backend } from "../../services/Backend.js"
import type { JobQueue, JobStore, JobStoreAdmin } from "../../services/JobStore.js"
import type { SandboxStore, SandboxStoreAdmin } from "../../services/SandboxStore.js"
import type { ScheduledJobStore, ScheduledJobStoreAdmin } from "../../services/ScheduledJobStore.js"
import type { SettingsStore } from "../../services/SettingsStore.js"
import type { ToolFailureStore } from "../../services/ToolFailureStore.js"
import type { WriteChannel } from "../../services/WriteChannel.js"
import * as LocalWrites from "../write/LocalWrites.js"
import * as Jobs from "./JobStore.js"
import * as Sandbox from "./SandboxStore.js"
import * as ScheduledJobs from "./ScheduledJobStore.js"
import * as Settings from "./SettingsStore.js"
import * as ToolFailures from "./ToolFailureStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export type StoreServices =
  | SettingsStore
  | JobStore
  | JobQueue
  | JobStoreAdmin
  | SandboxStore
  | SandboxStoreAdmin
  | ScheduledJobStore
  | ScheduledJobStoreAdmin
  | ToolFailureStore
  | WriteChannel

/**
 * Every store, on the backend that is provided.
 *
 * @since 0.1.0
 * @category layers
 */
export const StoresLive: Layer.Layer<StoreServices, never, Backend> = Layer.mergeAll(
  Settings.layer,
  Jobs.layer,
  Sandbox.layer,
  ScheduledJobs.layer,
  ToolFailures.layer
).pipe(Layer.provideMerge(LocalWrites.layer))
