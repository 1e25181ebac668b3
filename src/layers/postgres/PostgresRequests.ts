/**
 * A statement and its values as they are sent, and what must be known of it before.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import {
  type DbError,
  DbReadOnly,
  DbUnsupported,
  type ErrorContext,
  fromPostgres,
  invalidInput
} from "../../errors/index.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { dialect, lexical } from "./PostgresDialect.js"
import type { Request } from "./PostgresPipeline.js"
import type { Pool } from "./PostgresPool.js"
import * as Values from "./PostgresValues.js"

/** What the words of a statement tell. */
interface Text {
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

/**
 * @since 0.1.0
 * @category models
 */
export interface Prepared {
  readonly text: Text
  readonly request: Request
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Form {
  /** Its placeholders may be portable ones. */
  readonly portable: boolean
  /** False for what is not to stay prepared on the server. */
  readonly prepare?: boolean
  readonly rowMode?: "array"
}

/**
 * Fails with what the caller's input is refused for.
 *
 * @since 0.1.0
 * @category models
 */
export type Prepare = (
  operation: string,
  sql: string,
  params: ReadonlyArray<unknown>,
  form: Form
) => Effect.Effect<Prepared, DbError>

/** Texts that are kept analysed. */
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

const analyse = (text: string): Text => {
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

/** Analyses each text once. */
const makeCache = (): ((text: string) => Text) => {
  const cache = new Map<string, Text>()
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
 * @since 0.1.0
 * @category constructors
 */
export const make = ({ at, options }: Pool): Prepare => {
  const textOf = makeCache()
  return (operation, sql, params, form) =>
    Effect.try({
      try: () => {
        const text = textOf(sql)
        const translated = form.portable && text.placeholders > 0
        if (options.pooler === "transaction" && text.needsSession !== undefined) {
          throw needsSessionError(at(operation), text.needsSession)
        }
        if (translated && text.placeholders !== params.length) {
          throw invalidInput(
            at(operation),
            "params",
            `are ${params.length}`,
            `${text.placeholders}, one per placeholder`
          )
        }
        return {
          text,
          request: {
            text: translated ? text.sql : sql,
            values: params.length === 0 ? params : Values.encode(params, options.name),
            prepare: options.preparedStatements && form.prepare !== false && params.length > 0,
            ...(form.rowMode === undefined ? {} : { rowMode: form.rowMode })
          }
        }
      },
      catch: (cause) => fromPostgres(cause, at(operation), "no")
    })
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
