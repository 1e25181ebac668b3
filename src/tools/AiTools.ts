/**
 * The tools as a toolkit of `@effect/ai`, for programs that call a language model themselves.
 *
 * @since 0.1.0
 */
import * as Tool from "@effect/ai/Tool"
import type { WithHandler } from "@effect/ai/Toolkit"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { type ToolName, tools } from "./Declarations.js"
import type { Caller, Toolkit } from "./Toolkit.js"

const Answer = Schema.Record({ key: Schema.String, value: Schema.Unknown })

const Failure = Schema.Struct({
  type: Schema.String,
  message: Schema.String,
  retryable: Schema.Boolean,
  hint: Schema.optionalWith(Schema.String, { exact: true })
})

const toolOf = (name: ToolName) => {
  const { description, hints, parameters } = tools[name]
  return Tool.make(name, {
    description,
    parameters: parameters.fields as unknown as Readonly<Record<string, Schema.Schema<unknown>>>,
    success: Answer,
    failure: Failure,
    // What went wrong goes back to the model, which can do something about it.
    failureMode: "return"
  })
    .annotate(Tool.Readonly, hints.readOnly)
    .annotate(Tool.Destructive, hints.destructive)
    .annotate(Tool.Idempotent, hints.idempotent)
    .annotate(Tool.OpenWorld, false)
}

/**
 * A tool of the hub as `@effect/ai` takes it.
 *
 * @since 0.1.0
 * @category models
 */
export type HubTool = ReturnType<typeof toolOf>

/**
 * What `LanguageModel.generateText({ toolkit })` takes. Calls are checked, limited and recorded as those of any caller;
 * no span holds an argument.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (kit: Toolkit, caller: Caller): WithHandler<Readonly<Record<string, HubTool>>> => ({
  tools: Object.fromEntries(kit.names.map((name) => [name, toolOf(name)])),
  handle: (name, params) =>
    Effect.map(kit.call(name, params, caller), (answer) => {
      const result = answer.ok ? answer.value : answer.error
      return { isFailure: !answer.ok, result, encodedResult: result }
    })
})
