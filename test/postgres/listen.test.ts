import { assert, describe, it } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { Channels } from "../../src/layers/postgres/Postgres.js"
import { Backend } from "../../src/services/Backend.js"
import { failureOf } from "../support/index.js"
import { layer, noPooler, noServer, outside, poolerUrl, serverUrl } from "../support/postgres.js"

const name = "listen_test"
const listening = outside(
  serverUrl,
  `SELECT pid FROM pg_stat_activity WHERE application_name = '${name}' AND query LIKE 'LISTEN%'`
)

/** The connection that listens, once there is one other than that known. */
const untilListening = (known?: unknown) =>
  Effect.flatMap(listening, (rows) => {
    const found = rows.find(({ pid }) => pid !== known)
    return found === undefined ? Effect.fail("not yet") : Effect.succeed(found["pid"])
  }).pipe(Effect.retry(Schedule.spaced("10 millis")))

describe.skipIf(noServer)("listen and notify", () => {
  it.scopedLive("messages arrive, and a killed connection comes back and says what it may have missed", () =>
    Effect.gen(function* () {
      const services = yield* Layer.build(layer({ applicationName: name }))
      const { listen, notify } = Context.get(services, Channels)
      const { transaction } = Context.get(services, Backend)
      const channel = 'odd "name'
      const heard = yield* Effect.fork(Stream.runCollect(Stream.take(listen(channel), 4)))
      const first = yield* untilListening()
      yield* notify(channel, "one")
      yield* Effect.ignore(transaction(Effect.zipRight(notify(channel, "undone"), Effect.fail("no"))))
      yield* notify(channel)
      yield* outside(serverUrl, `SELECT pg_terminate_backend(${first})`)
      yield* untilListening(first)
      yield* Effect.sleep("100 millis")
      yield* notify(channel, "two")
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Fiber.join(heard)), [
        { _tag: "Message", channel, payload: "one" },
        { _tag: "Message", channel, payload: "" },
        { _tag: "Gap" },
        { _tag: "Message", channel, payload: "two" }
      ])
      yield* Effect.repeat(listening, { until: (rows) => rows.length === 0, schedule: Schedule.spaced("10 millis") })
    })
  )

  it.scopedLive.skipIf(noPooler)("is refused through a transaction pooler", () =>
    Effect.gen(function* () {
      const services = yield* Layer.build(layer({ pooler: "transaction" }, poolerUrl))
      const error = yield* failureOf(Stream.runDrain(Context.get(services, Channels).listen("x")))
      assert.strictEqual(error.code, "HUB_TRANSACTION_POOLER")
    })
  )
})
