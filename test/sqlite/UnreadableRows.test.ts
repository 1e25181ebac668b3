import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { DbError } from "../../src/errors/index.js"
import * as Sqlite from "../../src/layers/sqlite/Sqlite.js"
import { StoresLive } from "../../src/layers/stores/index.js"
import { Backend } from "../../src/services/Backend.js"
import { ConversationStore } from "../../src/services/ConversationStore.js"
import { CronTrigger, LightweightAction, RoutineStore, RoutineStoreAdmin } from "../../src/services/RoutineStore.js"
import { SettingsStore } from "../../src/services/SettingsStore.js"

describe("rows that SQLite's own codec refuses", () => {
  it.live("are named alone and in a list, and those of others with the same key or id are read", () =>
    Effect.gen(function* () {
      const [backend, settings, conversations] = [yield* Backend, yield* SettingsStore, yield* ConversationStore]
      for (const user of ["ada", "bob"]) yield* settings.set({ user, key: "k", value: {} })
      yield* backend.execute("UPDATE db_hub_settings SET value = '{' WHERE user_id = 'bob'")
      assert.strictEqual((yield* settings.list("ada")).length, 1)
      const user = "ada"
      const conversation = yield* conversations.create({ user, channel: "c" })
      const { id } = yield* conversations.addMessage({ user, conversation, role: "user", content: "" })
      const fork = yield* conversations.fork({ user, conversation, message: id })
      yield* backend.execute("UPDATE db_hub_messages SET metadata = '{' WHERE conversation_id = ?", [fork])
      assert.strictEqual((yield* conversations.messages(user, conversation)).items.length, 1)
      for (const [read, name] of [
        [settings.list("bob"), "db_hub_settings k: "],
        [settings.get("bob", "k"), "db_hub_settings k: "],
        [conversations.messages(user, fork), `db_hub_messages ${id}: `],
        [conversations.getMessage(user, fork, id), `db_hub_messages ${id}: `]
      ] as const) {
        const error = yield* Effect.flip(Effect.asVoid<unknown, DbError, never>(read))
        assert.deepStrictEqual([error._tag, error.message.startsWith(name)], ["DbCorrupt", true])
      }
    }).pipe(Effect.provide(Layer.provideMerge(StoresLive, Sqlite.SqliteMemory)))
  )

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
