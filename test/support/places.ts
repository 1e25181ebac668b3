/** Databases that processes may share, one of each engine. */
import * as Effect from "effect/Effect"
import { temporaryFile } from "./index.js"
import * as Postgres from "./postgres.js"

export const places = [
  { engine: "SQLite", place: temporaryFile, missing: false },
  {
    engine: "PostgreSQL",
    place: Effect.map(Postgres.temporaryDatabase, (name) => Postgres.inDatabase(Postgres.serverUrl, name)),
    missing: Postgres.noServer
  }
] as const
