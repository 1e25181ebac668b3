/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import { withBackend } from "../Backends.js"
import { parameters } from "../json.js"
import { common, describe, param, sql, textOf } from "../options.js"
import { print } from "../report.js"
import { counted, table } from "../text.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const execute = Command.make("execute", { sql, param, ...common }, (options) =>
  Effect.gen(function* () {
    const text = yield* textOf("SQL", options.sql)
    const params = yield* parameters(options.param)
    const { lastInsertId, rows, rowsAffected } = yield* withBackend(options, "write", (backend) =>
      backend.execute(text, params)
    )
    yield* print(
      options.json,
      () => ({ rows_affected: rowsAffected, last_insert_id: lastInsertId, rows }),
      (io) => {
        const columns = Object.keys(rows[0] ?? {})
        const values = rows.map((row) => columns.map((column) => row[column]))
        const inserted = lastInsertId === null ? "" : `, last inserted id ${lastInsertId}`
        return [
          ...(rows.length === 0 ? [] : [table(columns, values, io)]),
          `${counted(rowsAffected, "row")} affected${inserted}`
        ].join("\n")
      }
    )
  })
).pipe(
  Command.withDescription(
    describe(
      "Run one statement that may write. Makes the database file if there is none; RETURNING rows are shown.",
      `db-hub execute "INSERT INTO users (name) VALUES (?)" --param '"Ada"'`,
      "db-hub execute - < change.sql"
    )
  )
)
