/**
 * Inserts that meet a row of the same key.
 *
 * @since 0.1.0
 */
import type { Dialect } from "../../services/Dialect.js"
import { marks } from "./Marks.js"

const insert = (table: string, columns: ReadonlyArray<string>): string =>
  `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${marks(columns)})`

/**
 * `ON CONFLICT`, as SQLite and PostgreSQL have it.
 *
 * @since 0.1.0
 * @category dialect
 */
export const onConflict: Pick<Dialect, "insertIfAbsent" | "upsert"> = {
  insertIfAbsent: (table, columns, key) =>
    `${insert(table, columns)} ON CONFLICT ${key === undefined ? "" : `(${key.join(", ")}) `}DO NOTHING`,
  upsert: (table, columns, key) => {
    const others = columns.filter((column) => !key.includes(column))
    return `${insert(table, columns)} ON CONFLICT (${key.join(", ")}) DO UPDATE SET ${others
      .map((column) => `${column} = excluded.${column}`)
      .join(", ")}`
  }
}
