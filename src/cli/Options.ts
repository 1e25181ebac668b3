/**
 * The options that every command takes.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import { type InvalidInput, invalidInput } from "../errors/DbError.js"
import type { FilterInput } from "../vector/Filter.js"
import { Io } from "./Io.js"

/**
 * @since 0.1.0
 * @category options
 */
export const common = {
  json: Options.boolean("json").pipe(Options.withDescription("Write one JSON document instead of text")),
  backend: Options.text("backend").pipe(
    Options.withPseudoName("NAME"),
    Options.withDescription("The backend to work on (default: primary)"),
    Options.optional
  ),
  config: Options.text("config").pipe(
    Options.withPseudoName("FILE"),
    Options.withDescription(
      "The configuration (default: db-hub.yaml, .yml, .toml or .json here, else DATABASE_URL, else ./data/hub.db)"
    ),
    Options.optional
  )
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Common {
  readonly json: boolean
  readonly backend: Option.Option<string>
  readonly config: Option.Option<string>
}

/**
 * @since 0.1.0
 * @category options
 */
export const param = Options.text("param").pipe(
  Options.withPseudoName("JSON"),
  Options.withDescription(
    `The value of the next ? in the statement, as JSON: 1, '"text"', null, {"$base64": "…"}; may be repeated`
  ),
  Options.repeated
)

/**
 * @since 0.1.0
 * @category arguments
 */
export const sql = Args.text({ name: "SQL" }).pipe(
  Args.withDescription("One statement, or - to read it from standard input; after -- it may begin with a dash")
)

/**
 * @since 0.1.0
 * @category help
 */
export const describe = (purpose: string, ...examples: ReadonlyArray<string>): HelpDoc.HelpDoc =>
  HelpDoc.blocks([HelpDoc.p(purpose), ...examples.map((example) => HelpDoc.p(`Example: ${example}`))])

/**
 * The text of an argument, or standard input where it is `-`.
 *
 * @since 0.1.0
 * @category arguments
 */
export const textOf = (field: string, argument: string): Effect.Effect<string, InvalidInput, Io> =>
  Effect.gen(function* () {
    const text = argument === "-" ? yield* Effect.flatMap(Io, (io) => io.stdin) : argument
    if (text.trim() !== "") return text
    return yield* invalidInput({ operation: "cli" }, field, "is empty", "text, or - with text on standard input")
  })

/**
 * @since 0.1.0
 * @category options
 */
export const collection = Options.text("collection").pipe(
  Options.withPseudoName("NAME"),
  Options.withDescription("The collection of texts (default: documents)"),
  Options.withDefault("documents")
)

/**
 * The filter of a `--filter`.
 *
 * @since 0.1.0
 * @category options
 */
export const filterOf = (operation: string, text: string): Effect.Effect<FilterInput, InvalidInput> =>
  Effect.try({
    try: (): FilterInput => JSON.parse(text),
    catch: () =>
      invalidInput({ operation }, "filter", "is not valid JSON", `an object such as {"year": {"$gte": 2024}}`)
  })
