import { assert, describe, it } from "@effect/vitest"
import * as FastCheck from "effect/FastCheck"
import { lexical as postgresql } from "../../src/layers/postgres/PostgresDialect.js"
import { lexical as sqlite } from "../../src/layers/sqlite/SqliteDialect.js"
import * as SqlLexer from "../../src/services/SqlLexer.js"

const mysql: SqlLexer.Lexical = {
  dollarQuotes: false,
  backslashes: "all",
  nestedComments: false,
  hashComments: true,
  identifiers: '"`',
  carriageReturns: false,
  byteOrderMarks: false
}

const all = { sqlite, postgresql, mysql }

const numbered = (sql: string, lexical: SqlLexer.Lexical) =>
  SqlLexer.translatePlaceholders(sql, lexical, (index) => `$${index}`)

/** Pieces of SQL that bring every state of the lexer about, and collide when they are joined. */
const piece = FastCheck.oneof(
  FastCheck.constantFrom(
    ..."? ?? ?| ?& ?|| ?&& @? ' '' \" ` [ ] ]] $$ $a$ $1 -- # /* */ /*/ \\ \\' E' e' U&' ; ( ) \n \r \t : :: a e1 1e+5 0x1F select".split(
      " "
    ),
    " "
  ),
  FastCheck.string({ maxLength: 4 }),
  FastCheck.string({ unit: "binary", maxLength: 3 })
)
const text = FastCheck.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(""))

describe("tokens", () => {
  for (const [name, lexical] of Object.entries(all)) {
    it(`joined are the text again, and none is empty (${name})`, () => {
      FastCheck.assert(
        FastCheck.property(text, (sql) => {
          const tokens = Array.from(SqlLexer.tokens(sql, lexical))
          assert.strictEqual(tokens.map((token) => token.text).join(""), sql)
          assert.isTrue(tokens.every((token) => token.text.length > 0))
        }),
        { numRuns: 3000 }
      )
    })
  }

  it("end where a string, comment or name is never closed", () => {
    for (const lexical of Object.values(all)) {
      for (const sql of [
        "'abc ?",
        "'abc\\",
        '"abc ?',
        "`abc ?",
        "[abc ?",
        "/* abc ? /*",
        "$$ abc ?",
        "$t$ ? $t",
        "E'\\",
        "--",
        "'a''",
        "?'"
      ]) {
        assert.strictEqual(
          Array.from(SqlLexer.tokens(sql, lexical))
            .map((token) => token.text)
            .join(""),
          sql
        )
      }
    }
  })

  const kinds = (sql: string, lexical: SqlLexer.Lexical) =>
    Array.from(SqlLexer.tokens(sql, lexical))
      .filter(({ kind }) => kind !== "space")
      .map(({ kind, text }) => `${kind} ${text}`)

  it("begin and end where those of PostgreSQL do", () => {
    // Beyond ASCII all is part of words, spaces too, and of the tags of quotes.
    assert.deepStrictEqual(kinds("\u00a0E'\\' + 1", postgresql), [
      "word \u00a0E",
      "string '\\'",
      "symbol +",
      "number 1"
    ])
    assert.deepStrictEqual(kinds("😀E'\\'", postgresql), ["word 😀E", "string '\\'"])
    assert.deepStrictEqual(kinds("\ufeffE'\\'", postgresql), ["word \ufeffE", "string '\\'"])
    assert.deepStrictEqual(kinds("$😀$ ' $😀$", postgresql), ["string $😀$ ' $😀$"])
    // The backtick is an operator.
    assert.deepStrictEqual(kinds("1 ` 2 ` 3", postgresql), ["number 1", "symbol `", "number 2", "symbol `", "number 3"])
    assert.deepStrictEqual(kinds("-- a\r1 -- b\n2", postgresql), [
      "comment -- a",
      "number 1",
      "comment -- b",
      "number 2"
    ])
    assert.deepStrictEqual(kinds("E'a' -- b\n 'c\\' d'", postgresql), ["string E'a' -- b\n 'c\\' d'"])
    assert.deepStrictEqual(kinds("E'a' 'c\\'", postgresql), ["string E'a'", "string 'c\\'"])
    assert.deepStrictEqual(kinds("0x1e-0x1e", postgresql), ["number 0x1e", "symbol -", "number 0x1e"])
  })

  it("begin and end where those of SQLite do", () => {
    assert.deepStrictEqual(kinds("-- a\r1\n2", sqlite), ["comment -- a\r1", "number 2"])
    assert.deepStrictEqual(kinds("\ufeffBEGIN \ufeff x\ufeff", sqlite), ["word BEGIN", "word x\ufeff"])
    assert.deepStrictEqual(kinds("\u00a0BEGIN", sqlite), ["word \u00a0BEGIN"])
  })

  it("take long texts in linear time", () => {
    for (const part of ["?", "'", "''", "$", "$a", "/*", "-", "a", "1e", "[", "\\", "E''\n", "E''--", "\n--\n"]) {
      const sql = part.repeat(50_000)
      const started = performance.now()
      for (const lexical of Object.values(all)) SqlLexer.translatePlaceholders(sql, lexical, () => "?")
      assert.isBelow(performance.now() - started, 3000, part)
    }
  })
})

describe("translatePlaceholders", () => {
  for (const [name, lexical] of Object.entries(all)) {
    it(`leaves what is quoted or commented alone (${name})`, () => {
      const quoted = ["'?'", "'it''s ?'", '"na?me"', '"a""?"', "-- ? \n", "/* ? */", "''"]
      if (name === "mysql") quoted.push("`?`", "'\\'?'", '"\\"?"', "# ? \n")
      if (name === "postgresql") {
        quoted.push("$$ ? $$", "$tag$ ? $$ ? $tag$", "$ü1$?$ü1$", "E'\\'?'", "e'?'", "/* /* ? */ ? */", "'\\'")
      }
      if (name === "sqlite") quoted.push("`?`", "[?]", "[a ? 'b]", "'\\'")
      FastCheck.assert(
        FastCheck.property(FastCheck.array(FastCheck.constantFrom(...quoted, "?"), { maxLength: 12 }), (parts) => {
          let n = 0
          const expected = parts.map((part) => (part === "?" ? `$${++n}` : part)).join(" + ")
          assert.deepStrictEqual(numbered(parts.join(" + "), lexical), { sql: expected, count: n })
        })
      )
    })
  }

  const cases: ReadonlyArray<readonly [string, string]> = [
    ["a ?| b", "a ?| b"],
    ["a ?& b", "a ?& b"],
    ["a ?| ?", "a ?| $1"],
    ["a ?? 'k'", "a ? 'k'"],
    ["a ?? ?", "a ? $1"],
    ["a @? ?", "a @? $1"],
    ["?||'x'", "$1||'x'"],
    ["'x'||?", "'x'||$1"],
    ["?||?", "$1||$2"],
    ["?&&?", "$1&&$2"],
    ["(?,?)", "($1,$2)"],
    ["?::int", "$1::int"],
    ["a$b ? c$b", "a$b $1 c$b"],
    ["1?2", "1$12"],
    ["name'?'?", "name'?'$1"],
    ["\u{1F980}?", "\u{1F980}$1"]
  ]
  for (const [sql, expected] of cases) {
    it(`makes ${expected} of ${sql}`, () => assert.strictEqual(numbered(sql, postgresql).sql, expected))
  }

  it("knows a dollar quote from a parameter and a name with dollars", () => {
    assert.strictEqual(numbered("SELECT $1, a$$b, ? -- $$ ?", postgresql).sql, "SELECT $1, a$$b, $1 -- $$ ?")
    assert.strictEqual(numbered("$$?$$", sqlite).count, 1)
    assert.strictEqual(numbered("$$?$$", postgresql).count, 0)
  })

  it("knows each engine's comments and escapes", () => {
    assert.strictEqual(numbered("# ?", mysql).count, 0)
    assert.strictEqual(numbered("a # ?", postgresql).count, 1)
    assert.strictEqual(numbered("/* /* */ ? */", sqlite).count, 1)
    assert.strictEqual(numbered("/* /* */ ? */", postgresql).count, 0)
    assert.strictEqual(numbered("'\\' ? '", mysql).count, 0)
    assert.strictEqual(numbered("'\\' ? ''", postgresql).count, 1)
    assert.strictEqual(numbered("a[?]", postgresql).count, 1)
    assert.strictEqual(numbered("[?]", sqlite).count, 0)
  })
})

describe("names", () => {
  it("are words and quoted texts alike", () => {
    assert.deepStrictEqual(SqlLexer.names("select 'a' \"b\" [c] `d` /* e */ 1", sqlite), ["SELECT", "A", "B", "C", "D"])
  })
})

describe("keywords", () => {
  it("are the words of the statement, without strings, comments and quoted names", () => {
    assert.deepStrictEqual(
      SqlLexer.keywords("-- drop\n ;with x as (select 'delete' \"update\" [insert]) /* c */ Select 1", sqlite),
      ["WITH", "X", "AS", "SELECT", "SELECT"]
    )
    assert.deepStrictEqual(SqlLexer.keywords("", sqlite), [])
  })
})
