/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend } from "../../services/Backend.js"
import {
  DeleteScoresOfSession,
  DeleteSessionScore,
  RecordSessionScore,
  SessionScore,
  SessionScoreStore,
  type TemplateRank,
  ucb
} from "../../services/SessionScoreStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import { compareCodePoints } from "../../vector/index.js"
import * as Fresh from "./Fresh.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

const table = "db_hub_session_scores"

const bestFirst = (a: TemplateRank, b: TemplateRank): number =>
  a.ucb === b.ucb ? a.uses - b.uses || compareCodePoints(a.templateId, b.templateId) : b.ucb - a.ucb

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SessionScoreStore, never, Backend | WriteChannel> = Layer.effect(
  SessionScoreStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const scores = Table.make(backend, table, SessionScore)

    return {
      record: channel.handle(RecordSessionScore, ({ id, user, ...given }) =>
        Effect.gen(function* () {
          const score: SessionScore = {
            templateId: null,
            judgeAnalysis: null,
            judgeModel: null,
            ...given,
            id: id ?? Fresh.id(),
            userId: user,
            createdAt: yield* Fresh.now
          }
          yield* scores.insert(score)
          return { result: score, ids: [score.id] }
        })
      ),
      delete: channel.handle(DeleteSessionScore, (payload) =>
        scores.deleteOwn(DeleteSessionScore._tag, "session score", payload)
      ),
      deleteSession: channel.handle(DeleteScoresOfSession, ({ sessionId, user }) =>
        Effect.gen(function* () {
          const found = yield* backend.query(
            `SELECT id FROM ${table} WHERE user_id = ? AND session_id = ? ORDER BY id${backend.dialect.forUpdate}`,
            [user, sessionId]
          )
          const ids = found.map(({ id }) => String(id))
          yield* Effect.forEach(ids, (id) => backend.enqueue(`DELETE FROM ${table} WHERE id = ?`, [id]))
          return { result: ids.length, ids }
        })
      ),
      get: (user, id) =>
        Effect.flatMap(
          scores.first("WHERE id = ? AND user_id = ?", [id, user]),
          Rows.orNotFound(backend.name, "SessionScoreStore.get", "session score")
        ),
      listBySession: (user, sessionId) =>
        scores.all("WHERE user_id = ? AND session_id = ? ORDER BY created_at DESC, id DESC", [user, sessionId]),
      rank: (user, templateIds, { exploration } = {}) =>
        Effect.gen(function* () {
          const ids = Array.from(new Set(templateIds))
          const found = yield* Rows.inPieces(ids, (piece, marks) =>
            backend.query(
              `SELECT template_id, count(*) AS uses, avg(reward) AS mean FROM ${table}
               WHERE user_id = ? AND template_id IN (${marks}) GROUP BY template_id`,
              [user, ...piece]
            )
          )
          const used = new Map(found.map((row) => [row["template_id"], row] as const))
          const stats = ids.map((templateId) => {
            const row = used.get(templateId)
            return { templateId, uses: Number(row?.["uses"] ?? 0), mean: Number(row?.["mean"] ?? 0) }
          })
          const total = stats.reduce((sum, { uses }) => sum + uses, 0)
          return stats
            .map(
              ({ mean, templateId, uses }): TemplateRank => ({
                templateId,
                uses,
                meanReward: uses === 0 ? null : mean,
                ucb: ucb(mean, uses, total, exploration)
              })
            )
            .sort(bestFirst)
        })
    }
  })
)
