import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { conformance } from "../../src/conformance/index.js"
import { Backend, type BackendShape, type SqlValue } from "../../src/services/Backend.js"
import { seesWholeReads } from "../support/plans.js"
import * as Postgres from "../support/postgres.js"

/** The stores of the domain; what search and vectors stand on has tests of its own. */
const stores = [
  ...["SettingsStore", "WorkspaceStore", "ConversationStore", "ToolFailureStore", "JobStore", "SandboxStore"],
  ...["AuditLog", "ProjectStore", "FileStore", "RoutineStore", "MemoryStore", "ScheduledJobStore", "SkillStore"],
  ...["PromptTemplateStore", "SessionScoreStore", "SecretStore", "WriteChannel"]
]

/** Statements that may read a whole table, by how they begin, each with the reason why. */
const allowed: Readonly<Record<string, string>> = {
  "SELECT coalesce(oldest.number, last.last_value)": "a sequence has one row"
}

type Recorded = readonly [sql: string, params: ReadonlyArray<SqlValue>]

const shapeOf = (sql: string): string =>
  sql
    .replaceAll(/\s+/g, " ")
    .replaceAll(/\?(, \?)+/g, "?")
    .trim()

const recording = (backend: BackendShape, statements: Map<string, Recorded>): BackendShape => {
  const note =
    <Args extends readonly [sql: string, params?: ReadonlyArray<SqlValue>], A>(run: (...args: Args) => A) =>
    (...args: Args): A => {
      const [sql, params = []] = args
      statements.set(shapeOf(sql), [sql, params])
      return run(...args)
    }
  return {
    ...backend,
    query: note(backend.query),
    execute: note(backend.execute),
    enqueue: note(backend.enqueue),
    stream: note(backend.stream)
  }
}

interface Node {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Index Name"?: string
  readonly "Index Cond"?: string
  readonly Plans?: ReadonlyArray<Node>
}

/** Steps that read a whole table of the hub; reading along an index is fine where something stops it. */
const wholeReads = (node: Node, limited = false): ReadonlyArray<string> => {
  const { "Index Cond": condition, "Index Name": index, "Node Type": type, Plans = [] } = node
  const on = node["Relation Name"] ?? index ?? ""
  const stops = limited || type === "Limit"
  const whole = type === "Seq Scan" || (index !== undefined && condition === undefined && !stops)
  const own = whole && on.startsWith("db_hub_") ? [`${type} on ${on}`] : []
  return [...own, ...Plans.flatMap((child) => wholeReads(child, stops && type !== "Sort"))]
}

/** What the planner does if it can do anything but read a table from its beginning to its end. */
const scansOf = (backend: BackendShape, [sql, params]: Recorded) =>
  backend.transaction(
    Effect.gen(function* () {
      yield* backend.execute("SET LOCAL enable_seqscan = off")
      const [row] = yield* backend.query(`EXPLAIN (FORMAT JSON) ${sql}`, params)
      const [plan] = row!["QUERY PLAN"] as ReadonlyArray<{ readonly Plan: Node }>
      return wholeReads(plan!.Plan)
    })
  )

describe.skipIf(Postgres.noServer)("query plans on PostgreSQL", () => {
  it.live(
    "every statement of a store finds its rows by an index",
    () =>
      Effect.gen(function* () {
        const statements = new Map<string, Recorded>()
        const services = yield* Effect.context<Layer.Layer.Success<ReturnType<typeof Postgres.layer>>>()
        const backend = Context.get(services, Backend)
        const layer = Layer.succeedContext(Context.add(services, Backend, recording(backend, statements)))
        const suites = conformance(layer)
        for (const store of stores) {
          yield* Effect.forEach(suites[store]!, ({ run }) => run, { discard: true })
        }
        yield* backend.execute("ANALYZE")
        const found: Array<string> = []
        for (const [shape, statement] of statements) {
          if (!/^(SELECT|UPDATE|DELETE|INSERT|WITH)\b/i.test(shape)) continue
          if (Object.keys(allowed).some((beginning) => shape.startsWith(beginning))) continue
          const scans = yield* scansOf(backend, statement)
          if (scans.length > 0) found.push(`${scans.join("; ")}: ${shape}`)
        }
        assert.deepStrictEqual(found, [], "make an index, or allow the statement with a reason")
        assert.isAbove(statements.size, 150)
      }).pipe(Effect.provide(Postgres.layer())),
    300_000
  )

  it.live("a plan that reads too much is seen", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* seesWholeReads((sql) => scansOf(backend, [sql, []]), {
        whole: [
          "SELECT * FROM db_hub_documents WHERE content = 'x'",
          "UPDATE db_hub_documents SET content = '' WHERE content_hash = 'a'",
          "SELECT count(*) AS n FROM db_hub_jobs",
          "SELECT id FROM db_hub_documents ORDER BY metadata LIMIT 10"
        ],
        part: [
          "SELECT * FROM db_hub_documents WHERE id = 'x'",
          "SELECT id FROM db_hub_documents ORDER BY id LIMIT 1",
          "DELETE FROM db_hub_documents WHERE id IN ('a', 'b')"
        ]
      })
    }).pipe(Effect.provide(Postgres.layer()))
  )
})
