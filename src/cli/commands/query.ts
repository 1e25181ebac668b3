/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Actions from "../../tools/Actions.js"
import { withBackend } from "../Backends.js"
import { objects, parameters } from "../Json.js"
import { common, describe, param, sql, textOf } from "../Options.js"
import { note, print } from "../Report.js"
import { table } from "../Text.js"

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
    maxBytes: Options.integer("max-bytes").pipe(
      Options.withPseudoName("N"),
      Options.withDescription("Read no more bytes of rows than this (default: 1000000)"),
      Options.withDefault(1_000_000)
    ),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const text = yield* textOf("SQL", options.sql)
      const params = yield* parameters(options.param)
      const { columns, row_count, rows, ...rest } = yield* withBackend(options, "read", (backend) =>
        Effect.flatMap(backend.agentSql({ concurrency: 1 }), (door) =>
          Actions.query(door, text, { params, maxRows: options.maxRows, maxBytes: options.maxBytes })
        )
      )
      yield* print(
        options.json,
        () => ({ columns, rows: objects(columns, rows), count: row_count, ...rest }),
        (io) => table(columns, rows, io)
      )
      if (rest.reason !== null && !options.json)
        yield* note(`not all is shown: ${rest.reason}; --max-rows and --max-bytes read further`)
    })
).pipe(
  Command.withDescription(
    describe(
      "Run one statement that reads, through the door that agents read by: whatever else it holds is refused. Shows up to " +
        "100 rows, 1 MB, 2,000 characters of a cell; ends after 10 seconds.",
      `db-hub query "SELECT name FROM users WHERE id = ?" --param 7`,
      "db-hub query - --json < report.sql"
    )
  )
)
