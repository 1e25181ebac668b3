/**
 * What the tools and the commands of `db-hub` both do: one implementation, whose answers are plain documents.
 *
 * @since 0.1.0
 */
import * as NodePath from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { type DbError, DbTimeout, DbUnsupported } from "../errors/index.js"
import { collector, defaultLimits } from "../services/AgentRows.js"
import type { AgentQuery, AgentResult, AgentSqlShape, AgentWriting } from "../services/AgentSql.js"
import type { BackendShape, SqlValue, TableInfo } from "../services/Backend.js"
import { HealthStatus } from "../services/HealthChecker.js"
import type { MigrationTarget, Migrator } from "../services/Migrator.js"
import type { Progress } from "../services/Progress.js"
import { defaultName } from "./BackupFile.js"

/**
 * An answer, as JSON.
 *
 * @since 0.1.0
 * @category models
 */
export type Document = Readonly<Record<string, unknown>>

/**
 * @since 0.1.0
 * @category models
 */
export interface Health extends Partial<typeof HealthStatus.Encoded> {
  readonly name: string
  readonly type?: string
  readonly healthy: boolean
  readonly code?: string | null
}

/** How long one backend may take to open and answer. */
const healthTimeout = "5 seconds"

/**
 * How a backend is; one that cannot be opened is not healthy.
 *
 * @since 0.1.0
 * @category actions
 */
export const health = <R>(name: string, open: Effect.Effect<BackendShape, DbError, R>) =>
  Effect.flatMap(open, ({ health, kind }) => Effect.map(health.status, (status) => ({ kind, status }))).pipe(
    // What cannot be interrupted is left behind rather than waited for.
    Effect.disconnect,
    Effect.timeoutFail({
      duration: healthTimeout,
      onTimeout: () =>
        new DbTimeout({
          backend: name,
          operation: "status",
          message: `${name} did not answer within ${healthTimeout}`
        })
    }),
    Effect.match({
      onSuccess: ({ kind, status }): Health => ({ name, type: kind, ...Schema.encodeSync(HealthStatus)(status) }),
      onFailure: ({ code = null, message }): Health => ({ name, healthy: false, error: message, code })
    })
  )

/**
 * What a backend can do, and whether it opens.
 *
 * @since 0.1.0
 * @category actions
 */
export const abilities = <R>(name: string, open: Effect.Effect<BackendShape, DbError, R>) =>
  Effect.map(Effect.either(open), (opened) => ({
    name,
    ...(Either.isRight(opened) ? { type: opened.right.kind } : {}),
    opens: Either.isRight(opened),
    capabilities: Either.isLeft(opened)
      ? null
      : {
          concurrent_reads: opened.right.capabilities.concurrentReads,
          persistent: opened.right.capabilities.persistent,
          vector: opened.right.capabilities.vector,
          backup: opened.right.capabilities.backup,
          writable: opened.right.capabilities.writable
        },
    ...(Either.isLeft(opened) ? { error: opened.left.message } : {})
  }))

const rowsOf = ({ columns, notes, reason, rows, truncated }: AgentResult) => ({
  columns,
  rows,
  row_count: rows.length,
  truncated,
  reason,
  ...(Object.keys(notes).length === 0 ? {} : { notes })
})

/**
 * Reads through the read door.
 *
 * @since 0.1.0
 * @category actions
 */
export const query = (door: AgentSqlShape, sql: string, options: AgentQuery) =>
  Effect.map(door.query(sql, options), rowsOf)

/**
 * Runs one statement that writes, in one transaction: its own.
 *
 * @since 0.1.0
 * @category actions
 */
export const execute = (backend: Pick<BackendShape, "execute">, sql: string, params: ReadonlyArray<SqlValue>) =>
  Effect.map(backend.execute(sql, params), (result) => {
    const columns = Object.keys(result.rows[0] ?? {})
    const rows = collector(defaultLimits)
    result.rows.every((row) => rows.add(columns.map((column) => row[column])))
    const { notes: _, ...read } = rows.result()
    const id = result.lastInsertId
    return {
      rows_affected: result.rowsAffected,
      last_insert_id: typeof id === "bigint" ? String(id) : id,
      ...(columns.length === 0 ? {} : { columns, ...read })
    }
  })

/**
 * The same through the door that stops it at its deadline.
 *
 * @since 0.1.0
 * @category actions
 */
export const executed = (
  run: NonNullable<AgentSqlShape["execute"]>,
  sql: string,
  params: ReadonlyArray<SqlValue>,
  how: AgentWriting
) =>
  Effect.map(
    run(sql, { params, how }),
    ({ columns, lastInsertId, notes: _, rowsAffected, rowsInAll: __, ...read }) => ({
      rows_affected: rowsAffected,
      last_insert_id: lastInsertId,
      ...(columns.length === 0 ? {} : { columns, ...read })
    })
  )

const columnText = ({ name, nullable, primaryKey, type }: TableInfo["columns"][number]): string =>
  [name, type, ...(primaryKey > 0 ? ["PK"] : nullable ? [] : ["NOT NULL"])].filter((part) => part !== "").join(" ")

const brief = (info: TableInfo) => ({
  name: info.name,
  kind: info.kind,
  columns: info.columns.map(columnText),
  row_estimate: info.rowEstimate,
  ...(info.foreignKeys.length === 0
    ? {}
    : { references: info.foreignKeys.map((key) => `${key.columns.join(", ")} -> ${key.table}`) })
})

/**
 * Everything that is known of a table.
 *
 * @since 0.1.0
 * @category conversions
 */
export const tableDocument = (info: TableInfo) => ({
  name: info.name,
  kind: info.kind,
  columns: info.columns.map(({ primaryKey, ...column }) => ({ ...column, primary_key: primaryKey })),
  indexes: info.indexes,
  foreign_keys: info.foreignKeys.map(({ onDelete, onUpdate, ...key }) => ({
    ...key,
    on_delete: onDelete,
    on_update: onUpdate
  })),
  row_estimate: info.rowEstimate,
  size_bytes: info.sizeBytes
})

/**
 * Tables and views, or those that are asked for: in brief, or with everything that is known of them, up to so many bytes.
 *
 * @since 0.1.0
 * @category actions
 */
export const schema = (
  backend: BackendShape,
  {
    detail,
    maxBytes = defaultLimits.maxBytes,
    ...which
  }: { readonly table?: string; readonly internal?: boolean; readonly detail?: boolean; readonly maxBytes?: number }
) =>
  Effect.map(backend.schema(which), (all) => {
    const tables: Array<Document> = []
    let bytes = 2
    for (const info of all) {
      const document = detail === true ? tableDocument(info) : brief(info)
      bytes += Buffer.byteLength(JSON.stringify(document)) + 1
      if (bytes > maxBytes) break
      tables.push(document)
    }
    const truncated = tables.length < all.length
    const schemas = new Set(all.flatMap(({ schema }) => schema ?? []))
    return {
      tables,
      ...(which.table === undefined && schemas.size > 0 ? { schemas: Array.from(schemas) } : {}),
      truncated,
      reason: truncated
        ? `more than ${maxBytes} bytes: ${tables.length} of ${all.length} tables are shown; ask by table, * stands for any part of a name`
        : null
    }
  })

type Migrating = typeof Migrator.Service

/**
 * The steps that `migrate` would run, with their SQL.
 *
 * @since 0.1.0
 * @category actions
 */
export const plan = (migrator: Migrating, target: MigrationTarget = 0) =>
  Effect.map(Effect.all([migrator.currentVersion, migrator.plan({ target })]), ([current, steps]) => ({
    dry_run: true,
    current_version: current,
    needs_migration: steps.length > 0,
    steps: steps.map(({ direction, id, name, sql }) => ({ id, name, direction, sql }))
  }))

/**
 * Brings the hub's own tables to a version.
 *
 * @since 0.1.0
 * @category actions
 */
export const migrate = (migrator: Migrating, target: MigrationTarget = 0, onProgress?: (progress: Progress) => void) =>
  Effect.map(
    migrator.migrate({ target, ...(onProgress === undefined ? {} : { onProgress }) }),
    ({ applied, currentVersion, previousVersion }) => ({
      dry_run: false,
      previous_version: previousVersion,
      current_version: currentVersion,
      applied: applied.map(({ direction, id, name }) => ({ id, name, direction }))
    })
  )

/**
 * Where a copy goes, and who hears of it as it grows.
 *
 * @since 0.1.0
 * @category models
 */
export interface BackupOptions {
  /** The file; default one below `folder` that is named by the time. */
  readonly file?: string
  readonly folder: string
  /** What the default name begins with. */
  readonly database: string
  readonly onProgress?: (progress: Progress) => void
}

/**
 * Copies a live database to a new file, and checks the copy.
 *
 * @since 0.1.0
 * @category actions
 */
export const backup = (backend: BackendShape, { database, file, folder, onProgress }: BackupOptions) =>
  Effect.gen(function* () {
    if (!backend.capabilities.persistent) {
      return yield* new DbUnsupported({
        backend: backend.name,
        operation: "backup",
        message: "A database in memory has nothing to back up: it is gone when the program that made it ends"
      })
    }
    const at = new Date(yield* Clock.currentTimeMillis)
    const options = onProgress === undefined ? {} : { onProgress }
    /** Two backups within one second, also of two processes, get names of their own. */
    const named = (n: number): ReturnType<BackendShape["backup"]> =>
      Effect.catchIf(
        backend.backup(NodePath.join(folder, defaultName(database, at, n)), options),
        (error: DbError) => error._tag === "InvalidInput" && error.field === "file" && n < 1000,
        () => named(n + 1)
      )
    const copy = yield* file === undefined ? named(1) : backend.backup(file, options)
    return {
      backend: backend.name,
      backup_path: copy.file,
      size_bytes: copy.sizeBytes,
      verified: true,
      timestamp: at.toISOString()
    }
  })
