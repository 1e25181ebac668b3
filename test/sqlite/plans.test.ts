import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { conformance } from "../../src/conformance/index.js"
import type { BackendServices } from "../../src/layers/BackendLayer.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { Backend, type BackendShape, type SqlValue } from "../../src/services/Backend.js"
import { seesWholeReads } from "../support/plans.js"

/** Statements that may read a whole table, by how they begin, each with the reason why. */
const allowed: Readonly<Record<string, string>> = {
  "INSERT INTO db_hub_pending_embeddings (collection, id, token) SELECT":
    "a collection that moves to another model embeds all of its texts",
  "SELECT name, language FROM db_hub_text_collections": "the list of collections is short, and wanted whole",
  "SELECT name, metric, dimension, model FROM db_hub_collections": "the same"
}

/** Suites of what stands on other tables than those of the stores, or on tables that the cases make. */
const others = new Set(["Backend", "VectorStore", "Migrator", "HealthChecker", "StatementBatch"])

const oneLine = (sql: string): string => sql.replaceAll(/\s+/g, " ").trim()

/** Lists of any length are one statement. */
const shapeOf = (sql: string): string => oneLine(sql).replaceAll(/\?(, \?)+/g, "?")

/** Notes every statement that goes to a backend, with the number of its parameters. */
const recording = (backend: BackendShape, statements: Map<string, readonly [sql: string, parameters: number]>) => {
  const note =
    <Args extends readonly [sql: string, params?: ReadonlyArray<SqlValue>], A>(run: (...args: Args) => A) =>
    (...args: Args): A => {
      const [sql, params = []] = args
      statements.set(shapeOf(sql), [sql, params.length])
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

const plan = (backend: BackendShape, [sql, parameters]: readonly [string, number]) =>
  Effect.map(backend.query(`EXPLAIN QUERY PLAN ${sql}`, Array<null>(parameters).fill(null)), (rows) =>
    rows.map((row) => String(row["detail"]))
  )

/**
 * Whether a step of a plan reads a whole table of the hub, or sorts all that it found to give one page of it. Reading
 * along an index, or along the table unless rows are picked from it, is fine where the statement stops after some rows.
 */
const readsAll = (sql: string) => (step: string) => {
  if (step.startsWith("USE TEMP B-TREE FOR ORDER BY")) return /\bLIMIT\b/.test(sql)
  const scan = /^SCAN (?!CONSTANT ROW|\d+-ROW VALUES|\()\w+( USING (COVERING )?INDEX)?/.exec(step)
  const stops = /\bLIMIT\b/.test(sql) && (scan?.[1] !== undefined || !/\bWHERE\b/.test(sql))
  return scan !== null && !stops
}

const scansOf = (backend: BackendShape, statement: readonly [string, number]) =>
  Effect.map(plan(backend, statement), (steps) => steps.filter(readsAll(oneLine(statement[0]))))

const isAllowed = (sql: string): boolean => Object.keys(allowed).some((beginning) => sql.startsWith(beginning))

describe("query plans", () => {
  it.live(
    "no store reads the whole of a table, nor sorts everything for one page",
    () =>
      Effect.gen(function* () {
        const statements = new Map<string, readonly [string, number]>()
        const layer: Layer.Layer<BackendServices, unknown> = Layer.map(Sqlite.SqliteMemory, (services) =>
          Context.add(services, Backend, recording(Context.get(services, Backend), statements))
        )
        for (const [service, cases] of Object.entries(conformance(layer))) {
          if (others.has(service)) continue
          yield* Effect.forEach(cases, ({ run }) => run, { concurrency: 8, discard: true })
        }
        const backend = yield* Backend
        const found: Array<string> = []
        for (const [shape, statement] of statements) {
          if (!/^(SELECT|UPDATE|DELETE|INSERT|WITH)\b/i.test(shape) || isAllowed(shape)) continue
          const scans = yield* scansOf(backend, statement)
          if (scans.length > 0) found.push(`${scans.join("; ")}: ${shape}`)
        }
        assert.deepStrictEqual(found, [], "make an index, or allow the statement with a reason")
        assert.isAbove(statements.size, 30)
        const unused = Object.keys(allowed).filter((beginning) =>
          Array.from(statements.keys()).every((shape) => !shape.startsWith(beginning))
        )
        assert.deepStrictEqual(unused, [], "no such statement is run any more")
      }).pipe(Effect.provide(Sqlite.SqliteMemory)),
    300_000
  )

  it.live("a plan that reads too much is seen", () =>
    Effect.gen(function* () {
      const backend = yield* Backend
      yield* seesWholeReads((sql) => scansOf(backend, [sql, 0]), {
        whole: [
          "SELECT * FROM db_hub_documents WHERE content = 'x'",
          "SELECT d.id FROM db_hub_documents AS d ORDER BY id",
          "UPDATE db_hub_documents SET content = '' WHERE path = 'a'",
          "DELETE FROM db_hub_documents WHERE path > 'a'",
          "SELECT id FROM db_hub_documents WHERE id IN (SELECT document_id FROM db_hub_document_chunks WHERE text = 'x')",
          "SELECT count(*) AS n FROM db_hub_documents",
          "SELECT id FROM db_hub_changes WHERE store = 'x' ORDER BY id LIMIT 1",
          "SELECT id FROM db_hub_documents WHERE user_id = 'a' ORDER BY created_at LIMIT 10"
        ],
        part: [
          "SELECT * FROM db_hub_documents WHERE id = 'x'",
          "SELECT id FROM db_hub_documents ORDER BY id LIMIT 1",
          "SELECT id FROM db_hub_changes ORDER BY id LIMIT 1",
          "DELETE FROM db_hub_documents WHERE id IN ('a', 'b')",
          "INSERT INTO db_hub_workspace_layers VALUES ('a', '[]')"
        ]
      })
    }).pipe(Effect.provide(Sqlite.SqliteMemory))
  )
})
