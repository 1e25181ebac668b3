/**
 * Rows of the stores' tables, as their models.
 *
 * @since 0.1.0
 */
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import { DbCorrupt, type DbError, NotFound } from "../../errors/index.js"
import type { BackendShape, Row, SqlValue } from "../../services/Backend.js"
import type { Readable, UnreadableRow } from "../../services/Model.js"
import * as Check from "../Check.js"
import { marks } from "../sql/Marks.js"

/**
 * The column of a field: `created_at` of `createdAt`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const columnOf = (field: string): string => field.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/**
 * The code of a row that does not fit its model.
 *
 * @since 0.1.0
 * @category errors
 */
export const unreadableRow = "HUB_UNREADABLE_ROW"

/** Reads the fields of a model off a row; other columns are left out. */
const makeFields = (model: Schema.Schema.All) => {
  const places = SchemaAST.getPropertySignatures(SchemaAST.typeAST(model.ast)).map(({ name }) => ({
    field: String(name),
    column: columnOf(String(name))
  }))
  // Of one shape from the beginning: objects that grow property by property are copied again and again.
  const blank: Record<string, unknown> = Object.fromEntries(places.map(({ field }) => [field, null]))
  return (row: Row): Record<string, unknown> => {
    const fields = { ...blank }
    for (const { column, field } of places) {
      const value = row[column]
      if (value === undefined) delete fields[field]
      else fields[field] = value
    }
    return fields
  }
}

/**
 * Reads rows of one table: column `created_at` is field `createdAt`. A row that does not fit its model is `DbCorrupt`,
 * named by table and id, which is the last column of the key.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = <A, I>(
  backend: Pick<BackendShape, "name" | "query">,
  table: string,
  model: Schema.Schema<A, I>,
  key: ReadonlyArray<string> = ["id"]
) => {
  const idColumn = key.at(-1)!
  const keyColumns = key.join(", ")
  const byKey = key.map((column) => `${column} = ?`).join(" AND ")
  const validate = ParseResult.validateEither(Schema.typeSchema(model))
  const isModel = Check.make(model)
  const fieldsOf = makeFields(model)

  const readOne = (row: Row): Effect.Effect<A, DbError> => {
    const fields = fieldsOf(row)
    // Most rows are as they should be, and telling so is far cheaper than telling what is wrong.
    if (isModel(fields)) return Effect.succeed(fields)
    const read = validate(fields)
    if (read._tag === "Right") return Effect.succeed(read.right)
    const [issue] = ParseResult.ArrayFormatter.formatErrorSync(ParseResult.parseError(read.left))
    return Effect.fail(unreadable(String(row[idColumn]), `${issue?.path.join(".") ?? "the row"} cannot be read`))
  }

  const unreadable = (id: string, problem: string): DbCorrupt =>
    new DbCorrupt({
      backend: backend.name,
      operation: "read",
      code: unreadableRow,
      message: `${table} ${id}: ${problem}; correct or delete the row`
    })

  const first = (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<A | undefined, DbError> =>
    Effect.flatMap(backend.query(sql, params), ([row]) =>
      row === undefined ? Effect.succeed(undefined) : readOne(row)
    )

  const models = (found: ReadonlyArray<Row>): Effect.Effect<ReadonlyArray<A>, DbError> => {
    const read: Array<A> = []
    for (const row of found) {
      const fields = fieldsOf(row)
      if (!isModel(fields)) return Effect.forEach(found, readOne)
      read.push(fields)
    }
    return Effect.succeed(read)
  }

  return {
    models,
    /** What is wrong with a row. */
    unreadable,
    /** All rows of a query. */
    all: (sql: string, params: ReadonlyArray<SqlValue> = []): Effect.Effect<ReadonlyArray<A>, DbError> =>
      Effect.flatMap(backend.query(sql, params), models),
    /** The first row of a query, or undefined. */
    first,
    /**
     * The readable rows of `SELECT columns FROM table rest`, and the others by name. A value that the engine's codec
     * refuses fails the query as a whole, so then each row is read on its own.
     */
    readable: (
      columns: string,
      rest: string,
      params: ReadonlyArray<SqlValue> = []
    ): Effect.Effect<Readable<A>, DbError> =>
      Effect.gen(function* () {
        const entries = yield* backend.query(`SELECT ${columns} FROM ${table} ${rest}`, params).pipe(
          Effect.map((found) => found.map((row) => [String(row[idColumn]), readOne(row)] as const)),
          Effect.catchTag("DbCorrupt", () =>
            Effect.map(backend.query(`SELECT ${keyColumns} FROM ${table} ${rest}`, params), (found) =>
              found.map((row) => {
                const one = first(
                  `SELECT ${columns} FROM ${table} WHERE ${byKey}`,
                  key.map((column) => row[column] as SqlValue)
                )
                return [String(row[idColumn]), one] as const
              })
            )
          )
        )
        const rows: Array<A> = []
        const unreadable: Array<UnreadableRow> = []
        for (const [id, reading] of entries) {
          const row = yield* orUnreadable(table, id, reading)
          if ("problem" in row) unreadable.push(row.problem)
          else if (row.value !== undefined) rows.push(row.value)
        }
        return { rows, unreadable }
      })
  }
}

/**
 * Reads one row, and succeeds with its problem if it is `DbCorrupt`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orUnreadable = <A>(
  table: string,
  id: string,
  reading: Effect.Effect<A, DbError>
): Effect.Effect<{ readonly value: A } | { readonly problem: UnreadableRow }, DbError> =>
  reading.pipe(
    Effect.map((value) => ({ value })),
    Effect.catchTag("DbCorrupt", ({ message }) => Effect.succeed({ problem: { table, id, problem: message } }))
  )

/**
 * Asks for many ids piece by piece, since engines bound the parameters of a statement, and succeeds with all rows. The
 * question gets a piece of the ids, each once, and as many placeholders.
 *
 * @since 0.1.0
 * @category combinators
 */
export const inPieces = (
  ids: ReadonlyArray<string>,
  ask: (piece: ReadonlyArray<string>, marks: string) => Effect.Effect<ReadonlyArray<Row>, DbError>
): Effect.Effect<ReadonlyArray<Row>, DbError> => {
  const pieces = Chunk.chunksOf(Chunk.fromIterable(new Set(ids)), 500)
  const answers = Effect.forEach(pieces, (piece) =>
    ask(Chunk.toReadonlyArray(piece), marks(Chunk.toReadonlyArray(piece)))
  )
  return Effect.map(answers, (rows) => rows.flat())
}

/**
 * Fails with `NotFound` where there is no value.
 *
 * @since 0.1.0
 * @category errors
 */
export const orNotFound =
  (backend: string, operation: string, entity: string) =>
  <A>(value: A | undefined): Effect.Effect<A, NotFound> =>
    value === undefined
      ? Effect.fail(
          new NotFound({
            backend,
            operation,
            entity,
            message: `There is no such ${entity}, or it belongs to somebody else`
          })
        )
      : Effect.succeed(value)
