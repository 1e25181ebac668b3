/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Actions from "../../tools/Actions.js"
import { withBackend } from "../Backends.js"
import { objects, parameters } from "../Json.js"
import { common, describe, param, sql, textOf } from "../Options.js"
import { print } from "../Report.js"
import { counted, table } from "../Text.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const execute = Command.make("execute", { sql, param, ...common }, (options) =>
  Effect.gen(function* () {
    const text = yield* textOf("SQL", options.sql)
    const params = yield* parameters(options.param)
    const done = yield* withBackend(options, "write", (backend) => Actions.execute(backend, text, params))
    const { columns = [], last_insert_id, rows = [], rows_affected, ...rest } = done
    yield* print(
      options.json,
      () => ({ rows_affected, last_insert_id, rows: objects(columns, rows), ...rest }),
      (io) => {
        const inserted = last_insert_id === null ? "" : `, last inserted id ${last_insert_id}`
        return [
          ...(rows.length === 0 ? [] : [table(columns, rows, io)]),
          `${counted(rows_affected, "row")} affected${inserted}`
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
