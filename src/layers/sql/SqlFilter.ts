/**
 * Filters as SQL, but for what an engine says of one value in a document.
 *
 * @since 0.1.0
 */
import type { SqlValue } from "../../services/Backend.js"
import type { Filter } from "../../vector/index.js"

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

/**
 * A filter that tests one value.
 *
 * @since 0.1.0
 * @category models
 */
export type ValueFilter = Exclude<Filter.Filter, { readonly _tag: "And" | "Or" | "Not" }>

/**
 * SQL without values.
 *
 * @since 0.1.0
 * @category constructors
 */
export const raw = (sql: string): Fragment => ({ sql, params: [] })

/**
 * A template of fragments.
 *
 * @since 0.1.0
 * @category constructors
 */
export const fragment = (strings: TemplateStringsArray, ...parts: ReadonlyArray<Fragment>): Fragment => ({
  sql: strings.reduce((sql, text, i) => sql + parts[i - 1]!.sql + text),
  params: parts.flatMap((part) => part.params)
})

/**
 * Conditions as a balanced tree: SQLite allows a depth of 1000, and a chain of operators is as deep as it is long.
 *
 * @since 0.1.0
 * @category constructors
 */
export const join = (parts: ReadonlyArray<Fragment>, operator: "AND" | "OR"): Fragment => {
  if (parts.length === 0) return raw(operator === "AND" ? "TRUE" : "FALSE")
  if (parts.length === 1) return parts[0]!
  const half = parts.length >> 1
  return fragment`(${join(parts.slice(0, half), operator)} ${raw(operator)} ${join(parts.slice(half), operator)})`
}

/**
 * The comparisons as SQL has them.
 *
 * @since 0.1.0
 * @category constants
 */
export const comparisons: Readonly<Record<Filter.Comparison, Fragment>> = {
  gt: raw(">"),
  gte: raw(">="),
  lt: raw("<"),
  lte: raw("<=")
}

/**
 * Makes the compiler of an engine of its condition for one value, which is true or false and never NULL, so that a
 * negation is the exact complement. What it compiles holds for the same documents as `Filter.matches`; the column must
 * hold JSON objects.
 *
 * @since 0.1.0
 * @category compilation
 */
export const compiler = (condition: (column: Fragment, filter: ValueFilter) => Fragment) => {
  const compile = (column: Fragment, filter: Filter.Filter): Fragment => {
    switch (filter._tag) {
      case "And":
        return join(
          filter.filters.map((part) => compile(column, part)),
          "AND"
        )
      case "Or":
        return join(
          filter.filters.map((part) => compile(column, part)),
          "OR"
        )
      case "Not":
        return fragment`(NOT ${compile(column, filter.filter)})`
      default:
        return condition(column, filter)
    }
  }
  return (filter: Filter.Filter, columnName = "metadata"): Fragment => compile(raw(columnName), filter)
}
