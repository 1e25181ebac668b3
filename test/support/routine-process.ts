/**
 * A scheduler as another process: `routine-process.ts FILE FROM SECONDS` claims what is due at each second from the time
 * FROM on, and prints what it got. It begins at the time that it reads from its input, and lets a second pass in 50 ms, so
 * that schedulers which begin together claim the same second together.
 */
import { once } from "node:events"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { RoutineStoreAdmin } from "../../src/services/RoutineStore.js"

const [path = "", from = "", seconds = ""] = process.argv.slice(2)

const program = Effect.gen(function* () {
  const admin = yield* RoutineStoreAdmin
  process.stdout.write("ready\n")
  const [begin] = yield* Effect.promise(() => once(process.stdin, "data"))
  return yield* Effect.forEach(Array.from({ length: Number(seconds) }).keys(), (second) =>
    Effect.zipRight(
      Effect.suspend(() => Effect.sleep(Math.max(0, Number(begin) + second * 50 - Date.now()))),
      admin.claimDue({ now: new Date(Date.parse(from) + second * 1000) })
    )
  )
})

const claims = await Effect.runPromise(Effect.provide(program, Layer.provideMerge(StoresLive, Sqlite.layer({ path }))))
const fired = claims.flatMap(({ claimed }) => claimed.map(({ run }) => `${run.routineId} ${run.dueAt?.toISOString()}`))
process.stdout.write(`${JSON.stringify(fired)}\n`)
process.exit(0)
