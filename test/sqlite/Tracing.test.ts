import * as NodeAssert from "node:assert/strict"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { SqliteMemory } from "../../src/layers/sqlite/Sqlite.js"
import { Backend } from "../../src/services/Backend.js"

it.effect("a transaction is a span of whatever traces the program", () =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const spans: Array<string> = []
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind, options) => {
        spans.push(name)
        return native.span(name, parent, context, links, startTime, kind, options)
      },
      context: (run) => run()
    })
    const inside = backend.transaction(Effect.option(Effect.currentSpan))
    const span = yield* Effect.withTracer(inside, tracer)
    NodeAssert.deepEqual([spans, span._tag], [["sql.transaction"], "Some"])
    NodeAssert.equal((yield* inside)._tag, "None")
  }).pipe(Effect.provide(SqliteMemory))
)
