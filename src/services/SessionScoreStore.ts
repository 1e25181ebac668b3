/**
 * How well sessions went, and which prompt template to try next.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { DbError } from "../errors/index.js"
import { Count, Id, Key, optional, Text, Timestamp, UserId } from "./Model.js"
import { operation, type Submit } from "./WriteChannel.js"

const Share = Schema.Number.pipe(Schema.between(0, 1))

const measured = {
  sessionId: Id,
  /** What the session was worth in all, from 0 to 1. */
  reward: Share,
  success: Share,
  efficiency: Share,
  tokens: Count,
  messageCount: Count,
  userCorrections: Count
}

/**
 * How a session went.
 *
 * @since 0.1.0
 * @category models
 */
export const SessionScore = Schema.Struct({
  id: Id,
  userId: UserId,
  ...measured,
  templateId: Schema.NullOr(Id),
  judgeAnalysis: Schema.NullOr(Text),
  judgeModel: Schema.NullOr(Key),
  createdAt: Timestamp
})

/**
 * @since 0.1.0
 * @category models
 */
export type SessionScore = typeof SessionScore.Type

/**
 * How well sessions with a template went.
 *
 * @since 0.1.0
 * @category models
 */
export interface TemplateRank {
  readonly templateId: string
  /** Scores of the template. */
  readonly uses: number
  /** Null without uses. */
  readonly meanReward: number | null
  /** See `ucb`; infinite without uses. */
  readonly ucb: number
}

/**
 * The upper confidence bound of a template: `meanReward + exploration * sqrt(ln(total) / uses)`, where `total` counts the
 * uses of all the templates that are compared. The second term is what makes a good choice of the past give way to one
 * that was tried too little to judge. A template without uses comes before all others.
 *
 * @since 0.1.0
 * @category getters
 */
export const ucb = (meanReward: number, uses: number, total: number, exploration: number = Math.SQRT2): number =>
  uses === 0 ? Number.POSITIVE_INFINITY : meanReward + exploration * Math.sqrt(Math.log(total) / uses)

/**
 * Records how a session went. Statistics are read from the scores, so they follow at once.
 *
 * @since 0.1.0
 * @category operations
 */
export const RecordSessionScore = operation("SessionScoreStore.record", {
  payload: {
    user: UserId,
    id: optional(Id),
    ...measured,
    templateId: optional(Id),
    judgeAnalysis: optional(Text),
    judgeModel: optional(Key)
  },
  success: SessionScore
})

/**
 * Deletes a score, and with it its part in the statistics. `NotFound` if there is none of the user's.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteSessionScore = operation("SessionScoreStore.delete", {
  payload: { user: UserId, id: Id }
})

/**
 * Deletes the scores of a session, if it has any; succeeds with their number.
 *
 * @since 0.1.0
 * @category operations
 */
export const DeleteScoresOfSession = operation("SessionScoreStore.deleteSession", {
  payload: { user: UserId, sessionId: Id },
  success: Count
})

/**
 * The scores of a user's sessions; somebody else's, and missing ones, are `NotFound`. What templates are ranked by is
 * computed from the scores that are there.
 *
 * @since 0.1.0
 * @category tags
 */
export class SessionScoreStore extends Context.Tag("effect-db-hub/SessionScoreStore")<
  SessionScoreStore,
  {
    readonly record: Submit<typeof RecordSessionScore>
    readonly delete: Submit<typeof DeleteSessionScore>
    readonly deleteSession: Submit<typeof DeleteScoresOfSession>
    /** `NotFound` if there is none of the user's. */
    readonly get: (user: string, id: string) => Effect.Effect<SessionScore, DbError>
    /** Newest first. */
    readonly listBySession: (user: string, sessionId: string) => Effect.Effect<ReadonlyArray<SessionScore>, DbError>
    /** The given templates by `ucb`, the one to try next first; equal ones by uses, then id. */
    readonly rank: (
      user: string,
      templateIds: ReadonlyArray<string>,
      options?: { readonly exploration?: number }
    ) => Effect.Effect<ReadonlyArray<TemplateRank>, DbError>
  }
>() {}
