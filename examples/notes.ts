/** A service of a program of yours, written once for every engine. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type DbError, VectorStore } from "effect-db-hub"

export class Notes extends Context.Tag("example/Notes")<
  Notes,
  {
    readonly write: (id: string, note: string, vector: ReadonlyArray<number>) => Effect.Effect<void, DbError>
    readonly near: (vector: ReadonlyArray<number>, k: number) => Effect.Effect<ReadonlyArray<string>, DbError>
  }
>() {}

export const NotesLive = Layer.effect(
  Notes,
  Effect.gen(function* () {
    const backend = yield* Backend
    const vectors = yield* VectorStore
    const { types } = backend.dialect
    yield* backend.execute(
      `CREATE TABLE IF NOT EXISTS notes (id ${types.text} PRIMARY KEY, note ${types.text} NOT NULL, at ${types.timestamp})`
    )
    yield* vectors.createCollection("notes", { dimension: 3 })
    return {
      write: (id, note, vector) =>
        // The row and its vector are written together or not at all.
        backend.transaction(
          Effect.gen(function* () {
            yield* backend.execute(
              "INSERT INTO notes (id, note, at) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET note = excluded.note",
              [id, note, new Date()]
            )
            yield* vectors.insert("notes", { id, vector, text: note })
          })
        ),
      near: (vector, k) =>
        Effect.map(vectors.search("notes", vector, { k }), (hits) => hits.map(({ text }) => text ?? ""))
    }
  })
)
