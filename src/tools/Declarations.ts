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
 * What a tool is told to be: to models, and to whoever checks their calls.
 *
 * @since 0.1.0
 * @category models
 */
export interface Declaration<A = never> {
  readonly group: Group
  readonly description: string
  readonly parameters: Schema.Schema<A, unknown>
  /** What an answer without an error holds; it may hold more. */
  readonly result: Schema.Schema.AnyNoContext
  /** Whether it may change something, destroy something, and may be called twice for the effect of once. */
  readonly hints: { readonly readOnly: boolean; readonly destructive: boolean; readonly idempotent: boolean }
}

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { exact: true })
const text = (description: string) => Schema.String.annotations({ description })
/** `Schema.Int` would become a reference, which not every client follows. */
const integer = Schema.Number.pipe(Schema.int())
const count = (description: string, from: number, to = 2 ** 30) =>
  integer.pipe(Schema.between(from, to)).annotations({ description, title: "" })

/**
 * Results of one search at most.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxLimit = 100

const backend = optional(text("Backend name; default primary"))
const params = optional(Schema.Array(Schema.Unknown).annotations({ description: "Values of the ? in order" }))
const code = optional(text("The code that the plan returned"))

const declare = <Fields extends Schema.Struct.Fields, Result extends Schema.Struct.Fields>(
  group: Group,
  description: string,
  fields: Fields,
  result: Result,
  hints: Declaration["hints"]
) => ({ group, description, parameters: Schema.Struct(fields), result: Schema.Struct(result), hints })

const reading = { readOnly: true, destructive: false, idempotent: true }
const writing = { readOnly: false, destructive: true, idempotent: false }

const documents = Schema.Array(Schema.Object)
const rows = {
  columns: Schema.Array(Schema.String),
  rows: Schema.Array(Schema.Array(Schema.Unknown)),
  row_count: integer,
  truncated: Schema.Boolean,
  reason: Schema.NullOr(Schema.String)
}
/** A plan and its code, or what was done. */
const written = {
  plan: optional(Schema.Object),
  code: optional(Schema.String),
  rows_affected: optional(integer),
  last_insert_id: optional(Schema.Unknown),
  rows: optional(rows.rows)
}

/**
 * The tools of the hub, by name.
 *
 * @since 0.1.0
 * @category tools
 */
export const tools = {
  db_hub_status: declare(
    "read",
    "Health, version and connection pool of one backend, or of all.",
    { backend },
    { backends: documents },
    reading
  ),
  db_hub_query: declare(
    "read",
    "Run one SQL statement that reads (SELECT, WITH, VALUES, EXPLAIN). Rows come as arrays in the order of columns; " +
      "truncated and reason say what was left out.",
    { query: text("SQL; values as ?"), params, backend, max_rows: optional(count("Default 100", 1)) },
    rows,
    reading
  ),
  db_hub_schema: declare(
    "read",
    "Tables and views with their columns; with table and detail also keys, indexes, sizes.",
    { table: optional(text("This one alone; * for any part")), detail: optional(Schema.Boolean), backend },
    {
      tables: documents,
      schemas: optional(Schema.Array(Schema.String)),
      truncated: Schema.Boolean,
      reason: rows.reason
    },
    reading
  ),
  db_hub_backends: declare(
    "read",
    "Names, engines and abilities of the backends.",
    {},
    { backends: documents },
    reading
  ),
  db_hub_search: declare(
    "read",
    "Find records of collections, and memories, by words, by meaning, or both (hybrid, the default where it can be). " +
      "Best first; failed says what could not be searched, and why.",
    {
      query: optional(Schema.String),
      vector: optional(Schema.Array(Schema.Number)),
      mode: optional(Schema.Literal("text", "vector", "hybrid")),
      in: optional(Schema.Array(Schema.String).annotations({ description: 'Collections, or "memories"; default all' })),
      filter: optional(
        Schema.Object.annotations({
          description: 'On metadata of collections alone: {"lang": "en", "year": {"$gte": 2024}}'
        })
      ),
      limit: optional(count("Default 10", 1, maxLimit)),
      backend
    },
    { results: documents, failed: optional(documents) },
    reading
  ),
  db_hub_execute: declare(
    "write",
    "Run one SQL statement that writes, in one transaction. Where plans are on, the first call changes nothing: it " +
      "tells what would change and returns a code; call again with the same arguments and that code.",
    { statement: text("SQL; values as ?"), params, backend, code },
    written,
    writing
  ),
  db_hub_remember: declare(
    "write",
    "Keep a fact, an event or a way to do something, to be found by db_hub_search. The same content is kept once.",
    {
      content: Schema.String,
      kind: optional(
        Schema.Literal("semantic", "episodic", "procedural").annotations({ description: "Default semantic" })
      ),
      tags: optional(Schema.Array(Schema.String)),
      importance: optional(Schema.Number.annotations({ description: "0 to 1; default 0.5" })),
      supersedes: optional(text("Id of the memory that this one replaces"))
    },
    {
      id: Schema.String,
      duplicate: Schema.Boolean,
      pending: optional(Schema.Boolean.annotations({ description: "Found by its words only, for now" })),
      reason: optional(Schema.String)
    },
    { readOnly: false, destructive: false, idempotent: true }
  ),
  db_hub_migrate: declare(
    "admin",
    "Bring the hub's own tables to a version; dry_run only lists the steps.",
    { backend, target: optional(count("Version; default the newest", 0)), dry_run: optional(Schema.Boolean) },
    {
      current_version: integer,
      previous_version: optional(integer),
      steps: optional(documents),
      applied: optional(documents)
    },
    { ...writing, idempotent: true }
  ),
  db_hub_backup: declare(
    "admin",
    "Copy a live database to a new file in the backup folder, and check the copy.",
    { output: optional(text("File name below the backup folder")), backend },
    { backup_path: Schema.String, size_bytes: integer },
    { readOnly: false, destructive: false, idempotent: false }
  ),
  db_hub_raw: declare(
    "admin",
    "Run any one SQL statement; what writes is planned first, as by db_hub_execute. At most 10 calls a second.",
    { query: text("SQL; values as ?"), params, backend, code },
    { type: Schema.Literal("query", "exec"), ...written, columns: optional(rows.columns) },
    writing
  )
} as const

/**
 * The name of a tool of the hub.
 *
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

interface Json {
  readonly [key: string]: unknown
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

/** What says nothing to a model is left out: every word of it is paid for at every call. */
const compact = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(compact)
  if (!isObject(value)) return value
  const { anyOf } = value
  // Several simple types are a list of their names.
  if (Array.isArray(anyOf) && anyOf.every((choice) => isObject(choice) && Object.keys(choice).join() === "type")) {
    return { type: anyOf.map(({ type }: Json) => type) }
  }
  // Any object at all.
  if (value["$id"] === "/schemas/object") {
    return { type: "object", ...("description" in value ? { description: value["description"] } : {}) }
  }
  const entries = Object.entries(value).filter(
    ([key, child]) =>
      !["$schema", "$id", "title"].includes(key) && !(key === "required" && Array.isArray(child) && child.length === 0)
  )
  return Object.fromEntries(entries.map(([key, child]) => [key, compact(child)]))
}

const jsonSchema = (schema: unknown): Json => compact(JSONSchema.make(schema as Schema.Schema<unknown>)) as Json

/**
 * The parameters of a tool as JSON Schema.
 *
 * @since 0.1.0
 * @category conversions
 */
export const jsonSchemaOf = (name: ToolName): Readonly<Record<string, unknown>> =>
  name === "db_hub_backends"
    ? { type: "object", properties: {}, additionalProperties: false }
    : jsonSchema(tools[name].parameters)

/**
 * The answers of a tool as JSON Schema: what they hold at least.
 *
 * @since 0.1.0
 * @category conversions
 */
export const resultSchemaOf = (name: ToolName): Readonly<Record<string, unknown>> => {
  const { additionalProperties: _, ...open } = jsonSchema(tools[name].result)
  return open
}

/**
 * The tools of some groups, in the order of their declaration.
 *
 * @since 0.1.0
 * @category tools
 */
export const namesOf = (groups: ReadonlyArray<Group>): ReadonlyArray<ToolName> =>
  (Object.keys(tools) as Array<ToolName>).filter((name) => groups.includes(tools[name].group))
