/**
 * Which statements only read, where SQLite's own account of them is not enough.
 *
 * @since 0.1.0
 */
import { DbReadOnly, type ErrorContext } from "../../errors/index.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { lexical } from "./SqliteDialect.js"

/** Pragmas that only tell, by https://www.sqlite.org/pragma.html. */
const tellingPragmas = new Set(
  (
    "APPLICATION_ID COLLATION_LIST COMPILE_OPTIONS DATABASE_LIST ENCODING FOREIGN_KEY_CHECK FOREIGN_KEY_LIST " +
    "FREELIST_COUNT FUNCTION_LIST INDEX_INFO INDEX_LIST INDEX_XINFO INTEGRITY_CHECK MODULE_LIST PAGE_COUNT " +
    "PAGE_SIZE PRAGMA_LIST QUICK_CHECK SCHEMA_VERSION TABLE_INFO TABLE_LIST TABLE_XINFO USER_VERSION"
  ).split(" ")
)

/** Those of them that a value after `=` or in brackets would set. */
const settablePragmas = new Set(["APPLICATION_ID", "ENCODING", "PAGE_SIZE", "SCHEMA_VERSION", "USER_VERSION"])

/**
 * @since 0.1.0
 * @category errors
 */
export const notReading = (context: ErrorContext): DbReadOnly =>
  new DbReadOnly({
    ...context,
    code: "HUB_READ_ONLY",
    message: "Only statements that read are allowed here: SELECT, VALUES, WITH … SELECT, EXPLAIN, and pragmas that tell"
  })

/**
 * Refuses what reads by SQLite's own account and yet reaches beyond the database: ATTACH, VACUUM INTO, pragmas that set.
 *
 * @since 0.1.0
 * @category checks
 */
export const refusal = (sql: string, context: ErrorContext): DbReadOnly | undefined => {
  const parts = Array.from(SqlLexer.tokens(sql, lexical)).filter(({ kind }) => kind !== "space" && kind !== "comment")
  const start = parts.findIndex(({ text }) => text !== "(" && text !== ";")
  const word = parts[start]?.text.toUpperCase() ?? ""
  // Many pragmas take effect when they are prepared, so also when they are only explained.
  if (word === "EXPLAIN") {
    return parts.some(({ text }) => text.toUpperCase() === "PRAGMA") ? notReading(context) : undefined
  }
  if (["SELECT", "VALUES", "WITH"].includes(word)) return undefined
  if (word !== "PRAGMA") return notReading(context)
  const afterSchema = parts[start + 2]?.text === "." ? start + 3 : start + 1
  const pragma = parts[afterSchema]?.text.toUpperCase() ?? ""
  const sets = parts.length > afterSchema + 1 && parts[afterSchema + 1]?.text !== ";"
  return tellingPragmas.has(pragma) && !(sets && settablePragmas.has(pragma)) ? undefined : notReading(context)
}

/** Functions that reach into the process. */
const reachingFunctions = new Set(["LOAD_EXTENSION", "FTS3_TOKENIZER", "SQLITE_LOG"])

/** Words after which a text in single quotes is a name, also in brackets. */
const beforeNames = new Set(["FROM", "JOIN", "IN", ",", "."])

const bare = ({ kind, text }: SqlLexer.Token): string =>
  (kind === "identifier" || kind === "string" ? text.slice(1, -1) : text).toUpperCase()

/**
 * The stricter rule for what agents write: also what is explained only reads, and pragmas in the form of tables are
 * those that tell.
 *
 * @since 0.1.0
 * @category checks
 */
export const agentRefusal = (sql: string, context: ErrorContext): DbReadOnly | undefined => {
  const parts = Array.from(SqlLexer.tokens(sql, lexical)).filter(({ kind }) => kind !== "space" && kind !== "comment")
  const start = parts.findIndex(({ text }) => text !== ";")
  const word = (index: number) => parts[start + index]?.text.toUpperCase() ?? ""
  const explained = word(0) === "EXPLAIN" ? (word(1) === "QUERY" ? 3 : 1) : 0
  const refused =
    sql.includes("\0") ||
    (explained > 0 && !["SELECT", "VALUES", "WITH"].includes(word(explained))) ||
    parts.some((part, index) => {
      if (part.kind !== "word" && part.kind !== "identifier" && part.kind !== "string") return false
      const name = bare(part)
      if (reachingFunctions.has(name)) return parts[index + 1]?.text === "("
      if (!name.startsWith("PRAGMA_")) return false
      if (tellingPragmas.has(name) || tellingPragmas.has(name.slice("PRAGMA_".length))) return false
      let before = index - 1
      while (parts[before]?.text === "(") before--
      return part.kind !== "string" || beforeNames.has(parts[before]?.text.toUpperCase() ?? "")
    })
  return refused ? notReading(context) : refusal(sql, context)
}
