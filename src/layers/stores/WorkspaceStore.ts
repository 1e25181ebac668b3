/**
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { DbConflict, type DbError, type ErrorContext, type InvalidInput, invalidInput } from "../../errors/index.js"
import { Backend, Json, type SqlValue } from "../../services/Backend.js"
import type { StoreSearchAnswer } from "../../services/Search.js"
import * as StoreTexts from "../../services/StoreTexts.js"
import * as Workspace from "../../services/WorkspaceStore.js"
import {
  Document,
  DocumentInfo,
  DocumentVersion,
  identityPaths,
  normalizePath,
  VersionInfo,
  WorkspaceGuard,
  type WorkspaceLayer,
  WorkspaceStore,
  WorkspaceStoreAdmin
} from "../../services/WorkspaceStore.js"
import { WriteChannel, type Written } from "../../services/WriteChannel.js"
import { type FilterInput, type JsonObject, JsonPatch, type JsonValue } from "../../vector/index.js"
import { marks } from "../sql/Marks.js"
import * as Fresh from "./Fresh.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"
import * as StoreSearch from "./StoreSearch.js"
import * as Table from "./Table.js"
import * as ToEmbed from "./ToEmbed.js"
import * as Chunks from "./WorkspaceChunks.js"
import * as Folders from "./WorkspaceFolders.js"
import * as Layers from "./WorkspaceLayers.js"

const infoColumns = `id, user_id, NULLIF(agent_id, '') AS agent_id, path, version, content_hash, indexed, metadata,
  created_at, updated_at`

const versionColumns = "document_id, version, content_hash, created_at"

const insertedColumns = [
  ...["id", "user_id", "agent_id", "path", "version", "content_hash", "indexed", "metadata", "created_at"],
  ...["updated_at", "content"]
]

interface Place {
  readonly user: string
  readonly agent?: string
  readonly path: string
}

/** What a write makes of a document; what is left out stays, but for chunks, which go with the content. */
interface Next {
  readonly content: string
  readonly metadata?: JsonObject
  readonly chunks?: ReadonlyArray<Workspace.NewChunk>
  readonly expectedVersion?: number
}

const infoOf = ({ content: _, ...info }: Document): DocumentInfo => info

const written = (result: DocumentInfo): Written<DocumentInfo> => ({ result, ids: [result.id] })

const joined = (before: string, separator: string, text: string): string =>
  before === "" ? text : before + separator + text

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<WorkspaceStore | WorkspaceStoreAdmin, never, Backend | WriteChannel> =
  Layer.effectContext(
    Effect.gen(function* () {
      const backend = yield* Backend
      const channel = yield* WriteChannel
      const { dialect, name } = backend
      const documents = Table.make(backend, "db_hub_documents", Document, { columns: `${infoColumns}, content` })
      const infos = Table.make(backend, "db_hub_documents", DocumentInfo, { columns: infoColumns })
      const versions = Table.make(backend, "db_hub_document_versions", DocumentVersion, {
        key: ["version", "document_id"],
        columns: `${versionColumns}, content`
      })
      const versionInfos = Table.make(backend, "db_hub_document_versions", VersionInfo, {
        key: ["version", "document_id"],
        columns: versionColumns
      })
      const chunks = Chunks.make(backend)
      const folders = Folders.make(backend)
      const layers = Layers.make(backend)

      const guard = yield* Effect.serviceOption(WorkspaceGuard)

      const at = (operation: string) => ({ operation, backend: name })

      /** What the guard refuses is not written. */
      const admit = (user: string, agent: string | null, path: string, content: string) =>
        Option.isNone(guard) ? Effect.void : guard.value.check({ user, agent, path, content })

      const orNotFound = (operation: string) => Rows.orNotFound(name, operation, "document")

      const insertDocument = dialect.insertIfAbsent("db_hub_documents", insertedColumns, [
        "user_id",
        "agent_id",
        "path"
      ])

      const changed = (operation: string) =>
        new DbConflict({
          ...at(operation),
          reason: "compare-and-set",
          message: "The document has another version than expected: read it again and decide anew"
        })

      const find = ({ agent, path, user }: Place, lock = "") =>
        documents.first(`WHERE user_id = ? AND agent_id = ? AND path = ?${lock}`, [
          user,
          agent ?? "",
          normalizePath(path)
        ])

      const findById = (user: string, id: string, lock = "") =>
        documents.first(`WHERE id = ? AND user_id = ?${lock}`, [id, user])

      const lockById = (operation: string, { id, user }: { readonly user: string; readonly id: string }) =>
        Effect.flatMap(findById(user, id, dialect.forUpdate), orNotFound(operation))

      const ownInfo = (operation: string, user: string, id: string) =>
        Effect.flatMap(infos.first("WHERE id = ? AND user_id = ?", [id, user]), orNotFound(operation))

      /** Undefined if somebody else made the document first. */
      const create = (place: Place, next: Next): Effect.Effect<DocumentInfo | undefined, DbError> =>
        Effect.gen(function* () {
          yield* admit(place.user, place.agent ?? null, normalizePath(place.path), next.content)
          const now = yield* Fresh.now
          const info: DocumentInfo = {
            id: Fresh.id(),
            userId: place.user,
            agentId: place.agent ?? null,
            path: normalizePath(place.path),
            version: 1,
            contentHash: StoreTexts.hashOf(next.content),
            indexed: next.chunks !== undefined || next.content === "",
            metadata: next.metadata ?? {},
            createdAt: now,
            updatedAt: now
          }
          const { rowsAffected } = yield* backend.execute(insertDocument, [
            ...[info.id, info.userId, place.agent ?? "", info.path, info.version, info.contentHash, info.indexed],
            ...[new Json(info.metadata), now, now, next.content]
          ])
          if (rowsAffected === 0) return undefined
          if (next.chunks !== undefined) yield* chunks.replace(info, next.chunks)
          return info
        })

      /** The document, locked, or the one that was made because there was none. */
      const lockOrCreate = (
        operation: string,
        place: Place,
        next: Next
      ): Effect.Effect<{ readonly found: Document } | { readonly created: DocumentInfo }, DbError> =>
        Effect.gen(function* () {
          const lock = find(place, dialect.forUpdate)
          const found = yield* lock
          if (found !== undefined) return { found }
          if ((next.expectedVersion ?? 0) !== 0) return yield* changed(operation)
          const created = yield* create(place, next)
          if (created !== undefined) return { created }
          const others = yield* lock
          if (others !== undefined) return { found: others }
          return yield* new DbConflict({
            ...at(operation),
            reason: "serialization",
            retryable: true,
            message: "The document was made and deleted by others meanwhile: try again"
          })
        })

      const keep = ({ content, contentHash, id, updatedAt, version }: Document) =>
        backend.enqueue(
          `INSERT INTO db_hub_document_versions (document_id, version, content_hash, created_at, content)
           VALUES (?, ?, ?, ?, ?)`,
          [id, version, contentHash, updatedAt, content]
        )

      /** Writes a locked document. */
      const replace = (
        operation: string,
        before: Document,
        next: Next,
        keepVersion = true
      ): Effect.Effect<Written<DocumentInfo>, DbError> =>
        Effect.gen(function* () {
          if (next.expectedVersion !== undefined && next.expectedVersion !== before.version) {
            return yield* changed(operation)
          }
          const same = next.content === before.content
          if (same && next.metadata === undefined && next.chunks === undefined) {
            return { result: infoOf(before), ids: [] }
          }
          if (!same) yield* admit(before.userId, before.agentId, before.path, next.content)
          if (!same && keepVersion) yield* keep(before)
          const info: DocumentInfo = {
            ...infoOf(before),
            version: same ? before.version : before.version + 1,
            contentHash: same ? before.contentHash : StoreTexts.hashOf(next.content),
            indexed: next.chunks !== undefined || (same ? before.indexed : next.content === ""),
            metadata: next.metadata ?? before.metadata,
            updatedAt: yield* Fresh.now
          }
          yield* backend.enqueue(
            `UPDATE db_hub_documents
             SET version = ?, content_hash = ?, indexed = ?, metadata = ?, updated_at = ?, content = ? WHERE id = ?`,
            [
              ...[info.version, info.contentHash, info.indexed, new Json(info.metadata), info.updatedAt, next.content],
              info.id
            ]
          )
          if (!same || next.chunks !== undefined) yield* chunks.replace(info, next.chunks ?? [])
          return written(info)
        })

      const write = (operation: string, place: Place, next: Next) =>
        Effect.flatMap(lockOrCreate(operation, place, next), (state) =>
          "created" in state ? Effect.succeed(written(state.created)) : replace(operation, state.found, next)
        )

      const append = (operation: string, place: Place, text: string, separator: string) =>
        Effect.flatMap(lockOrCreate(operation, place, { content: text }), (state) =>
          "created" in state
            ? Effect.succeed(written(state.created))
            : text === ""
              ? Effect.succeed({ result: infoOf(state.found), ids: [] })
              : replace(operation, state.found, { content: joined(state.found.content, separator, text) }, false)
        )

      const setMetadata = (
        operation: string,
        own: { readonly user: string; readonly id: string },
        edit: (metadata: JsonObject) => Effect.Effect<JsonObject, InvalidInput>
      ) =>
        Effect.gen(function* () {
          const before = yield* lockById(operation, own)
          const metadata = yield* edit(before.metadata)
          const updatedAt = yield* Fresh.now
          yield* backend.enqueue("UPDATE db_hub_documents SET metadata = ?, updated_at = ? WHERE id = ?", [
            new Json(metadata),
            updatedAt,
            before.id
          ])
          return written({ ...infoOf(before), metadata, updatedAt })
        })

      const layerWrite = (
        payload: { readonly layer: string },
        { name }: WorkspaceLayer,
        { ids, result }: Written<DocumentInfo>
      ): Written<typeof Workspace.LayerWrite.Type> => ({
        result: { layer: name, redirected: name !== payload.layer, document: result },
        ids
      })

      const inLayer = (
        { agent, path }: { readonly agent?: string; readonly path: string },
        { scope }: WorkspaceLayer
      ): Place => ({ user: scope, path, ...(agent === undefined ? {} : { agent }) })

      const limitOf = (operation: string, limit: number | undefined) => Page.limit(limit, 100, at(operation))

      const searchAll = StoreSearch.make(backend)

      /** Of several scopes at once; those of others without their identity documents. */
      const search = (
        operation: string,
        user: string,
        scopes: ReadonlyArray<string>,
        asked: Workspace.SearchDocumentsRequest
      ): Effect.Effect<StoreSearchAnswer<Workspace.FoundChunk>, DbError> =>
        Effect.gen(function* () {
          const rules = { agent: StoreSearch.text, folder: StoreSearch.text }
          const {
            agent = "",
            folder = "",
            ...request
          } = yield* StoreSearch.checked(user, asked, StoreSearch.fields, rules, at(operation))
          const within = normalizePath(folder)
          const filter: FilterInput = {
            $and: [
              { user: { $in: scopes }, agent },
              ...(scopes.length === 1
                ? []
                : [{ $or: [{ user }, { path: { $nin: Array.from(Workspace.identityPaths) } }] }]),
              // Nothing comes between a slash and a zero.
              ...(within === "" ? [] : [{ path: { $gte: `${within}/`, $lt: `${within}0` } }])
            ]
          }
          const answer = yield* searchAll(
            StoreTexts.collections.chunks,
            ({ model, vector }) => Workspace.embeddingCollection(model, vector.length),
            request,
            filter,
            at(operation)
          )
          const ids = answer.results.map(({ id }) => id)
          const found = new Map<string, Workspace.FoundChunk>()
          for (const piece of Arr.chunksOf(ids, 500)) {
            const chunksFound = yield* chunks.all(`WHERE id IN (${marks(piece)})`, piece)
            const documentIds = Array.from(new Set(chunksFound.map(({ documentId }) => documentId)))
            if (documentIds.length === 0) continue
            const documents = yield* infos.all(
              `WHERE id IN (${marks(documentIds)}) AND user_id IN (${marks(scopes)}) AND agent_id = ?`,
              [...documentIds, ...scopes, agent]
            )
            const byId = new Map(Folders.visible(user, documents).map((document) => [document.id, document]))
            for (const chunk of chunksFound) {
              const document = byId.get(chunk.documentId)
              if (document !== undefined) found.set(chunk.id, { chunk, document })
            }
          }
          return StoreSearch.withFound(answer, ({ id }) => found.get(id))
        })

      const admin: WorkspaceStoreAdmin["Type"] = {
        setLayers: channel.handle(Workspace.SetLayers, (payload) =>
          Effect.as(layers.set(Workspace.SetLayers._tag, payload.user, payload.layers), {
            result: undefined,
            ids: [payload.user]
          })
        )
      }

      const store: WorkspaceStore["Type"] = {
        getOrCreate: channel.handle(Workspace.GetOrCreateDocument, (payload) =>
          Effect.map(
            lockOrCreate(Workspace.GetOrCreateDocument._tag, payload, { content: "", ...payload }),
            (state): Written<DocumentInfo> =>
              "created" in state ? written(state.created) : { result: infoOf(state.found), ids: [] }
          )
        ),
        write: channel.handle(Workspace.WriteDocument, (payload) =>
          write(Workspace.WriteDocument._tag, payload, payload)
        ),
        update: channel.handle(Workspace.UpdateDocument, (payload) =>
          Effect.flatMap(lockById(Workspace.UpdateDocument._tag, payload), (before) =>
            replace(Workspace.UpdateDocument._tag, before, payload)
          )
        ),
        append: channel.handle(Workspace.AppendToDocument, (payload) =>
          append(Workspace.AppendToDocument._tag, payload, payload.text, payload.separator ?? "\n")
        ),
        patch: channel.handle(Workspace.PatchDocument, (payload) =>
          Effect.gen(function* () {
            const operation = Workspace.PatchDocument._tag
            const before = yield* lockById(operation, payload)
            const content = yield* edited(at(operation), before.content, payload.edits)
            const { expectedVersion } = payload
            return yield* replace(operation, before, {
              content,
              ...(expectedVersion === undefined ? {} : { expectedVersion })
            })
          })
        ),
        restore: channel.handle(Workspace.RestoreDocument, ({ expectedVersion, id, user, version }) =>
          Effect.gen(function* () {
            const operation = Workspace.RestoreDocument._tag
            const before = yield* lockById(operation, { user, id })
            const content =
              version === before.version ? before.content : (yield* versionOf(operation, id, version)).content
            return yield* replace(operation, before, {
              content,
              ...(expectedVersion === undefined ? {} : { expectedVersion })
            })
          })
        ),
        prune: channel.handle(Workspace.PruneVersions, ({ id, keep, user }) =>
          Effect.gen(function* () {
            yield* lockById(Workspace.PruneVersions._tag, { user, id })
            const [newest] = yield* backend.query(
              `SELECT version FROM db_hub_document_versions WHERE document_id = ?
               ORDER BY version DESC LIMIT 1 OFFSET ?`,
              [id, keep]
            )
            if (newest === undefined) return { result: 0, ids: [] }
            const { rowsAffected } = yield* backend.execute(
              "DELETE FROM db_hub_document_versions WHERE document_id = ? AND version <= ?",
              [id, newest["version"] as SqlValue]
            )
            return { result: rowsAffected, ids: [id] }
          })
        ),
        delete: channel.handle(Workspace.DeleteDocument, ({ agent = "", path, user }) =>
          Effect.gen(function* () {
            // Its row need not be readable.
            const lock = `SELECT id FROM db_hub_documents WHERE user_id = ? AND agent_id = ? AND path = ?`
            const [held] = yield* backend.query(`${lock}${dialect.forUpdate}`, [user, agent, normalizePath(path)])
            const id = String((yield* orNotFound(Workspace.DeleteDocument._tag)(held))["id"])
            yield* chunks.clear(id)
            // By hand too, since foreign keys may be switched off.
            yield* backend.enqueue("DELETE FROM db_hub_document_versions WHERE document_id = ?", [id])
            yield* backend.enqueue("DELETE FROM db_hub_documents WHERE id = ?", [id])
            return { result: undefined, ids: [id] }
          })
        ),
        setField: channel.handle(Workspace.SetDocumentField, (payload) =>
          setMetadata(Workspace.SetDocumentField._tag, payload, (metadata) =>
            JsonPatch.setField(metadata, payload.field, payload.value as JsonValue, at(Workspace.SetDocumentField._tag))
          )
        ),
        merge: channel.handle(Workspace.MergeDocumentMetadata, (payload) =>
          setMetadata(Workspace.MergeDocumentMetadata._tag, payload, (metadata) =>
            Effect.succeed(JsonPatch.mergeObject(metadata, payload.patch))
          )
        ),
        replaceChunks: channel.handle(Workspace.ReplaceChunks, (payload) =>
          Effect.gen(function* () {
            const document = yield* lockById(Workspace.ReplaceChunks._tag, payload)
            if (document.version !== payload.version) return yield* changed(Workspace.ReplaceChunks._tag)
            const result = yield* chunks.replace(document, payload.chunks)
            yield* backend.enqueue("UPDATE db_hub_documents SET indexed = ? WHERE id = ?", [true, document.id])
            return { result, ids: [document.id] }
          })
        ),
        embedChunks: channel.handle(Workspace.EmbedChunks, ({ embeddings, model, user }) =>
          Effect.map(
            chunks.embed(user, model, new Map(embeddings.map(({ id, vector }) => [id, vector]))),
            (embedded) => ({
              result: embedded.map(({ id }) => id),
              ids: Array.from(new Set(embedded.map(({ documentId }) => documentId)))
            })
          )
        ),
        writeToLayer: channel.handle(Workspace.WriteToLayer, (payload) =>
          Effect.gen(function* () {
            const operation = Workspace.WriteToLayer._tag
            const layer = yield* layers.choose(operation, payload)
            return layerWrite(payload, layer, yield* write(operation, inLayer(payload, layer), payload))
          })
        ),
        appendToLayer: channel.handle(Workspace.AppendToLayer, (payload) =>
          Effect.gen(function* () {
            const operation = Workspace.AppendToLayer._tag
            const layer = yield* layers.choose(operation, payload)
            const separator = payload.separator ?? "\n\n"
            return layerWrite(
              payload,
              layer,
              yield* append(operation, inLayer(payload, layer), payload.text, separator)
            )
          })
        ),

        get: (user, path, agent) =>
          Effect.flatMap(
            find({ user, path, ...(agent === undefined ? {} : { agent }) }),
            orNotFound("WorkspaceStore.get")
          ),
        getById: (user, id) => Effect.flatMap(findById(user, id), orNotFound("WorkspaceStore.getById")),
        exists: (user, path, agent = "") =>
          Effect.map(
            backend.query("SELECT 1 AS found FROM db_hub_documents WHERE user_id = ? AND agent_id = ? AND path = ?", [
              user,
              agent,
              normalizePath(path)
            ]),
            (found) => found.length > 0
          ),
        listPaths: (user, agent) => folders.paths(user, [user], agent),
        listDocuments: (user, { agent = "", ...page } = {}) => {
          const conditions: ReadonlyArray<Page.Condition> = [
            ["user_id = ?", user],
            ["agent_id = ?", agent]
          ]
          return infos.newest("WorkspaceStore.listDocuments", "updatedAt", conditions, page)
        },
        listDirectory: (user, folder, agent) => folders.directory(user, [user], folder, agent),
        versions: (user, id) =>
          Effect.zipRight(
            ownInfo("WorkspaceStore.versions", user, id),
            versionInfos.all("WHERE document_id = ? ORDER BY version DESC", [id])
          ),
        getVersion: (user, id, version) =>
          Effect.gen(function* () {
            const operation = "WorkspaceStore.getVersion"
            const { content, contentHash, updatedAt, ...present } = yield* Effect.flatMap(
              findById(user, id),
              orNotFound(operation)
            )
            return present.version === version
              ? { version, content, contentHash, createdAt: updatedAt }
              : yield* versionOf(operation, id, version)
          }),
        chunks: (user, id) => Effect.zipRight(ownInfo("WorkspaceStore.chunks", user, id), chunks.of(id)),
        unindexed: (user, { after = "", limit } = {}) =>
          Effect.flatMap(limitOf("WorkspaceStore.unindexed", limit), (limit) =>
            infos.all(`WHERE user_id = ? AND indexed = ? AND id > ? ORDER BY id LIMIT ${limit}`, [user, false, after])
          ),
        chunksToEmbed: (user, model, { after = "", limit } = {}) =>
          Effect.gen(function* () {
            const operation = "WorkspaceStore.chunksToEmbed"
            const most = yield* limitOf(operation, limit)
            const conditions = [
              ["user_id = ?", user],
              ["id > ?", after],
              ...(yield* ToEmbed.conditions(model, "model", "text", at(operation)))
            ] satisfies ReadonlyArray<Page.Condition>
            const { params, where } = Page.all(conditions)
            return yield* chunks.all(`WHERE ${where} ORDER BY id LIMIT ${most}`, params)
          }),
        layers: layers.of,
        getAcross: (user, path, agent = "") =>
          Effect.gen(function* () {
            const scopes = yield* layers.scopesOf(user)
            const found = yield* documents.all(`WHERE user_id IN (${marks(scopes)}) AND agent_id = ? AND path = ?`, [
              ...scopes,
              agent,
              normalizePath(path)
            ])
            const byUser = new Map(Folders.visible(user, found).map((document) => [document.userId, document]))
            const scope = scopes.find((scope) => byUser.has(scope)) ?? user
            return yield* orNotFound("WorkspaceStore.getAcross")(byUser.get(scope))
          }),
        existsAcross: (user, path, agent = "") =>
          Effect.gen(function* () {
            const own = identityPaths.has(normalizePath(path))
            const scopes = own ? [user] : yield* layers.scopesOf(user)
            const found = yield* backend.query(
              `SELECT 1 AS found FROM db_hub_documents
               WHERE user_id IN (${marks(scopes)}) AND agent_id = ? AND path = ? LIMIT 1`,
              [...scopes, agent, normalizePath(path)]
            )
            return found.length > 0
          }),
        search: (user, request) => search("WorkspaceStore.search", user, [user], request),
        searchAcross: (user, request) =>
          Effect.flatMap(layers.scopesOf(user), (scopes) =>
            search("WorkspaceStore.searchAcross", user, scopes, request)
          ),
        listPathsAcross: (user, agent) =>
          Effect.flatMap(layers.scopesOf(user), (scopes) => folders.paths(user, scopes, agent)),
        listDirectoryAcross: (user, folder, agent) =>
          Effect.flatMap(layers.scopesOf(user), (scopes) => folders.directory(user, scopes, folder, agent))
      }

      const versionOf = (operation: string, id: string, version: number) =>
        Effect.flatMap(
          versions.first("WHERE document_id = ? AND version = ?", [id, version]),
          Rows.orNotFound(name, operation, "version")
        )

      return Context.make(WorkspaceStore, store).pipe(Context.add(WorkspaceStoreAdmin, admin))
    })
  )

/** A text after edits, each of which replaces what occurs exactly once. */
const edited = (
  origin: ErrorContext,
  text: string,
  edits: ReadonlyArray<{ readonly find: string; readonly replace: string }>
): Effect.Effect<string, InvalidInput> =>
  Effect.reduce(edits, text, (content, { find, replace }, i) => {
    const start = content.indexOf(find)
    if (start >= 0 && start === content.lastIndexOf(find)) {
      return Effect.succeed(content.slice(0, start) + replace + content.slice(start + find.length))
    }
    const problem = start < 0 ? "does not occur in the document" : "occurs more than once"
    return Effect.fail(invalidInput(origin, `edits[${i}].find`, problem, "text that occurs exactly once"))
  })
