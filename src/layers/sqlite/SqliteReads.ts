/**
 * Which statements the reading connection answers: those that read, unless their answer lives in the writing connection,
 * as its changes and its temporary tables do.
 *
 * @since 0.1.0
 */
import * as SqlLexer from "../../services/SqlLexer.js"
import type { Prepared, SqliteConnection } from "./SqliteConnection.js"
import { lexical } from "./SqliteDialect.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Reads {
  /** The statement on the reading connection, or undefined where it is one for the writing connection. */
  readonly prepare: (sql: string) => Prepared | undefined
  /** To be called after each definition on the writing connection. */
  readonly afterDefinition: () => void
}

/** Functions whose answer depends on what the connection did before. */
const connectionState = new Set(["LAST_INSERT_ROWID", "CHANGES", "TOTAL_CHANGES"])

/**
 * Whether a statement may be one that reads and that any connection answers alike, by its words.
 *
 * @since 0.1.0
 * @category predicates
 */
export const mayRead = (sql: string): boolean => {
  const words = SqlLexer.keywords(sql, lexical)
  return (
    ["SELECT", "VALUES", "WITH", "EXPLAIN"].includes(words[0] ?? "") && !words.some((word) => connectionState.has(word))
  )
}

/**
 * The two may be one connection; then no statement is one for the reader.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (writer: SqliteConnection, reader: SqliteConnection): Reads => {
  const known = new Map<string, boolean>()
  /** Names in the temporary schema, which only the writing connection sees, in capitals. */
  let temporary: ReadonlySet<string> = new Set()
  const namesTemporary = (sql: string): boolean =>
    temporary.size > 0 && SqlLexer.names(sql, lexical).some((name) => temporary.has(name))
  return {
    prepare: (sql) => {
      if (reader === writer) return undefined
      let may = known.get(sql)
      if (may === undefined) {
        may = mayRead(sql)
        if (known.size >= 1024) known.clear()
        known.set(sql, may)
      }
      if (!may || namesTemporary(sql)) return undefined
      try {
        const prepared = reader.prepare(sql)
        return prepared.readonly && prepared.reader ? prepared : undefined
      } catch (_unknownHere) {
        // The writer's own error, if it has one, is the one to report.
        return undefined
      }
    },
    afterDefinition: () => {
      writer.forgetColumns()
      reader.forgetColumns()
      temporary = new Set(writer.temporaryNames())
    }
  }
}
