/** A write of your own, declared once: it runs here, or in the process that writes for the others, with one effect. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Backend } from "effect-db-hub"
import { operation, WriteChannel } from "effect-db-hub/stores"

/** Everything has a schema, since a call may travel to another process and its result back. */
const CastVote = operation("Votes.cast", {
  payload: { poll: Schema.NonEmptyString, choice: Schema.NonEmptyString },
  success: Schema.Struct({ votes: Schema.Number })
})

export const makeVotes = Effect.gen(function* () {
  const backend = yield* Backend
  const channel = yield* WriteChannel
  yield* backend.execute(
    "CREATE TABLE IF NOT EXISTS votes (poll TEXT, choice TEXT, votes INTEGER NOT NULL, PRIMARY KEY (poll, choice))"
  )
  return {
    // The handler's statements, the key of the write and its event are one transaction.
    cast: channel.handle(CastVote, ({ choice, poll }) =>
      Effect.map(
        backend.execute(
          `INSERT INTO votes (poll, choice, votes) VALUES (?, ?, 1)
           ON CONFLICT (poll, choice) DO UPDATE SET votes = votes + 1 RETURNING votes`,
          [poll, choice]
        ),
        ({ rows: [row] }) => ({ result: { votes: Number(row?.["votes"]) }, ids: [`${poll}/${choice}`] })
      )
    )
  }
})
