/**
 * Filters as SQL over a column of jsonb. Keys and values are bound, never spliced; conditions are true or false, never
 * NULL, so that a negation is the exact complement.
 *
 * @since 0.1.0
 */
import type { Filter, JsonScalar } from "../../vector/index.js"
import { comparisons, compiler, type Fragment, fragment, raw } from "../sql/SqlFilter.js"

const text = (value: string): Fragment => ({ sql: "?::text", params: [value] })

const json = (value: unknown): Fragment => ({ sql: "?::jsonb", params: [JSON.stringify(value)] })

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

const compares = (found: Fragment, operator: Filter.Comparison, value: string | number): Fragment => {
  const symbol = comparisons[operator]
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
export const compile = compiler((column, filter) => {
  const found = at(column, filter.path)
  switch (filter._tag) {
    case "Equals":
      return equals(found, filter.value)
    case "In":
      return isIn(found, filter.values)
    case "Exists":
      return fragment`(${found} IS NOT NULL)`
    case "Compare":
      return compares(found, filter.operator, filter.value)
    case "Contains":
      return contains(found, filter.value)
  }
})
