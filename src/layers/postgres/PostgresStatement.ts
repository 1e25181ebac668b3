/**
 * What the client must know of a statement before it is sent.
 *
 * @since 0.1.0
 */
import { DbReadOnly, DbUnsupported, type ErrorContext } from "../../errors/index.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { dialect, lexical } from "./PostgresDialect.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Statement {
  /** With the engine's own placeholders. */
  readonly sql: string
  /** How many portable placeholders there were. */
  readonly placeholders: number
  /** The first word in upper case. */
  readonly verb: string
  /** It reads, as far as its words tell; a function that it calls may write. */
  readonly reads: boolean
  /** It can be read through a cursor. */
  readonly cursor: boolean
  /** What in it needs a session of its own, if anything does. */
  readonly needsSession: string | undefined
}

const limit = 1024

const readingVerbs = new Set(["SELECT", "VALUES", "TABLE", "WITH", "SHOW", "EXPLAIN"])
const cursorVerbs = new Set(["SELECT", "VALUES", "TABLE", "WITH"])
const writingWords = new Set(["INSERT", "UPDATE", "DELETE", "MERGE", "INTO"])
const sessionVerbs = new Set(["LISTEN", "UNLISTEN", "RESET", "PREPARE", "EXECUTE", "DEALLOCATE", "DISCARD", "LOAD"])
const sessionLocks = /^PG_(TRY_)?ADVISORY_(LOCK|UNLOCK)/

const needsSession = (words: ReadonlyArray<string>): string | undefined => {
  const [verb = "", second = ""] = words
  if (sessionVerbs.has(verb)) return verb
  if (verb === "SET" && second !== "LOCAL" && second !== "TRANSACTION" && second !== "CONSTRAINTS") return "SET"
  if (verb === "CREATE" && words.slice(1, 4).some((word) => word === "TEMP" || word === "TEMPORARY")) {
    return words.includes("DROP") ? undefined : "CREATE TEMPORARY TABLE without ON COMMIT DROP"
  }
  return words.find((word) => sessionLocks.test(word))
}

const analyse = (text: string): Statement => {
  const { count, sql } = SqlLexer.translatePlaceholders(text, lexical, dialect.placeholder)
  const words = SqlLexer.keywords(text, lexical)
  const verb = words[0] ?? ""
  const reads = readingVerbs.has(verb) && !words.some((word) => writingWords.has(word))
  return {
    sql,
    placeholders: count,
    verb,
    reads,
    cursor: reads && cursorVerbs.has(verb),
    needsSession: needsSession(words)
  }
}

/**
 * Analyses each text once.
 *
 * @since 0.1.0
 * @category constructors
 */
export const makeCache = (): ((text: string) => Statement) => {
  const cache = new Map<string, Statement>()
  return (text) => {
    const known = cache.get(text)
    if (known !== undefined) return known
    const analysed = analyse(text)
    if (cache.size >= limit) cache.delete(cache.keys().next().value!)
    cache.set(text, analysed)
    return analysed
  }
}

/**
 * Why a statement may not run where a pooler gives each transaction another session.
 *
 * @since 0.1.0
 * @category errors
 */
export const needsSessionError = (context: ErrorContext, what: string): DbUnsupported =>
  new DbUnsupported({
    ...context,
    code: "HUB_TRANSACTION_POOLER",
    message: `${what} needs a session of its own, and a transaction pooler gives each transaction another one: connect directly or through a session pooler`
  })

/**
 * @since 0.1.0
 * @category errors
 */
export const notReading = (context: ErrorContext): DbReadOnly =>
  new DbReadOnly({
    ...context,
    code: "HUB_READ_ONLY",
    message: "Only statements that read are allowed here: SELECT, VALUES, TABLE, WITH … SELECT, SHOW and EXPLAIN"
  })
