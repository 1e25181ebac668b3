/**
 * A process that does one write per line of its input, `batch-process.ts FILE OPTIONS`: `batch KEY`, `vote KEY`,
 * `values` or `absent`. It says `ready`, and then one line per write: its result, or the class of its error. With
 * `trace`, it writes every span that ends to that file.
 */
import * as NodeFs from "node:fs"
import * as NodeReadline from "node:readline"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Sqlite } from "effect-db-hub"
import { makeVotes } from "../../examples/votes.js"
import { StoresShared } from "../../src/layers/stores/index.js"
import type { ForwardingOptions } from "../../src/layers/write/ForwardingWrites.js"
import { StatementBatch } from "../../src/services/StatementBatch.js"
import { operation, WriteChannel, withIdempotencyKey } from "../../src/services/WriteChannel.js"

const [path = "", given = "{}"] = process.argv.slice(2)

const {
  known = true,
  trace,
  ...options
} = JSON.parse(given) as ForwardingOptions & { readonly known?: boolean; readonly trace?: string }

const say = (value: unknown) =>
  NodeFs.writeSync(1, `${JSON.stringify(value, (_, part) => (typeof part === "bigint" ? `${part}n` : part))}\n`)

const program = Effect.gen(function* () {
  const batch = yield* StatementBatch
  const channel = yield* WriteChannel
  const votes = yield* makeVotes
  /** An operation that the processes started with `known: false` do not have. */
  const extra = known
    ? channel.handle(operation("Extra.write", { payload: {} }), () => Effect.succeed({ result: undefined, ids: [] }))
    : undefined

  const write = (line: string) => {
    const [what = "", key = ""] = line.split(" ")
    switch (what) {
      case "batch":
        return batch
          .execute({
            statements: [
              { sql: "CREATE TABLE IF NOT EXISTS done (n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT)" },
              { sql: "INSERT INTO done (key) VALUES (?)", params: [key] },
              { sql: "SELECT count(*) AS n FROM done WHERE key = ?", params: [key] }
            ]
          })
          .pipe(withIdempotencyKey(key))
      case "values":
        return batch.execute({
          statements: [
            {
              sql: "SELECT ? AS text, ? AS big, ? AS at, ? AS raw, ? AS json, ? AS none",
              params: ["Zürich 🦀", 2n ** 60n, new Date(0), new Uint8Array([1, 2]), { a: [1] }, null]
            }
          ]
        })
      case "absent":
        return extra === undefined ? Effect.void : extra({})
      default:
        return withIdempotencyKey(key)(votes.cast({ poll: "p", choice: "c" }))
    }
  }

  yield* Effect.sync(() => say("ready"))
  yield* Stream.fromAsyncIterable(NodeReadline.createInterface({ input: process.stdin }), String).pipe(
    Stream.runForEach((line) =>
      Effect.match(Effect.withSpan(write(line), line), {
        onSuccess: (result) => say({ result }),
        onFailure: ({ _tag }) => say({ _tag })
      })
    )
  )
})

const native = Effect.runSync(Effect.tracer)

const tracing = (file: string) =>
  Layer.setTracer(
    Tracer.make({
      context: (run) => run(),
      span: (...made) => {
        const span = native.span(...made)
        const { end } = span
        span.end = (...ended) => {
          const parent = Option.getOrUndefined(span.parent)?.spanId
          NodeFs.appendFileSync(
            file,
            `${JSON.stringify({ name: span.name, trace: span.traceId, id: span.spanId, parent })}\n`
          )
          return end.apply(span, ended)
        }
        return span
      }
    })
  )

const services = Layer.provideMerge(StoresShared(options), Sqlite.layer({ path }))
const traced = trace === undefined ? services : Layer.provideMerge(services, tracing(trace))
Effect.runPromise(Effect.provide(program, traced)).then(
  () => process.exit(0),
  (error) => {
    NodeFs.writeSync(2, `${String(error)}\n`)
    process.exit(1)
  }
)
