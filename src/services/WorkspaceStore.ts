/**
 * Documents of a user by path, as an agent keeps its notes: versions, folders, layers, chunks for search.
 *
 * A document belongs to a user and, if one is named, to one agent of that user; without an agent it is shared by all of
 * the user's agents. User, agent (or none) and path name exactly one document. Paths are trimmed of `/` at both ends,
 * and `//` counts as `/`; folders are there as long as something lies in them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError, InvalidInput } from "../errors/index.js"
import { isStorableText } from "../vector/index.js"
import type { VectorModel } from "./Embeddings.js"
import {
  Count,
  Id,
  JsonRecord,
  JsonValue,
  Key,
  optional,
  type Page,
  type PageOptions,
  Text,
  Timestamp,
  UserId
} from "./Model.js"
import type { StoreSearchAnswer, StoreSearchRequest } from "./Search.js"
import { operation, type Submit } from "./WriteChannel.js"

/**
 * The form in which a path is stored.
 *
 * @since 0.1.0
 * @category paths
 */
export const normalizePath = (path: string): string =>
  path
    .split("/")
    .filter((name) => name.length > 0)
    .join("/")

const isPath = (path: string): boolean => {
  const normal = normalizePath(path)
  const names = normal.split("/")
  return (
    normal.length > 0 && normal.length <= 255 && isStorableText(normal) && !names.includes(".") && !names.includes("..")
  )
}

/**
 * Where a document is in a workspace; see `normalizePath`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const DocumentPath = Schema.String.pipe(
  Schema.filter(isPath, { message: () => "a path of 1 to 255 characters without `.`, `..` and NUL" })
)

/**
 * Documents that say who an agent is: read from the user's own scope only, never from a layer.
 *
 * @since 0.1.0
 * @category paths
 */
export const identityPaths: ReadonlySet<string> = new Set([
  "AGENTS.md",
  "BOOTSTRAP.md",
  "IDENTITY.md",
  "SOUL.md",
  "TOOLS.md",
  "USER.md"
])

/**
 * All of a document but its content.
 *
 * @since 0.1.0
 * @category models
 */
export const DocumentInfo = Schema.Struct({
  id: Id,
  userId: UserId,
  /** Null = shared by all agents of the user. */
  agentId: Schema.NullOr(Id),
  path: DocumentPath,
  /** SHA-256 of the content, in hexadecimal. */
  contentHash: Schema.String,
  /** Counts the changes of the content from 1. */
  version: Count,
  metadata: JsonRecord,
  /** Whether its chunks are made of this very content. */
  indexed: Schema.Boolean,
  createdAt: Timestamp,
  updatedAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type DocumentInfo = typeof DocumentInfo.Type

/**
 * A document, and its content.
 *
 * @since 0.1.0
 * @category models
 */
export const Document = Schema.Struct({ ...DocumentInfo.fields, content: Text })

/**
 * @since 0.1.0
 * @category models
 */
export type Document = typeof Document.Type

/**
 * What a document was before a write replaced it.
 *
 * @since 0.1.0
 * @category models
 */
export const VersionInfo = Schema.Struct({ version: Count, contentHash: Schema.String, createdAt: Timestamp })

/**
 * @since 0.1.0
 * @category models
 */
export type VersionInfo = typeof VersionInfo.Type

/**
 * An earlier version of a document, and its content.
 *
 * @since 0.1.0
 * @category models
 */
export const DocumentVersion = Schema.Struct({ ...VersionInfo.fields, content: Text })

/**
 * @since 0.1.0
 * @category models
 */
export type DocumentVersion = typeof DocumentVersion.Type

/**
 * What lies directly in a folder. A document and a folder of one name are one entry, a folder.
 *
 * @since 0.1.0
 * @category models
 */
export interface DirectoryEntry {
  readonly path: string
  readonly isDirectory: boolean
  /** Of a folder: that of its newest document. */
  readonly updatedAt: Date
  /** The first 200 characters; null for folders. */
  readonly preview: string | null
}

/**
 * A part of a document that is searched as one.
 *
 * @since 0.1.0
 * @category models
 */
export const Chunk = Schema.Struct({
  id: Id,
  documentId: Id,
  /** The place in the document, from 0. */
  chunkIndex: Count,
  text: Text,
  /** The model of its embedding; null = it has none yet. */
  embeddingModel: Schema.NullOr(Schema.String),
  /** Of its embedding. */
  dimension: Schema.NullOr(Count)
})

/**
 * @since 0.1.0
 * @category models
 */
export type Chunk = typeof Chunk.Type

/**
 * The name of an embedding model. The vectors of each model and dimension are a collection of their own, see
 * `embeddingCollection`.
 *
 * @since 0.1.0
 * @category schemas
 */
export const EmbeddingModel = Schema.String.pipe(
  Schema.filter((name) => /^[^\p{Cc}\p{Surrogate}]{1,180}$/u.test(name), {
    message: () => "the name of a model, of 1 to 180 characters without control characters"
  })
)

/**
 * The collection of the vector store that holds the embeddings of one model and dimension: record ids are those of
 * chunks, metadata are `user`, `agent` ("" = none), `document` and `path`, text is the chunk's.
 *
 * @since 0.1.0
 * @category embeddings
 */
export const embeddingCollection = (model: string, dimension: number): string => `db_hub_chunks_${dimension}_${model}`

const Vector = Schema.Array(Schema.Finite)

/**
 * A chunk as it is written, with its embedding or without.
 *
 * @since 0.1.0
 * @category models
 */
export const NewChunk = Schema.Struct({
  text: Text,
  embedding: optional(Schema.Struct({ model: EmbeddingModel, vector: Vector }))
})

/**
 * @since 0.1.0
 * @category models
 */
export type NewChunk = typeof NewChunk.Type

const chunks = optional(Schema.Array(NewChunk))

/**
 * Another scope that a user reads along with the own one, under a name.
 *
 * @since 0.1.0
 * @category models
 */
export const WorkspaceLayer = Schema.Struct({
  name: Key,
  /** The user whose documents it shows. */
  scope: UserId,
  writable: Schema.Boolean,
  /** Nobody else reads it, so that it may hold what is sensitive. */
  private: Schema.Boolean
})

/**
 * @since 0.1.0
 * @category models
 */
export type WorkspaceLayer = typeof WorkspaceLayer.Type

const place = { user: UserId, agent: optional(Id), path: DocumentPath }
const own = { user: UserId, id: Id }

/**
 * Succeeds with the document at the path, made empty (or with `content`) if it was not there; racing calls make one.
 *
 * @since 0.1.0
 * @category operations
 */
export const GetOrCreateDocument = operation("WorkspaceStore.getOrCreate", {
  payload: { ...place, content: optional(Text), metadata: optional(JsonRecord) },
  success: DocumentInfo
})

/**
 * Makes `content` all of the document at the path, new or not; what was there is kept as a version. With `chunks`, these
 * take the place of the old ones in the same transaction; without, the old ones go, and the document is listed by
 * `unindexed`. `expectedVersion` (0 = not there yet) fails with `DbConflict` unless it is the document's version. The
 * same content again makes no version.
 *
 * @since 0.1.0
 * @category operations
 */
export const WriteDocument = operation("WorkspaceStore.write", {
  payload: { ...place, content: Text, metadata: optional(JsonRecord), expectedVersion: optional(Count), chunks },
  success: DocumentInfo
})

/**
 * `write` of a document that is there, by id.
 *
 * @since 0.1.0
 * @category operations
 */
export const UpdateDocument = operation("WorkspaceStore.update", {
  payload: { ...own, content: Text, metadata: optional(JsonRecord), expectedVersion: optional(Count), chunks },
  success: DocumentInfo
})

/**
 * Adds text at the end of the document at the path, after the separator (a line break unless told otherwise) if there is
 * something before it; makes the document if need be. Of racing appends none is lost. An append counts as a change, but
 * keeps no version, since what was there still is.
 *
 * @since 0.1.0
 * @category operations
 */
export const AppendToDocument = operation("WorkspaceStore.append", {
  payload: { ...place, text: Text, separator: optional(Text) },
  success: DocumentInfo
})

/**
 * Replaces each `find`, in order, by its `replace`. All edits are made or none: `InvalidInput` names the first whose
 * `find` does not occur exactly once.
 *
 * @since 0.1.0
 * @category operations
 */
export const PatchDocument = operation("WorkspaceStore.patch", {
  payload: {
    ...own,
    edits: Schema.Array(Schema.Struct({ find: Text.pipe(Schema.minLength(1)), replace: Text })).pipe(
      Schema.minItems(1)
    ),
    expectedVersion: optional(Count)
  },
  success: DocumentInfo
})

/**
 * Makes the content of an earlier version that of the document, as a new version.
 *
 * @since 0.1.0
 * @category operations
 */
export const RestoreDocument = operation("WorkspaceStore.restore", {
  payload: { ...own, version: Count, expectedVersion: optional(Count) },
  success: DocumentInfo
})

/**
 * Forgets all earlier versions but the newest `keep`; succeeds with how many went.
 *
 * @since 0.1.0
 * @category operations
 */
export const PruneVersions = operation("WorkspaceStore.prune", {
  payload: { ...own, keep: Count },
  success: Count
})

/**
 * Deletes the document at the path with its versions, chunks and embeddings; `NotFound` if there is none.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteDocument = operation("WorkspaceStore.delete", { payload: place })

/**
 * Replaces what the metadata hold at one path of keys by a value, null included, and nothing else.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetDocumentField = operation("WorkspaceStore.setField", {
  payload: { ...own, field: Schema.Array(Schema.String).pipe(Schema.minItems(1)), value: JsonValue },
  success: DocumentInfo
})

/**
 * Merges a patch into the metadata (RFC 7396: null takes a key away).
 *
 * @since 0.1.0
 * @category operations
 */
export const MergeDocumentMetadata = operation("WorkspaceStore.merge", {
  payload: { ...own, patch: JsonRecord },
  success: DocumentInfo
})

/**
 * Makes the given chunks, with the embeddings they bring, all that the document has (none = deletes them), in one
 * transaction. `version` is that of the content they were made of: `DbConflict` if it has changed meanwhile. Succeeds
 * with the ids of the chunks in order.
 *
 * @since 0.1.0
 * @category operations
 */
export const ReplaceChunks = operation("WorkspaceStore.replaceChunks", {
  payload: { ...own, version: Count, chunks: Schema.Array(NewChunk) },
  success: Schema.Array(Id)
})

/**
 * Gives chunks their embeddings. Chunks that were replaced meanwhile are passed over; succeeds with the ids of those that
 * were not.
 *
 * @since 0.1.0
 * @category operations
 */
export const EmbedChunks = operation("WorkspaceStore.embedChunks", {
  payload: {
    user: UserId,
    model: EmbeddingModel,
    embeddings: Schema.Array(Schema.Struct({ id: Id, vector: Vector })).pipe(Schema.maxItems(1000))
  },
  success: Schema.Array(Id)
})

const intoLayer = {
  user: UserId,
  layer: Key,
  agent: optional(Id),
  path: DocumentPath,
  sensitive: optional(Schema.Boolean),
  force: optional(Schema.Boolean)
}

/**
 * Where a write into a layer went.
 *
 * @since 0.1.0
 * @category models
 */
export const LayerWrite = Schema.Struct({ layer: Key, redirected: Schema.Boolean, document: DocumentInfo })

/**
 * `write` into one of the user's layers: `NotFound` if the user has no such layer, `DbReadOnly` if it is not writable.
 * What is `sensitive` goes to the user's first private writable layer instead of one that others read (`InvalidInput`
 * if there is none), unless `force` says otherwise. Identity documents of another scope are not written (`InvalidInput`).
 *
 * @since 0.1.0
 * @category operations
 */
export const WriteToLayer = operation("WorkspaceStore.writeToLayer", {
  payload: { ...intoLayer, content: Text, chunks },
  success: LayerWrite
})

/**
 * `append` into one of the user's layers, as `writeToLayer` chooses it; a blank line is the separator unless told
 * otherwise.
 *
 * @since 0.1.0
 * @category operations
 */
export const AppendToLayer = operation("WorkspaceStore.appendToLayer", {
  payload: { ...intoLayer, text: Text, separator: optional(Text) },
  success: LayerWrite
})

/**
 * Makes the given layers, each name once, all that the user reads besides the own scope, in this order.
 *
 * @since 0.1.0
 * @category operations
 */
export const SetLayers = operation("WorkspaceStoreAdmin.setLayers", {
  payload: { user: UserId, layers: Schema.Array(WorkspaceLayer).pipe(Schema.maxItems(100)) }
})

/**
 * Looks at what is about to become the content of a document, and refuses it by failing: such as instructions that were
 * slipped into a document which goes into the prompt. Given to the layer of the stores, it is asked in the transaction of
 * every write of content, by whatever operation; where writes are forwarded, it is that of the process that writes.
 *
 * @since 0.1.0
 * @category tags
 */
export class WorkspaceGuard extends Context.Tag("effect-db-hub/WorkspaceGuard")<
  WorkspaceGuard,
  {
    /** Fails with what is wrong with the content; whose document it is, and where, is told with it. */
    readonly check: (document: {
      readonly user: string
      readonly agent: string | null
      readonly path: string
      readonly content: string
    }) => Effect.Effect<void, InvalidInput>
  }
>() {}

/**
 * A part of a list; `limit` is 100 unless told otherwise, 1000 at most.
 *
 * @since 0.1.0
 * @category models
 */
export interface PageById {
  readonly limit?: number
  /** The id of the last one seen. */
  readonly after?: string
}

/**
 * What is asked of the search of documents.
 *
 * @since 0.1.0
 * @category models
 */
export interface SearchDocumentsRequest extends StoreSearchRequest {
  /** Left out: the documents that no agent has for itself. */
  readonly agent?: string
  /** Only documents in this folder, and in those within. */
  readonly folder?: string
}

/**
 * A chunk that was found, and the document that it is of.
 *
 * @since 0.1.0
 * @category models
 */
export interface FoundChunk {
  readonly chunk: Chunk
  readonly document: DocumentInfo
}

/**
 * `agent` left out means the documents that no agent has for itself. The wrong owner's is `NotFound`.
 *
 * @since 0.1.0
 * @category tags
 */
export class WorkspaceStore extends Context.Tag("effect-db-hub/WorkspaceStore")<
  WorkspaceStore,
  {
    readonly getOrCreate: Submit<typeof GetOrCreateDocument>
    readonly write: Submit<typeof WriteDocument>
    readonly update: Submit<typeof UpdateDocument>
    readonly append: Submit<typeof AppendToDocument>
    readonly patch: Submit<typeof PatchDocument>
    readonly restore: Submit<typeof RestoreDocument>
    readonly prune: Submit<typeof PruneVersions>
    readonly delete: Submit<typeof DeleteDocument>
    readonly setField: Submit<typeof SetDocumentField>
    readonly merge: Submit<typeof MergeDocumentMetadata>
    readonly replaceChunks: Submit<typeof ReplaceChunks>
    readonly embedChunks: Submit<typeof EmbedChunks>
    readonly writeToLayer: Submit<typeof WriteToLayer>
    readonly appendToLayer: Submit<typeof AppendToLayer>
    /** The document at a path; `NotFound` if there is none. */
    readonly get: (user: string, path: string, agent?: string) => Effect.Effect<Document, DbError>
    /** `NotFound` if there is none. */
    readonly getById: (user: string, id: string) => Effect.Effect<Document, DbError>
    /** Whether there is a document at a path. */
    readonly exists: (user: string, path: string, agent?: string) => Effect.Effect<boolean, DbError>
    /** Every path, in order. */
    readonly listPaths: (user: string, agent?: string) => Effect.Effect<ReadonlyArray<string>, DbError>
    /** The last changed first. */
    readonly listDocuments: (
      user: string,
      options?: PageOptions & { readonly agent?: string }
    ) => Effect.Effect<Page<DocumentInfo>, DbError>
    /** What lies directly in a folder (`""` = the root), by path; empty if there is no such folder. */
    readonly listDirectory: (
      user: string,
      directory: string,
      agent?: string
    ) => Effect.Effect<ReadonlyArray<DirectoryEntry>, DbError>
    /** Earlier versions, the newest first. */
    readonly versions: (user: string, id: string) => Effect.Effect<ReadonlyArray<VersionInfo>, DbError>
    /** An earlier version, or the present one; `NotFound` if it was not kept. */
    readonly getVersion: (user: string, id: string, version: number) => Effect.Effect<DocumentVersion, DbError>
    /** The chunks of a document in its order. */
    readonly chunks: (user: string, id: string) => Effect.Effect<ReadonlyArray<Chunk>, DbError>
    /** Documents whose chunks are not yet made of their content, of all agents, by id; `after` is the last id seen. */
    readonly unindexed: (user: string, page?: PageById) => Effect.Effect<ReadonlyArray<DocumentInfo>, DbError>
    /**
     * Chunks that lack an embedding of the model, such as that of `Embeddings`, but for blank ones, of all agents, by id;
     * `after` is the last id seen.
     */
    readonly chunksToEmbed: (
      user: string,
      model: VectorModel,
      page?: PageById
    ) => Effect.Effect<ReadonlyArray<Chunk>, DbError>
    /** The user's layers in their order. */
    readonly layers: (user: string) => Effect.Effect<ReadonlyArray<WorkspaceLayer>, DbError>
    /** The user's own document at a path, else that of the first layer that has it; identity documents: own ones only. */
    readonly getAcross: (user: string, path: string, agent?: string) => Effect.Effect<Document, DbError>
    /** Whether `getAcross` finds a document at a path. */
    readonly existsAcross: (user: string, path: string, agent?: string) => Effect.Effect<boolean, DbError>
    /** The user's chunks found by their words, by an embedding, or by both, as one ranking. */
    readonly search: (
      user: string,
      request: SearchDocumentsRequest
    ) => Effect.Effect<StoreSearchAnswer<FoundChunk>, DbError>
    /** `search` over the own scope and all layers, in one ranking; identity documents: own ones only. */
    readonly searchAcross: (
      user: string,
      request: SearchDocumentsRequest
    ) => Effect.Effect<StoreSearchAnswer<FoundChunk>, DbError>
    /** `listPaths` over the own scope and all layers, each path once. */
    readonly listPathsAcross: (user: string, agent?: string) => Effect.Effect<ReadonlyArray<string>, DbError>
    /** `listDirectory` over the own scope and all layers: of one name, the newest document counts, and a folder wins. */
    readonly listDirectoryAcross: (
      user: string,
      directory: string,
      agent?: string
    ) => Effect.Effect<ReadonlyArray<DirectoryEntry>, DbError>
  }
>() {}

/**
 * What decides who reads whose documents, and so is not a user's to call.
 *
 * @since 0.1.0
 * @category tags
 */
export class WorkspaceStoreAdmin extends Context.Tag("effect-db-hub/WorkspaceStoreAdmin")<
  WorkspaceStoreAdmin,
  {
    readonly setLayers: Submit<typeof SetLayers>
  }
>() {}
