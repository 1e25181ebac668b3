/**
 * Which tables of a backend are shown: all, those of a name, or those that are not the hub's own.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { type DbError, NotFound } from "../../errors/index.js"
import { nearest } from "../../errors/Nearest.js"
import type { BackendShape, TableInfo } from "../../services/Backend.js"

/**
 * Whether a table is the hub's own, by its name.
 *
 * @since 0.1.0
 * @category checks
 */
export const isInternal = (name: string): boolean => /^([^.]*\.)?db_hub_/.test(name)

/** Whether a name is like one in which each `*` stands for any part; without a way back, so it takes no time. */
const matches = (pattern: string, name: string): boolean => {
  const [first = "", ...others] = pattern.split("*")
  const last = others.pop() ?? ""
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false
  const end = name.length - last.length
  let at = first.length
  for (const part of others) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}

const isCalled = (table: string, { name, schema }: TableInfo): boolean =>
  name === table || (schema !== undefined && `${schema}.${name}` === table)

/**
 * A backend's `schema` from a function that describes all of its tables.
 *
 * @since 0.1.0
 * @category schema
 */
export const schemaOf =
  (
    backend: string,
    describe: (internal: boolean) => Effect.Effect<ReadonlyArray<TableInfo>, DbError>
  ): BackendShape["schema"] =>
  ({ internal = false, table } = {}) =>
    table === undefined
      ? describe(internal)
      : Effect.flatMap(describe(true), (all) => {
          const called = all.filter((info) => isCalled(table, info))
          const shown = all.filter(({ name }) => internal || !isInternal(name))
          const found =
            called.length > 0 || !table.includes("*") ? called : shown.filter(({ name }) => matches(table, name))
          if (found.length > 0) return Effect.succeed(found)
          // Of a name without a schema, also those in other schemas.
          const names = new Map(
            all.flatMap(({ name }) => [
              [name, name],
              [name.slice(name.indexOf(".") + 1), name]
            ])
          )
          const near = nearest(table, Array.from(names.keys())).map((name) => names.get(name)!)
          return Effect.fail(
            new NotFound({
              backend,
              operation: "schema",
              entity: "table",
              message: `There is no such table${near.length === 0 ? "" : `; did you mean ${Array.from(new Set(near)).join(", ")}?`}`
            })
          )
        })
