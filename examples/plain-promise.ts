/** Plain code without Effect's style: one runtime that holds the hub open, promises outside. */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { Hub, HubLive } from "effect-db-hub"

// The hub as db-hub.yaml or DATABASE_URL configures it, else SQLite in ./data/hub.db.
const runtime = ManagedRuntime.make(HubLive)
const hub = await runtime.runPromise(Hub)

await Effect.runPromise(hub.exec("CREATE TABLE IF NOT EXISTS visits (page TEXT PRIMARY KEY, n INTEGER NOT NULL)"))
await Effect.runPromise(
  hub.exec("INSERT INTO visits VALUES (?, 1) ON CONFLICT (page) DO UPDATE SET n = n + 1", ["/home"])
)
console.log(await Effect.runPromise(hub.query("SELECT page, n FROM visits WHERE page = ?", ["/home"])))

// A failure is data as well as an exception: `either` gives it with its type.
const outcome = await Effect.runPromise(Effect.either(hub.query("SELECT * FROM nowhere")))
if (outcome._tag === "Left") console.log(outcome.left._tag, outcome.left.message)

await runtime.dispose()
