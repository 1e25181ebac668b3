/**
 * Filters as SQL over a column of jsonb. Keys and values are bound, never spliced; conditions are true or false, never
 * NULL, so that a negation is the exact complement.
 *
 * @since 0.1.0
 */
import type { SqlValue } from "../../services/Backend.js"
import type { Filter, JsonScalar } from "../../vector/index.js"

/**
 * A piece of SQL with the values of its placeholders.
 *
 * @since 0.1.0
 * @category models
 */
export interface Fragment {
  readonly sql: string
  readonly params: ReadonlyArray<SqlValue>
}

const raw = (sql: string): Fragment => ({ sql, params: [] })

const text = (value: string): Fragment => ({ sql: "?::text", params: [value] })

const json = (value: unknown): Fragment => ({ sql: "?::jsonb", params: [JSON.stringify(value)] })

const fragment = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Fragment>): Fragment => ({
  sql: strings.reduce((sql, text, i) => sql + parts[i - 1]!.sql + text),
  params: parts.flatMap((part) => part.params)
})

const join = (parts: ReadonlyArray<Fragment>, operator: "AND" | "OR"): Fragment =>
  parts.length === 0
    ? raw(operator === "AND" ? "TRUE" : "FALSE")
    : { sql: `(${parts.map(({ sql }) => sql).join(` ${operator} `)})`, params: parts.flatMap(({ params }) => params) }

/** The value at a path, NULL if there is none; with a key of text, `->` goes through objects only. */
const at = (column: Fragment, path: ReadonlyArray<string>): Fragment =>
  fragment`(${path.reduce((parent, key) => fragment`${parent} -> ${text(key)}`, column)})`

const asText = (value: Fragment): Fragment => fragment`(${value} #>> '{}') COLLATE "C"`

const equals = (found: Fragment, value: JsonScalar): Fragment =>
  value === null
    ? fragment`coalesce(${found} = 'null'::jsonb, TRUE)`
    : fragment`coalesce(${found} = ${json(value)}, FALSE)`

const isIn = (found: Fragment, values: ReadonlyArray<JsonScalar>): Fragment => {
  const listed = fragment`coalesce(${found} IN (SELECT jsonb_array_elements(${json(values)})), FALSE)`
  return values.includes(null) ? fragment`(${found} IS NULL OR ${listed})` : listed
}

const symbols = { gt: ">", gte: ">=", lt: "<", lte: "<=" } as const

const compares = (found: Fragment, operator: Filter.Comparison, value: string | number): Fragment => {
  const symbol = raw(symbols[operator])
  return typeof value === "string"
    ? fragment`(CASE WHEN jsonb_typeof(${found}) = 'string' THEN ${asText(found)} ${symbol} ${text(value)} ELSE FALSE END)`
    : fragment`(CASE WHEN jsonb_typeof(${found}) = 'number' THEN ${found} ${symbol} ${json(value)} ELSE FALSE END)`
}

const contains = (found: Fragment, value: JsonScalar): Fragment => {
  const element = fragment`EXISTS (SELECT 1 FROM jsonb_array_elements(${found}) AS e (value) WHERE e.value = ${json(value)})`
  const substring =
    typeof value === "string" ? fragment`WHEN 'string' THEN strpos(${asText(found)}, ${text(value)}) > 0` : raw("")
  return fragment`(CASE jsonb_typeof(${found}) WHEN 'array' THEN ${element} ${substring} ELSE FALSE END)`
}

/**
 * The condition that holds for the same documents as `matches`. The column must hold JSON objects.
 *
 * @since 0.1.0
 * @category compilation
 */
export const compile = (filter: Filter.Filter, columnName = "metadata"): Fragment => {
  const column = raw(columnName)
  const condition = (filter: Filter.Filter): Fragment => {
    switch (filter._tag) {
      case "And":
        return join(filter.filters.map(condition), "AND")
      case "Or":
        return join(filter.filters.map(condition), "OR")
      case "Not":
        return fragment`(NOT ${condition(filter.filter)})`
      case "Equals":
        return equals(at(column, filter.path), filter.value)
      case "In":
        return isIn(at(column, filter.path), filter.values)
      case "Exists":
        return fragment`(${at(column, filter.path)} IS NOT NULL)`
      case "Compare":
        return compares(at(column, filter.path), filter.operator, filter.value)
      case "Contains":
        return contains(at(column, filter.path), filter.value)
    }
  }
  return condition(filter)
}
