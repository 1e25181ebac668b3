/**
 * Filters as SQL over a column of JSON text. Keys and values are bound, never spliced; conditions are true or false,
 * never NULL, so that a negation is the exact complement.
 *
 * @since 0.1.0
 */
import type { SqlValue } from "../../services/Backend.js"
import type { JsonScalar } from "../../vector/index.js"
import { comparisons, compiler, type Fragment, fragment, join, raw } from "../sql/SqlFilter.js"

const bind = (value: SqlValue): Fragment => ({ sql: "?", params: [value] })

/** A value in a document: its `json_type` and its SQL value. */
interface Value {
  readonly type: Fragment
  readonly value: Fragment
}

/** Keys that SQLite compares with the text of the document before it has undone the escapes in it. */
const isEscaped = (key: string): boolean => JSON.stringify(key) !== `"${key}"`

/** Tests the value at a path; for a missing one, `type` is `missing` or the answer is `whenMissing`: they must agree. */
const at = (
  column: Fragment,
  path: ReadonlyArray<string>,
  whenMissing: boolean,
  test: (found: Value) => Fragment
): Fragment => {
  if (!path.some(isEscaped)) {
    const bound = bind(`$${path.map((key) => `."${key}"`).join("")}`)
    return test({
      type: fragment`coalesce(json_type(${column}, ${bound}), 'missing')`,
      value: fragment`json_extract(${column}, ${bound})`
    })
  }
  const steps = path.map((key, i) => {
    const parent = raw(`j${i - 1}`)
    const source =
      i === 0
        ? fragment`json_each(${column}) AS j0`
        : fragment`json_each(CASE WHEN ${parent}.type = 'object' THEN ${parent}.value END) AS ${raw(`j${i}`)}`
    return { source, condition: fragment`${raw(`j${i}`)}.key = ${bind(key)}` }
  })
  const sources = steps.map(({ source }) => source).reduce((left, right) => fragment`${left}, ${right}`)
  const last = raw(`j${path.length - 1}`)
  const tested = test({ type: fragment`${last}.type`, value: fragment`${last}.value` })
  const reached = join(
    steps.map(({ condition }) => condition),
    "AND"
  )
  return whenMissing
    ? fragment`NOT EXISTS (SELECT 1 FROM ${sources} WHERE ${reached} AND NOT ${tested})`
    : fragment`EXISTS (SELECT 1 FROM ${sources} WHERE ${reached} AND ${tested})`
}

const isNumber = ({ type }: Value): Fragment => fragment`${type} IN ('integer', 'real')`

/** Integers of JSON are exact to 64 bits in SQLite but floats in JSON's other readers. */
const asNumber = ({ value }: Value): Fragment => fragment`CAST(${value} AS REAL)`

/** The test of the value comes first: few pass, and the type is another look into the document. */
const ofType = (type: Fragment, test: Fragment): Fragment => fragment`(${test} AND ${type})`

const isText = ({ type }: Value): Fragment => fragment`${type} = 'text'`

const equals = (found: Value, value: JsonScalar): Fragment => {
  switch (typeof value) {
    case "string":
      return ofType(isText(found), fragment`${found.value} = ${bind(value)}`)
    case "number":
      return ofType(isNumber(found), fragment`${asNumber(found)} = ${bind(value)}`)
    case "boolean":
      return fragment`(${found.type} = ${bind(String(value))})`
    default:
      return fragment`(${found.type} IN ('null', 'missing'))`
  }
}

/** Long lists are bound as one value each for the strings and the numbers. */
const isIn = (found: Value, values: ReadonlyArray<JsonScalar>): Fragment => {
  const strings = values.filter((value) => typeof value === "string")
  const numbers = values.filter((value) => typeof value === "number")
  const others = [true, false, null].filter((value) => values.includes(value)).map((value) => equals(found, value))
  const list = (items: ReadonlyArray<JsonScalar>) => bind(JSON.stringify(items))
  if (strings.length > 0) {
    others.push(ofType(isText(found), fragment`${found.value} IN (SELECT value FROM json_each(${list(strings)}))`))
  }
  if (numbers.length > 0) {
    const each = fragment`SELECT CAST(value AS REAL) FROM json_each(${list(numbers)})`
    others.push(ofType(isNumber(found), fragment`${asNumber(found)} IN (${each})`))
  }
  return join(others, "OR")
}

/**
 * The condition that holds for the same documents as `matches`. The column must hold JSON objects.
 *
 * @since 0.1.0
 * @category compilation
 */
export const compile = compiler((column, filter) => {
  switch (filter._tag) {
    case "Equals":
      return at(column, filter.path, filter.value === null, (found) => equals(found, filter.value))
    case "In":
      return at(column, filter.path, filter.values.includes(null), (found) => isIn(found, filter.values))
    case "Exists":
      return at(column, filter.path, false, ({ type }) => fragment`(${type} <> 'missing')`)
    case "Compare": {
      const symbol = comparisons[filter.operator]
      return at(column, filter.path, false, (found) =>
        typeof filter.value === "string"
          ? ofType(isText(found), fragment`${found.value} ${symbol} ${bind(filter.value)}`)
          : ofType(isNumber(found), fragment`${asNumber(found)} ${symbol} ${bind(filter.value)}`)
      )
    }
    case "Contains":
      return at(column, filter.path, false, (found) => {
        const elements = fragment`json_each(CASE WHEN ${found.type} = 'array' THEN ${found.value} END) AS e`
        const element = equals({ type: raw("e.type"), value: raw("e.value") }, filter.value)
        const within = fragment`EXISTS (SELECT 1 FROM ${elements} WHERE ${element})`
        return typeof filter.value === "string"
          ? fragment`(${within} OR ${ofType(isText(found), fragment`instr(${found.value}, ${bind(filter.value)}) > 0`)})`
          : within
      })
  }
})
