/**
 * A table of a store: its rows as a model, and the statements that write them.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { DbConflict, type DbError } from "../../errors/index.js"
import type { BackendShape, SqlValue } from "../../services/Backend.js"
import type { PageOptions } from "../../services/Model.js"
import type { Written } from "../../services/WriteChannel.js"
import { marks } from "../sql/Marks.js"
import * as Page from "./Page.js"
import * as Rows from "./Rows.js"

/**
 * Values by field: `createdAt` goes into column `created_at`.
 *
 * @since 0.1.0
 * @category models
 */
export type Fields = Readonly<Record<string, SqlValue>>

/** How often a row that others make and delete is asked for again. */
const attempts = 3

/**
 * The columns of a model, as a SELECT lists them.
 *
 * @since 0.1.0
 * @category constructors
 */
export const columnsOf = (model: { readonly fields: Schema.Struct.Fields }): string =>
  Object.keys(model.fields).map(Rows.columnOf).join(", ")

/**
 * What is not as in most tables.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options {
  /** The columns that pick one row, the one that names it to its owner last; `id` alone by default. */
  readonly key?: ReadonlyArray<string>
  /** What a SELECT lists, where fields are more than columns. */
  readonly columns?: string
}

/**
 * @since 0.1.0
 * @category constructors
 */
export const make = <F extends Schema.Struct.Fields>(
  backend: Pick<BackendShape, "name" | "query" | "execute" | "enqueue" | "stream" | "dialect">,
  table: string,
  model: Schema.Struct<F> & Schema.Schema<Schema.Struct.Type<F>, Schema.Struct.Encoded<F>>,
  { columns = columnsOf(model), key = ["id"] }: Options = {}
) => {
  const rows = Rows.make(backend, table, model, key)
  const select = `SELECT ${columns} FROM ${table}`
  const insertIfAbsent = (fields: Fields, key?: ReadonlyArray<string>): Effect.Effect<boolean, DbError> =>
    Effect.map(
      backend.execute(
        backend.dialect.insertIfAbsent(table, Object.keys(fields).map(Rows.columnOf), key),
        Object.values(fields)
      ),
      ({ rowsAffected }) => rowsAffected === 1
    )
  const updating = (fields: Fields): string =>
    `UPDATE ${table} SET ${Object.keys(fields)
      .map((field) => `${Rows.columnOf(field)} = ?`)
      .join(", ")}`
  /** A value that the engine's codec refuses fails a query as a whole: then each row is read alone, to name it. */
  const named = <A>(reading: Effect.Effect<A, DbError>, rest: string, params: ReadonlyArray<SqlValue>) =>
    Effect.catchTag(reading, "DbCorrupt", (error) =>
      error.code === Rows.unreadableRow
        ? Effect.fail(error)
        : Effect.flatMap(rows.readable(columns, rest, params), ({ unreadable: [row] }) =>
            Effect.fail(row === undefined ? error : rows.unreadable(row.id, error.message))
          )
    )
  const first = (rest: string, params: ReadonlyArray<SqlValue> = []) =>
    named(rows.first(`${select} ${rest}`, params), rest, params)
  const all = (rest: string, params: ReadonlyArray<SqlValue> = []) =>
    named(rows.all(`${select} ${rest}`, params), rest, params)
  return {
    /** The rows that the rest of a SELECT (`WHERE … ORDER BY …`) picks. */
    all,
    /** The first of them, or undefined. */
    first,
    /** The same, in bounded memory. */
    stream: (rest: string, params: ReadonlyArray<SqlValue> = []) =>
      Stream.mapChunksEffect(backend.stream(`${select} ${rest}`, params), (chunk) =>
        Effect.map(rows.models(Chunk.toReadonlyArray(chunk)), Chunk.unsafeFromArray)
      ),
    /** What is wrong with a row. */
    unreadable: rows.unreadable,
    /** All that can be read, and the others by name. */
    readable: (rest: string, params: ReadonlyArray<SqlValue> = []) => rows.readable(columns, rest, params),
    /** So many rows in an order, under each condition (SQL with one `?`) whose value is given. */
    page: (
      operation: string,
      conditions: Readonly<Record<string, SqlValue | undefined>>,
      order: string,
      limit: number | undefined
    ): Effect.Effect<ReadonlyArray<Schema.Struct.Type<F>>, DbError> =>
      Effect.flatMap(Page.limit(limit, 100, { backend: backend.name, operation }), (size) => {
        const given = Object.entries(conditions).filter((entry): entry is [string, SqlValue] => entry[1] !== undefined)
        const where = given.length === 0 ? "" : `WHERE ${given.map(([condition]) => condition).join(" AND ")}`
        return all(
          `${where} ORDER BY ${order} LIMIT ${size}`,
          given.map(([, value]) => value)
        )
      }),
    /** A page of the rows under all conditions, by an instant and id, the newest first; 50 unless `limit` says another. */
    newest: (
      operation: string,
      field: keyof F & string,
      conditions: ReadonlyArray<Page.Condition>,
      { cursor, limit }: PageOptions
    ) =>
      Effect.gen(function* () {
        const origin = { backend: backend.name, operation }
        const size = yield* Page.limit(limit, 50, origin)
        const place = yield* Page.parseCursor(cursor ?? undefined, origin)
        const column = Rows.columnOf(field)
        const given = place === undefined ? conditions : [...conditions, Page.older(column, place)]
        const { params: wanted, where } = Page.all(given)
        const rest = `WHERE ${where} ORDER BY ${column} DESC, id DESC LIMIT ?`
        const params = [...wanted, size + 1]
        const found = backend.query(`SELECT ${columns}, CAST(${column} AS TEXT) AS place FROM ${table} ${rest}`, params)
        const page = Effect.gen(function* () {
          const { cursor, items } = Page.of(yield* found, size)
          return { items: yield* rows.models(items), cursor }
        })
        return yield* named(page, rest, params)
      }),
    insert: (fields: Fields): Effect.Effect<void, DbError> => {
      const names = Object.keys(fields).map(Rows.columnOf)
      return backend.enqueue(
        `INSERT INTO ${table} (${names.join(", ")}) VALUES (${marks(names)})`,
        Object.values(fields)
      )
    },
    /** Succeeds with whether the row is new. */
    insertIfAbsent,
    /**
     * The row under a unique key, locked until the end of the transaction, or `fields` as a new row. Of racers one makes
     * it and the others find it, also where somebody deletes it in between.
     */
    firstOrInsert: (
      operation: string,
      fields: Fields,
      key: ReadonlyArray<string>,
      where: string,
      params: ReadonlyArray<SqlValue>
    ): Effect.Effect<{ readonly found: Schema.Struct.Type<F> } | { readonly inserted: true }, DbError> => {
      const attempt = (
        left: number
      ): Effect.Effect<{ readonly found: Schema.Struct.Type<F> } | { readonly inserted: true }, DbError> =>
        Effect.gen(function* () {
          if (yield* insertIfAbsent(fields, key)) return { inserted: true }
          const found = yield* first(`WHERE ${where}${backend.dialect.forUpdate}`, params)
          if (found !== undefined) return { found }
          if (left > 0) return yield* attempt(left - 1)
          return yield* new DbConflict({
            backend: backend.name,
            operation,
            reason: "serialization",
            retryable: true,
            message: "The row was made and deleted by others meanwhile: try again"
          })
        })
      return attempt(attempts)
    },
    /** Deletes the row with an id of a user: the write of a store, `NotFound` if there is none. */
    deleteOwn: (
      operation: string,
      entity: string,
      { id, user }: { readonly id: string; readonly user: string }
    ): Effect.Effect<Written<undefined>, DbError> =>
      Effect.flatMap(
        backend.execute(`DELETE FROM ${table} WHERE id = ? AND user_id = ?`, [id, user]),
        ({ rowsAffected }) =>
          Effect.as(Rows.orNotFound(backend.name, operation, entity)(rowsAffected === 0 ? undefined : id), {
            result: undefined,
            ids: [id]
          })
      ),
    /** Sets fields of the row with an id, which is there: it was read in the same transaction. */
    set: (id: string, fields: Fields): Effect.Effect<void, DbError> =>
      Object.keys(fields).length === 0
        ? Effect.void
        : backend.enqueue(`${updating(fields)} WHERE id = ?`, [...Object.values(fields), id]),
    /** Sets fields of the rows that `where` picks, and succeeds with their number. */
    update: (fields: Fields, where: string, params: ReadonlyArray<SqlValue>): Effect.Effect<number, DbError> =>
      Effect.map(
        backend.execute(`${updating(fields)} WHERE ${where}`, [...Object.values(fields), ...params]),
        ({ rowsAffected }) => rowsAffected
      )
  }
}
