/**
 * The tools of the hub, declared once: their parameters are schemas, and what a client is told is made from them.
 *
 * @since 0.1.0
 */
import * as JSONSchema from "effect/JSONSchema"
import * as Schema from "effect/Schema"

/**
 * What a tool may do: read; write rows or definitions; administer the hub.
 *
 * @since 0.1.0
 * @category models
 */
export type Group = "read" | "write" | "admin"

/**
 * @since 0.1.0
 * @category models
 */
export interface Declaration<A = never> {
  readonly group: Group
  readonly description: string
  readonly parameters: Schema.Schema<A, unknown>
  /** Whether it may change something, destroy something, and may be called twice for the effect of once. */
  readonly hints: { readonly readOnly: boolean; readonly destructive: boolean; readonly idempotent: boolean }
}

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })
const text = (description: string) => Schema.String.annotations({ description })
const count = (description: string, from: number) =>
  Schema.Int.pipe(Schema.greaterThanOrEqualTo(from)).annotations({ description, title: "" })

const backend = optional(text("Backend name; default primary"))
const params = optional(Schema.Array(Schema.Unknown).annotations({ description: "Values of the ? in order" }))
const code = optional(text("The code that the plan returned"))

const declare = <Fields extends Schema.Struct.Fields>(
  group: Group,
  description: string,
  fields: Fields,
  hints: Declaration["hints"]
) => ({ group, description, parameters: Schema.Struct(fields), hints })

const reading = { readOnly: true, destructive: false, idempotent: true }
const writing = { readOnly: false, destructive: true, idempotent: false }

/**
 * @since 0.1.0
 * @category tools
 */
export const tools = {
  db_hub_status: declare(
    "read",
    "Health, version and connection pool of one backend, or of all.",
    { backend },
    reading
  ),
  db_hub_query: declare(
    "read",
    "Run one SQL statement that reads (SELECT, WITH, VALUES, EXPLAIN). Rows come as arrays in the order of columns; " +
      "truncated and reason say what was left out.",
    { query: text("SQL; values as ?"), params, backend, max_rows: optional(count("Default 100", 1)) },
    reading
  ),
  db_hub_schema: declare(
    "read",
    "Tables and views with their columns; with table and detail also keys, indexes, sizes.",
    { table: optional(text("This table alone")), detail: optional(Schema.Boolean), backend },
    reading
  ),
  db_hub_backends: declare("read", "Names, engines and abilities of the backends.", {}, reading),
  db_hub_execute: declare(
    "write",
    "Run one SQL statement that writes, in one transaction. Where plans are on, the first call changes nothing: it " +
      "tells what would change and returns a code; call again with the same arguments and that code.",
    { statement: text("SQL; values as ?"), params, backend, code },
    writing
  ),
  db_hub_migrate: declare(
    "admin",
    "Bring the hub's own tables to a version; dry_run only lists the steps.",
    { backend, target: optional(count("Version; default the newest", 0)), dry_run: optional(Schema.Boolean) },
    { ...writing, idempotent: true }
  ),
  db_hub_backup: declare(
    "admin",
    "Copy a live database to a new file in the backup folder, and check the copy.",
    { output: optional(text("File name below the backup folder")), backend },
    { readOnly: false, destructive: false, idempotent: false }
  ),
  db_hub_raw: declare(
    "admin",
    "Run any one SQL statement; what writes is planned first, as by db_hub_execute. At most 10 calls a second.",
    { query: text("SQL; values as ?"), params, backend, code },
    writing
  )
} as const

/**
 * @since 0.1.0
 * @category models
 */
export type ToolName = keyof typeof tools

/**
 * The arguments of a tool.
 *
 * @since 0.1.0
 * @category models
 */
export type Arguments<Name extends ToolName> = Schema.Schema.Type<(typeof tools)[Name]["parameters"]>

/** What says nothing to a model is left out: every word of it is paid for at every call. */
const compact = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(compact)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).filter(
    ([key, child]) =>
      !["$schema", "$id", "title"].includes(key) && !(key === "required" && Array.isArray(child) && child.length === 0)
  )
  return Object.fromEntries(entries.map(([key, child]) => [key, compact(child)]))
}

/**
 * The parameters of a tool as JSON Schema.
 *
 * @since 0.1.0
 * @category conversions
 */
export const jsonSchemaOf = (name: ToolName): Record<string, unknown> => {
  if (name === "db_hub_backends") return { type: "object", properties: {}, additionalProperties: false }
  return compact(JSONSchema.make(tools[name].parameters as unknown as Schema.Schema<unknown>)) as Record<
    string,
    unknown
  >
}

/**
 * The tools of some groups, in the order of their declaration.
 *
 * @since 0.1.0
 * @category tools
 */
export const namesOf = (groups: ReadonlyArray<Group>): ReadonlyArray<ToolName> =>
  (Object.keys(tools) as Array<ToolName>).filter((name) => groups.includes(tools[name].group))
