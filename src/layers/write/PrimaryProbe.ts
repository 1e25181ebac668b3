/**
 * Questions to the primary from outside: how it is, and whether it leaves its place.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { DbConnection, type DbError, DbUnsupported } from "../../errors/index.js"
import type { BackendShape } from "../../services/Backend.js"
import { realClock } from "../EventLoop.js"
import * as Wire from "./WriteWire.js"

/**
 * What the primary of a database says of itself. `DbConnection` if there is none (`HUB_NO_PRIMARY`) or if it does not
 * answer (`HUB_PRIMARY_HANGS`); `DbUnsupported` where every process writes for itself, and where the primary is of
 * another version of this program (`HUB_OTHER_PROTOCOL`).
 *
 * @since 0.1.0
 * @category status
 */
export const probePrimary = (backend: BackendShape): Effect.Effect<Wire.PrimaryStatus, DbError> =>
  withPrimary(backend, "primary.status", (client) => client.status)

/**
 * Asks the primary to leave its place to another process; what it has taken it finishes first. Fails as `probePrimary`.
 *
 * @since 0.1.0
 * @category status
 */
export const stepDown = (backend: BackendShape): Effect.Effect<void, DbError> =>
  withPrimary(backend, "primary.stepDown", (client) => client.stepDown)

/** A connection of its own, so that the question does not wait behind writes. */
const withPrimary = <A>(
  { kind, name, sharing }: BackendShape,
  operation: string,
  ask: (client: Wire.PrimaryClient) => Effect.Effect<A, DbError>
): Effect.Effect<A, DbError> => {
  const context = { backend: name, operation }
  const none = new DbConnection({
    ...context,
    code: "HUB_NO_PRIMARY",
    message: "No process writes for the others: none has this database open for forwarded writes"
  })
  const hangs = new DbConnection({
    ...context,
    code: "HUB_PRIMARY_HANGS",
    message: "The process that writes for the others does not answer: it hangs, or was stopped"
  })
  const other = new DbUnsupported({
    ...context,
    code: "HUB_OTHER_PROTOCOL",
    message:
      "The process that writes for the others is of another version of this program: run the same in every process"
  })
  if (sharing === undefined) {
    const message = `Every process writes for itself on this ${kind} backend: there is no primary`
    return Effect.fail(new DbUnsupported({ ...context, message }))
  }
  return Effect.flatMap(sharing.read, (record) =>
    record === undefined
      ? Effect.fail(none)
      : Wire.connect(record).pipe(
          Effect.flatMap((client) => (record.protocol === Wire.protocol ? ask(client) : Effect.fail(other))),
          Effect.scoped,
          Effect.timeoutFail({ duration: "2 seconds", onTimeout: () => hangs }),
          Effect.mapError((error) => (error._tag === "PrimaryUnreachable" ? none : error)),
          Effect.withClock(realClock)
        )
  )
}
