/**
 * The tables and views of a SQLite database, from its schema and pragmas.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { ColumnInfo, ForeignKeyInfo, IndexInfo, Row, TableInfo } from "../../services/Backend.js"
import type { SqliteClient } from "./SqliteClient.js"
import { dialect } from "./SqliteDialect.js"

/** Sizes are read by walking every page, so a file of more pages than this has none. */
const sizePages = 16_384

const groupBy = <A>(rows: ReadonlyArray<A>, key: (row: A) => unknown): ReadonlyArray<ReadonlyArray<A>> => {
  const groups = new Map<unknown, Array<A>>()
  for (const row of rows) {
    const group = groups.get(key(row))
    if (group === undefined) groups.set(key(row), [row])
    else group.push(row)
  }
  return Array.from(groups.values())
}

const column = (row: Row): ColumnInfo => ({
  name: String(row["name"]),
  type: String(row["type"]),
  nullable: row["notnull"] === 0,
  default: row["dflt_value"] === null ? null : String(row["dflt_value"]),
  primaryKey: Number(row["pk"])
})

const foreignKey = (rows: ReadonlyArray<Row>): ForeignKeyInfo => {
  const first = rows[0]!
  return {
    columns: rows.map((row) => String(row["from"])),
    table: String(first["table"]),
    references: rows.map((row) => (row["to"] === null ? null : String(row["to"]))),
    onDelete: String(first["on_delete"]),
    onUpdate: String(first["on_update"])
  }
}

const index = (rows: ReadonlyArray<Row>): IndexInfo => ({
  name: String(rows[0]!["index"]),
  unique: rows[0]!["unique"] === 1,
  columns: rows.map((row) => (row["column"] === null ? null : String(row["column"])))
})

/**
 * Tables and views as `PRAGMA`s tell them; names are bound, so any name is safe.
 *
 * @since 0.1.0
 * @category schema
 */
export const describe = (
  client: Pick<SqliteClient, "query">,
  options: { readonly internal: boolean }
): Effect.Effect<ReadonlyArray<TableInfo>, DbError> => {
  const { query } = client

  const rowEstimate = (table: string, columns: ReadonlyArray<Row>, entry: Row, analyzed: boolean) =>
    Effect.gen(function* () {
      if (analyzed) {
        const [row] = yield* query("SELECT stat FROM sqlite_stat1 WHERE tbl = ? LIMIT 1", [table])
        if (row !== undefined) return Number.parseInt(String(row["stat"]), 10)
      }
      // A column may bear a name of the row id and hide it.
      const taken = new Set(columns.map(({ name }) => String(name).toLowerCase()))
      const rowId = ["rowid", "_rowid_", "oid"].find((name) => !taken.has(name))
      if (entry["wr"] === 1 || rowId === undefined) return null
      // Row ids are handed out in order, so the largest is an upper bound, found at the end of one B-tree path.
      const [row] = yield* query(`SELECT max(${rowId}) AS n FROM ${dialect.quoteIdentifier(table)}`)
      return Math.max(0, Number(row!["n"]))
    })

  /** A view whose tables are gone, or a virtual table whose module is, has no columns that SQLite could tell. */
  const columnsOf = (name: string, kind: TableInfo["kind"]): Effect.Effect<ReadonlyArray<Row>, DbError> => {
    const columns = query("SELECT * FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", [name])
    return kind === "table" ? columns : Effect.catchTag(columns, "DbQuery", () => Effect.succeed([]))
  }

  const describeTable = (
    entry: Row,
    analyzed: boolean,
    sizes: ReadonlyMap<string, number> | undefined
  ): Effect.Effect<TableInfo, DbError> =>
    Effect.gen(function* () {
      const name = String(entry["name"])
      const kind = entry["type"] as TableInfo["kind"]
      const columns = yield* columnsOf(name, kind)
      const keys = yield* query("SELECT * FROM pragma_foreign_key_list(?) ORDER BY id, seq", [name])
      const indexes = yield* query(
        `SELECT l.name AS "index", l."unique" AS "unique", i.name AS "column"
         FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i ORDER BY l.seq, i.seqno`,
        [name]
      )
      return {
        name,
        kind,
        columns: columns.map(column),
        foreignKeys: groupBy(keys, (row) => row["id"]).map(foreignKey),
        indexes: groupBy(indexes, (row) => row["index"]).map(index),
        rowEstimate: kind === "table" ? yield* rowEstimate(name, columns, entry, analyzed) : null,
        sizeBytes: kind === "table" ? (sizes?.get(name) ?? null) : null
      }
    })

  return Effect.gen(function* () {
    const entries = yield* query(
      "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' ORDER BY name"
    )
    const names = yield* query("SELECT name FROM sqlite_master WHERE name = 'sqlite_stat1'")
    const [pages] = yield* query("SELECT page_count AS n FROM pragma_page_count")
    const measured =
      Number(pages!["n"]) > sizePages
        ? undefined
        : yield* query(
            `SELECT m.tbl_name AS name, sum(s.pgsize) AS bytes
             FROM dbstat AS s JOIN sqlite_master AS m ON m.name = s.name WHERE s.aggregate GROUP BY m.tbl_name`
          )
    const sizes = measured && new Map(measured.map((row) => [String(row["name"]), Number(row["bytes"])]))
    const shown = entries.filter((entry) => {
      const name = String(entry["name"])
      return !name.startsWith("sqlite_") && (options.internal || !name.startsWith("db_hub_"))
    })
    return yield* Effect.forEach(shown, (entry) => describeTable(entry, names.length > 0, sizes))
  })
}
