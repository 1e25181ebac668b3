/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { invalidInput } from "../../errors/index.js"
import { Backend } from "../../services/Backend.js"
import * as SqlLexer from "../../services/SqlLexer.js"
import { ExecuteBatch, StatementBatch } from "../../services/StatementBatch.js"
import { WriteChannel } from "../../services/WriteChannel.js"

/** What begins or ends a transaction; the one around the batch is the channel's. */
const controlWords = new Set([
  "BEGIN",
  "START",
  "COMMIT",
  "END",
  "ROLLBACK",
  "ABORT",
  "SAVEPOINT",
  "RELEASE",
  "PREPARE"
])

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<StatementBatch, never, Backend | WriteChannel> = Layer.effect(
  StatementBatch,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect, name } = backend

    const execute = ({ params, sql }: (typeof ExecuteBatch.payloadSchema.Type.statements)[number], at: number) => {
      const [word = ""] = SqlLexer.keywords(sql, dialect.lexical)
      if (!controlWords.has(word)) return backend.execute(sql, params)
      const [field, allowed] = [`statements.${at}.sql`, "statements that leave the transaction as it is"]
      return Effect.fail(invalidInput({ operation: ExecuteBatch._tag, backend: name }, field, `is ${word}`, allowed))
    }

    return {
      execute: channel.handle(ExecuteBatch, ({ ids = [], statements }) =>
        Effect.map(Effect.forEach(statements, execute), (result) => ({ result, ids }))
      )
    }
  })
)
