/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { withBackend } from "../Backends.js"
import { objects, parameters } from "../json.js"
import { common, describe, param, sql, textOf } from "../options.js"
import { note, print } from "../report.js"
import { counted, table } from "../text.js"

/**
 * @since 0.1.0
 * @category commands
 */
export const query = Command.make(
  "query",
  {
    sql,
    param,
    maxRows: Options.integer("max-rows").pipe(
      Options.withPseudoName("N"),
      Options.withDescription("Read no more rows than this (default: 100)"),
      Options.withDefault(100)
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const text = yield* textOf("SQL", options.sql)
      const params = yield* parameters(options.param)
      const { columns, rows, truncated } = yield* withBackend(options, "read", (backend) =>
        backend.readOnly(text, { params, maxRows: options.maxRows })
      )
      yield* print(
        options.json,
        () => ({ columns, rows: objects(columns, rows), count: rows.length, truncated }),
        (io) => table(columns, rows, io)
      )
      if (truncated && !options.json) {
        yield* note(`there is more than the first ${counted(rows.length, "row")}; --max-rows reads further`)
      }
    })
).pipe(
  Command.withDescription(
    describe(
      "Run one statement that reads. The engine itself refuses writes, ATTACH and pragmas that set.",
      `db-hub query "SELECT name FROM users WHERE id = ?" --param 7`,
      "db-hub query - --json < report.sql"
    )
  )
)
