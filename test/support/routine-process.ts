/**
 * A scheduler as another process: `routine-process.ts PLACE FROM SECONDS` claims what is due at each second from the time
 * FROM on, and prints what it got. Its clock goes on once nothing is due any more: what another scheduler holds is that
 * one's, but not done yet.
 */
import * as Effect from "effect/Effect"
import { RoutineStoreAdmin } from "../../src/services/RoutineStore.js"
import { report } from "./child.js"
import { storesOn } from "./place.js"

const [place = "", from = "", seconds = ""] = process.argv.slice(2)

const claims = Effect.gen(function* () {
  const admin = yield* RoutineStoreAdmin
  const fired: Array<string> = []
  for (let second = 0; second < Number(seconds); second++) {
    const now = new Date(Date.parse(from) + second * 1000)
    for (let next: Date | null = now; next !== null && next <= now; next = yield* admin.nextFireAt) {
      const { claimed } = yield* admin.claimDue({ now })
      fired.push(...claimed.map(({ run }) => `${run.routineId} ${run.dueAt?.toISOString()}`))
    }
  }
  return fired
})

await report((told) => Effect.provide(Effect.zipRight(told, claims), storesOn(place)))
