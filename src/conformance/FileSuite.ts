/**
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { FileStore } from "../services/FileStore.js"
import { equal, failsWith, fresh, type Suite } from "./Case.js"

const save = (user: string, sessionId: string, path: string, content: string, isNew = false) =>
  Effect.flatMap(FileStore, (files) => files.save({ user, sessionId, path, content, isNew }))

/**
 * @since 0.1.0
 * @category suites
 */
export const fileSuite: Suite = {
  "each save is a version, and every version can be read": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    yield* save(user, session, "a.ts", "")
    yield* save(user, session, "a.ts", "one")
    const file = yield* save(user, session, "a.ts", "two ü\n")
    yield* equal([file.version, yield* files.get(user, file.id)], [3, file])
    yield* equal((yield* files.read(user, file.id)).content, "two ü\n")
    yield* equal((yield* files.read(user, file.id, 1)).content, "")
    yield* failsWith("NotFound", files.read(user, file.id, 4))
    const page = yield* files.versions(user, file.id, { limit: 2 })
    const rest = yield* files.versions(user, file.id, { before: page[1]!.version })
    yield* equal(
      [...page, ...rest].map(({ version }) => version),
      [3, 2, 1]
    )
  }),

  "the latest version of a session is its own, though another session has a newer one": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, mine, other] = [yield* fresh("user"), yield* fresh("session"), yield* fresh("session")]
    yield* save(user, mine, "a.ts", "mine")
    yield* save(user, other, "a.ts", "theirs")
    yield* save(user, other, "a.ts", "theirs, newer")
    const listed = yield* files.list(user, mine)
    yield* equal(
      listed.map(({ path, version }) => [path, version]),
      [["a.ts", 1]]
    )
    const { id } = yield* files.getByPath(user, mine, "a.ts")
    yield* equal((yield* files.read(user, id)).content, "mine")
  }),

  "files are listed by path, and the ones that a session made apart from those it found": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    yield* save(user, session, "found.ts", "")
    yield* save(user, session, "made.ts", "", true)
    yield* save(user, session, "Made.ts", "", true)
    yield* save(user, session, "made.ts", "more", false)
    const paths = (isNew?: boolean) =>
      Effect.map(files.list(user, session, isNew === undefined ? {} : { isNew }), (all) => all.map(({ path }) => path))
    yield* equal(yield* paths(), ["Made.ts", "found.ts", "made.ts"])
    yield* equal(yield* paths(true), ["Made.ts", "made.ts"])
    yield* equal(yield* paths(false), ["found.ts"])
  }),

  "racing saves of one file lose no version": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    const racers = Array.from({ length: 12 }, (_, n) => save(user, session, "a.ts", `content ${n}`))
    const saved = yield* Effect.all(racers, { concurrency: "unbounded" })
    yield* equal(new Set(saved.map(({ id }) => id)).size, 1)
    const versions = yield* files.versions(user, saved[0]!.id)
    yield* equal(
      versions.map(({ version }) => version),
      Array.from({ length: 12 }, (_, n) => 12 - n)
    )
    yield* equal(new Set(versions.map(({ content }) => content)).size, 12)
  }),

  "a save that races with a delete saves": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    for (let round = 0; round < 10; round++) {
      const { id } = yield* save(user, session, "a.ts", "old")
      const remove = files.delete({ user, id })
      yield* Effect.all([remove, save(user, session, "a.ts", "new"), save(user, session, "a.ts", "new")], {
        concurrency: "unbounded"
      })
      const [left] = yield* files.list(user, session)
      if (left !== undefined) yield* equal((yield* files.read(user, left.id)).content, "new")
    }
  }),

  "a file of somebody else is NotFound": Effect.gen(function* () {
    const files = yield* FileStore
    const [ada, user, session] = [yield* fresh("ada"), yield* fresh("bob"), yield* fresh("session")]
    const { id } = yield* save(ada, session, "a.ts", "hers")
    const attempts: ReadonlyArray<Effect.Effect<unknown, unknown>> = [
      files.get(user, id),
      files.getByPath(user, session, "a.ts"),
      files.read(user, id),
      files.versions(user, id),
      files.delete({ user, id })
    ]
    yield* Effect.forEach(attempts, (attempt) => failsWith("NotFound", attempt))
    yield* equal(yield* files.deleteSession({ user, sessionId: session }), 0)
    yield* save(user, session, "a.ts", "his")
    yield* equal((yield* files.read(ada, id)).content, "hers")
  }),

  "a file goes with its versions, and a session with its files": Effect.gen(function* () {
    const files = yield* FileStore
    const [user, session] = [yield* fresh("user"), yield* fresh("session")]
    const { id } = yield* save(user, session, "a.ts", "one")
    yield* files.delete({ user, id })
    yield* failsWith("NotFound", files.delete({ user, id }))
    const again = yield* save(user, session, "a.ts", "new")
    yield* equal([again.version, again.id === id], [1, false])
    yield* save(user, session, "b.ts", "")
    const other = yield* save(user, yield* fresh("session"), "a.ts", "")
    yield* equal(yield* files.deleteSession({ user, sessionId: session }), 2)
    yield* equal(yield* files.list(user, session), [])
    yield* equal(yield* files.get(user, other.id), other)
  })
}
