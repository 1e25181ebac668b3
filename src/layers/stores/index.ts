/**
 * What agents keep, on whatever backend.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import type { Backend } from "../../services/Backend.js"
import type { ConversationStore } from "../../services/ConversationStore.js"
import type { MemoryStore } from "../../services/MemoryStore.js"
import type { SettingsStore } from "../../services/SettingsStore.js"
import type { WriteChannel } from "../../services/WriteChannel.js"
import * as LocalWrites from "../write/LocalWrites.js"
import * as Conversations from "./ConversationStore.js"
import * as Memories from "./MemoryStore.js"
import * as Settings from "./SettingsStore.js"

/**
 * @since 0.1.0
 * @category models
 */
export type StoreServices = ConversationStore | MemoryStore | SettingsStore | WriteChannel

/**
 * Every store, on the backend that is provided.
 *
 * @since 0.1.0
 * @category layers
 */
export const StoresLive: Layer.Layer<StoreServices, never, Backend> = Layer.mergeAll(
  Conversations.layer,
  Memories.layer,
  Settings.layer
).pipe(Layer.provideMerge(LocalWrites.layer))
