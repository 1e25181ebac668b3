import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { CronTrigger, LightweightAction, RoutineStore, RoutineStoreAdmin } from "../../src/services/RoutineStore.js"

describe("rows that SQLite's own codec refuses", () => {
  it.live("are reported and skipped like any other unreadable row", () =>
    Effect.gen(function* () {
      const [backend, routines, admin] = [yield* Backend, yield* RoutineStore, yield* RoutineStoreAdmin]
      const [broken, undated, good] = yield* Effect.forEach(["broken", "undated", "good"], (name) =>
        routines.create({
          user: "ada",
          name,
          trigger: CronTrigger.make({ schedule: "0 * * * *" }),
          action: LightweightAction.make({ prompt: "what is new?" })
        })
      )
      yield* backend.execute("UPDATE db_hub_routines SET state = '{' WHERE id = ?", [broken!.id])
      yield* backend.execute("UPDATE db_hub_routines SET created_at = 'yesterday' WHERE id = ?", [undated!.id])
      const listed = yield* routines.list("ada")
      assert.deepStrictEqual(
        [listed.rows.map(({ name }) => name), listed.unreadable.map(({ id }) => id)],
        [["good"], [broken!.id, undated!.id]]
      )
      const claims = yield* admin.claimDue({ now: good!.nextFireAt! })
      assert.deepStrictEqual(
        [claims.claimed.map(({ routine }) => routine.id), claims.unreadable.map(({ id }) => id).sort()],
        [[good!.id], [broken!.id, undated!.id].sort()]
      )
    }).pipe(Effect.provide(Layer.provideMerge(StoresLive, Sqlite.SqliteMemory)))
  )
})
