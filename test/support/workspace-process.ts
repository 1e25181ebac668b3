/** Appends lines to one document as another process: `workspace-process.ts FILE USER NAME COUNT`. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"

const [path = "", user = "", name = "", count = ""] = process.argv.slice(2)

const appends = Effect.flatMap(WorkspaceStore, (workspace) =>
  Effect.forEach(
    Array.from({ length: Number(count) }, (_, n) => `${name} ${n}`),
    (text) => workspace.append({ user, path: "log", text })
  )
)

await Effect.runPromise(Effect.provide(appends, Layer.provideMerge(StoresLive, Sqlite.layer({ path }))))
