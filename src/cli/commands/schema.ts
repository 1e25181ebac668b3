/**
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { TableInfo } from "../../services/Backend.js"
import * as Actions from "../../tools/Actions.js"
import { withBackend } from "../Backends.js"
import type { IoShape } from "../Io.js"
import { common, describe } from "../Options.js"
import { print } from "../Report.js"
import { bytes, printable, table } from "../Text.js"

const sizeOf = ({ sizeBytes }: TableInfo) => (sizeBytes === null ? null : bytes(sizeBytes))

const list = (tables: ReadonlyArray<TableInfo>, io: IoShape) =>
  table(
    ["name", "kind", "columns", "rows (about)", "size"],
    tables.map((info) => [info.name, info.kind, info.columns.length, info.rowEstimate, sizeOf(info)]),
    io,
    "-"
  )

const names = (columns: ReadonlyArray<string | null>) => columns.map((name) => name ?? "(expression)").join(", ")

const details = (info: TableInfo, io: IoShape) => {
  const facts = [
    ...(info.rowEstimate === null ? [] : [`about ${info.rowEstimate} rows`]),
    ...(info.sizeBytes === null ? [] : [bytes(info.sizeBytes)])
  ]
  const columns = table(
    ["column", "type", "null", "default", "key"],
    info.columns.map(({ default: preset, name, nullable, primaryKey, type }) => [
      name,
      type,
      nullable ? "yes" : "no",
      preset ?? "",
      primaryKey === 0 ? "" : `primary ${primaryKey}`
    ]),
    io
  )
  const indexes = info.indexes.map(
    (index) =>
      `${index.unique ? "unique index" : "index"} ${printable(index.name)} (${printable(names(index.columns))})`
  )
  const keys = info.foreignKeys.map(
    (key) =>
      `foreign key (${printable(names(key.columns))}) references ${printable(key.table)} ` +
      `(${printable(key.references.map((name) => name ?? "primary key").join(", "))}) ` +
      `on delete ${key.onDelete.toLowerCase()} on update ${key.onUpdate.toLowerCase()}`
  )
  return [[`${info.kind} ${printable(info.name)}`, ...facts].join(", "), columns, ...indexes, ...keys].join("\n")
}

/**
 * @since 0.1.0
 * @category commands
 */
export const schema = Command.make(
  "schema",
  {
    table: Args.text({ name: "table" }).pipe(Args.withDescription("Describe this table or view alone"), Args.optional),
    internal: Options.boolean("internal").pipe(Options.withDescription("List the hub's own tables too")),
    ...common
  },
  (options) =>
    Effect.gen(function* () {
      const which = {
        internal: options.internal,
        ...(Option.isSome(options.table) ? { table: options.table.value } : {})
      }
      const tables = yield* withBackend(options, "read", (backend) => backend.schema(which))
      yield* print(
        options.json,
        () => ({ tables: tables.map(Actions.tableDocument) }),
        (io) => (Option.isSome(options.table) ? tables.map((info) => details(info, io)).join("\n\n") : list(tables, io))
      )
    })
).pipe(
  Command.withDescription(
    describe(
      "List tables and views, or describe one: columns, keys, indexes, about how many rows, size.",
      "db-hub schema",
      "db-hub schema users --json"
    )
  )
)
