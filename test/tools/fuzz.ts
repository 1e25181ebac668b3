/** Statements made from others, the same ones for the same seed. */
import { assert } from "@effect/vitest"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"

import { random, seedOfRun } from "../support/random.js"

const pieces = (sql: string): ReadonlyArray<string> =>
  sql.match(/--[^\n]*|\/\*.*?\*\/|'[^']*'|"[^"]*"|\w+|\s+|[^\w\s]/gs) ?? []

const fillers = [
  " ",
  "\n",
  ";",
  "; ",
  "/**/",
  "--\n",
  "(",
  ")",
  "/*",
  "*/",
  "'",
  '"',
  "$$",
  ",",
  ".",
  "`",
  "[",
  "]",
  "\u00a0",
  "\0",
  " SELECT ",
  " WITH x AS (",
  " RETURNING * ",
  " INTO evil ",
  " FOR UPDATE ",
  " UNION ",
  " EXPLAIN ",
  " ANALYZE ",
  " PRAGMA ",
  " AS ",
  " = ",
  " FROM ",
  " notes ",
  " ON CONFLICT DO NOTHING ",
  "?",
  "$1",
  "E'",
  "\\",
  "#",
  ":x",
  "@y"
]

/** One in three is a read in other clothes, so that what is let through is looked at, too. */
export const statement = (
  next: () => number,
  { attacks, reads }: { readonly attacks: ReadonlyArray<string>; readonly reads: ReadonlyArray<string> }
): string => {
  const all = next() < 0.3 ? reads : [...reads, ...attacks]
  const pick = (list: ReadonlyArray<string>) => list[Math.floor(next() * list.length)]!
  const form = next()
  if (form < 0.15) return `SELECT * FROM (${pick(reads)}) AS s`
  if (form < 0.25) return `WITH q AS (${pick(all)}) ${pick(all)}`
  if (form < 0.3) return `SELECT (${pick(all)}), EXISTS (${pick(all)})`
  if (form < 0.35) return `${pick(reads)} UNION ALL ${pick(all)}`
  return mutated(next, all)
}

/** Splices, drops, doubles, swaps and inserts pieces of the statements of a corpus. */
export const mutated = (next: () => number, corpus: ReadonlyArray<string>): string => {
  const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(next() * list.length)]!
  let parts = [...pieces(pick(corpus))]
  const at = () => Math.floor(next() * (parts.length + 1))
  for (let n = 1 + Math.floor(next() * 3); n > 0; n--) {
    const kind = Math.floor(next() * 7)
    if (kind === 0) parts.splice(at(), 1)
    else if (kind === 1) parts.splice(at(), 0, pick(fillers))
    else if (kind === 2) {
      const other = pieces(pick(corpus))
      const from = Math.floor(next() * other.length)
      parts.splice(at(), 0, ...other.slice(from, from + 1 + Math.floor(next() * 8)))
    } else if (kind === 3) parts = [...parts, ";", ...pieces(pick(corpus))]
    else if (kind === 4) parts = ["WITH x AS (", ...parts, ") ", ...pieces(pick(corpus))]
    else if (kind === 5) parts = ["SELECT * FROM (", ...parts, ") s"]
    else {
      const [i, j] = [at(), at()]
      const [a, b] = [parts[i], parts[j]]
      if (a !== undefined && b !== undefined) {
        parts[i] = b
        parts[j] = a
      }
    }
  }
  return parts.join("")
}

/** How many statements, and from which seed. */
export const fuzzing = (): { readonly count: number; readonly seed: number } => ({
  count: Number(process.env["DB_HUB_FUZZ"] ?? 4_000),
  seed: seedOfRun()
})

type Corpus = Parameters<typeof statement>[1]

export function* statements(count: number, seed: number, corpus: Corpus): Iterable<string> {
  const next = random(seed)
  for (let n = 0; n < count; n++) yield statement(next, corpus)
}

/** Statements between two looks. */
const window = 250

/**
 * Runs statements and looks, after each window of them, whether anything of the database changed. What `look` sees has
 * to tell more than how things are: it holds marks that only ever move forward (times of files, numbers of transactions)
 * and that every change moves. Where they stand still over a window, there was no moment within it at which anything had
 * changed, which is what a hash after each statement would show. At a difference the window runs again, one by one, to
 * name the statement. Succeeds with how many were reads.
 */
export const unchangedBy = <E>(
  statements: Iterable<string>,
  query: (sql: string) => Effect.Effect<unknown, unknown>,
  look: Effect.Effect<string, E>
): Effect.Effect<number, E> =>
  Effect.gen(function* () {
    const accepts = (sql: string) => Effect.map(Effect.either(query(sql)), Either.isRight)
    let reads = 0
    const before = yield* look
    for (const some of Chunk.chunksOf(Chunk.fromIterable(statements), window)) {
      const accepted = yield* Effect.forEach(some, accepts, { concurrency: 4 })
      reads += accepted.filter(Boolean).length
      const after = yield* look
      if (after === before) continue
      for (const sql of some) {
        const between = yield* look
        yield* accepts(sql)
        assert.strictEqual(yield* look, between, `changed by ${JSON.stringify(sql)}`)
      }
      assert.strictEqual(after, before, `changed by one of ${JSON.stringify(Chunk.toReadonlyArray(some))}`)
    }
    return reads
  })
