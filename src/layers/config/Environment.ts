/** References to the environment in the values of a configuration, and what their text becomes. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

/** The value of a variable, from the current `ConfigProvider`; fails with the problem where it cannot be read. */
export const variable = (name: string): Effect.Effect<Option.Option<string>, string> =>
  Effect.mapError(
    Config.option(Config.string(name)),
    () => `needs the environment variable ${name}, which cannot be read`
  )

const pattern = /\$\$|\$\{([A-Za-z_]\w*)(?:(:-|:\?)([^}]*))?\}|\$\{/g

const substitute = ([text, name, operator, rest]: ReadonlyArray<string | undefined>) => {
  if (text === "$$") return Effect.succeed("$")
  if (name === undefined) {
    return Effect.fail("holds a broken reference; allowed: ${VAR}, ${VAR:-default}, ${VAR:?message}, $$ for a $")
  }
  return Effect.flatMap(variable(name), (found) => {
    const value = Option.getOrUndefined(found)
    if (operator === ":-") return Effect.succeed(value || rest!)
    if (operator === ":?" && !value) return Effect.fail(`needs the environment variable ${name}: ${rest || "not set"}`)
    return value === undefined
      ? Effect.fail(`needs the environment variable ${name}, which is not set`)
      : Effect.succeed(value)
  })
}

/** Replaces the references of one value; what they hold is text and is never looked at again. */
export const expand = (
  value: string
): Effect.Effect<{ readonly text: string; readonly fromEnvironment: boolean }, string> =>
  Effect.gen(function* () {
    const bare = /^\$([A-Z_][A-Z0-9_]*)$/.exec(value)
    if (bare !== null)
      return yield* Effect.fail(`is ambiguous: write \${${bare[1]}}, or $$${bare[1]} for the text itself`)
    const matches = Array.from(value.matchAll(pattern))
    const texts = yield* Effect.forEach(matches, substitute)
    const ends = matches.map((match) => match.index + match[0].length)
    const text = matches.map((match, i) => value.slice(ends[i - 1] ?? 0, match.index) + texts[i]).join("")
    return {
      text: text + value.slice(ends.at(-1) ?? 0),
      fromEnvironment: matches.some((match) => match[1] !== undefined)
    }
  })

/** Keeps a value as text, as it was written. */
export const escape = (text: string): string => text.replaceAll("$", "$$$$")
