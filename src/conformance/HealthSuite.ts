/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Backend } from "../services/Backend.js"
import { HealthChecker, HealthStatus } from "../services/HealthChecker.js"
import { Migrator } from "../services/Migrator.js"
import { equal, type Suite } from "./Case.js"

/**
 * What every `HealthChecker` promises.
 *
 * @since 0.1.0
 * @category suites
 */
export const healthSuite: Suite = {
  "ping answers with the milliseconds it took": Effect.gen(function* () {
    const latency = yield* (yield* HealthChecker).ping
    yield* Effect.sync(() => NodeAssert.ok(latency > 0 && latency < 5_000))
  }),

  "a working backend is healthy, with its version and connections": Effect.gen(function* () {
    const status = yield* (yield* HealthChecker).status
    yield* Effect.sync(() => {
      NodeAssert.equal(status.error, undefined)
      NodeAssert.ok(status.healthy)
      NodeAssert.ok(status.latency > 0)
      NodeAssert.match(status.version, /^\d+\.\d+/)
      NodeAssert.ok(status.openConnections >= 1)
      NodeAssert.equal(status.openConnections, status.inUse + status.idle)
    })
    yield* equal(status.schemaVersion, yield* (yield* Migrator).currentVersion)
  }),

  "a database of a later version of the program is healthy, with a warning": Effect.gen(function* () {
    const [backend, health, migrator] = [yield* Backend, yield* HealthChecker, yield* Migrator]
    const later = (yield* migrator.currentVersion) + 1
    const record = backend.execute(
      "INSERT INTO db_hub_migrations (scope, id, name, checksum, applied_at) VALUES (?, ?, ?, ?, ?)",
      ["hub", later, "later", "", new Date()]
    )
    const undone = backend.transaction(Effect.zipRight(record, Effect.flatMap(health.status, Effect.fail)))
    const status = yield* Effect.filterOrDieMessage(
      Effect.flip(undone),
      (found): found is HealthStatus => found instanceof HealthStatus,
      "no status"
    )
    yield* Effect.sync(() => {
      NodeAssert.ok(status.healthy)
      NodeAssert.equal(status.schemaVersion, null)
      NodeAssert.match(status.warnings.join(), new RegExp(`at version ${later} of hub.*update the program`))
    })
  }),

  "a running transaction is a connection in use": Effect.gen(function* () {
    const [backend, health] = [yield* Backend, yield* HealthChecker]
    const status = yield* backend.transaction(Effect.zipRight(backend.query("SELECT 1 AS one"), health.status))
    yield* Effect.sync(() => NodeAssert.ok(status.inUse >= 1))
  }),

  "the status has the field names of the wire": Effect.gen(function* () {
    const wire = yield* Schema.encode(HealthStatus)(yield* (yield* HealthChecker).status)
    for (const field of ["open_connections", "in_use", "wait_count", "wait_duration", "max_open_conns"] as const) {
      yield* equal(typeof wire[field], "number", field)
    }
  })
}
