/** Opens the database named by its argument as every process of a program would: with its layer, which migrates it. */
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as SqlMigrator from "../../src/layers/SqlMigrator.js"

const [url = ""] = process.argv.slice(2)

const steps = [1, 2, 3].map((id) => ({
  id,
  name: `step ${id}`,
  up: () => [`CREATE TABLE step_${id} (n INTEGER)`, `INSERT INTO step_${id} VALUES (${id})`]
}))

const program = Effect.gen(function* () {
  const backend = yield* Postgres.make({ url: Redacted.make(url) })
  const report = yield* SqlMigrator.make(backend, steps, "app").migrate()
  return { applied: report.applied.map(({ id }) => id), version: report.currentVersion }
})

process.stdin.once("data", () => {
  Effect.runPromise(Effect.scoped(program)).then(
    (report) => {
      process.stdout.write(`${JSON.stringify(report)}\n`)
      process.exit(0)
    },
    (error) => {
      process.stderr.write(`${String(error)}\n`)
      process.exit(1)
    }
  )
})
process.stdout.write("ready\n")
