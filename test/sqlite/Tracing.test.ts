import * as NodeAssert from "node:assert/strict"
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { SqliteMemory } from "../../src/layers/sqlite/Sqlite.js"
import { Backend } from "../../src/services/Backend.js"

it.effect("transactions and statements are spans of whatever traces the program, without the values of anybody", () =>
  Effect.gen(function* () {
    const backend = yield* Backend
    const spans: Array<string> = []
    let attributes = ""
    const native = yield* Effect.tracer
    const tracer = Tracer.make({
      span: (name, parent, context, links, startTime, kind, options) => {
        spans.push(name)
        attributes += JSON.stringify(options?.attributes ?? {})
        return native.span(name, parent, context, links, startTime, kind, options)
      },
      context: (run) => run()
    })
    const inside = backend.transaction(Effect.option(Effect.currentSpan))
    const span = yield* Effect.withTracer(inside, tracer)
    NodeAssert.deepEqual([spans, span._tag], [["sql.transaction"], "Some"])
    NodeAssert.equal((yield* inside)._tag, "None")
    yield* Effect.withTracer(backend.query("SELECT ? AS secret", ["of the user"]), tracer)
    NodeAssert.deepEqual(spans.slice(1), ["sql.execute"])
    NodeAssert.doesNotMatch(attributes, /of the user/)
    NodeAssert.match(attributes, /SELECT \? AS secret/)
  }).pipe(Effect.provide(SqliteMemory))
)
