/**
 * PostgreSQL, as the hub's stores and migrations see it.
 *
 * @since 0.1.0
 */
import type { Dialect } from "../../services/Dialect.js"
import type { Lexical } from "../../services/SqlLexer.js"
import * as VectorTables from "./PostgresVectorTables.js"

/**
 * @since 0.1.0
 * @category dialect
 */
export const lexical: Lexical = {
  dollarQuotes: true,
  backslashes: "e-strings",
  nestedComments: true,
  hashComments: false,
  brackets: false
}

/**
 * @since 0.1.0
 * @category dialect
 */
export const dialect: Dialect = {
  name: "postgresql",
  lexical,
  placeholder: (index) => `$${index}`,
  quoteIdentifier: (name) => `"${name.replaceAll('"', '""')}"`,
  tableExists: "SELECT 1 AS found WHERE to_regclass(quote_ident(?::text)) IS NOT NULL",
  types: {
    text: "TEXT",
    integer: "BIGINT",
    boolean: "BOOLEAN",
    bytes: "BYTEA",
    json: "JSONB",
    timestamp: "TIMESTAMPTZ"
  },
  vectorTables: { up: VectorTables.up, down: VectorTables.down },
  // Let go at the end of the transaction, whoever ends it. The number is the hub's own.
  migrationLock: ["SELECT pg_advisory_xact_lock(7234201530118)"]
}
