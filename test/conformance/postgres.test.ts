import { describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll } from "vitest"
import { conformance } from "../../src/conformance/index.js"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import type { PostgresOptions } from "../../src/layers/postgres/PostgresOptions.js"
import { noPooler, noServer, optionsFor, poolerUrl, serverUrl, temporaryDatabase } from "../support/postgres.js"

interface Engine {
  readonly options: PostgresOptions
  readonly url: string
  readonly missing: boolean
}

const engines: Readonly<Record<string, Engine>> = {
  PostgreSQL: { options: { maxOpenConns: 10 }, url: serverUrl, missing: noServer },
  "PostgreSQL over one connection": { options: { maxOpenConns: 1 }, url: serverUrl, missing: noServer },
  "PostgreSQL through PgBouncer": {
    options: { pooler: "transaction", maxOpenConns: 10 },
    url: poolerUrl,
    missing: noPooler
  }
}

for (const [engine, { missing, options, url }] of Object.entries(engines)) {
  describe.skipIf(missing)(engine, () => {
    const scope = Effect.runSync(Scope.make())
    let database = ""
    beforeAll(async () => {
      database = await Effect.runPromise(Scope.extend(temporaryDatabase, scope))
    })
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
    const layer = Layer.suspend(() => Postgres.layer({ ...optionsFor(database, url), ...options }))
    for (const [service, cases] of Object.entries(conformance(layer))) {
      describe(service, () => {
        for (const { name, run } of cases) it.live(name, () => run)
      })
    }
  })
}
