/**
 * A scheduler as another process: `routine-process.ts FILE FROM SECONDS` claims what is due at each second from the time
 * FROM on, and prints what it got. It begins at the time that it reads from its input, and lets a second pass in 50 ms, so
 * that schedulers which begin together claim the same second together.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { RoutineStoreAdmin } from "../../src/services/RoutineStore.js"
import { report } from "./child.js"

const [path = "", from = "", seconds = ""] = process.argv.slice(2)

const claims = (begin: string) =>
  Effect.flatMap(RoutineStoreAdmin, (admin) =>
    Effect.forEach(Array.from({ length: Number(seconds) }).keys(), (second) =>
      Effect.zipRight(
        Effect.suspend(() => Effect.sleep(Math.max(0, Number(begin) + second * 50 - Date.now()))),
        admin.claimDue({ now: new Date(Date.parse(from) + second * 1000) })
      )
    )
  )

const fired = (told: Effect.Effect<string>) =>
  Effect.map(Effect.flatMap(told, claims), (rounds) =>
    rounds.flatMap(({ claimed }) => claimed.map(({ run }) => `${run.routineId} ${run.dueAt?.toISOString()}`))
  )

const services = Layer.provideMerge(StoresLive, Sqlite.layer({ path }))
await report((told) => Effect.provide(fired(told), services))
