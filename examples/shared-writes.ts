/** Run this in several terminals at once: every process writes to one SQLite file, and no write fails or is lost. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { SqliteLive } from "effect-db-hub"
import { StatementBatch, StoresShared, withIdempotencyKey } from "effect-db-hub/stores"
import { makeVotes } from "./votes.js"

const program = Effect.gen(function* () {
  const [batch, votes] = [yield* StatementBatch, yield* makeVotes]
  for (let n = 0; n < 10; n++) yield* votes.cast({ poll: "lunch", choice: "soup" })

  // Statements as they are, with parameters, in one transaction; under a key they have one effect, however often sent.
  const [, counted] = yield* withIdempotencyKey(`lunch closed by ${process.pid}`)(
    batch.execute({
      statements: [
        { sql: "CREATE TABLE IF NOT EXISTS closed (poll TEXT, at TEXT)" },
        { sql: "INSERT INTO closed (poll, at) VALUES (?, ?) RETURNING poll", params: ["lunch", new Date()] }
      ]
    })
  )
  const { votes: all } = yield* votes.cast({ poll: "lunch", choice: "soup" })
  yield* Console.log(`${all} votes for soup; closed ${counted?.rows.length} poll`)
})

NodeRuntime.runMain(Effect.provide(program, Layer.provideMerge(StoresShared(), SqliteLive)))
