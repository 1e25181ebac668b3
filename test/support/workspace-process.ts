/** Appends lines to one document as another process: `workspace-process.ts PLACE USER NAME COUNT`. */
import * as Effect from "effect/Effect"
import { WorkspaceStore } from "../../src/services/WorkspaceStore.js"
import { report } from "./child.js"
import { storesOn } from "./place.js"

const [place = "", user = "", name = "", count = ""] = process.argv.slice(2)

const appends = Effect.flatMap(WorkspaceStore, (workspace) =>
  Effect.forEach(
    Array.from({ length: Number(count) }, (_, n) => `${name} ${n}`),
    (text) => workspace.append({ user, path: "log", text })
  )
)

await report((told) => Effect.provide(Effect.zipRight(told, appends), storesOn(place)))
