/** A worker: claims and completes jobs of the database named by its argument until none is left, and says which. */
import * as Effect from "effect/Effect"
import { JobQueue } from "../../src/services/JobStore.js"
import { report } from "./child.js"
import { storesOn } from "./place.js"

const [place = ""] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const queue = yield* JobQueue
  const claimed: Array<string> = []
  for (;;) {
    const lease = yield* queue.claim({ worker: `process ${process.pid}`, leaseMillis: 60_000 })
    if (lease === null) return claimed
    claimed.push(lease.job.id)
    yield* queue.complete({ job: lease.job.id, token: lease.token })
  }
})

const services = storesOn(place)
await report((told) => Effect.zipRight(told, Effect.provide(program, services)))
