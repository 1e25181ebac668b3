/**
 * @since 0.1.0
 */
import * as NodeFs from "node:fs"
import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import { type DbError, type InvalidInput, invalidInput } from "../../errors/DbError.js"
import type { BackendConfig } from "../../services/HubConfig.js"
import type { MigrationTarget, PlannedStep } from "../../services/Migrator.js"
import * as Actions from "../../tools/Actions.js"
import { fileOf, open, selected } from "../Backends.js"
import { withProgress } from "../Io.js"
import { common, describe } from "../Options.js"
import { print } from "../Report.js"
import { bar, counted } from "../Text.js"

const targetOf = (text: string): Effect.Effect<MigrationTarget, InvalidInput> => {
  if (text === "empty") return Effect.succeed(text)
  if (/^\d{1,9}$/.test(text)) return Effect.succeed(Number(text))
  return Effect.fail(
    invalidInput(
      { operation: "cli.migrate" },
      "target",
      "is no version",
      "a version's number, 0 for the latest, or empty"
    )
  )
}

/** What a migration would do. A file that is not there is planned for as the empty database that it would be. */
const planned = (name: string, settings: BackendConfig, target: MigrationTarget) => {
  const file = fileOf(settings)
  const absent = settings.type === "sqlite" && (file === undefined || !NodeFs.existsSync(file))
  const looked = absent
    ? open(name, { ...settings, path: ":memory:", readOnly: false }, "write")
    : open(name, settings, "read")
  return Effect.flatMap(looked, ({ migrator }) => Actions.plan(migrator, target))
}

const stepLine = ({ direction, id, name }: Pick<PlannedStep, "direction" | "id" | "name">) =>
  `  ${direction === "up" ? "+" : "-"} ${id} ${name}`

const dryRun = (name: string, settings: BackendConfig, target: MigrationTarget, json: boolean) =>
  Effect.flatMap(planned(name, settings, target), (plan) =>
    print(
      json,
      () => ({ backend: name, ...plan }),
      () =>
        [
          `${name} is at version ${plan.current_version}; ${counted(plan.steps.length, "step")} to run`,
          ...plan.steps.flatMap((step) => [
            stepLine(step),
            ...step.sql.map((sql) => `${sql.replace(/^\s*/gm, "      ")};`)
          ])
        ].join("\n")
    )
  )

const run = (name: string, settings: BackendConfig, target: MigrationTarget, json: boolean) =>
  Effect.gen(function* () {
    const { migrator } = yield* open(name, settings, "write")
    const done = yield* withProgress((show) =>
      Actions.migrate(migrator, target, ({ done, total }) => Effect.runSync(show(bar("migrate", done, total))))
    )
    yield* print(
      json,
      () => ({ backend: name, ...done }),
      () =>
        done.previous_version === done.current_version && done.applied.length === 0
          ? `${name} is at version ${done.current_version}; nothing to do`
          : [
              `${name} went from version ${done.previous_version} to ${done.current_version}`,
              ...done.applied.map(stepLine)
            ].join("\n")
    )
  })

/**
 * @since 0.1.0
 * @category commands
 */
export const migrate = Command.make(
  "migrate",
  {
    target: Options.text("target").pipe(
      Options.withPseudoName("VERSION"),
      Options.withDescription("Go up or down to this version; 0 is the latest (default), empty undoes every step"),
      Options.withDefault("0")
    ),
    dryRun: Options.boolean("dry-run").pipe(Options.withDescription("List the steps and their SQL, and run nothing")),
    ...common
  },
  (options) =>
    Effect.scoped(
      Effect.gen(function* () {
        const target = yield* targetOf(options.target)
        const { name, settings } = yield* selected(options)
        const go: Effect.Effect<void, DbError, Effect.Effect.Context<ReturnType<typeof run>>> = (
          options.dryRun ? dryRun : run
        )(name, settings, target, options.json)
        yield* go
      })
    )
).pipe(
  Command.withDescription(
    describe(
      "Bring the hub's own tables to a version: the latest unless told otherwise. Makes the database if there is none.",
      "db-hub migrate --dry-run",
      "db-hub migrate --target 1"
    )
  )
)
