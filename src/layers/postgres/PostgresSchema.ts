/**
 * The tables and views of a PostgreSQL database, from its catalogues.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { DbError } from "../../errors/index.js"
import type { ColumnInfo, ForeignKeyInfo, IndexInfo, Row, TableInfo } from "../../services/Backend.js"
import { isInternal } from "../sql/Introspection.js"
import type { PostgresClient } from "./PostgresClient.js"

const kinds: Readonly<Record<string, TableInfo["kind"]>> = {
  r: "table",
  p: "table",
  v: "view",
  m: "view",
  f: "virtual"
}

const actions: Readonly<Record<string, string>> = {
  a: "NO ACTION",
  r: "RESTRICT",
  c: "CASCADE",
  n: "SET NULL",
  d: "SET DEFAULT"
}

/** As it has to be named. */
const nameOf = (relation: string, schema: string) =>
  `CASE WHEN pg_table_is_visible(${relation}.oid) THEN '' ELSE ${schema}.nspname || '.' END || ${relation}.relname`

/** What came with no extension, and can be named. */
const tables = `SELECT c.oid::bigint AS oid, ${nameOf("c", "n")} AS name, n.nspname::text AS schema, c.relkind::text AS kind,
    CASE WHEN c.relkind IN ('r', 'm') AND c.reltuples >= 0 THEN c.reltuples::bigint END AS estimate,
    CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) END AS size
  FROM pg_catalog.pg_class AS c
  JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
    AND (pg_table_is_visible(c.oid) OR (n.nspname !~ '^pg_temp_' AND has_schema_privilege(n.oid, 'USAGE')))
    AND NOT EXISTS (
      SELECT 1 FROM pg_catalog.pg_depend AS d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
  ORDER BY NOT pg_table_is_visible(c.oid), n.nspname COLLATE "C", c.relname COLLATE "C"`

const columns = `SELECT a.attrelid::bigint AS oid, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
    a.attnotnull AS required, pg_get_expr(d.adbin, d.adrelid) AS "default",
    coalesce(array_position(k.conkey, a.attnum), 0) AS key
  FROM pg_catalog.pg_attribute AS a
  LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_catalog.pg_constraint AS k ON k.conrelid = a.attrelid AND k.contype = 'p'
  WHERE a.attrelid = ANY (?::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  ORDER BY a.attrelid, a.attnum`

const indexes = `SELECT i.indrelid::bigint AS oid, c.relname::text AS name, i.indisunique AS "unique",
    (SELECT array_agg(a.attname::text ORDER BY k.n)
      FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
      LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
      WHERE k.n <= i.indnkeyatts) AS columns
  FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
  WHERE i.indrelid = ANY (?::oid[])
  ORDER BY c.relname COLLATE "C"`

const namesOf = (relation: string, attributes: string) =>
  `(SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(${attributes}) WITH ORDINALITY AS k (attnum, n)
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = ${relation} AND a.attnum = k.attnum)`

const foreignKeys = `SELECT f.conrelid::bigint AS oid, ${nameOf("r", "n")} AS target,
    f.confdeltype::text AS "onDelete", f.confupdtype::text AS "onUpdate",
    ${namesOf("f.conrelid", "f.conkey")} AS columns, ${namesOf("f.confrelid", "f.confkey")} AS refs
  FROM pg_catalog.pg_constraint AS f JOIN pg_catalog.pg_class AS r ON r.oid = f.confrelid
  JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
  WHERE f.contype = 'f' AND f.conrelid = ANY (?::oid[])
  ORDER BY f.conname COLLATE "C"`

const column = (row: Row): ColumnInfo => ({
  name: String(row["name"]),
  type: String(row["type"]),
  nullable: row["required"] !== true,
  default: row["default"] === null ? null : String(row["default"]),
  primaryKey: Number(row["key"])
})

const index = (row: Row): IndexInfo => ({
  name: String(row["name"]),
  unique: row["unique"] === true,
  columns: row["columns"] as ReadonlyArray<string | null>
})

const foreignKey = (row: Row): ForeignKeyInfo => ({
  columns: row["columns"] as ReadonlyArray<string>,
  table: String(row["target"]),
  references: row["refs"] as ReadonlyArray<string>,
  onDelete: actions[String(row["onDelete"])] ?? "",
  onUpdate: actions[String(row["onUpdate"])] ?? ""
})

/**
 * Tables and views as the catalogue tells them.
 *
 * @since 0.1.0
 * @category schema
 */
export const describe = (
  { query }: Pick<PostgresClient, "query">,
  options: { readonly internal: boolean }
): Effect.Effect<ReadonlyArray<TableInfo>, DbError> =>
  Effect.gen(function* () {
    const shown = (yield* query(tables)).filter(({ name }) => options.internal || !isInternal(String(name)))
    const oids = [shown.map(({ oid }) => Number(oid))]
    const byTable = <A>(rows: ReadonlyArray<Row>, read: (row: Row) => A) => {
      const groups = new Map<unknown, Array<A>>()
      for (const row of rows) {
        const group = groups.get(row["oid"])
        if (group === undefined) groups.set(row["oid"], [read(row)])
        else group.push(read(row))
      }
      return (oid: unknown): ReadonlyArray<A> => groups.get(oid) ?? []
    }
    const columnsOf = byTable(yield* query(columns, oids), column)
    const indexesOf = byTable(yield* query(indexes, oids), index)
    const foreignKeysOf = byTable(yield* query(foreignKeys, oids), foreignKey)
    return shown.map(({ estimate, kind, name, oid, schema, size }) => ({
      name: String(name),
      schema: String(schema),
      kind: kinds[String(kind)] ?? "table",
      columns: columnsOf(oid),
      indexes: indexesOf(oid),
      foreignKeys: foreignKeysOf(oid),
      rowEstimate: estimate === null ? null : Number(estimate),
      sizeBytes: size === null ? null : Number(size)
    }))
  })
