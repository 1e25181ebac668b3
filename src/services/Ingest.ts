/**
 * Folders of files, made searchable.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { DbError, EmbeddingError } from "../errors/index.js"
import type { Chunking, TextAnalysis } from "../vector/index.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface IngestOptions {
  /** The collection of `Search` that chunks go into; default `documents`. Made if it is not there. */
  readonly collection?: string
  /** Of the collection if it is made; default `english`. `DbConflict` if it is there with another one. */
  readonly language?: TextAnalysis.Language
  /**
   * How texts are cut; default 200 words with an overlap of 30. Files are cut anew where it is another way, but for
   * another function of `unit`.
   */
  readonly chunk?: Chunking.ChunkOptions
  /** Bytes of a file at most, larger ones are skipped; default 1 MiB. */
  readonly maxFileSize?: number
  readonly onProgress?: (progress: IngestProgress) => Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface IngestProgress {
  /** `files` are read and written, then `pending` vectors of earlier failures are made up. */
  readonly phase: "files" | "pending"
  readonly done: number
  readonly total: number
}

/**
 * @since 0.1.0
 * @category models
 */
export interface SkippedFile {
  /** Relative to the folder, with `/`. */
  readonly path: string
  readonly reason: "binary" | "not UTF-8" | "too large" | "symbolic link" | "unreadable" | "not a file"
}

/**
 * Where a chunk is that the model refused, and why.
 *
 * @since 0.1.0
 * @category models
 */
export interface RefusedChunk {
  /** The folder that it was ingested of: a collection may have several. */
  readonly folder: string
  readonly path: string
  /** Where it begins, counted from 1. */
  readonly line: number
  readonly error: EmbeddingError
}

/**
 * @since 0.1.0
 * @category models
 */
export interface IngestReport {
  readonly collection: string
  /** Its real path. */
  readonly folder: string
  /** Files that are new, were changed, were not, and are gone. */
  readonly added: number
  readonly changed: number
  readonly unchanged: number
  readonly removed: number
  /** Files that the collection had with another folder, within this one or around it. */
  readonly moved: number
  /** What is not text, with the reason; what `.gitignore` names is not listed. */
  readonly skipped: ReadonlyArray<SkippedFile>
  /** Chunks of all files of the folder. */
  readonly chunks: number
  /** Chunks that the model embedded. */
  readonly embedded: number
  /** Chunks of the collection that wait for their vectors, found by text alone until the next run. */
  readonly pending: number
  /** Those of them that the model refused one by one, and will refuse again. */
  readonly refused: ReadonlyArray<RefusedChunk>
  /** Why they wait. */
  readonly failed?: EmbeddingError
}

/**
 * @since 0.1.0
 * @category models
 */
export interface RemovalReport {
  readonly collection: string
  /** Its real path, or what that was. */
  readonly folder: string
  /** Files. */
  readonly removed: number
}

/**
 * Ingests text of any kind (Markdown, JSON, source code): a file is text if it is valid UTF-8 without a NUL. Left out
 * are what `.gitignore` files name (also those above the folder, up to the root of its repository), `node_modules`, and
 * files and folders whose names begin with a dot. Symbolic links are not followed.
 *
 * Each record of the collection is a chunk of a file; its metadata are `{ folder, path, line, endLine, headings }`, lines
 * counted from 1.
 *
 * @since 0.1.0
 * @category tags
 */
export class Ingest extends Context.Tag("effect-db-hub/Ingest")<
  Ingest,
  {
    /**
     * Brings a collection up to date with a folder: files that have not changed since are not looked into, chunks that
     * have not changed are not embedded again, and those of files that are gone are deleted. A file is in a collection
     * once: where it came with a folder within this one or around it, it comes with this one now. A file's chunks and the
     * note that it was ingested are written together. Fails with `InvalidInput` for what is no folder, `ModelMismatch` where
     * the collection is of another model than the one at hand; a model that fails does not fail it, and a chunk that it
     * refuses keeps no other from its vector.
     */
    readonly folder: (path: string, options?: IngestOptions) => Effect.Effect<IngestReport, DbError>
    /**
     * Takes all that was ingested of a folder out of a collection again; the folder itself need not be there any more.
     * `NotFound`, with those that there are, where nothing of it is in the collection (default `documents`).
     */
    readonly remove: (
      path: string,
      options?: Pick<IngestOptions, "collection">
    ) => Effect.Effect<RemovalReport, DbError>
  }
>() {}
