import type { TestProject } from "vitest/node"
import { type PgBouncer, type Postgres, startPgBouncer, startPostgres } from "../../scripts/engines/postgres.mjs"

declare module "vitest" {
  export interface ProvidedContext {
    readonly postgresUrl: string | undefined
    readonly pgbouncerUrl: string | undefined
    readonly postgresMissing: string
  }
}

/** One server for the whole run; each test file makes databases of its own in it. */
export default async function setup(project: TestProject) {
  const server = await startPostgres({ settings: { max_connections: 200 } })
  const pooler = server.kind === "none" ? server : await startPgBouncer({ postgresUrl: server.url })
  project.provide("postgresUrl", server.kind === "none" ? undefined : server.url)
  project.provide("pgbouncerUrl", pooler.kind === "none" ? undefined : pooler.url)
  project.provide(
    "postgresMissing",
    server.kind === "none" ? server.reason : pooler.kind === "none" ? pooler.reason : ""
  )
  return async () => {
    if (pooler.kind !== "none") await (pooler as PgBouncer).stop()
    if (server.kind !== "none") await (server as Postgres).stop()
  }
}
