/** The database that a process is told to open: a file of SQLite, or the URL of PostgreSQL. */
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Postgres from "../../src/layers/postgres/Postgres.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"

export const storesOn = (place: string) =>
  Layer.provideMerge(
    StoresLive,
    place.startsWith("postgres") ? Postgres.layer({ url: Redacted.make(place) }) : Sqlite.layer({ path: place })
  )
