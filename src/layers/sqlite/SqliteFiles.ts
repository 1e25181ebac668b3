/**
 * The files of a database: whether they are there, how they are made, and what is wrong with them.
 *
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import { DbConnection, type DbError, type ErrorContext, fromSqlite, isDbError } from "../../errors/index.js"

/**
 * Whether a name is taken, also by a link that leads nowhere.
 *
 * @since 0.1.0
 * @category files
 */
export const isThere = (file: string): boolean => NodeFs.lstatSync(file, { throwIfNoEntry: false }) !== undefined

/**
 * Makes a file, for its owner alone, if it is not there. One that is there is not touched: to close any descriptor of a
 * file takes from this process all locks that it has on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
 *
 * @since 0.1.0
 * @category files
 */
export const makeFile = (path: string): void => {
  if (!NodeFs.existsSync(path)) NodeFs.closeSync(NodeFs.openSync(path, "a", 0o600))
}

/**
 * What SQLite or the file system threw; `message` tells what to do about a code of the file system.
 *
 * @since 0.1.0
 * @category errors
 */
export const fromFile =
  (context: ErrorContext, message: (code: string) => string) =>
  (cause: unknown): DbError => {
    if (isDbError(cause)) return cause
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
    return code.startsWith("SQLITE_")
      ? fromSqlite(cause, context)
      : new DbConnection({ ...context, code, message: message(code) })
  }
