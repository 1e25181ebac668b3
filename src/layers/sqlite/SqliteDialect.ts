/**
 * SQLite, as the hub's stores and migrations see it.
 *
 * @since 0.1.0
 */
import type { Dialect } from "../../services/Dialect.js"
import type { Lexical } from "../../services/SqlLexer.js"
import * as Upsert from "../sql/Upsert.js"
import * as VectorTables from "./SqliteVectorTables.js"

/**
 * @since 0.1.0
 * @category dialect
 */
export const lexical: Lexical = {
  dollarQuotes: false,
  backslashes: "none",
  nestedComments: false,
  hashComments: false,
  identifiers: '"`[',
  carriageReturns: false,
  byteOrderMarks: true
}

/**
 * @since 0.1.0
 * @category dialect
 */
export const dialect: Dialect = {
  lexical,
  placeholder: () => "?",
  quoteIdentifier: (name) => `"${name.replaceAll('"', '""')}"`,
  tableExists: "SELECT 1 AS found FROM sqlite_master WHERE type = 'table' AND name = ?",
  // What is no change of rows or definitions is a pragma, an ATTACH or a VACUUM.
  runsAlone: () => true,
  changedRows: "SELECT NULL AS name, total_changes() AS n",
  types: {
    text: "TEXT",
    serial: "INTEGER PRIMARY KEY AUTOINCREMENT",
    decimal: "TEXT",
    number: "REAL",
    integer: "INTEGER",
    boolean: "BOOLEAN",
    bytes: "BLOB",
    json: "JSON",
    timestamp: "DATETIME"
  },
  ...Upsert.onConflict,
  // A transaction has the write lock from its beginning.
  forUpdate: "",
  forShare: "",
  skipLocked: "",
  writerOrder: { column: "INTEGER NOT NULL DEFAULT 0", up: [], down: [], settled: undefined },
  vectorTables: { up: VectorTables.up, down: VectorTables.down },
  vectorGraphTables: { up: VectorTables.graphsUp, down: VectorTables.graphsDown },
  dropTextTables: [],
  // FTS5 keeps them.
  textPostings: { up: [], down: [] },
  // BEGIN IMMEDIATE has the write lock already.
  migrationLock: [],
  // Foreign keys are counted as rows change.
  checkDeferred: undefined
}
