/**
 * What differs between engines, as data: one value per engine, so that no store ever asks which engine it meets.
 *
 * @since 0.1.0
 */
import type { Lexical } from "./SqlLexer.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  readonly name: "sqlite" | "postgresql"
  readonly lexical: Lexical
  /** The engine's placeholder for the n-th parameter, counted from 1. */
  readonly placeholder: (index: number) => string
  /** Quotes any identifier, also one with quotes, spaces or a reserved word in it. */
  readonly quoteIdentifier: (name: string) => string
  /** A query with one parameter, a table's name, that returns a row exactly if the table exists. */
  readonly tableExists: string
  /** Column types for table definitions. */
  readonly types: {
    readonly text: string
    /** 64 bits. */
    readonly integer: string
    readonly boolean: string
    readonly bytes: string
    readonly json: string
    /** An instant in UTC. */
    readonly timestamp: string
  }
  /** The tables of the vector store, and how to take them away. */
  readonly vectorTables: { readonly up: ReadonlyArray<string>; readonly down: ReadonlyArray<string> }
  /**
   * Taken first in every migration transaction, so that processes which start together migrate one after the other;
   * empty where beginning the transaction already takes the write lock.
   */
  readonly migrationLock: ReadonlyArray<string>
}
