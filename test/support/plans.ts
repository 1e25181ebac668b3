import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"

/** That a check of query plans finds fault with statements that read a whole table, and with no others. */
export const seesWholeReads = <E, R>(
  faultsOf: (sql: string) => Effect.Effect<ReadonlyArray<string>, E, R>,
  statements: { readonly whole: ReadonlyArray<string>; readonly part: ReadonlyArray<string> }
): Effect.Effect<void, E, R> =>
  Effect.gen(function* () {
    for (const sql of statements.whole) assert.isAbove((yield* faultsOf(sql)).length, 0, sql)
    for (const sql of statements.part) assert.deepStrictEqual(yield* faultsOf(sql), [], sql)
  })
