import * as LanguageModel from "@effect/ai/LanguageModel"
import * as Tool from "@effect/ai/Tool"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { factories } from "../../src/layers/HubLive.js"
import * as HubMake from "../../src/layers/HubMake.js"
import * as AiTools from "../../src/tools/AiTools.js"
import * as Toolkit from "../../src/tools/Toolkit.js"
import { temporaryFolder } from "../support/index.js"

const opened = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const hub = yield* HubMake.make({
    primary: { type: "sqlite", path: `${folder}/hub.db` } as { type: string },
    factories
  })
  yield* hub.exec("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)")
  yield* hub.exec("INSERT INTO notes (body) VALUES ('a'), ('b')")
  return AiTools.make(yield* Toolkit.make(hub), { name: "program", session: "s" })
})

describe("the tools in a program", { timeout: 60_000 }, () => {
  it.scopedLive("are those of the groups, with their hints and parameters", () =>
    Effect.gen(function* () {
      const { tools } = yield* opened
      assert.deepStrictEqual(Object.keys(tools), [
        "db_hub_status",
        "db_hub_query",
        "db_hub_schema",
        "db_hub_backends",
        "db_hub_search"
      ])
      const query = tools["db_hub_query"]!
      const schema = Tool.getJsonSchema(query) as { required: ReadonlyArray<string> }
      assert.deepStrictEqual(schema.required, ["query"])
    })
  )

  it.scopedLive("answer, and give back what went wrong as something to act on", () =>
    Effect.gen(function* () {
      const { handle } = yield* opened
      const read = yield* handle("db_hub_query", { query: "SELECT body FROM notes WHERE id > ?", params: [1] })
      assert.isFalse(read.isFailure)
      assert.deepInclude(read.encodedResult as object, { columns: ["body"], rows: [["b"]] })
      const refused = yield* handle("db_hub_query", { query: "DELETE FROM notes" })
      assert.isTrue(refused.isFailure)
      assert.deepInclude(refused.encodedResult as object, { type: "DbReadOnly", retryable: false })
    })
  )

  it.scopedLive("are called by a language model that asks for one", () =>
    Effect.gen(function* () {
      const toolkit = yield* opened
      const call = { type: "tool-call", id: "1", name: "db_hub_query", params: { query: "SELECT count(*) FROM notes" } }
      const model = yield* LanguageModel.make({
        generateText: () =>
          Effect.succeed([
            { ...call, providerExecuted: false },
            { type: "finish", reason: "tool-calls", usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 } }
          ] as never),
        streamText: () => Stream.empty
      })
      const response = yield* model.generateText({ prompt: "How many notes are there?", toolkit })
      assert.deepInclude(response.toolResults[0]!.result as object, { rows: [[2]] })
    })
  )
})
