/** Inserts, then deletes, vectors of a collection as another process: `vector-process.ts FILE insert|delete ID`. */
import * as Effect from "effect/Effect"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"

const [path = "", action, id = ""] = process.argv.slice(2)

await Effect.runPromise(
  Effect.scoped(
    Effect.flatMap(Sqlite.make({ path }), ({ vector }) =>
      action === "insert"
        ? vector.insert("shared", { id, vector: [1, 0], text: `from process ${process.pid}` })
        : vector.delete("shared", [id])
    )
  )
)
