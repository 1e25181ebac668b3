/**
 * @since 0.1.0
 */
import * as Command from "@effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { PrimaryStatus } from "../../layers/write/WriteWire.js"
import type { BackendShape } from "../../services/Backend.js"
import { withBackend } from "../Backends.js"
import { common, describe } from "../Options.js"
import { print } from "../Report.js"
import { table } from "../Text.js"

/** Imported when it is needed: sockets and RPC take their time to load. */
const questions = Effect.promise(() => import("../../layers/write/PrimaryProbe.js"))

const probe = (backend: BackendShape) => Effect.flatMap(questions, ({ probePrimary }) => probePrimary(backend))

const processOf = ({ epoch, instance, pid }: PrimaryStatus) => ({ pid, epoch, instance })

const queueOf = ({
  accepted,
  completed,
  depth,
  dropped,
  failed,
  groups,
  maxDepth,
  maxGroup,
  overloaded
}: PrimaryStatus) => ({
  depth,
  max_depth: maxDepth,
  accepted,
  completed,
  failed,
  dropped,
  overloaded,
  groups,
  max_group: maxGroup
})

const status = Command.make("status", common, (options) =>
  Effect.flatMap(withBackend(options, "read", probe), (found) =>
    print(
      options.json,
      () => ({ primary: processOf(found), queue: queueOf(found) }),
      (io) => table(["", "value"], Object.entries({ ...processOf(found), ...queueOf(found) }), io)
    )
  )
).pipe(
  Command.withDescription(
    describe(
      "Tell which process writes for the others on a SQLite file, and how its queue is. Exits with 1 if there is none.",
      "db-hub primary status",
      "db-hub primary status --backend primary --json"
    )
  )
)

/** How long to look for the next primary: the one before leaves its place free for 2 seconds, then it may come back. */
const succession = Schedule.intersect(Schedule.spaced("100 millis"), Schedule.recurs(50))

const stepDown = Command.make("step-down", common, (options) =>
  Effect.gen(function* () {
    const [before, after] = yield* withBackend(options, "read", (backend) =>
      Effect.gen(function* () {
        const before = yield* probe(backend)
        yield* (yield* questions).stepDown(backend)
        const next = probe(backend).pipe(
          Effect.filterOrFail(
            ({ epoch }) => epoch > before.epoch,
            () => "still the same" as const
          ),
          Effect.retry(succession),
          Effect.option
        )
        return [before, yield* next] as const
      })
    )
    yield* print(
      options.json,
      () => ({ before: processOf(before), after: Option.getOrNull(Option.map(after, processOf)) }),
      () => {
        const next = Option.match(after, {
          onNone: () => "no process has taken its place yet",
          onSome: ({ epoch, pid }) => `process ${pid} does now (epoch ${epoch})`
        })
        return `Process ${before.pid} (epoch ${before.epoch}) no longer writes for the others; ${next}`
      }
    )
  })
).pipe(
  Command.withDescription(
    describe(
      "Ask the process that writes for the others to finish what it has taken and to leave its place to another.",
      "db-hub primary step-down",
      "db-hub primary step-down --json"
    )
  )
)

/**
 * @since 0.1.0
 * @category commands
 */
export const primary = Command.make("primary").pipe(
  Command.withDescription("The process that writes for the others on a SQLite file"),
  Command.withSubcommands([status, stepDown])
)
