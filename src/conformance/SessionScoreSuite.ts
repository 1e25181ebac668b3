/**
 * @since 0.1.0
 */
import * as NodeAssert from "node:assert/strict"
import * as Effect from "effect/Effect"
import { SessionScoreStore } from "../services/SessionScoreStore.js"
import { withIdempotencyKey } from "../services/WriteChannel.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const score = (user: string, sessionId: string, templateId: string | undefined, reward: number) =>
  Effect.flatMap(SessionScoreStore, (scores) =>
    scores.record({
      user,
      sessionId,
      reward,
      success: 1,
      efficiency: 0.25,
      tokens: 5_000_000_000,
      messageCount: 12,
      userCorrections: 0,
      ...(templateId === undefined ? {} : { templateId })
    })
  )

const close = (actual: number, expected: number) =>
  Effect.sync(() => NodeAssert.ok(Math.abs(actual - expected) < 1e-12, `${actual} is not ${expected}`))

/**
 * @since 0.1.0
 * @category suites
 */
export const sessionScoreSuite: Suite = {
  "a score comes back as it was recorded, with the others of its session": Effect.gen(function* () {
    const scores = yield* SessionScoreStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    const made = yield* score(user, session, undefined, 0.1)
    const judged = yield* scores.record({
      ...made,
      user,
      id: "j".concat(made.id),
      templateId: "t",
      judgeModel: "m",
      judgeAnalysis: "fine"
    })
    yield* equal(yield* scores.get(user, made.id), made)
    yield* equal((yield* scores.get(user, judged.id)).judgeAnalysis, "fine")
    yield* score(user, yield* fresh("session"), undefined, 0.1)
    const listed = yield* scores.listBySession(user, session)
    yield* equal(new Set(listed.map(({ id }) => id)), new Set([made.id, judged.id]))
    yield* failsWith("InvalidInput", score(user, session, undefined, 1.5))
    yield* failsWith("InvalidInput", score(user, session, undefined, Number.NaN))
  }),

  "templates are ranked by mean reward and by how little they were tried": Effect.gen(function* () {
    const scores = yield* SessionScoreStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    yield* Effect.forEach([0.6, 0.8, 0.7, 0.7, 0.6, 0.8, 0.7, 0.7], (reward) => score(user, session, "often", reward))
    yield* Effect.forEach([0.5, 0.5], (reward) => score(user, session, "seldom", reward))
    yield* score(user, session, "not asked for", 1)
    const ranks = yield* scores.rank(user, ["often", "seldom", "never"])
    yield* equal(
      ranks.map(({ templateId, uses }) => [templateId, uses]),
      [
        ["never", 0],
        ["seldom", 2],
        ["often", 8]
      ]
    )
    yield* equal([ranks[0]!.meanReward, ranks[0]!.ucb], [null, Number.POSITIVE_INFINITY])
    yield* close(ranks[1]!.ucb, 0.5 + Math.SQRT2 * Math.sqrt(Math.log(10) / 2))
    yield* close(ranks[2]!.ucb, 0.7 + Math.SQRT2 * Math.sqrt(Math.log(10) / 8))
    const exploiting = yield* scores.rank(user, ["often", "seldom"], { exploration: 0 })
    yield* equal(exploiting[0]!.templateId, "often")
    yield* close(exploiting[0]!.ucb, 0.7)
    yield* equal(yield* scores.rank(user, []), [])
  }),

  "a score that is deleted no longer counts": Effect.gen(function* () {
    const scores = yield* SessionScoreStore
    const [user, session, other] = [yield* fresh("user"), yield* fresh("session"), yield* fresh("session")]
    yield* score(user, session, "t", 0)
    yield* score(user, session, "t", 0.5)
    const kept = yield* score(user, other, "t", 1)
    yield* equal(yield* scores.deleteSession({ user, sessionId: session }), 2)
    yield* equal(yield* scores.deleteSession({ user, sessionId: session }), 0)
    const [rank] = yield* scores.rank(user, ["t"])
    yield* equal([rank!.uses, rank!.meanReward], [1, 1])
    yield* scores.delete({ user, id: kept.id })
    yield* equal((yield* scores.rank(user, ["t"]))[0]!.uses, 0)
  }),

  "a score that is recorded again under its key counts once": Effect.gen(function* () {
    const scores = yield* SessionScoreStore
    const [user, key] = [yield* fresh("user"), yield* fresh("key")]
    const record = withIdempotencyKey(key)(score(user, "session", "t", 0.5))
    const [first, second] = yield* Effect.all([record, record], { concurrency: "unbounded" })
    yield* equal(first, second)
    yield* equal((yield* scores.rank(user, ["t"]))[0]!.uses, 1)
  }),

  "a score of somebody else, or none, is NotFound and never counts": Effect.gen(function* () {
    const scores = yield* SessionScoreStore
    const [ada, user, session] = [yield* fresh("ada"), yield* fresh("bob"), yield* fresh("session")]
    const { id } = yield* score(ada, session, "t", 1)
    yield* failsWith("NotFound", scores.get(user, id))
    yield* failsWith("NotFound", scores.delete({ user, id }))
    yield* equal(yield* scores.deleteSession({ user, sessionId: session }), 0)
    yield* equal(yield* scores.listBySession(user, session), [])
    yield* equal((yield* scores.rank(user, ["t"]))[0]!.uses, 0)
    yield* equal((yield* scores.get(ada, id)).reward, 1)
  })
}
