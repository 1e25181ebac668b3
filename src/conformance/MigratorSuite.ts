/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as SqlMigrator from "../layers/sql/SqlMigrator.js"
import { Backend, type BackendShape } from "../services/Backend.js"
import { type MigrationStep, Migrator } from "../services/Migrator.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const step = (id: number, table: string): MigrationStep => ({
  id,
  name: `table ${id}`,
  up: ({ types }) => [
    `CREATE TABLE ${table}_${id} (id ${types.integer} PRIMARY KEY)`,
    `INSERT INTO ${table}_${id} VALUES (${id})`
  ],
  down: () => [`DROP TABLE ${table}_${id}`]
})

const withSteps = (
  test: (given: {
    readonly backend: BackendShape
    readonly table: string
    readonly scope: string
    /** A migrator of the steps 1 … n in one scope. */
    readonly upTo: (n: number) => ReturnType<typeof SqlMigrator.make>
  }) => Effect.Effect<void, unknown>
): Effect.Effect<void, unknown, Backend> =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const [table, scope] = [yield* fresh("m"), yield* fresh("scope")]
    const upTo = (n: number) =>
      SqlMigrator.make(
        backend,
        Array.from({ length: n }, (_, index) => step(index + 1, table)),
        scope
      )
    yield* test({ backend, table, scope, upTo })
  })

const exists = (backend: BackendShape, table: string) =>
  Effect.map(backend.query(backend.dialect.tableExists, [table]), (rows) => rows.length === 1)

/**
 * What every `Migrator` promises.
 *
 * @since 0.1.0
 * @category suites
 */
export const migratorSuite: Suite = {
  "the hub's own tables are up to date once its layer is built": Effect.gen(function* () {
    const migrator = yield* Migrator
    yield* migrator.migrate()
    yield* equal(yield* migrator.needsMigration, false)
    yield* equal((yield* migrator.history).length, yield* migrator.currentVersion)
    yield* equal((yield* migrator.migrate()).applied, [])
  }),

  "a fresh list is at version 0, needs migration, and reading that writes nothing": withSteps(({ upTo }) =>
    Effect.gen(function* () {
      const migrator = upTo(2)
      yield* equal(
        [yield* migrator.currentVersion, yield* migrator.needsMigration, yield* migrator.history],
        [0, true, []]
      )
    })
  ),

  "migrate goes to the latest, up to a target, and down to one": withSteps(({ backend, table, upTo }) =>
    Effect.gen(function* () {
      const migrator = upTo(3)
      const up = yield* migrator.migrate({ target: 2 })
      yield* equal([up.previousVersion, up.currentVersion, up.applied.map(({ id }) => id)], [0, 2, [1, 2]])
      yield* equal([yield* exists(backend, `${table}_2`), yield* exists(backend, `${table}_3`)], [true, false])
      yield* equal((yield* migrator.migrate({ target: 0 })).applied.length, 1)
      const down = yield* migrator.migrate({ target: 1 })
      yield* equal(
        down.applied.map(({ direction, id }) => [direction, id]),
        [
          ["down", 3],
          ["down", 2]
        ]
      )
      yield* equal([yield* exists(backend, `${table}_1`), yield* exists(backend, `${table}_2`)], [true, false])
      yield* migrator.migrate({ target: "empty" })
      yield* equal([yield* migrator.currentVersion, yield* exists(backend, `${table}_1`)], [0, false])
    })
  ),

  "plan lists the steps and their SQL and runs none": withSteps(({ backend, table, upTo }) =>
    Effect.gen(function* () {
      const plan = yield* upTo(2).plan()
      yield* equal(
        plan.map(({ id, sql }) => [id, sql.length]),
        [
          [1, 2],
          [2, 2]
        ]
      )
      yield* equal(plan[0], { id: 1, name: "table 1", direction: "up", sql: step(1, table).up(backend.dialect) })
      yield* equal([yield* upTo(2).currentVersion, yield* exists(backend, `${table}_1`)], [0, false])
    })
  ),

  "two that go up and down at once both come to an end": withSteps(({ backend, scope, table, upTo }) =>
    Effect.gen(function* () {
      // Every step that goes through is undone before the next one.
      const undoing: BackendShape["transaction"] = (effect, options) =>
        Effect.zipLeft(backend.transaction(effect, options), Effect.ignore(upTo(2).migrate({ target: "empty" })))
      const steps = [step(1, table), step(2, table)]
      yield* failsWith("DbConflict", SqlMigrator.make({ ...backend, transaction: undoing }, steps, scope).migrate())
      yield* equal((yield* upTo(2).migrate()).currentVersion, 2)
    })
  ),

  "history tells what was applied and when": withSteps(({ upTo }) =>
    Effect.gen(function* () {
      yield* upTo(1).migrate()
      const [applied] = yield* upTo(1).history
      yield* Effect.sync(() => {
        NodeAssert.equal(applied!.name, "table 1")
        NodeAssert.ok(Math.abs(Date.now() - applied!.appliedAt.getTime()) < 60_000)
      })
    })
  ),

  "a failing step is undone whole, those before it stay": withSteps(({ backend, scope, table }) =>
    Effect.gen(function* () {
      const broken: MigrationStep = {
        id: 2,
        name: "broken",
        up: ({ types }) => [`CREATE TABLE ${table}_2 (id ${types.integer})`, "INSERT INTO nowhere_at_all VALUES (1)"]
      }
      const migrator = SqlMigrator.make(backend, [step(1, table), broken], scope)
      const error = yield* failsWith("MigrationError", migrator.migrate())
      yield* equal([(error as { reason?: string }).reason, (error as { step?: number }).step], ["failed", 2])
      yield* equal([yield* migrator.currentVersion, yield* exists(backend, `${table}_2`)], [1, false])
    })
  ),

  "an edited step, a gap and a later version are refused by name": withSteps(({ backend, scope, table, upTo }) =>
    Effect.gen(function* () {
      const reasonOf = (migrator: ReturnType<typeof upTo>) =>
        Effect.map(failsWith("MigrationError", migrator.migrate()), (error) => (error as { reason?: string }).reason)
      yield* upTo(3).migrate()
      const edited: MigrationStep = { ...step(2, table), up: () => ["SELECT 1"] }
      yield* equal(yield* reasonOf(SqlMigrator.make(backend, [step(1, table), edited, step(3, table)], scope)), "drift")
      yield* equal(yield* reasonOf(upTo(2)), "unknown-version")
      yield* backend.execute("DELETE FROM db_hub_migrations WHERE scope = ? AND id = 2", [scope])
      yield* equal(yield* reasonOf(upTo(3)), "gap")
    })
  ),

  "a step without a way down stops the way down before anything is run": withSteps(({ backend, scope, table }) =>
    Effect.gen(function* () {
      const { down: _down, ...oneWay } = step(1, table)
      const migrator = SqlMigrator.make(backend, [oneWay, step(2, table)], scope)
      yield* migrator.migrate()
      const error = yield* failsWith("MigrationError", migrator.migrate({ target: "empty" }))
      yield* equal((error as { reason?: string }).reason, "irreversible")
      yield* equal(yield* migrator.currentVersion, 2)
    })
  ),

  "a target that is no version is refused": withSteps(({ upTo }) =>
    Effect.gen(function* () {
      for (const target of [3, -1, 1.5]) yield* failsWith("InvalidInput", upTo(2).migrate({ target }))
    })
  ),

  "migrators that start together run each step once": withSteps(({ upTo }) =>
    Effect.gen(function* () {
      const reports = yield* Effect.all(
        Array.from({ length: 8 }, () => upTo(3).migrate()),
        { concurrency: "unbounded" }
      )
      yield* equal(reports.flatMap(({ applied }) => applied.map(({ id }) => id)).sort(), [1, 2, 3])
      yield* equal(
        reports.map(({ currentVersion }) => currentVersion),
        Array.from({ length: 8 }, () => 3)
      )
    })
  )
}
