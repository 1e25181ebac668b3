import * as Reactivity from "@effect/experimental/Reactivity"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Pg from "pg"
import { inject } from "vitest"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as PostgresClient from "../../src/layers/postgres/PostgresClient.js"
import { type PostgresOptions, resolve } from "../../src/layers/postgres/PostgresOptions.js"

/** True where no server can be had: what needs one is skipped, and the reason printed. */
export const noServer = inject("postgresUrl") === undefined
export const noPooler = inject("pgbouncerUrl") === undefined
if (noServer || noPooler) console.warn(inject("postgresMissing"))

export const serverUrl = inject("postgresUrl") ?? "postgres://nowhere"
export const poolerUrl = inject("pgbouncerUrl") ?? "postgres://nowhere"

/** Runs statements over a plain connection, outside of everything that is tested. */
export const outside = (url: string, ...statements: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const client = new Pg.Client({ connectionString: url })
    await client.connect()
    try {
      let rows: Array<Record<string, unknown>> = []
      for (const sql of statements) rows = (await client.query(sql)).rows ?? []
      return rows
    } finally {
      await client.end()
    }
  })

export const inDatabase = (url: string, database: string): string => {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

/** A database that goes with the scope. */
export const temporaryDatabase = Effect.acquireRelease(
  Effect.suspend(() => {
    const name = `test_${globalThis.crypto.randomUUID().replaceAll("-", "")}`
    return Effect.as(outside(serverUrl, `CREATE DATABASE ${name}`), name)
  }),
  (name) => outside(serverUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
)

export const optionsFor = (database: string, url = serverUrl): PostgresOptions => ({
  url: Redacted.make(inDatabase(url, database))
})

export const layer = (options: Partial<PostgresOptions> = {}, url = serverUrl) =>
  Layer.unwrapScoped(
    Effect.map(temporaryDatabase, (database) => Postgres.layer({ ...optionsFor(database, url), ...options }))
  )

/** A client in the server's own database. */
export const client = (options: Partial<PostgresOptions> = {}, url = serverUrl) =>
  resolve({ url: Redacted.make(url), ...options }).pipe(
    Effect.flatMap(PostgresClient.make),
    Effect.tap(({ connect }) => connect),
    Effect.provide(Reactivity.layer)
  )
