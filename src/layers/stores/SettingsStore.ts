/**
 * @since 0.1.0
 */
import * as NodeUtil from "node:util"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { DbConflict, type DbError } from "../../errors/index.js"
import { Backend, Json } from "../../services/Backend.js"
import {
  CompareAndSetSetting,
  DeleteSetting,
  ReplaceAllSettings,
  SetManySettings,
  SetSetting,
  Setting,
  SettingsStore
} from "../../services/SettingsStore.js"
import { WriteChannel } from "../../services/WriteChannel.js"
import * as Fresh from "./Fresh.js"
import * as Owner from "./Owner.js"
import * as Rows from "./Rows.js"
import * as Table from "./Table.js"

/**
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<SettingsStore, never, Backend | WriteChannel> = Layer.effect(
  SettingsStore,
  Effect.gen(function* () {
    const backend = yield* Backend
    const channel = yield* WriteChannel
    const { dialect } = backend
    const rows = Table.make(backend, "db_hub_settings", Setting, { key: ["user_id", "key"] })

    /** Who writes several settings at once sees all of what the one before wrote. */
    const hold = Owner.make(backend, "db_hub_setting_owners")

    const find = (user: string, key: string, lock = "") =>
      rows.first(`WHERE user_id = ? AND key = ?${lock}`, [user, key])

    const upsert = dialect.upsert("db_hub_settings", ["user_id", "key", "value", "updated_at"], ["user_id", "key"])
    const put = (user: string, key: string, value: unknown) =>
      Effect.flatMap(Fresh.now, (now) => backend.enqueue(upsert, [user, key, new Json(value), now]))

    const putAll = (user: string, settings: Readonly<Record<string, unknown>>) =>
      Effect.as(
        Effect.forEach(Object.entries(settings), ([key, value]) => put(user, key, value), { discard: true }),
        Object.keys(settings).map((key) => idOf(user, key))
      )

    const conflict = new DbConflict({
      backend: backend.name,
      operation: CompareAndSetSetting._tag,
      reason: "compare-and-set",
      message: "The setting has another value than expected: read it again and decide anew"
    })

    const get = (user: string, key: string) =>
      Effect.flatMap(find(user, key), Rows.orNotFound(backend.name, "SettingsStore.get", "setting"))

    return {
      set: channel.handle(SetSetting, ({ key, user, value }) =>
        Effect.as(put(user, key, value), { result: undefined, ids: [idOf(user, key)] })
      ),
      compareAndSet: channel.handle(CompareAndSetSetting, (payload) =>
        Effect.gen(function* () {
          const { key, user, value } = payload
          const written = { result: undefined, ids: [idOf(user, key)] }
          if (!("expected" in payload)) {
            const { rowsAffected } = yield* backend.execute(
              dialect.insertIfAbsent("db_hub_settings", ["user_id", "key", "value", "updated_at"], ["user_id", "key"]),
              [user, key, new Json(value), yield* Fresh.now]
            )
            return rowsAffected === 1 ? written : yield* Effect.fail(conflict)
          }
          const found = yield* find(user, key, dialect.forUpdate)
          if (found === undefined || !NodeUtil.isDeepStrictEqual(found.value, payload.expected)) {
            return yield* Effect.fail(conflict)
          }
          yield* put(user, key, value)
          return written
        })
      ),
      setMany: channel.handle(SetManySettings, ({ settings, user }) =>
        Effect.map(Effect.zipRight(hold(user), putAll(user, settings)), (ids) => ({ result: undefined, ids }))
      ),
      replaceAll: channel.handle(ReplaceAllSettings, ({ settings, user }) =>
        Effect.gen(function* () {
          yield* hold(user)
          const before = yield* backend.query("SELECT key FROM db_hub_settings WHERE user_id = ?", [user])
          yield* backend.enqueue("DELETE FROM db_hub_settings WHERE user_id = ?", [user])
          const ids = yield* putAll(user, settings)
          const gone = before
            .map(({ key }) => String(key))
            .filter((key) => !Object.hasOwn(settings, key))
            .map((key) => idOf(user, key))
          return { result: undefined, ids: [...ids, ...gone] }
        })
      ),
      delete: channel.handle(DeleteSetting, ({ key, user }) =>
        Effect.map(
          backend.execute("DELETE FROM db_hub_settings WHERE user_id = ? AND key = ?", [user, key]),
          ({ rowsAffected }) => ({ result: rowsAffected === 1, ids: rowsAffected === 1 ? [idOf(user, key)] : [] })
        )
      ),
      get,
      list: (user) => rows.all("WHERE user_id = ? ORDER BY key", [user]),
      has: (user) =>
        Effect.map(
          backend.query("SELECT 1 AS found FROM db_hub_settings WHERE user_id = ? LIMIT 1", [user]),
          (found) => found.length > 0
        ),
      watch: (user, key) =>
        channel.changes().pipe(
          Stream.filter(({ store }) => store === "SettingsStore"),
          Stream.flatMap(({ ids }) => Stream.fromIterable(ids)),
          Stream.filterMap((id) => ownKey(user, id)),
          Stream.filter((changed) => key === undefined || changed === key),
          Stream.mapEffect((changed) => find(user, changed)),
          Stream.filterMap(Option.fromNullable<Setting | undefined>)
        ) as Stream.Stream<Setting, DbError>
    }
  })
)

/** A setting has no id of its own; in the change feed it is named by its owner and key. */
const idOf = (user: string, key: string): string => JSON.stringify([user, key])

const ownKey = (user: string, id: string): Option.Option<string> => {
  const [owner, key] = JSON.parse(id) as [string, string]
  return owner === user ? Option.some(key) : Option.none()
}
