/** Three steps of a program of its own, and what a process that runs them reports. */
import * as Effect from "effect/Effect"
import * as SqlMigrator from "../../src/layers/sql/SqlMigrator.js"
import type { BackendShape } from "../../src/services/Backend.js"

const steps = [1, 2, 3].map((id) => ({
  id,
  name: `step ${id}`,
  up: () => [`CREATE TABLE step_${id} (n INTEGER)`, `INSERT INTO step_${id} VALUES (${id})`]
}))

export const migrateApp = (backend: BackendShape) =>
  Effect.map(SqlMigrator.make(backend, steps, "app").migrate(), ({ applied, currentVersion }) => ({
    applied: applied.map(({ id }) => id),
    version: currentVersion
  }))
