/**
 * The migrator of every SQL engine.
 *
 * Each step is one transaction that begins by taking the engine's migration lock and reads the history again under it,
 * so that processes which start together take turns and each step runs once.
 *
 * @since 0.1.0
 */
import * as NodeCrypto from "node:crypto"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { DbConflict, type DbError, InvalidInput, MigrationError } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import type { Dialect } from "../../services/Dialect.js"
import type { AppliedStep, MigrationStep, MigrationTarget, Migrator, PlannedStep } from "../../services/Migrator.js"
import * as SqlLexer from "../../services/SqlLexer.js"

/**
 * What a migrator needs of its backend.
 *
 * @since 0.1.0
 * @category models
 */
export type MigratorBackend = Pick<
  BackendShape,
  "name" | "dialect" | "query" | "execute" | "transaction" | "alone" | "text"
>

const table = "db_hub_migrations"

/** Long, since a step may rebuild a large table while other processes wait to see that there is nothing left to do. */
const lockTimeout = "10 minutes"

interface Known {
  readonly up: PlannedStep
  /** Undefined where there is no way down. */
  readonly down: PlannedStep | undefined
  readonly checksum: string
  readonly fill: MigrationStep["fill"]
}

/**
 * What a database remembers of a step that it has applied: a digest of its statements.
 *
 * @since 0.1.0
 * @category constructors
 */
export const checksumOf = ({ down, up }: Pick<MigrationStep, "down" | "up">, dialect: Dialect): string =>
  NodeCrypto.createHash("sha256")
    .update(JSON.stringify([up(dialect), down?.(dialect) ?? null]))
    .digest("hex")

const known = (step: MigrationStep, dialect: Dialect): Known => {
  const { fill, id, name, transaction } = step
  const [sql, undo] = [step.up(dialect), step.down?.(dialect)]
  const kind = transaction === false ? { transaction } : {}
  return {
    up: { id, name, direction: "up", sql, ...kind },
    down: undo && { id, name, direction: "down", sql: undo, ...kind },
    checksum: checksumOf(step, dialect),
    fill
  }
}

/**
 * A migrator for a list of steps. Lists of different `scope` live side by side in one database, each numbered from 1;
 * the hub's own is `hub`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  backend: MigratorBackend,
  steps: ReadonlyArray<MigrationStep>,
  scope: string
): Context.Tag.Service<Migrator> => {
  const { dialect, name } = backend
  const list = steps.map((step) => known(step, dialect))
  const fail = (
    reason: MigrationError["reason"],
    message: string,
    rest: { readonly step?: number; readonly code?: string } = {}
  ) => Effect.fail(new MigrationError({ backend: name, operation: "migrate", reason, message, ...rest }))

  const createTable =
    `CREATE TABLE IF NOT EXISTS ${table} (scope ${dialect.types.text} NOT NULL, id ${dialect.types.integer} NOT NULL, ` +
    `name ${dialect.types.text} NOT NULL, checksum ${dialect.types.text} NOT NULL, ` +
    `applied_at ${dialect.types.timestamp} NOT NULL, PRIMARY KEY (scope, id))`

  const history: Effect.Effect<ReadonlyArray<AppliedStep>, DbError> = Effect.gen(function* () {
    if ((yield* backend.query(dialect.tableExists, [table])).length === 0) return []
    const rows = yield* backend.query(
      `SELECT id, name, checksum, applied_at FROM ${table} WHERE scope = ? ORDER BY id`,
      [scope]
    )
    return rows.map((row) => ({
      id: Number(row["id"]),
      name: String(row["name"]),
      checksum: String(row["checksum"]),
      appliedAt: row["applied_at"] as Date
    }))
  })

  /** The version that the history stands for, or why it fits no version of this list. */
  const verify = (applied: ReadonlyArray<AppliedStep>): Effect.Effect<number, MigrationError> => {
    const misnumbered = list.findIndex(({ up }, index) => up.id !== index + 1)
    if (misnumbered !== -1) {
      return fail("gap", `The steps of ${scope} are not numbered 1, 2, 3 …: look at position ${misnumbered + 1}`)
    }
    for (const [index, step] of applied.entries()) {
      const id = index + 1
      if (step.id !== id) {
        return fail("gap", `Step ${id} of ${scope} is not on record but a later one is: restore ${table}`, { step: id })
      }
      const own = list[index]
      if (own === undefined) {
        return fail(
          "unknown-version",
          `The database is at version ${applied.length} of ${scope}, this program knows ${list.length}: update the program`,
          { step: id }
        )
      }
      if (own.checksum !== step.checksum) {
        return fail("drift", `Step ${id} of ${scope} was edited after it had been applied: add a new step instead`, {
          step: id
        })
      }
    }
    return Effect.succeed(applied.length)
  }

  const version = Effect.flatMap(history, verify)

  const resolve = (target: MigrationTarget): Effect.Effect<number, InvalidInput> => {
    if (target === "empty") return Effect.succeed(0)
    if (target === 0) return Effect.succeed(list.length)
    if (Number.isInteger(target) && target > 0 && target <= list.length) return Effect.succeed(target)
    const allowed = `1 … ${list.length}, 0 for the latest, or empty`
    return Effect.fail(
      new InvalidInput({
        backend: name,
        operation: "migrate",
        field: "target",
        allowed,
        message: `There is no such version; allowed: ${allowed}`
      })
    )
  }

  const between = (from: number, to: number): Effect.Effect<ReadonlyArray<PlannedStep>, MigrationError> => {
    if (to >= from) return Effect.succeed(list.slice(from, to).map(({ up }) => up))
    return Effect.forEach(list.slice(to, from).reverse(), ({ down, up }) =>
      down === undefined
        ? fail("irreversible", `Step ${up.id} of ${scope} has no way down`, { step: up.id })
        : Effect.succeed(down)
    )
  }

  const plan = (target: MigrationTarget) =>
    Effect.flatMap(Effect.all([version, resolve(target)]), ([from, to]) => between(from, to))

  const record = (step: PlannedStep) =>
    step.direction === "up"
      ? backend.execute(`INSERT INTO ${table} (scope, id, name, checksum, applied_at) VALUES (?, ?, ?, ?, ?)`, [
          scope,
          step.id,
          step.name,
          list[step.id - 1]!.checksum,
          new Date()
        ])
      : backend.execute(`DELETE FROM ${table} WHERE scope = ? AND id = ?`, [scope, step.id])

  const runStatements = (step: PlannedStep) =>
    Effect.forEach(step.sql, (sql) => backend.execute(sql), { discard: true }).pipe(
      Effect.zipRight((step.direction === "up" ? list[step.id - 1]?.fill?.(backend) : undefined) ?? Effect.void),
      Effect.catchAll((error) =>
        fail(
          "failed",
          `Step ${step.id} (${step.name}) of ${scope} failed and ${step.transaction === false ? "will be begun anew" : "was undone"}: ${error.message}`,
          { step: step.id, ...(error.code === undefined ? {} : { code: error.code }) }
        )
      )
    )

  /** Whether a step drops a table, which others may refer to. */
  const drops = ({ sql }: PlannedStep): boolean =>
    sql.some((statement) => {
      const [verb, what] = SqlLexer.keywords(statement, dialect.lexical)
      return verb === "DROP" && what === "TABLE"
    })

  /**
   * Runs an effect on the next step on the way to the target, decided under the lock; undefined when none is left, or
   * somebody else has run it meanwhile.
   */
  const locked = (
    target: MigrationTarget,
    use: (next: PlannedStep) => Effect.Effect<PlannedStep | undefined, DbError>
  ) =>
    Effect.flatMap(plan(target), ([expected]) =>
      backend.transaction(
        Effect.gen(function* () {
          yield* Effect.forEach(dialect.migrationLock, (sql) => backend.execute(sql), { discard: true })
          yield* backend.execute(createTable)
          const next = (yield* plan(target))[0]
          return next === undefined || next.id !== expected?.id ? undefined : yield* use(next)
        }),
        { busyTimeout: lockTimeout, deferReferences: expected !== undefined && drops(expected) }
      )
    )

  const alone = backend.alone ?? (<A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | DbError> => effect)

  /** Outside of a transaction the lock cannot be held: others stay away by waiting for the turn of this process. */
  const advanceAlone = (target: MigrationTarget) =>
    alone(
      Effect.gen(function* () {
        const next = (yield* plan(target))[0]
        if (next === undefined || next.transaction !== false) return undefined
        yield* runStatements(next)
        yield* locked(target, () => Effect.as(record(next), next))
        return next
      })
    )

  const advance = (target: MigrationTarget) =>
    Effect.gen(function* () {
      const next = yield* locked(target, (next) =>
        next.transaction === false
          ? Effect.succeed(next)
          : Effect.zipRight(runStatements(next), Effect.as(record(next), next))
      )
      return next?.transaction === false ? yield* advanceAlone(target) : next
    })

  return {
    currentVersion: version,
    history,
    needsMigration: Effect.map(version, (current) => current < list.length),
    plan: ({ target = 0 } = {}) => plan(target),
    migrate: ({ onProgress, target = 0 } = {}) =>
      Effect.gen(function* () {
        const previousVersion = yield* version
        const applied: Array<PlannedStep> = []
        // Others on the way to the same target only help, so there are never more steps than now.
        const most = (yield* plan(target)).length
        for (let taken = 0; (yield* plan(target)).length > 0; taken++) {
          if (taken === most) return yield* movedAway(name)
          const step = yield* advance(target)
          if (step !== undefined) applied.push(step)
          onProgress?.({ done: taken + 1, total: most })
        }
        return { previousVersion, currentVersion: yield* version, applied }
      }).pipe(Effect.withSpan("Migrator.migrate", { attributes: { backend: name, scope } }))
  }
}

const movedAway = (backend: string): DbConflict =>
  new DbConflict({
    backend,
    operation: "migrate",
    code: "HUB_MIGRATED_APART",
    applied: "unknown",
    reason: "serialization",
    message: "Another process migrates the same database to another version: agree on one, then migrate again"
  })

/**
 * The version as health tells it, with a warning where the database fits no version of this program.
 *
 * @since 0.1.0
 * @category health
 */
export const health = (
  migrator: Context.Tag.Service<Migrator>
): Effect.Effect<{ readonly schemaVersion: number | null; readonly warnings: ReadonlyArray<string> }> =>
  Effect.match(migrator.currentVersion, {
    onSuccess: (schemaVersion) => ({ schemaVersion, warnings: [] }),
    onFailure: (error) => ({ schemaVersion: null, warnings: error._tag === "MigrationError" ? [error.message] : [] })
  })

/**
 * What `health` gives where the database does not answer.
 *
 * @since 0.1.0
 * @category health
 */
export const unknown = { schemaVersion: null, warnings: [] } as const
