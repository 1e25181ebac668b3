import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Backend } from "../../src/services/Backend.js"
import { operation, WriteChannel } from "../../src/services/WriteChannel.js"

const Append = operation("Ledger.append", {
  payload: { id: Schema.String, process: Schema.String },
  success: Schema.Struct({ total: Schema.Number })
})

/** A write that shows when it is done twice: the table has no key, and a counter goes up by one. */
export const ledger = Effect.gen(function* () {
  const backend = yield* Backend
  const channel = yield* WriteChannel
  yield* backend.execute("CREATE TABLE IF NOT EXISTS ledger (id TEXT NOT NULL, process TEXT NOT NULL)")
  yield* backend.execute("CREATE TABLE IF NOT EXISTS totals (process TEXT PRIMARY KEY, n INTEGER NOT NULL)")
  return channel.handle(Append, ({ id, process }) =>
    Effect.gen(function* () {
      yield* backend.execute("INSERT INTO ledger (id, process) VALUES (?, ?)", [id, process])
      const { rows } = yield* backend.execute(
        "INSERT INTO totals (process, n) VALUES (?, 1) ON CONFLICT (process) DO UPDATE SET n = n + 1 RETURNING n",
        [process]
      )
      return { result: { total: Number(rows[0]?.["n"]) }, ids: [id] }
    })
  )
})
