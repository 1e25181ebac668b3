/**
 * `Ingest` over `Search`: files of this machine become chunks of a collection.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import * as NodePath from "node:path"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { type DbError, type InvalidInput, invalidInput, NotFound } from "../../errors/index.js"
import { Backend, type BackendShape } from "../../services/Backend.js"
import { Embeddings } from "../../services/Embeddings.js"
import {
  Ingest,
  type IngestOptions,
  type IngestReport,
  type RefusedChunk,
  type RemovalReport,
  type SkippedFile
} from "../../services/Ingest.js"
import { type EmbeddingReport, type RefusedRecord, Search, type SearchRecord } from "../../services/Search.js"
import { Chunking, compareCodePoints, Records, type TextAnalysis } from "../../vector/index.js"
import { onConflict } from "../search/SearchEmbedding.js"
import * as Folder from "./Folder.js"

/** Chunks, and files, that are embedded and written at once. */
const groupChunks = 256
const groupFiles = 200

/** What is noted of a chunk: its record, and the lines that it is on. */
type Noted = readonly [id: string, line: number, endLine: number]

interface Chunked {
  readonly path: string
  readonly hash: string
  readonly records: ReadonlyArray<SearchRecord>
  readonly noted: ReadonlyArray<Noted>
}

interface Known {
  readonly hash: string
  readonly chunks: ReadonlyArray<Noted>
}

const sha256 = (...parts: ReadonlyArray<string | Uint8Array>): string => {
  const hash = NodeCrypto.createHash("sha256")
  // The length keeps parts apart.
  for (const part of parts) hash.update(`${part.length}:`).update(part)
  return hash.digest("hex")
}

/** The line of each offset, counted from 1; offsets are asked for in any order. */
const linesOf = (text: string): ((offset: number) => number) => {
  const begins = [0]
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) begins.push(at + 1)
  return (offset) => {
    let [low, high] = [0, begins.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (begins[middle]! <= offset) low = middle
      else high = middle
    }
    return low + 1
  }
}

/** With `/`; undefined for what lies elsewhere. */
const pathWithin = (folder: string, file: string): string | undefined => {
  const parts = NodePath.relative(folder, file).split(NodePath.sep)
  return parts[0] === ".." || NodePath.isAbsolute(parts.join(NodePath.sep)) ? undefined : parts.join("/")
}

const defaultCollection = "documents"

/** Folders that an error names at most. */
const namedFolders = 10

const defaultChunks: Chunking.ChunkOptions = { size: 200, overlap: 30 }

/** A chunk is named by its content, so that it keeps its name and its vector wherever it moves in its file. */
const chunked = (
  folder: string,
  { path, text }: Folder.Content,
  hash: string,
  chunks: ReadonlyArray<Chunking.TextChunk>
): Chunked => {
  const lineOf = linesOf(text)
  const copies = new Map<string, number>()
  const records = chunks.map((chunk) => {
    const content = sha256(folder, path, chunk.headings.join("\n"), chunk.text)
    const copy = copies.get(content) ?? 0
    copies.set(content, copy + 1)
    return {
      id: sha256(content, String(copy)).slice(0, 32),
      text: chunk.text,
      metadata: {
        folder,
        path,
        line: lineOf(chunk.start),
        endLine: lineOf(Math.max(chunk.start, chunk.end - 1)),
        headings: [...chunk.headings]
      }
    }
  })
  return { path, hash, records, noted: records.map(({ id, metadata }) => [id, metadata.line, metadata.endLine]) }
}

/** Where the chunks of a folder go. */
interface Target {
  readonly collection: string
  /** A collection's own, also where another one had its name before. */
  readonly number: number
  readonly folder: string
}

/** What came of the files so far. */
interface Totals {
  added: number
  changed: number
  unchanged: number
  chunks: number
  embedded: number
  /** The model failed, and not for the sake of single texts. */
  stopped: boolean
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: Pick<BackendShape, "name" | "query" | "execute" | "transaction" | "dialect" | "text">,
  search: Context.Tag.Service<Search>,
  hasModel: boolean
): Context.Tag.Service<Ingest> => {
  const upsert = backend.dialect.upsert(
    "db_hub_ingested_files",
    ["collection_id", "folder", "path", "hash", "chunks"],
    ["collection_id", "folder", "path"]
  )

  const collectionOf = (name: string) =>
    Effect.map(backend.query("SELECT id, language FROM db_hub_text_collections WHERE name = ?", [name]), ([row]) =>
      row === undefined ? undefined : { id: Number(row["id"]), language: row["language"] as TextAnalysis.Language }
    )

  /** Makes the collection, or finds it in whatever language it is; succeeds with its number. */
  const prepare = (name: string, wanted: TextAnalysis.Language | undefined): Effect.Effect<number, DbError> =>
    Effect.gen(function* () {
      const language = wanted ?? (yield* collectionOf(name))?.language
      yield* search.createCollection(name, {
        ...(hasModel ? { model: true } : {}),
        ...(language === undefined ? {} : { language })
      })
      return Number((yield* collectionOf(name))?.id)
    })

  const knownFiles = ({ folder, number }: Target): Effect.Effect<ReadonlyMap<string, Known>, DbError> =>
    Effect.map(
      backend.query("SELECT path, hash, chunks FROM db_hub_ingested_files WHERE collection_id = ? AND folder = ?", [
        number,
        folder
      ]),
      (rows) =>
        new Map(
          rows.map(({ chunks, hash, path }) => [
            String(path),
            { hash: String(hash), chunks: chunks as ReadonlyArray<Noted> }
          ])
        )
    )

  /** What is noted of a file, which nobody else changes before the end of the transaction. */
  const locked = ({ folder, number }: Target, path: string): Effect.Effect<ReadonlyArray<Noted>, DbError> =>
    Effect.map(
      backend.query(
        `SELECT chunks FROM db_hub_ingested_files WHERE collection_id = ? AND folder = ? AND path = ?${backend.dialect.forUpdate}`,
        [number, folder, path]
      ),
      ([row]) => (row === undefined ? [] : (row["chunks"] as ReadonlyArray<Noted>))
    )

  /**
   * Writes the chunks of some files and what is noted of them, all or nothing; the embedding is done before. Where the
   * model has stopped, new chunks wait for their vectors, and those that moved keep theirs.
   */
  const write = (target: Target, files: ReadonlyArray<Chunked>, known: ReadonlyMap<string, Known>, stopped: boolean) =>
    Effect.gen(function* () {
      const { collection, folder, number } = target
      const [asked, waiting]: [Array<SearchRecord>, Array<SearchRecord>] = [[], []]
      for (const { path, records } of files) {
        const noted = new Map(known.get(path)?.chunks.map((chunk) => [chunk[0], chunk.join(" ")]))
        for (const record of records) {
          const { id, metadata } = record
          if (noted.get(id) === [id, metadata?.["line"], metadata?.["endLine"]].join(" ")) continue
          if (stopped && !noted.has(id)) waiting.push({ ...record, vector: null })
          else asked.push(record)
        }
      }
      const { embedded, pending, records, refused = [] } = yield* search.embed(collection, asked)
      yield* backend.transaction(
        Effect.gen(function* () {
          const gone: Array<string> = []
          for (const { noted, path } of files) {
            const kept = new Set(noted.map(([id]) => id))
            for (const [id] of yield* locked(target, path)) if (!kept.has(id)) gone.push(id)
          }
          if (gone.length > 0) yield* search.delete(collection, gone)
          yield* search.index(collection, [...records, ...waiting])
          for (const { hash, noted, path } of files) {
            yield* backend.execute(upsert, [number, folder, path, hash, noted])
          }
        }),
        onConflict
      )
      return { embedded, stopped: pending > refused.length }
    })

  /** Where the refused records are, as far as they were ingested. */
  const placesOf = (
    collection: string,
    refused: ReadonlyArray<RefusedRecord>
  ): Effect.Effect<ReadonlyArray<RefusedChunk>, DbError> =>
    Effect.map(
      backend.text.get(
        collection,
        refused.map(({ id }) => id)
      ),
      (found) => {
        const errors = new Map(refused.map(({ error, id }) => [id, error]))
        return found
          .flatMap(({ id, metadata: { folder, line, path } }): ReadonlyArray<RefusedChunk> => {
            const error = errors.get(id)
            return error === undefined || typeof path !== "string"
              ? []
              : [{ folder: String(folder), path, line: Number(line), error }]
          })
          .sort((a, b) => compareCodePoints(a.folder, b.folder) || compareCodePoints(a.path, b.path) || a.line - b.line)
      }
    )

  const removeFiles = (target: Target, paths: ReadonlyArray<string>) =>
    Effect.forEach(
      paths,
      (path) =>
        backend.transaction(
          Effect.gen(function* () {
            const ids = (yield* locked(target, path)).map(([id]) => id)
            if (ids.length > 0) yield* search.delete(target.collection, ids)
            yield* backend.execute(
              "DELETE FROM db_hub_ingested_files WHERE collection_id = ? AND folder = ? AND path = ?",
              [target.number, target.folder, path]
            )
          }),
          onConflict
        ),
      { discard: true }
    )

  /** Takes out what came with another folder, within this one or around it, and came with this one now. */
  const removeElsewhere = (target: Target, there: ReadonlySet<string>): Effect.Effect<number, DbError> =>
    Effect.gen(function* () {
      const { folder, number } = target
      const rows = yield* backend.query(
        "SELECT DISTINCT folder FROM db_hub_ingested_files WHERE collection_id = ? AND folder <> ?",
        [number, folder]
      )
      let removed = 0
      for (const row of rows) {
        const other = { ...target, folder: String(row["folder"]) }
        if ((pathWithin(folder, other.folder) ?? pathWithin(other.folder, folder)) === undefined) continue
        const twice = Array.from((yield* knownFiles(other)).keys()).filter((path) =>
          there.has(pathWithin(folder, NodePath.join(other.folder, path)) ?? "")
        )
        yield* removeFiles(other, twice)
        removed += twice.length
      }
      return removed
    })

  const checkPath = (path: unknown, operation: string) =>
    typeof path === "string" && path !== "" && !path.includes("\0")
      ? Effect.void
      : Effect.fail(invalidInput({ operation }, "path", "is no path", "that of a folder"))

  const ingest = (path: string, given: IngestOptions): Effect.Effect<IngestReport, DbError> =>
    Effect.gen(function* () {
      yield* checkPath(path, "Ingest.folder")
      const options = yield* Records.checkObject(given, "options", { operation: "Ingest.folder" }, [
        "collection",
        "language",
        "chunk",
        "maxFileSize",
        "onProgress"
      ])
      const { chunk = defaultChunks, collection = defaultCollection, maxFileSize = 1024 * 1024 } = options
      const { onProgress = () => Effect.void } = options
      yield* Records.checkName(collection, { operation: "Ingest.folder", backend: backend.name })
      if (!Number.isInteger(maxFileSize) || maxFileSize < 1) {
        return yield* invalidInput(
          { operation: "Ingest.folder" },
          "maxFileSize",
          "is no size",
          "a number of bytes from 1"
        )
      }
      if (typeof onProgress !== "function") {
        return yield* invalidInput(
          { operation: "Ingest.folder" },
          "onProgress",
          "is no function",
          "a function that makes an effect"
        )
      }
      // Says what is wrong with the options before anything is read.
      yield* Records.checkObject(chunk, "chunk", { operation: "Ingest.folder" }, ["size", "overlap", "unit"])
      yield* Chunking.chunk("", chunk)
      const { files, root, skipped: notListed } = yield* Folder.listing(path)
      const target: Target = { collection, number: yield* prepare(collection, options.language), folder: root }
      const known = yield* knownFiles(target)
      // One function cannot be told from another.
      const howCut = JSON.stringify(typeof chunk.unit === "function" ? { ...chunk, unit: "counted" } : chunk)

      const skipped: Array<SkippedFile> = [...notListed]
      const totals: Totals = { added: 0, changed: 0, unchanged: 0, chunks: 0, embedded: 0, stopped: false }
      let group: Array<Chunked> = []
      let done = 0
      const flush = Effect.suspend(() => {
        const files = group
        group = []
        if (files.length === 0) return Effect.void
        return Effect.map(write(target, files, known, totals.stopped), ({ embedded, stopped }) => {
          totals.embedded += embedded
          totals.stopped ||= stopped
        })
      })

      const take = (content: Folder.Content): Effect.Effect<void, InvalidInput> =>
        Effect.gen(function* () {
          const before = known.get(content.path)
          const hash = sha256(howCut, content.bytes)
          if (before?.hash === hash) {
            totals.unchanged += 1
            totals.chunks += before.chunks.length
            return
          }
          const file = chunked(root, content, hash, yield* Chunking.chunk(content.text, chunk))
          totals.chunks += file.records.length
          totals[before === undefined ? "added" : "changed"] += 1
          group.push(file)
        })

      for (const file of files) {
        const content = yield* Folder.read(root, file, maxFileSize)
        if ("reason" in content) skipped.push(content)
        else yield* take(content)
        done += 1
        const waiting = group.reduce((sum, { records }) => sum + records.length, 0)
        if (waiting >= groupChunks || group.length >= groupFiles) yield* flush
        yield* onProgress({ phase: "files", done, total: files.length })
      }
      yield* flush

      const unreadable = skipped.filter(({ reason }) => reason === "unreadable").map(({ path }) => path)
      const skippedPaths = new Set(skipped.map(({ path }) => path))
      const there = new Set(files.filter((file) => !skippedPaths.has(file)))
      // What cannot be read now may be again: it is not gone.
      const isUnreadable = (file: string) =>
        unreadable.some((one) => (one.endsWith("/") ? file.startsWith(one) : file === one))
      const gone = Array.from(known.keys()).filter((file) => !there.has(file) && !isUnreadable(file))
      yield* removeFiles(target, gone)
      const moved = yield* removeElsewhere(target, there)

      const waiting: EmbeddingReport = hasModel
        ? yield* search.embedPending(collection, {
            onProgress: (progress) => onProgress({ phase: "pending", ...progress })
          })
        : { embedded: 0, pending: yield* search.pending(collection) }
      const { failed, pending, refused = [] } = waiting
      const { added, changed, chunks, unchanged } = totals
      return {
        collection,
        folder: root,
        added,
        changed,
        unchanged,
        removed: gone.length,
        moved,
        skipped: skipped.sort((a, b) => (a.path < b.path ? -1 : 1)),
        chunks,
        embedded: totals.embedded + waiting.embedded,
        pending,
        refused: yield* placesOf(collection, refused),
        ...(failed === undefined ? {} : { failed })
      }
    })

  const remove = (path: string, options: Pick<IngestOptions, "collection">): Effect.Effect<RemovalReport, DbError> =>
    Effect.gen(function* () {
      yield* checkPath(path, "Ingest.remove")
      const { collection = defaultCollection } = yield* Records.checkObject(
        options,
        "options",
        { operation: "Ingest.remove" },
        ["collection"]
      )
      yield* Records.checkName(collection, { operation: "Ingest.remove", backend: backend.name })
      const folder = yield* Folder.rootOf(path)
      const number = (yield* collectionOf(collection))?.id
      const target = number === undefined ? undefined : { collection, number, folder }
      const files = target === undefined ? [] : Array.from((yield* knownFiles(target)).keys())
      if (target === undefined || files.length === 0) return yield* notIngested(collection, number)
      yield* removeFiles(target, files)
      return { collection, folder, removed: files.length }
    })

  const notIngested = (collection: string, number: number | undefined): Effect.Effect<never, DbError> =>
    Effect.gen(function* () {
      const rows = yield* backend.query(
        `SELECT DISTINCT folder FROM db_hub_ingested_files WHERE collection_id = ? ORDER BY folder LIMIT ${namedFolders}`,
        [number ?? 0]
      )
      const folders = rows.map(({ folder }) => String(folder)).join(", ")
      return yield* new NotFound({
        operation: "Ingest.remove",
        entity: "folder",
        message: `Nothing of such a folder is in ${collection}; there is ${folders === "" ? "nothing of any" : `what is of ${folders}`}`
      })
    })

  return {
    folder: (path, options = {}) => ingest(path, options),
    remove: (path, options = {}) => remove(path, options)
  }
}

/**
 * Embeds where `Embeddings` are provided, as `SearchLive` does: give both the same.
 *
 * @since 0.1.0
 * @category layers
 */
export const IngestLive: Layer.Layer<Ingest, never, Search | Backend> = Layer.effect(
  Ingest,
  Effect.gen(function* () {
    const embeddings = yield* Effect.serviceOption(Embeddings)
    return make(yield* Backend, yield* Search, Option.isSome(embeddings))
  })
)
