/**
 * Where a database file is and how it is opened: the options, checked and with their defaults.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type InvalidInput, invalidInput } from "../../errors/index.js"

/**
 * A database file, and how it is opened.
 *
 * @since 0.1.0
 * @category models
 */
export interface SqliteOptions {
  /** The database file, made with its folder if absent, or `:memory:` for one that dies with the layer. */
  readonly path: string
  /** The name in errors, spans and the hub; default `primary`. */
  readonly name?: string
  /** Default `WAL`. */
  readonly journalMode?: "WAL" | "DELETE" | "TRUNCATE" | "PERSIST" | "MEMORY"
  /**
   * `NORMAL` (default) survives the death of every process but may lose the last commits in a power failure; `FULL`
   * loses none (https://www.sqlite.org/pragma.html#pragma_synchronous).
   */
  readonly synchronous?: "OFF" | "NORMAL" | "FULL" | "EXTRA"
  /** Default true. */
  readonly foreignKeys?: boolean
  /** Milliseconds to wait for the write lock before `DbBusy`; default 5000. */
  readonly busyTimeout?: number
  /** Bytes that the write-ahead log is cut back to after a checkpoint; default 64 MiB. */
  readonly journalSizeLimit?: number
  /** Open without any right to write; the file must exist. */
  readonly readOnly?: boolean
  /** Bytes that cached vectors may take in memory, over all collections; default 512 MiB. */
  readonly vectorMemory?: number
  /**
   * `auto` (default) searches large collections through a graph in a file beside the database, built in the background
   * and used if it finds enough; `exact` finds all that is nearest, in time proportional to the size of a collection.
   */
  readonly vectorIndex?: "auto" | "exact"
  /** The lowest share of the ten nearest that a graph may find, 0.5…1; default 0.98. One that finds less is not used. */
  readonly vectorRecall?: number
  /** Vectors from which on a collection is large; default 200000. */
  readonly vectorGraphFrom?: number
  /** Bring the hub's own tables up to date when the layer is built; default true unless `readOnly`. */
  readonly migrate?: boolean
}

/**
 * @since 0.1.0
 * @category models
 */
export type ResolvedSqliteOptions = Required<SqliteOptions>

/**
 * @since 0.1.0
 * @category constants
 */
export const journalModes = ["WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"] as const

/**
 * @since 0.1.0
 * @category constants
 */
export const synchronousLevels = ["OFF", "NORMAL", "FULL", "EXTRA"] as const

const within = (n: number, min: number, max: number): boolean => Number.isInteger(n) && n >= min && n <= max

/**
 * Fills in the defaults and refuses what SQLite would take silently for something else.
 *
 * @since 0.1.0
 * @category validation
 */
export const resolve = (options: SqliteOptions): Effect.Effect<ResolvedSqliteOptions, InvalidInput> => {
  const resolved: ResolvedSqliteOptions = {
    path: options.path,
    name: options.name ?? "primary",
    journalMode: options.journalMode ?? "WAL",
    synchronous: options.synchronous ?? "NORMAL",
    foreignKeys: options.foreignKeys ?? true,
    busyTimeout: options.busyTimeout ?? 5_000,
    journalSizeLimit: options.journalSizeLimit ?? 64 * 1024 * 1024,
    readOnly: options.readOnly ?? false,
    vectorMemory: options.vectorMemory ?? 512 * 1024 * 1024,
    vectorIndex: options.vectorIndex ?? "auto",
    vectorRecall: options.vectorRecall ?? 0.98,
    vectorGraphFrom: options.vectorGraphFrom ?? 200_000,
    migrate: options.migrate ?? options.readOnly !== true
  }
  const { name, path } = resolved
  const check = (field: string, ok: boolean, allowed: string): Effect.Effect<void, InvalidInput> =>
    ok
      ? Effect.void
      : Effect.fail(invalidInput({ operation: "sqlite.open", backend: name }, field, "is not valid", allowed))
  return Effect.as(
    Effect.all([
      check("path", path.length > 0 && !path.includes("\0"), "a file path or :memory:"),
      // The driver trims the path, so white space at its ends would silently name another file.
      check("path", path.trim() === path, "a path without white space at its ends"),
      check(
        "path",
        !(resolved.readOnly && path === ":memory:"),
        "a file, since readOnly has nothing to read in :memory:"
      ),
      check("journalMode", journalModes.includes(resolved.journalMode), journalModes.join(", ")),
      check("synchronous", synchronousLevels.includes(resolved.synchronous), synchronousLevels.join(", ")),
      check("busyTimeout", within(resolved.busyTimeout, 0, 2 ** 31 - 1), "0 … 2147483647 milliseconds"),
      check("journalSizeLimit", within(resolved.journalSizeLimit, 0, Number.MAX_SAFE_INTEGER), "a number of bytes"),
      check("vectorMemory", within(resolved.vectorMemory, 0, Number.MAX_SAFE_INTEGER), "a number of bytes"),
      check("vectorIndex", ["auto", "exact"].includes(resolved.vectorIndex), "auto, exact"),
      check("vectorRecall", resolved.vectorRecall >= 0.5 && resolved.vectorRecall <= 1, "a number from 0.5 to 1"),
      check("vectorGraphFrom", within(resolved.vectorGraphFrom, 1, Number.MAX_SAFE_INTEGER), "a number of vectors"),
      check("migrate", !(resolved.migrate && resolved.readOnly), "false when readOnly is true")
    ]),
    resolved
  )
}
