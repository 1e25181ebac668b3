/**
 * Reads SQL text as tokens, so that placeholders and statement kinds are found by structure and never by a pattern that
 * a string or a comment could fool.
 *
 * @since 0.1.0
 */

/**
 * What differs between the SQL texts of engines.
 *
 * @since 0.1.0
 * @category models
 */
export interface Lexical {
  /** `$tag$ … $tag$` strings (PostgreSQL). */
  readonly dollarQuotes: boolean
  /** Backslash escapes: in every string (`all`, MySQL), in `E'…'` only (`e-strings`, PostgreSQL), or nowhere. */
  readonly backslashes: "all" | "e-strings" | "none"
  /** Block comments nest (PostgreSQL). */
  readonly nestedComments: boolean
  /** `#` starts a comment (MySQL). */
  readonly hashComments: boolean
  /** The characters that open a quoted identifier: `"`, and the backtick (MySQL, SQLite) and `[` (SQLite). */
  readonly identifiers: string
  /** A carriage return ends a comment of one line, too (PostgreSQL). */
  readonly carriageReturns: boolean
  /** A byte order mark is a space, wherever no word is (SQLite). */
  readonly byteOrderMarks: boolean
}

/**
 * A part of a SQL text.
 *
 * @since 0.1.0
 * @category models
 */
export interface Token {
  readonly kind: "space" | "comment" | "string" | "identifier" | "word" | "number" | "placeholder" | "symbol"
  /** The token as it stands in the text. */
  readonly text: string
}

/** Engines know the space and the letters of ASCII; everything beyond it, also a space, is part of a word. */
const isWordStart = (char: string): boolean => /[A-Za-z_\u0080-\uffff]/.test(char)
const wordRest = /[\w$\u0080-\uffff]*/y
const numberRest = /[\w.\u0080-\uffff]*/y
const spaceRest = /[ \t\n\v\f\r]+/y
const spaceOrMark = /[ \t\n\v\f\r\ufeff]+/y
const dollarTag = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
/** Between a text and its continuation on another line. */
const continued = /[ \t\v\f]*(?:--[^\n\r]*)?[\n\r](?:[ \t\n\v\f\r]|--[^\n\r]*[\n\r])*(?=')/y

const match = (pattern: RegExp, sql: string, from: number): string | undefined => {
  pattern.lastIndex = from
  return pattern.exec(sql)?.[0]
}

/** The index after the quote that closes the one at `from`; a doubled quote stands for itself. */
const closeQuote = (sql: string, from: number, quote: string, backslash: boolean): number => {
  for (let at = from + 1; at < sql.length; at++) {
    const char = sql[at]
    if (backslash && char === "\\") at++
    else if (char === quote) {
      if (sql[at + 1] === quote) at++
      else return at + 1
    }
  }
  return sql.length
}

const closeComment = (sql: string, from: number, nested: boolean): number => {
  let depth = 1
  for (let at = from + 2; at < sql.length; at++) {
    if (sql.startsWith("*/", at)) {
      at++
      if (--depth === 0) return at + 1
    } else if (nested && sql.startsWith("/*", at)) {
      at++
      depth++
    }
  }
  return sql.length
}

/** An escape string goes on as one where it is continued on another line. */
const closeEscapes = (sql: string, from: number): number => {
  let at = closeQuote(sql, from, "'", true)
  for (let gap = match(continued, sql, at); gap !== undefined; gap = match(continued, sql, at)) {
    at = closeQuote(sql, at + gap.length, "'", true)
  }
  return at
}

const lineEnd = (sql: string, from: number, { carriageReturns }: Lexical): number => {
  for (let at = from; at < sql.length; at++) {
    if (sql[at] === "\n" || (carriageReturns && sql[at] === "\r")) return at
  }
  return sql.length
}

/**
 * `?|` and `?&` are operators of jsonb, but `?||'x'` is a placeholder and a concatenation, and `?&&` one and an overlap;
 * `??` is an escaped `?`.
 */
const questionMark = (sql: string, from: number): Token => {
  const [, next, after] = [sql[from], sql[from + 1], sql[from + 2]]
  if (next === "?") return { kind: "symbol", text: "??" }
  if ((next === "|" || next === "&") && after !== next) return { kind: "symbol", text: `?${next}` }
  return { kind: "placeholder", text: "?" }
}

const tokenAt = (sql: string, from: number, lexical: Lexical): Token => {
  const char = sql[from]!
  const upTo = (kind: Token["kind"], end: number): Token => ({ kind, text: sql.slice(from, end) })
  const space = match(lexical.byteOrderMarks ? spaceOrMark : spaceRest, sql, from)
  if (space !== undefined) return { kind: "space", text: space }
  if (sql.startsWith("--", from) || (char === "#" && lexical.hashComments)) {
    return upTo("comment", lineEnd(sql, from, lexical))
  }
  if (sql.startsWith("/*", from)) return upTo("comment", closeComment(sql, from, lexical.nestedComments))
  if (char === "'") return upTo("string", closeQuote(sql, from, "'", lexical.backslashes === "all"))
  if (lexical.identifiers.includes(char)) {
    const close = char === "[" ? "]" : char
    return upTo("identifier", closeQuote(sql, from, close, lexical.backslashes === "all" && char === '"'))
  }
  if (char === "$" && lexical.dollarQuotes) {
    const tag = match(dollarTag, sql, from)
    if (tag !== undefined) {
      const end = sql.indexOf(tag, from + tag.length)
      return upTo("string", end === -1 ? sql.length : end + tag.length)
    }
  }
  if (char === "?") return questionMark(sql, from)
  // An operator of jsonb, too.
  if (sql.startsWith("@?", from)) return { kind: "symbol", text: "@?" }
  if (/[eE]/.test(char) && sql[from + 1] === "'" && lexical.backslashes === "e-strings") {
    return upTo("string", closeEscapes(sql, from + 1))
  }
  if (isWordStart(char)) return upTo("word", from + 1 + match(wordRest, sql, from + 1)!.length)
  if (/\d/.test(char)) return upTo("number", from + 1 + match(numberRest, sql, from + 1)!.length)
  return { kind: "symbol", text: char }
}

/**
 * The tokens of a text, in order; joined they are the text again.
 *
 * @since 0.1.0
 * @category lexing
 */
export function* tokens(sql: string, lexical: Lexical): Generator<Token> {
  for (let at = 0; at < sql.length; ) {
    const token = tokenAt(sql, at, lexical)
    yield token
    // "??" stands for one character of the text's meaning but two of the text.
    at += token.text.length
  }
}

/**
 * Replaces each portable `?` by the engine's own placeholder, leaving strings, comments, quoted identifiers, dollar
 * quotes and the operators `?|` and `?&` as they are; `??` becomes the operator `?`.
 *
 * @since 0.1.0
 * @category lexing
 */
export const translatePlaceholders = (
  sql: string,
  lexical: Lexical,
  placeholder: (index: number) => string
): { readonly sql: string; readonly count: number } => {
  let count = 0
  let out = ""
  for (const token of tokens(sql, lexical)) {
    if (token.kind === "placeholder") out += placeholder(++count)
    else out += token.text === "??" && token.kind === "symbol" ? "?" : token.text
  }
  return { sql: out, count }
}

/**
 * The words that decide what a statement is: upper case, without comments, strings and names in quotes.
 *
 * @since 0.1.0
 * @category lexing
 */
export const keywords = (sql: string, lexical: Lexical): ReadonlyArray<string> =>
  Array.from(tokens(sql, lexical))
    .filter((token) => token.kind === "word")
    .map((token) => token.text.toUpperCase())

/**
 * Every text that may be a name, in upper case and without its quotes.
 *
 * @since 0.1.0
 * @category lexing
 */
export const names = (sql: string, lexical: Lexical): ReadonlyArray<string> =>
  Array.from(tokens(sql, lexical)).flatMap(({ kind, text }) => {
    if (kind === "word") return [text.toUpperCase()]
    return kind === "identifier" || kind === "string" ? [text.slice(1, -1).toUpperCase()] : []
  })
