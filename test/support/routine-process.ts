/**
 * A scheduler as another process: `routine-process.ts FILE FROM SECONDS` claims what is due at each second from the time
 * FROM on, as soon as it is told to go, and prints what it got.
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
  yield* Effect.promise(() => once(process.stdin, "data"))
  return yield* Effect.forEach(Array.from({ length: Number(seconds) }).keys(), (second) =>
    admin.claimDue({ now: new Date(Date.parse(from) + second * 1000) })
  )
})

const claims = await Effect.runPromise(Effect.provide(program, Layer.provideMerge(StoresLive, Sqlite.layer({ path }))))
const fired = claims.flatMap(({ claimed }) => claimed.map(({ run }) => `${run.routineId} ${run.dueAt?.toISOString()}`))
process.stdout.write(`${JSON.stringify(fired)}\n`)
process.exit(0)
