/**
 * What differs between engines, as data: one value per engine, so that no store ever asks which engine it meets.
 *
 * @since 0.1.0
 */
import type { Lexical } from "./SqlLexer.js"

/**
 * What differs between the SQL of engines, as data: a store is written once.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  readonly lexical: Lexical
  /** The engine's placeholder for the n-th parameter, counted from 1. */
  readonly placeholder: (index: number) => string
  /** Quotes any identifier, also one with quotes, spaces or a reserved word in it. */
  readonly quoteIdentifier: (name: string) => string
  /** A query with one parameter, a table's name, that returns a row exactly if the table exists. */
  readonly tableExists: string
  /**
   * Rows (`n`) that the transaction has changed so far, by the `name` of their table; null where only their number is
   * known, and that perhaps since before the transaction.
   */
  readonly changedRows: string
  /** Whether a statement, by its words in upper case, is one that the engine runs outside of transactions alone. */
  readonly runsAlone: (words: ReadonlyArray<string>) => boolean
  /** Column types for table definitions. */
  readonly types: {
    /** Text that is compared and ordered by code point. */
    readonly text: string
    /** A primary key that counts up by itself. */
    readonly serial: string
    /** An exact decimal, read and written as text. */
    readonly decimal: string
    /** A 64-bit float. */
    readonly number: string
    /** 64 bits. */
    readonly integer: string
    readonly boolean: string
    readonly bytes: string
    readonly json: string
    /** An instant in UTC. */
    readonly timestamp: string
  }
  /**
   * An INSERT of one row, with one `?` per column, that does nothing if a row with the same key is there (and then
   * affects no row). Without `key`, any of the table's: of two that insert at once a row that repeats several keys, one
   * may be refused for a key that was not named.
   */
  readonly insertIfAbsent: (table: string, columns: ReadonlyArray<string>, key?: ReadonlyArray<string>) => string
  /** An INSERT of one row, with one `?` per column, that overwrites every other column of the row with the same key. */
  readonly upsert: (table: string, columns: ReadonlyArray<string>, key: ReadonlyArray<string>) => string
  /** Ends a SELECT inside a transaction whose rows nobody else may change before its end. */
  readonly forUpdate: string
  /** Ends a SELECT inside a transaction whose rows others may lock like this as well, but not `forUpdate`. */
  readonly forShare: string
  /** The same as `forUpdate`, passing over rows that somebody else holds. */
  readonly skipLocked: string
  /**
   * How the change feed tells what is settled where several write at once: the type and first default of the column that
   * orders writers, the statements that number them in that order, and a query of the number (`settled`) up to which no
   * writer can still commit. The query is absent where one writer follows the other.
   */
  readonly writerOrder: {
    readonly column: string
    readonly up: ReadonlyArray<string>
    readonly down: ReadonlyArray<string>
    readonly settled: string | undefined
  }
  /** The tables of the vector store, and how to take them away. */
  readonly vectorTables: { readonly up: ReadonlyArray<string>; readonly down: ReadonlyArray<string> }
  /** The tables that lead to indexes kept outside of the database, if any are. */
  readonly vectorGraphTables: { readonly up: ReadonlyArray<string>; readonly down: ReadonlyArray<string> }
  /**
   * Takes away the tables of all text collections before the list of them; empty where SQL alone cannot, and a new
   * collection clears what is left.
   */
  readonly dropTextTables: ReadonlyArray<string>
  /** Gives the text collections of an earlier version their table of terms, and takes it away. */
  readonly textPostings: { readonly up: ReadonlyArray<string>; readonly down: ReadonlyArray<string> }
  /**
   * Taken first in every migration transaction, so that processes which start together migrate one after the other;
   * empty where beginning the transaction already takes the write lock.
   */
  readonly migrationLock: ReadonlyArray<string>
  /**
   * Checks inside a transaction what a schema has deferred to its end, where that may take long, and COMMIT cannot be
   * stopped.
   */
  readonly checkDeferred: string | undefined
}
